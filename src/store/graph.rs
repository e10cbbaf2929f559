use std::collections::HashSet;

use super::{Error, Store};
use crate::oci::{Descriptor, Digest, Document};

/// How deep indexes may name indexes.
const MAX_DEPTH: usize = 8;

/// Holds what can be reached from some descriptors.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Every blob named on the way, present or not.
    pub digests: HashSet<Digest>,
    /// Blobs that must be there and are not.
    pub missing: Vec<Digest>,
    /// Manifests and indexes that are there and cannot be used, and why.
    pub refused: Vec<(Digest, Error)>,
    /// Configs and layers whose size is not what their descriptor says.
    pub wrong_size: Vec<(Digest, Error)>,
    documents: HashSet<Digest>,
}

impl Store {
    /// Follows `roots` to manifests, and those to config and layers, and adds what it finds to `reach`. Content of
    /// unknown media types is a leaf.
    ///
    /// Shape: a list of what is to be visited instead of recursion, and each digest once, so that no index, however
    /// built, costs more than its size.
    pub(super) fn walk<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a Descriptor>,
        reach: &mut Reach,
    ) -> Result<(), Error> {
        let mut to_visit: Vec<(Descriptor, usize)> = roots.into_iter().map(|root| (root.clone(), 0)).collect();
        while let Some((descriptor, depth)) = to_visit.pop() {
            if !is_document(&descriptor) {
                self.visit_leaf(&descriptor, reach)?;
                continue;
            }
            reach.digests.insert(descriptor.digest);
            if !reach.documents.insert(descriptor.digest) {
                continue;
            }
            match self.document(&descriptor) {
                Ok(Document::Manifest(manifest)) => {
                    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                        self.visit_leaf(blob, reach)?;
                    }
                    self.visit_subject(manifest.subject, depth, &mut to_visit)?;
                }
                Ok(Document::Index(index)) if depth < MAX_DEPTH => {
                    to_visit.extend(index.manifests.into_iter().map(|child| (child, depth + 1)));
                    self.visit_subject(index.subject, depth, &mut to_visit)?;
                }
                Ok(Document::Index(_)) => {
                    let digest = descriptor.digest;
                    let limit = MAX_DEPTH;
                    reach.refused.push((digest, Error::TooDeep { digest, limit }));
                }
                Err(Error::MissingBlob { digest }) => reach.missing.push(digest),
                Err(error @ Error::Fs(_)) => return Err(error),
                Err(error) => reach.refused.push((descriptor.digest, error)),
            }
        }
        Ok(())
    }

    fn visit_leaf(&self, descriptor: &Descriptor, reach: &mut Reach) -> Result<(), Error> {
        let digest = descriptor.digest;
        if !reach.digests.insert(digest) {
            return Ok(());
        }
        match self.find(&digest)? {
            None => reach.missing.push(digest),
            Some(found) if found.size_bytes != descriptor.size_bytes => {
                let (expected_bytes, found_bytes) = (descriptor.size_bytes, found.size_bytes);
                let error = Error::Size {
                    digest,
                    expected_bytes,
                    found_bytes,
                };
                reach.wrong_size.push((digest, error));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A subject is what a signature or the like speaks of: it may be elsewhere.
    fn visit_subject(
        &self,
        subject: Option<Descriptor>,
        depth: usize,
        to_visit: &mut Vec<(Descriptor, usize)>,
    ) -> Result<(), Error> {
        if let Some(subject) = subject
            && depth < MAX_DEPTH
            && self.find(&subject.digest)?.is_some()
        {
            to_visit.push((subject, depth + 1));
        }
        Ok(())
    }

    /// Refuses an artifact of which something is missing or cannot be read. The content of layers is not hashed.
    pub(super) fn check_complete(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let mut reach = Reach::default();
        self.walk([descriptor], &mut reach)?;
        if let Some((_, error)) = reach.refused.into_iter().chain(reach.wrong_size).next() {
            return Err(error);
        }
        match reach.missing.first() {
            Some(digest) => Err(Error::MissingBlob { digest: *digest }),
            None => Ok(()),
        }
    }

    /// Reads a leased blob as a manifest or an index where it is one: a lease has digests without media types.
    pub(super) fn leased_document(&self, digest: &Digest) -> Result<Option<Descriptor>, Error> {
        let bytes = match self.read(digest, crate::oci::MAX_DOCUMENT_BYTES) {
            Ok(bytes) => bytes,
            Err(error @ Error::Fs(_)) => return Err(error),
            Err(_) => return Ok(None),
        };
        let media_type = match Document::parse(&bytes, None) {
            Ok(Document::Manifest(manifest)) => manifest.media_type.unwrap_or(crate::oci::MediaType::OCI_MANIFEST),
            Ok(Document::Index(index)) => index.media_type.unwrap_or(crate::oci::MediaType::OCI_INDEX),
            Err(_) => return Ok(None),
        };
        Ok(Some(Descriptor::new(media_type, *digest, bytes.len() as u64)))
    }
}

fn is_document(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_manifest() || descriptor.media_type.is_index()
}
