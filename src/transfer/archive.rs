//! Artifacts in a file: an OCI image layout as a tar archive, as skopeo's `oci-archive:` reads and writes it.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use jiff::Timestamp;

use super::{error::Error, pull::check_artifact};
use crate::fs;
use crate::oci::{Algorithm, Descriptor, Digest, Document, Index, MAX_DOCUMENT_BYTES, Reference, annotation};
use crate::store::{Blob, Entry, Lease, Store};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Entries of an archive that are read.
const MOST_ENTRIES: usize = 200_000;
/// The largest window of a compressed archive. Shape: a power of two.
const WINDOW_LOG: u32 = 27;
/// A compressed archive may unpack to this, or to this many times its own size.
const UNPACKED_BYTES: u64 = 512 << 20;
const UNPACKED_RATIO: u64 = 20;
/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What an archive holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Archived {
    /// The names and what they name.
    pub artifacts: Vec<(Reference, Digest)>,
    /// The bytes of all blobs, each once.
    pub size_bytes: u64,
}

/// Writes artifacts of the store into one archive; a name that ends in `.zst` compresses it. Equal artifacts give equal
/// archives.
pub fn save(store: &Store, references: &[Reference], path: &Path) -> Result<Archived, Error> {
    let mut entries = Vec::new();
    let mut leases = Vec::new();
    for reference in references {
        let (entry, lease) = store.checkout(reference)?;
        entries.push((reference.clone(), entry));
        leases.push(lease);
    }
    let mut blobs = BTreeMap::new();
    let mut listed = Vec::new();
    for (_, entry) in &entries {
        gather(store, &entry.descriptor, &mut blobs)?;
        listed.push(listing(entry));
    }
    let index = Index::new(listed).to_bytes();
    let folder = path.parent().unwrap_or(Path::new(""));
    let (temporary, file) = fs::unused(folder, &|n| format!(".gpux-save.{}-{n}.tmp", std::process::id()))?;
    let written = write(store, file, (&index, &blobs), path);
    let saved = written.and_then(|()| Ok(fs::rename(&temporary, path)?));
    if saved.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove(&temporary);
    }
    saved?;
    fs::sync_folder(folder)?;
    Ok(Archived {
        artifacts: entries
            .into_iter()
            .map(|(reference, entry)| (reference, entry.descriptor.digest))
            .collect(),
        size_bytes: blobs.values().sum(),
    })
}

/// The entry as the archive's index has it: when it was tagged here is no affair of others.
fn listing(entry: &Entry) -> Descriptor {
    let mut descriptor = entry.descriptor.clone();
    descriptor.annotations.remove(annotation::TAGGED_AT);
    descriptor
}

/// Adds a document and all that it names.
fn gather(store: &Store, descriptor: &Descriptor, blobs: &mut BTreeMap<Digest, u64>) -> Result<(), Error> {
    blobs.insert(descriptor.digest, descriptor.size_bytes);
    match store.document(descriptor)? {
        Document::Index(index) => {
            for child in index.manifests.iter().filter(|child| child.media_type.is_manifest()) {
                gather(store, child, blobs)?;
            }
        }
        Document::Manifest(manifest) => {
            let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
            blobs.extend(parts.map(|part| (part.digest, part.size_bytes)));
        }
    }
    Ok(())
}

fn write(
    store: &Store,
    file: fs::File,
    (index, blobs): (&[u8], &BTreeMap<Digest, u64>),
    path: &Path,
) -> Result<(), Error> {
    let failed = |source| Error::WriteArchive {
        path: path.to_owned(),
        source,
    };
    let plain = BufWriter::with_capacity(COPY_BYTES, Writer(file));
    let plain = if path.extension().is_some_and(|extension| extension == "zst") {
        let encoder = zstd::Encoder::new(plain, 0).map_err(failed)?;
        let encoder = append(store, encoder, (index, blobs), path)?;
        encoder.finish().map_err(failed)?
    } else {
        append(store, plain, (index, blobs), path)?
    };
    plain
        .into_inner()
        .map_err(|error| failed(error.into_error()))?
        .0
        .sync()?;

    Ok(())
}

fn append<W: Write>(
    store: &Store,
    target: W,
    (index, blobs): (&[u8], &BTreeMap<Digest, u64>),
    path: &Path,
) -> Result<W, Error> {
    let failed = |source| Error::WriteArchive {
        path: path.to_owned(),
        source,
    };
    let mut archive = tar::Builder::new(target);
    for (name, bytes) in [("oci-layout", LAYOUT), ("index.json", index)] {
        archive
            .append_data(&mut header(bytes.len() as u64), name, bytes)
            .map_err(failed)?;
    }
    for (digest, size_bytes) in blobs {
        let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        let blob = BufReader::with_capacity(COPY_BYTES, Reader(store.open_blob(digest)?));
        archive
            .append_data(&mut header(*size_bytes), name, blob.take(*size_bytes))
            .map_err(failed)?;
    }
    archive.into_inner().map_err(failed)
}

