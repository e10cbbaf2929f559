//! Blobs on the wire: asking, reading ranges, uploading.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        LOCATION, RANGE,
    },
};
use tokio::time;
use url::Url;

use super::{
    client::{Call, Client, Payload, header_text, transport},
    endpoint::shown,
    error::Error,
    memory::{Lesson, SMALLEST_CHUNK_BYTES},
};
use crate::oci::{Descriptor, Digest, MAX_DOCUMENT_BYTES, Repository};

/// A transfer that brings fewer bytes a second than this over a whole stall time-out has stalled.
const SLOWEST_BYTES_PER_SECOND: f64 = 1024.0;

/// Makes the body of an upload from one offset to another; it is asked again for each try.
pub type BodySource = Arc<dyn Fn(u64, u64) -> reqwest::Body + Send + Sync>;

/// Which bytes of a blob are wanted, and what is known of its content.
#[derive(Clone, Debug)]
pub struct BlobRequest {
    /// The blob.
    pub digest: Digest,
    /// Its size, as the manifest has it. Units: bytes.
    pub size_bytes: u64,
    /// First byte and the byte after the last; `None` asks for the whole blob without a Range header.
    pub range: Option<(u64, u64)>,
    /// The strong ETag that an earlier answer had.
    pub etag: Option<String>,
    /// Where an earlier answer's redirects had led.
    pub location: Option<Url>,
}

/// What a registry did with a request for bytes.
#[derive(Debug)]
pub enum BlobAnswer {
    /// The bytes that were asked for.
    Bytes(Box<BlobBody>),
    /// The range was not honoured, or the content is another one now: start over with the whole blob.
    StartOver,
    /// The address kept from an earlier redirect is no longer good.
    Moved,
}

/// Bytes on their way.
#[derive(Debug)]
pub struct BlobBody {
    response: reqwest::Response,
    left_bytes: u64,
    stall: Duration,
    window: (Instant, u64),
    /// The strong ETag, if there is one.
    pub etag: Option<String>,
    /// The address that answered, when it is not the registry's own.
    pub location: Option<Url>,
}

impl BlobBody {
    /// Gives the next bytes, and `None` once all that was asked for has come.
    ///
    /// Errors: [`Error::Transport`] when the connection breaks or the body ends early; [`Error::Stalled`];
    /// [`Error::Protocol`] when more comes than was asked for.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let url = self.response.url().clone();
        let stalled = || Error::Stalled {
            address: shown(&url),
            after: self.stall,
        };
        let broken = |why| Error::Protocol {
            address: shown(&url),
            why,
        };
        let chunk = time::timeout(self.stall, self.response.chunk())
            .await
            .map_err(|_| stalled())?
            .map_err(|source| transport("read", &url, source))?;
        let Some(chunk) = chunk else {
            return match self.left_bytes {
                0 => Ok(None),
                _ => Err(broken("the body is shorter than what was asked for")),
            };
        };
        self.left_bytes = self
            .left_bytes
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| broken("the body is longer than what was asked for"))?;
        self.window.1 += chunk.len() as u64;
        let elapsed = self.window.0.elapsed();
        if elapsed >= self.stall {
            if (self.window.1 as f64) < SLOWEST_BYTES_PER_SECOND * elapsed.as_secs_f64() && self.left_bytes > 0 {
                return Err(stalled());
            }
            self.window = (Instant::now(), 0);
        }
        Ok(Some(chunk))
    }
}

/// An upload that a registry has opened.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Where the next request goes.
    pub location: Url,
    /// Bytes that the registry says it has. Units: bytes.
    pub held_bytes: u64,
    /// Chunks that are not the last must have at least so many. Units: bytes.
    pub smallest_chunk_bytes: u64,
}

/// What opening an upload led to.
#[derive(Debug)]
pub enum UploadStart {
    /// The registry took the blob from another repository: nothing is to be sent.
    Mounted,
    /// Send the bytes there.
    Open(Upload),
}

impl Client {
    fn blob_url(&self, repository: &Repository, digest: &Digest) -> Url {
        let name = self.endpoint().repository(repository.as_str());
        self.url(&format!("{name}/blobs/{digest}"))
    }

    pub(super) fn scope(&self, repository: &Repository, actions: &str) -> String {
        format!(
            "repository:{}:{actions}",
            self.endpoint().repository(repository.as_str())
        )
    }

