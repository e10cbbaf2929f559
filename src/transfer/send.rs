//! One blob on its way up: whole or in chunks, going on where an earlier process or an interruption left it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time;

use super::{
    error::Error,
    fetch::blocking,
    progress::{Event, Progress},
    upload::FileBody,
};
use crate::oci::{Reference, Repository};
use crate::registry::{self, BodySource, Client, Lesson, Upload, UploadStart, UploadStyle};
use crate::store::{Blob, Notes, Store};

/// A blob smaller than this is sent again sooner than its upload is taken up.
const WORTH_NOTING_BYTES: u64 = 4 << 20;
/// A try that brought less than this has failed like one that brought nothing.
const WORTH_COUNTING_BYTES: u64 = 1 << 20;
/// Chunks that are tried, one after the other, where a body was too large.
const CHUNKS_BYTES: [u64; 5] = [64 << 20, 16 << 20, 4 << 20, 1 << 20, 256 << 10];
/// One PUT that broke this often, and left nothing to go on with, is one too many.
const MOST_BREAKS: u32 = 2;
/// The first word of a note; notes of another form are not understood.
const NOTE: &str = "gpux-upload-1";

/// What a blob is sent with.
pub(super) struct Sending<'a> {
    pub client: &'a Client,
    pub store: &'a Store,
    pub reference: &'a Reference,
    pub blob: Blob,
    pub progress: &'a Arc<dyn Progress>,
}

/// How a blob came to be at the registry.
pub(super) enum End {
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Arrived,
}

/// What was done, however it ended.
pub(super) struct Sent {
    pub moved_bytes: u64,
    /// What an earlier process had sent already.
    pub held_bytes: u64,
    pub end: Result<End, Error>,
}

/// Where one blob's upload stands.
struct State {
    upload: Upload,
    style: UploadStyle,
    failures: u32,
    /// Broken tries that left nothing at the registry.
    breaks: u32,
    /// Chunks were turned to after such breaks; that is worth keeping if it helps.
    tried_chunks: Option<u64>,
    /// What the registry held when it was last asked.
    held_bytes: u64,
    notes: Option<Notes>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It will not get better.
    GiveUp,
    /// Ask what the registry holds, and go on there.
    GoOn,
    /// Send another way: nothing has failed but a size or a method.
    Otherwise(UploadStyle, Lesson),
    /// What the registry said that it holds it does not: begin anew, and do not ask again.
    Distrust,
}