fn header(size_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Reads an archive into the store and tags what it names, as of the time `at`. `name` renames the artifact of an archive
/// that holds one.
///
/// Errors: [`Error::Archive`], [`Error::ReadArchive`]; [`Error::Unnamed`]; a blob that is not its digest is one of the store.
pub fn load(store: &Store, path: &Path, name: Option<&Reference>, at: Timestamp) -> Result<Archived, Error> {
    let lease = store.lease(&[])?;
    let contents = read(store, &lease, path)?;
    let refuse = |why| Error::Archive {
        path: path.to_owned(),
        why,
    };
    if !contents.has_layout {
        return Err(refuse("it has no `oci-layout`"));
    }
    let bytes = contents.index.ok_or_else(|| refuse("it has no `index.json`"))?;
    let index = Index::parse(&bytes, MAX_DOCUMENT_BYTES).map_err(|source| Error::ArchiveDocument {
        path: path.to_owned(),
        name: "index.json".to_owned(),
        source,
    })?;
    if name.is_some() && index.manifests.len() != 1 {
        return Err(refuse("it holds several artifacts, which cannot all have one name"));
    }
    let mut artifacts = Vec::new();
    for descriptor in &index.manifests {
        let reference = match name {
            Some(name) => name.clone(),
            None => named(descriptor).ok_or_else(|| Error::Unnamed {
                path: path.to_owned(),
                digest: descriptor.digest,
            })?,
        };
        check_artifact(&reference, &store.document(descriptor)?)?;
        artifacts.push((reference, descriptor));
    }
    // Nothing is tagged unless everything can be.
    for (reference, descriptor) in &artifacts {
        store.tag(reference, descriptor, at)?;
    }
    Ok(Archived {
        artifacts: artifacts
            .into_iter()
            .map(|(reference, descriptor)| (reference, descriptor.digest))
            .collect(),
        size_bytes: contents.size_bytes,
    })
}

/// The name of an entry; ours where the common one cannot hold it.
fn named(descriptor: &Descriptor) -> Option<Reference> {
    let names = [annotation::REFERENCE, annotation::REF_NAME];
    let texts = names.iter().filter_map(|key| descriptor.annotation(key));
    texts
        .filter(|text| text.parse::<Digest>().is_err())
        .find_map(|text| text.parse().ok())
}

#[derive(Default)]
struct Contents {
    has_layout: bool,
    index: Option<Vec<u8>>,
    size_bytes: u64,
}

fn read(store: &Store, lease: &Lease, path: &Path) -> Result<Contents, Error> {
    let mut file = fs::File::open(path)?;
    let size_bytes = file.stat()?.size_bytes;
    let mut magic = [0; 4];
    let filled = file.read(&mut magic)?;
    file.rewind()?;
    let plain = BufReader::with_capacity(COPY_BYTES, Reader(file));
    let limit = UNPACKED_BYTES.max(size_bytes.saturating_mul(UNPACKED_RATIO));
    let failed = |source| Error::ReadArchive {
        path: path.to_owned(),
        source,
    };
    match &magic[..filled] {
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::Decoder::with_buffer(plain).map_err(failed)?;
            decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
            read_entries(store, lease, (path, Bounded::new(decoder, limit)))
        }
        [0x1f, 0x8b, ..] => {
            let decoder = flate2::bufread::MultiGzDecoder::new(plain);
            read_entries(store, lease, (path, Bounded::new(decoder, limit)))
        }
        _ => read_entries(store, lease, (path, plain)),
    }
}

fn read_entries(store: &Store, lease: &Lease, (path, source): (&Path, impl Read)) -> Result<Contents, Error> {
    let failed = |source| Error::ReadArchive {
        path: path.to_owned(),
        source,
    };
    let mut contents = Contents::default();
    let mut archive = tar::Archive::new(source);
    for (n, entry) in archive.entries().map_err(failed)?.enumerate() {
        if n >= MOST_ENTRIES {
            return Err(Error::Archive {
                path: path.to_owned(),
                why: "it has too many entries",
            });
        }
        let mut entry = entry.map_err(failed)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match name.trim_start_matches("./") {
            "oci-layout" => contents.has_layout = true,
            "index.json" => {
                let mut bytes = Vec::new();
                entry
                    .by_ref()
                    .take(MAX_DOCUMENT_BYTES + 1)
                    .read_to_end(&mut bytes)
                    .map_err(failed)?;
                contents.index = Some(bytes);
            }
            other => {
                if let Some(digest) = blob_name(other) {
                    contents.size_bytes += entry.size();
                    store_entry(store, lease, (path, digest), &mut entry)?;
                }
            }
        }
    }
    Ok(contents)
}

/// The digest of a blob's path; whatever else lies in an archive is left there.
fn blob_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    let known = Algorithm::ALL.iter().any(|known| known.name() == algorithm);
    format!("{algorithm}:{hex}").parse().ok().filter(|_| known)
}

fn store_entry(
    store: &Store,
    lease: &Lease,
    (path, digest): (&Path, Digest),
    entry: &mut tar::Entry<'_, impl Read>,
) -> Result<(), Error> {
    let blob = Blob {
        digest,
        size_bytes: entry.size(),
    };
    let mut ingest = store.ingest_with(digest.algorithm())?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = entry.read(&mut buffer).map_err(|source| Error::ReadArchive {
            path: path.to_owned(),
            source,
        })?;
        if read == 0 {
            break;
        }
        ingest.write(&buffer[..read])?;
    }
    ingest.commit_as(lease, &blob)?;
    Ok(())
}

/// Reads a file of ours where the standard library's trait is wanted.
struct Reader(fs::File);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| error.source)
    }
}

/// Writes to a file of ours where the standard library's trait is wanted.
struct Writer(fs::File);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes).map_err(|error| error.source)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says that something compressed is far larger than it looks.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {limit_bytes} bytes")]
struct TooLarge {
    limit_bytes: u64,
}

/// Stops a reader after a number of bytes.
struct Bounded<R> {
    inner: R,
    limit_bytes: u64,
    left_bytes: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R, limit_bytes: u64) -> Self {
        Self {
            inner,
            limit_bytes,
            left_bytes: limit_bytes,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left_bytes.checked_sub(read as u64);
        self.left_bytes = left.ok_or_else(|| {
            io::Error::other(TooLarge {
                limit_bytes: self.limit_bytes,
            })
        })?;
        Ok(read)
    }
}