    /// Asks whether a repository has a blob of this size.
    ///
    /// Errors: those of a request; [`Error::Status`] for an answer other than yes or no.
    pub async fn has_blob(&self, repository: &Repository, digest: &Digest, size_bytes: u64) -> Result<bool, Error> {
        let url = self.blob_url(repository, digest);
        let call = self.call("ask for", Method::HEAD, url, self.scope(repository, "pull,push"));
        let response = self.send(&call).await?;
        match response.status() {
            // A length that differs is a lie or another blob; sending it again is always right.
            StatusCode::OK => {
                Ok(header_text(&response, CONTENT_LENGTH).is_none_or(|text| text == size_bytes.to_string()))
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Asks whether a registry sends parts of blobs, for registries that must not be asked for one unheard.
    pub async fn offers_ranges(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        if self.profile().ranges {
            return Ok(true);
        }
        let url = self.blob_url(repository, digest);
        let call = self.call("ask for", Method::HEAD, url, self.scope(repository, "pull"));
        let response = self.send(&call).await?;
        Ok(response.status() == StatusCode::OK && header_text(&response, ACCEPT_RANGES) == Some("bytes"))
    }

    /// Opens a blob for reading, once: the caller decides what a failure means for the bytes it has.
    ///
    /// Errors: [`Error::NotFound`]; [`Error::Status`]; [`Error::Protocol`] for a length other than the manifest's.
    pub async fn open_blob(&self, repository: &Repository, request: &BlobRequest) -> Result<BlobAnswer, Error> {
        let url = match &request.location {
            Some(url) => url.clone(),
            None => self.blob_url(repository, &request.digest),
        };
        let mut call = self.call("read", Method::GET, url, self.scope(repository, "pull"));
        // A compressed transfer would make lengths and ranges mean something else.
        call.headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some((start, end)) = request.range {
            let text = format!("bytes={start}-{}", end.saturating_sub(1));
            if let Ok(value) = HeaderValue::from_str(&text) {
                call.headers.insert(RANGE, value);
            }
        }
        let response = self.send(&call).await?;
        let status = response.status();
        let kept = request.location.is_some();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => self.accept(request, response),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(BlobAnswer::StartOver),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE if kept => {
                Ok(BlobAnswer::Moved)
            }
            StatusCode::NOT_FOUND => Err(Error::NotFound {
                what: format!("blob {} of `{repository}`", request.digest),
                host: self.host().as_str().to_owned(),
            }),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Holds an answer against the request: status, Content-Range, length and ETag.
    fn accept(&self, request: &BlobRequest, response: reqwest::Response) -> Result<BlobAnswer, Error> {
        let etag = header_text(&response, ETAG)
            .filter(|text| !text.starts_with("W/"))
            .map(str::to_owned);
        if let (Some(then), Some(now)) = (&request.etag, &etag)
            && then != now
        {
            return Ok(BlobAnswer::StartOver);
        }
        let wanted_bytes = match (request.range, response.status()) {
            (Some((start, end)), StatusCode::PARTIAL_CONTENT) => {
                let whole = format!("bytes {start}-{}/{}", end - 1, request.size_bytes);
                if header_text(&response, CONTENT_RANGE) != Some(&whole) {
                    return Ok(BlobAnswer::StartOver);
                }
                self.learn_ranges(true);
                end - start
            }
            // All of it was asked for, and all of it came.
            (Some((0, end)), _) if end == request.size_bytes => end,
            (Some(_), _) => {
                self.learn_ranges(false);
                return Ok(BlobAnswer::StartOver);
            }
            (None, StatusCode::OK) => request.size_bytes,
            (None, _) => {
                return Err(Error::Protocol {
                    address: shown(response.url()),
                    why: "a part was sent where the whole was asked for",
                });
            }
        };
        if response.content_length().is_some_and(|length| length != wanted_bytes) {
            return Err(Error::Protocol {
                address: shown(response.url()),
                why: "the length is not the manifest's",
            });
        }
        let location = (!self.endpoint().is_own(response.url())).then(|| response.url().clone());
        Ok(BlobAnswer::Bytes(Box::new(BlobBody {
            response,
            left_bytes: wanted_bytes,
            stall: self.options().stall_timeout,
            window: (Instant::now(), 0),
            etag,
            location,
        })))
    }

    fn learn_ranges(&self, honoured: bool) {
        if self.profile().ranges != honoured {
            self.learn(Lesson::Ranges(honoured));
        }
    }

    /// Reads a small blob whole, such as a config; `None` for one larger than a manifest may be.
    ///
    /// Errors: [`Error::Digest`] when the bytes are not the descriptor's; those of [`Client::open_blob`].
    pub async fn small_blob(&self, repository: &Repository, wanted: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        if wanted.size_bytes > MAX_DOCUMENT_BYTES {
            return Ok(None);
        }
        let request = BlobRequest {
            digest: wanted.digest,
            size_bytes: wanted.size_bytes,
            range: None,
            etag: None,
            location: None,
        };
        let mut bytes = Vec::new();
        if let BlobAnswer::Bytes(mut body) = self.open_blob(repository, &request).await? {
            while let Some(chunk) = body.next().await? {
                bytes.extend_from_slice(&chunk);
            }
        }
        if !wanted.digest.matches(&bytes) {
            return Err(Error::Digest {
                what: "the config",
                host: self.host().as_str().to_owned(),
                wanted: wanted.digest.to_string(),
                got: Digest::of(&bytes).to_string(),
            });
        }
        Ok(Some(bytes))
    }

    /// Opens an upload, or has the blob mounted from another repository of the same registry. A registry that refuses the
    /// mount, or the right to read there, is sent the blob.
    pub async fn start_upload(
        &self,
        repository: &Repository,
        digest: &Digest,
        mount_from: Option<&Repository>,
    ) -> Result<UploadStart, Error> {
        if let Some(from) = mount_from.filter(|_| self.profile().mounts) {
            match self.post_upload(repository, Some((digest, from))).await {
                // Who may not read the other repository may still write to this one.
                Err(
                    Error::Unauthorized { .. }
                    | Error::Status {
                        status: 401 | 403 | 404,
                        ..
                    },
                ) => {}
                Err(Error::Status {
                    status: 400 | 405 | 415 | 422 | 501,
                    ..
                }) => self.learn(Lesson::Mounts(false)),
                result => return result,
            }
        }
        Ok(UploadStart::Open(self.open_upload(repository).await?))
    }

    /// Opens an upload.
    pub async fn open_upload(&self, repository: &Repository) -> Result<Upload, Error> {
        match self.post_upload(repository, None).await? {
            UploadStart::Open(upload) => Ok(upload),
            UploadStart::Mounted => Err(Error::Protocol {
                address: shown(&self.endpoint().base),
                why: "it mounted what it was not asked to",
            }),
        }
    }

    async fn post_upload(
        &self,
        repository: &Repository,
        mount: Option<(&Digest, &Repository)>,
    ) -> Result<UploadStart, Error> {
        let name = self.endpoint().repository(repository.as_str());
        let mut url = self.url(&format!("{name}/blobs/uploads/"));
        let mut scope = self.scope(repository, "pull,push");
        if let Some((digest, from)) = mount {
            let from_name = self.endpoint().repository(from.as_str());
            url.query_pairs_mut()
                .append_pair("mount", &digest.to_string())
                .append_pair("from", &from_name);
            scope = format!("{scope} {}", self.scope(from, "pull"));
        }
        let call = self.call("start an upload at", Method::POST, url, scope);
        let response = self.send(&call).await?;
        match (response.status(), mount) {
            (StatusCode::CREATED, Some((digest, _))) => {
                self.check_stored("the blob", &response, digest)?;
                Ok(UploadStart::Mounted)
            }
            (StatusCode::ACCEPTED | StatusCode::CREATED, _) => Ok(UploadStart::Open(Upload {
                location: self.upload_location(&response)?,
                held_bytes: 0,
                smallest_chunk_bytes: header_text(&response, HeaderName::from_static("oci-chunk-min-length"))
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0),
            })),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Takes up an upload of an earlier process whose address was noted; `None` when the registry no longer knows it, or
    /// when it must not be sent anything there.
    pub async fn reopen_upload(&self, repository: &Repository, location: &str) -> Option<Upload> {
        let location = Url::parse(location).ok()?;
        let stronger = matches!(
            (location.scheme(), self.endpoint().base.scheme()),
            ("https", _) | ("http", "http")
        );
        if !stronger || !location.username().is_empty() || location.password().is_some() {
            return None;
        }
        let upload = Upload {
            location,
            held_bytes: 0,
            smallest_chunk_bytes: 0,
        };
        // Whatever goes wrong here, a new upload can be opened, and says better what is wrong.
        self.upload_status(repository, &upload).await.ok().flatten()
    }

    /// Asks how much of an interrupted upload the registry holds; `None` when it no longer knows it.
    pub async fn upload_status(&self, repository: &Repository, upload: &Upload) -> Result<Option<Upload>, Error> {
        let scope = self.scope(repository, "pull,push");
        let call = self.call("ask for", Method::GET, upload.location.clone(), scope);
        let response = self.send(&call).await?;
        if !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::ACCEPTED | StatusCode::OK
        ) {
            return Ok(None);
        }
        // `0-0` is said for nothing and for one byte alike; nothing is the safe reading.
        let held_bytes = held_by(&response).filter(|held| *held > 1).unwrap_or(0);
        let location = match self.upload_location(&response) {
            Ok(location) => location,
            Err(Error::Protocol { .. }) => upload.location.clone(),
            Err(error) => return Err(error),
        };
        Ok(Some(Upload {
            location,
            held_bytes,
            smallest_chunk_bytes: upload.smallest_chunk_bytes,
        }))
    }

    /// Sends bytes of a blob, up to `end`, as one PATCH and answers where the next request goes.
    pub async fn patch_upload(
        &self,
        repository: &Repository,
        upload: &Upload,
        (end, source, sent): (u64, BodySource, Arc<AtomicU64>),
    ) -> Result<Upload, Error> {
        let start = upload.held_bytes;
        let mut call = self.upload_call(Method::PATCH, upload.location.clone(), repository);
        call.headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        if let Ok(value) = HeaderValue::from_str(&format!("{start}-{}", end.saturating_sub(1))) {
            call.headers.insert(CONTENT_RANGE, value);
        }
        call.payload = Payload::Stream(Box::new(move || source(start, end)));
        call.sent = Some(sent);
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Upload {
                location: self.upload_location(&response)?,
                // Less than was sent is believed, though not so little that it would never end; what makes no sense is left
                // to the digest.
                held_bytes: held_by(&response)
                    .filter(|held| start + SMALLEST_CHUNK_BYTES <= *held && *held < end)
                    .unwrap_or(end),
                smallest_chunk_bytes: upload.smallest_chunk_bytes,
            }),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    /// Sends the rest of a blob, which may be all of it or nothing, and closes the upload under the blob's digest.
    ///
    /// Errors: [`Error::Digest`] when the registry says that it stored something else; those of a request.
    pub async fn finish_upload(
        &self,
        repository: &Repository,
        upload: &Upload,
        (digest, size_bytes): (&Digest, u64),
        (source, sent): (BodySource, Arc<AtomicU64>),
    ) -> Result<(), Error> {
        let start = upload.held_bytes;
        let mut url = upload.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut call = self.upload_call(Method::PUT, url, repository);
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(size_bytes - start));
        if start < size_bytes {
            call.payload = Payload::Stream(Box::new(move || source(start, size_bytes)));
        }
        call.sent = Some(sent);
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => self.check_stored("the blob", &response, digest),
            _ => Err(self.status_error(call.act, response).await),
        }
    }

    fn upload_call(&self, method: Method, url: Url, repository: &Repository) -> Call {
        let mut call = self.call("upload to", method, url, self.scope(repository, "pull,push"));
        call.attempts = 1;
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call
    }

    /// Holds the digest that a registry says it stored against ours.
    pub(super) fn check_stored(
        &self,
        what: &'static str,
        response: &reqwest::Response,
        digest: &Digest,
    ) -> Result<(), Error> {
        let name = HeaderName::from_static("docker-content-digest");
        match header_text(response, name) {
            Some(got) if got != digest.to_string() => Err(Error::Digest {
                what,
                host: self.host().as_str().to_owned(),
                wanted: digest.to_string(),
                got: super::error::quote(got),
            }),
            _ => Ok(()),
        }
    }

    /// Where an upload goes on. It may be another origin: requests there carry no credentials.
    fn upload_location(&self, response: &reqwest::Response) -> Result<Url, Error> {
        let own = response.url();
        let location = header_text(response, LOCATION)
            .and_then(|text| own.join(text).ok())
            .ok_or_else(|| Error::Protocol {
                address: shown(own),
                why: "an upload was opened without a Location",
            })?;
        match (location.scheme(), own.scheme()) {
            ("https", _) | ("http", "http") => Ok(location),
            _ => Err(Error::Redirect {
                address: shown(own),
                why: "the upload leads from https to something weaker",
            }),
        }
    }
}

/// The number of bytes that the Range of an upload's answer names.
fn held_by(response: &reqwest::Response) -> Option<u64> {
    let text = header_text(response, RANGE)?.trim_start_matches("bytes=");
    text.strip_prefix("0-")?.parse::<u64>().ok()?.checked_add(1)
}