impl Sending<'_> {
    /// Sends the blob, whose file is `path`, unless the registry mounts it `from` another repository.
    pub async fn run(&self, path: PathBuf, from: Option<&Repository>) -> Sent {
        let counted = Arc::new(AtomicU64::new(0));
        let mut held_bytes = 0;
        let end = self.run_counted((path, &counted), from, &mut held_bytes).await;
        Sent {
            moved_bytes: counted.load(Ordering::Relaxed),
            held_bytes,
            end,
        }
    }

    async fn run_counted(
        &self,
        (path, counted): (PathBuf, &Arc<AtomicU64>),
        from: Option<&Repository>,
        held_bytes: &mut u64,
    ) -> Result<End, Error> {
        let repository = self.reference.repository();
        let notes = self.notes().await;
        let noted = notes.as_ref().and_then(|notes| notes.last()?.strip_prefix(NOTE));
        let going_on = match noted {
            Some(location) => self.client.reopen_upload(repository, location.trim()).await,
            None => None,
        };
        let upload = match going_on.filter(|upload| (1..=self.blob.size_bytes).contains(&upload.held_bytes)) {
            Some(upload) => upload,
            None => match self.client.start_upload(repository, &self.blob.digest, from).await? {
                UploadStart::Mounted => return Ok(End::Mounted),
                UploadStart::Open(upload) => upload,
            },
        };
        *held_bytes = upload.held_bytes;
        self.progress.event(Event::Started {
            digest: self.blob.digest,
            size_bytes: self.blob.size_bytes,
            held_bytes: upload.held_bytes,
        });
        let mut state = State {
            style: self.client.profile().upload_of(self.blob.size_bytes),
            failures: 0,
            breaks: 0,
            tried_chunks: None,
            held_bytes: upload.held_bytes,
            upload,
            notes,
        };
        state.note();
        let source = body_source(path, &self.blob, (counted, self.progress));
        self.send(&mut state, (&source, counted)).await?;
        if let Some(notes) = state.notes {
            // The blob is there; notes that cannot be removed lead to an upload that is not.
            let _ = blocking(move || notes.discard()).await;
        }
        Ok(End::Arrived)
    }

    /// Opens the notes about this upload. A store that cannot be written is pushed from all the same, without any.
    async fn notes(&self) -> Option<Notes> {
        if self.blob.size_bytes < WORTH_NOTING_BYTES || !self.client.profile().resumes {
            return None;
        }
        let (store, subject) = (
            self.store.clone(),
            format!("{}@{}", self.reference.name(), self.blob.digest),
        );
        blocking(move || store.notes(&subject).ok().flatten()).await
    }

    /// Sends until the registry has all of it, or will not have it.
    async fn send(&self, state: &mut State, (source, counted): (&BodySource, &Arc<AtomicU64>)) -> Result<(), Error> {
        let retries = &self.client.options().retries;
        loop {
            let before = counted.load(Ordering::Relaxed);
            let error = match self.send_rest(state, (source, counted)).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let tried_bytes = counted.load(Ordering::Relaxed) - before;
            match self.after(&error, state) {
                Next::GiveUp => return Err(error.into()),
                Next::Otherwise(style, lesson) => {
                    self.client.learn(lesson);
                    state.style = style;
                }
                next => {
                    state.failures += 1;
                    if state.failures >= retries.attempts {
                        return Err(error.into());
                    }
                    if next == Next::Distrust {
                        self.client.learn(Lesson::DoesNotResume);
                    }
                    time::sleep(retries.wait(state.failures, error.retry_after())).await;
                }
            }
            self.take_up(state, (&error, tried_bytes)).await?;
        }
        if let Some(bytes) = state.tried_chunks {
            self.client.learn(Lesson::Chunks(bytes));
        }
        Ok(())
    }

    /// Finds out where to go on: where the registry says, or at the beginning of a new upload.
    async fn take_up(&self, state: &mut State, (error, tried_bytes): (&registry::Error, u64)) -> Result<(), Error> {
        let repository = self.reference.repository();
        let held = if self.client.profile().resumes {
            self.client.upload_status(repository, &state.upload).await?
        } else {
            None
        };
        match held.filter(|held| (1..=self.blob.size_bytes).contains(&held.held_bytes)) {
            Some(held) => {
                if held.held_bytes >= state.held_bytes + WORTH_COUNTING_BYTES {
                    state.failures = 0;
                }
                state.upload = held;
            }
            None => {
                if error.is_transient() && state.style == UploadStyle::Whole && tried_bytes >= WORTH_NOTING_BYTES {
                    state.breaks += 1;
                }
                if state.breaks >= MOST_BREAKS && state.tried_chunks.is_none() {
                    // A quarter of what got through has a good chance to get through.
                    let wanted = (tried_bytes / 4).clamp(CHUNKS_BYTES[3], CHUNKS_BYTES[0]);
                    if let Some(bytes) = self.client.profile().chunk_of(wanted) {
                        state.style = UploadStyle::Chunks(bytes);
                        state.tried_chunks = Some(bytes);
                    }
                }
                state.upload = self.client.open_upload(repository).await?;
            }
        }
        state.held_bytes = state.upload.held_bytes;
        let digest = self.blob.digest;
        self.progress.event(Event::Restarted {
            digest,
            held_bytes: state.held_bytes,
        });
        state.note();
        Ok(())
    }

    async fn send_rest(
        &self,
        state: &mut State,
        (source, counted): (&BodySource, &Arc<AtomicU64>),
    ) -> Result<(), registry::Error> {
        let repository = self.reference.repository();
        // An upload that was interrupted takes what is left as a PATCH; not every registry lets the PUT bring it.
        let chunk_bytes = match state.style {
            UploadStyle::Chunks(bytes) => Some(bytes.max(state.upload.smallest_chunk_bytes)),
            UploadStyle::Whole => (state.upload.held_bytes > 0).then_some(u64::MAX),
        };
        if let Some(chunk_bytes) = chunk_bytes {
            while state.upload.held_bytes < self.blob.size_bytes {
                let end = state
                    .upload
                    .held_bytes
                    .saturating_add(chunk_bytes)
                    .min(self.blob.size_bytes);
                let part = (end, Arc::clone(source), Arc::clone(counted));
                state.upload = self.client.patch_upload(repository, &state.upload, part).await?;
                state.failures = 0;
                state.note();
            }
        }
        let body = (Arc::clone(source), Arc::clone(counted));
        self.client
            .finish_upload(
                repository,
                &state.upload,
                (&self.blob.digest, self.blob.size_bytes),
                body,
            )
            .await
    }

    /// Reads a failure.
    fn after(&self, error: &registry::Error, state: &State) -> Next {
        let size_bytes = self.blob.size_bytes;
        let left_bytes = size_bytes - state.upload.held_bytes.min(size_bytes);
        let in_chunks = matches!(state.style, UploadStyle::Chunks(_)) || state.held_bytes > 0;
        let profile = self.client.profile();
        let registry::Error::Status { status, code, .. } = error else {
            return if error.is_transient() { Next::GoOn } else { Next::GiveUp };
        };
        match status {
            413 => {
                let refused_bytes = match state.style {
                    UploadStyle::Chunks(bytes) => bytes.min(left_bytes),
                    UploadStyle::Whole => left_bytes,
                };
                let smaller = CHUNKS_BYTES.into_iter().find(|bytes| *bytes < refused_bytes);
                match smaller.and_then(|bytes| profile.chunk_of(bytes)) {
                    Some(bytes) => Next::Otherwise(UploadStyle::Chunks(bytes), Lesson::LargestBody(bytes)),
                    None => Next::GiveUp,
                }
            }
            // Bytes of a broken try may have come in since the registry was asked: once it is asked again.
            416 if in_chunks && state.failures == 0 => Next::GoOn,
            // What an earlier interruption left cannot be added to as was said.
            416 | 405 | 501 if state.style == UploadStyle::Whole && in_chunks => Next::Distrust,
            416 | 405 | 501 if in_chunks && profile.largest_body_bytes.is_none_or(|limit| size_bytes <= limit) => {
                Next::Otherwise(UploadStyle::Whole, Lesson::NoChunks)
            }
            // It held other bytes than ours.
            400 if state.held_bytes > 0 && code.as_deref().is_some_and(|code| code.contains("DIGEST_INVALID")) => {
                Next::Distrust
            }
            // An upload that was lost.
            400 | 404 | 409 | 416 => Next::GoOn,
            _ if error.is_transient() => Next::GoOn,
            _ => Next::GiveUp,
        }
    }
}

impl State {
    /// Notes where the upload goes on. A note that cannot be written costs the next process what this one sent.
    fn note(&mut self) {
        if let Some(notes) = &mut self.notes {
            let _ = notes.add(&format!("{NOTE} {}", self.upload.location));
        }
    }
}

fn body_source(path: PathBuf, blob: &Blob, (sent, progress): (&Arc<AtomicU64>, &Arc<dyn Progress>)) -> BodySource {
    let (blob, sent, progress) = (*blob, Arc::clone(sent), Arc::clone(progress));
    Arc::new(move |start, end| {
        let (sent, progress) = (Arc::clone(&sent), Arc::clone(&progress));
        let told = move |bytes: u64| {
            sent.fetch_add(bytes, Ordering::Relaxed);
            progress.event(Event::Moved {
                digest: blob.digest,
                bytes,
            });
        };
        registry::Body::wrap(FileBody::new(path.clone(), (start, end), Box::new(told)))
    })
}
