//! Manifests, tags and referrers on the wire.

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LINK},
};
use serde::Deserialize;
use url::Url;

use super::{
    client::{Client, Payload, header_text},
    endpoint::shown,
    error::{Error, quote},
    memory::Lesson,
};
use crate::oci::{Descriptor, Digest, Index, MAX_DOCUMENT_BYTES, MediaType, Repository, Tag};

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Pages of a list that are read.
const MOST_PAGES: u32 = 1000;
/// The most that a page of a list may have. Units: bytes.
const PAGE_BYTES: u64 = 8 << 20;

/// A manifest as it came: its bytes, what they hash to, and what the registry called them.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// The body.
    pub bytes: Vec<u8>,
    /// The hash of the body: of the digest's own algorithm where one was asked for, else SHA-256.
    pub digest: Digest,
    /// The Content-Type, if it is a media type.
    pub media_type: Option<MediaType>,
}

/// Which manifest: the one a tag points to now, or one for ever.
#[derive(Clone, Copy, Debug)]
pub enum ManifestName<'a> {
    /// By tag.
    Tag(&'a Tag),
    /// By digest.
    Digest(&'a Digest),
}

impl ManifestName<'_> {
    fn text(&self) -> String {
        match self {
            Self::Tag(tag) => tag.as_str().to_owned(),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

impl Client {
    fn manifest_url(&self, repository: &Repository, name: ManifestName<'_>) -> Url {
        let repository = self.endpoint().repository(repository.as_str());
        self.url(&format!("{repository}/manifests/{}", name.text()))
    }

    fn missing(&self, repository: &Repository, name: ManifestName<'_>) -> Error {
        let joint = match name {
            ManifestName::Tag(_) => ':',
            ManifestName::Digest(_) => '@',
        };
        Error::NotFound {
            what: format!("`{repository}{joint}{}`", name.text()),
            host: self.host().as_str().to_owned(),
        }
    }

    /// Fetches a manifest and hashes what came.
    ///
    /// Errors: [`Error::NotFound`]; [`Error::Digest`] when a digest was asked for and something else came, whatever the
    /// headers say; [`Error::TooLarge`] over 4 MiB.
    pub async fn manifest(&self, repository: &Repository, name: ManifestName<'_>) -> Result<RawManifest, Error> {
        let url = self.manifest_url(repository, name);
        let mut call = self.call("read", Method::GET, url, self.scope(repository, "pull"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.missing(repository, name)),
            _ => return Err(self.status_error(call.act, response).await),
        }
        let media_type = header_text(&response, CONTENT_TYPE)
            .and_then(|text| text.split(';').next()?.trim().parse::<MediaType>().ok())
            // What a server says that does not know the type is no statement.
            .filter(|media_type| media_type.is_manifest() || media_type.is_index());
        let bytes = self.read_body(response, "the manifest", MAX_DOCUMENT_BYTES).await?;
        let digest = match name {
            ManifestName::Digest(wanted) if wanted.matches(&bytes) => *wanted,
            ManifestName::Digest(wanted) => {
                return Err(Error::Digest {
                    what: "the manifest",
                    host: self.host().as_str().to_owned(),
                    wanted: wanted.to_string(),
                    got: Digest::of(&bytes).to_string(),
                });
            }
            ManifestName::Tag(_) => Digest::of(&bytes),
        };
        Ok(RawManifest {
            bytes,
            digest,
            media_type,
        })
    }

    /// Asks whether a repository has a manifest.
    pub async fn has_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let url = self.manifest_url(repository, ManifestName::Digest(digest));
        let mut call = self.call("ask for", Method::HEAD, url, self.scope(repository, "pull,push"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Asks what a tag names, as cheaply as the registry lets: where its answer to HEAD has no digest, by reading the
    /// manifest.
    ///
    /// Errors: [`Error::NotFound`].
    pub async fn tag_digest(&self, repository: &Repository, tag: &Tag) -> Result<Digest, Error> {
        let name = ManifestName::Tag(tag);
        let url = self.manifest_url(repository, name);
        let mut call = self.call("ask for", Method::HEAD, url, self.scope(repository, "pull"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.missing(repository, name));
        }
        let digest =
            header_text(&response, HeaderName::from_static("docker-content-digest")).and_then(|text| text.parse().ok());
        match digest.filter(|_| response.status() == StatusCode::OK) {
            Some(digest) => Ok(digest),
            None => Ok(self.manifest(repository, name).await?.digest),
        }
    }

    /// Stores a manifest under a tag or its digest.
    ///
    /// Errors: [`Error::Status`], with 400 or 404 where a blob that it names is missing; [`Error::Digest`] when the
    /// registry says that it stored something else.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        name: ManifestName<'_>,
        manifest: &RawManifest,
    ) -> Result<(), Error> {
        let url = self.manifest_url(repository, name);
        let mut call = self.call("store", Method::PUT, url, self.scope(repository, "pull,push"));
        let media_type = manifest.media_type.clone().unwrap_or(MediaType::OCI_MANIFEST);
        if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
            call.headers.insert(CONTENT_TYPE, value);
        }
        call.payload = Payload::Bytes(manifest.bytes.clone().into());
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                // Said only where the subject will be found by the referrers endpoint.
                if response.headers().contains_key("oci-subject") && !self.profile().referrers {
                    self.learn(Lesson::Referrers(true));
                }
                self.check_stored("the manifest", &response, &manifest.digest)
            }
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Deletes a manifest by its digest, and with it every tag that points to it.
    ///
    /// Errors: [`Error::NotFound`]; [`Error::Status`] with 405 where the registry does not delete.
    pub async fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Result<(), Error> {
        let name = ManifestName::Digest(digest);
        let url = self.manifest_url(repository, name);
        let call = self.call("delete", Method::DELETE, url, self.scope(repository, "delete"));
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            StatusCode::NOT_FOUND => Err(self.missing(repository, name)),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Lists the tags of a repository, in the registry's order.
    ///
    /// Errors: [`Error::NotFound`]; [`Error::Protocol`] for pages that leave the registry or do not end.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let name = self.endpoint().repository(repository.as_str());
        let mut url = self.url(&format!("{name}/tags/list"));
        url.query_pairs_mut().append_pair("n", "1000");
        let mut tags = Vec::new();
        let mut visited = Vec::new();
        loop {
            let call = self.call(
                "list the tags of",
                Method::GET,
                url.clone(),
                self.scope(repository, "pull"),
            );
            let response = self.send(&call).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return Err(Error::NotFound {
                        what: format!("`{repository}`"),
                        host: self.host().as_str().to_owned(),
                    });
                }
                _ => return Err(self.status_error(call.act, response).await),
            }
            let next = self.next_page(&response, &url)?;
            let body = self.read_body(response, "the list of tags", PAGE_BYTES).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|source| Error::Json {
                what: "the list of tags",
                host: self.host().as_str().to_owned(),
                source,
            })?;
            // A name that is no tag cannot be pulled, and must not reach a terminal.
            tags.extend(
                page.tags
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|tag| tag.parse::<Tag>().ok()),
            );
            let Some(next) = next else {
                return Ok(tags);
            };
            visited.push(url.to_string());
            if visited.contains(&next.to_string()) || visited.len() as u32 >= MOST_PAGES {
                return Err(Error::Protocol {
                    address: shown(&next),
                    why: "its pages go on without end",
                });
            }
            url = next;
        }
    }

    fn next_page(&self, response: &reqwest::Response, url: &Url) -> Result<Option<Url>, Error> {
        let Some(text) = header_text(response, LINK) else {
            return Ok(None);
        };
        let Some((target, rest)) = text.trim_start_matches('<').split_once('>') else {
            return Ok(None);
        };
        if !rest.contains("rel=\"next\"") && !rest.contains("rel=next") {
            return Ok(None);
        }
        match url.join(target) {
            Ok(next) if next.origin() == url.origin() => Ok(Some(next)),
            _ => Err(Error::Protocol {
                address: shown(url),
                why: "its next page is on another origin",
            }),
        }
    }

    /// Lists what says something about a manifest: by the referrers endpoint, else by the tag that stands in for it.
    pub async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Error> {
        if self.profile().referrers {
            let name = self.endpoint().repository(repository.as_str());
            let url = self.url(&format!("{name}/referrers/{digest}"));
            let mut call = self.call(
                "list the referrers of",
                Method::GET,
                url,
                self.scope(repository, "pull"),
            );
            call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
            let response = self.send(&call).await?;
            let media_type = header_text(&response, CONTENT_TYPE).unwrap_or_default();
            // A page of HTML with status 200 is what some proxies say for 404.
            if response.status() == StatusCode::OK && media_type.starts_with("application/") {
                let body = self
                    .read_body(response, "the list of referrers", MAX_DOCUMENT_BYTES)
                    .await?;
                return self.read_index(&body);
            }
            if response.status() == StatusCode::NOT_FOUND {
                self.learn(Lesson::Referrers(false));
            }
        }
        let Ok(tag) = digest.to_string().replace(':', "-").parse::<Tag>() else {
            return Ok(Vec::new());
        };
        match self.manifest(repository, ManifestName::Tag(&tag)).await {
            Ok(found) => self.read_index(&found.bytes),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read_index(&self, body: &[u8]) -> Result<Vec<Descriptor>, Error> {
        match Index::parse(body, MAX_DOCUMENT_BYTES) {
            Ok(index) => Ok(index.manifests),
            Err(source) => Err(Error::Document {
                what: "the list of referrers",
                host: quote(self.host().as_str()),
                source,
            }),
        }
    }

    /// Asks the registry whether the credentials are good for it at all.
    ///
    /// Errors: [`Error::Unauthorized`]; those of a request.
    pub async fn ping(&self) -> Result<(), Error> {
        let call = self.call("reach", Method::GET, self.url(""), String::new());
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.status_error(call.act, response).await),
        }
    }
}
