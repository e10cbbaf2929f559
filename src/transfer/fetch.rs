//! Downloads the blobs of one repository over a few connections, each taking the next piece that nobody has.
//!
//! A piece is a whole small blob, or a range of a large one. Blobs without a connection come first, so that several come at
//! once; only then do connections share a large one. How many there are is [`Ramp`]'s to say.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time,
};

use super::{
    download::Download,
    error::Error,
    progress::{Event, Progress, Skip},
    ramp::Ramp,
};
use crate::oci::Repository;
use crate::registry::{self, BlobAnswer, BlobBody, BlobRequest, Client, Url};
use crate::store::{Blob, Claim, Lease, Store};

/// Blobs up to this size are fetched whole; larger ones in ranges of it.
const PIECE_BYTES: u64 = 16 << 20;
/// Bytes are written once this many have come.
const FLUSH_BYTES: usize = 512 << 10;
/// An attempt that brought this much is no failure in a row.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Connections at the start, and at most.
const FIRST_LANES: usize = 3;
const MOST_LANES: usize = 16;
/// How soon a blob that another process downloads is looked at again.
const BUSY_WAIT: Duration = Duration::from_millis(200);
/// How often the number of connections is judged.
const TICK: Duration = Duration::from_millis(100);
/// How often a registry may go back on what it said about one blob.
const MOST_START_OVERS: u32 = 3;

/// What is needed to download.
pub(super) struct Fetch {
    pub client: Client,
    pub repository: Repository,
    pub store: Store,
    pub lease: Arc<Lease>,
    pub progress: Arc<dyn Progress>,
}

/// What was downloaded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fetched {
    /// Bytes that came over the network.
    pub moved_bytes: u64,
    /// Bytes of blobs that were there, or that came earlier.
    pub skipped_bytes: u64,
}

struct Shared {
    fetch: Fetch,
    board: Mutex<Board>,
    changed: Notify,
    lanes: AtomicUsize,
    running: AtomicUsize,
    moved: AtomicU64,
    skipped: AtomicU64,
}

struct Board {
    jobs: Vec<Job>,
    failed: Option<Error>,
}

struct Job {
    blob: Blob,
    state: State,
}

enum State {
    /// Nobody here works on it; another process may.
    Waiting {
        not_before: Instant,
        told: bool,
    },
    /// Somebody is opening, resetting or closing it.
    Held,
    Active(Active),
    Done,
}

struct Active {
    download: Arc<Download>,
    /// What nobody has taken, in order.
    gaps: VecDeque<(u64, u64)>,
    lanes: usize,
    /// Ranges cannot be had: everything comes in one answer, from the start.
    whole: bool,
    etag: Option<String>,
    location: Option<Url>,
    failures: u32,
    start_overs: u32,
    damaged: bool,
    not_before: Instant,
    /// Set when what has come is to be thrown away.
    halt: Arc<AtomicBool>,
}

/// What a lane is to do next.
enum Task {
    Open(usize),
    Fetch(Box<Piece>),
    Wait,
    End,
}

struct Piece {
    job: usize,
    download: Arc<Download>,
    halt: Arc<AtomicBool>,
    request: BlobRequest,
    start: u64,
    end: u64,
}

/// How a piece ended.
enum Outcome {
    Complete,
    /// The connection broke at an offset.
    Broken(u64, registry::Error),
    /// The blob is to start over, as this lane was told (`true`) or saw itself.
    StartOver {
        told: bool,
    },
}

impl Fetch {
    /// Brings blobs into the store, each of them once.
    ///
    /// Errors: the first that no further try can better; what came is kept for the next pull.
    pub async fn run(self, blobs: Vec<Blob>) -> Result<Fetched, Error> {
        let now = Instant::now();
        let waiting = |blob| Job {
            blob,
            state: State::Waiting {
                not_before: now,
                told: false,
            },
        };
        let shared = Arc::new(Shared {
            fetch: self,
            board: Mutex::new(Board {
                jobs: blobs.into_iter().map(waiting).collect(),
                failed: None,
            }),
            changed: Notify::new(),
            lanes: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        });
        let mut lanes = JoinSet::new();
        let mut ramp = Ramp::new(FIRST_LANES, MOST_LANES, now);
        while !shared.board().is_over() {
            shared.lanes.store(ramp.lanes(), Ordering::Relaxed);
            while shared.running.load(Ordering::Relaxed) < ramp.lanes() {
                shared.running.fetch_add(1, Ordering::Relaxed);
                lanes.spawn(lane(Arc::clone(&shared)));
            }
            // A lane that ends, ends because all is over or there are too many; either is seen above.
            let ended = time::timeout(TICK, lanes.join_next()).await;
            if let Ok(Some(Err(error))) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
            let busy = shared.board().has_work();
            ramp.observe(shared.moved.load(Ordering::Relaxed), busy, Instant::now());
        }
        lanes.shutdown().await;
        match shared.board().failed.take() {
            Some(error) => Err(error),
            None => Ok(Fetched {
                moved_bytes: shared.moved.load(Ordering::Relaxed),
                skipped_bytes: shared.skipped.load(Ordering::Relaxed),
            }),
        }
    }
}

impl Active {
    /// Says whether another lane may take a piece.
    fn is_ready(&self, now: Instant) -> bool {
        let halted = self.halt.load(Ordering::Relaxed);
        let taken = self.whole && self.lanes > 0;
        !self.gaps.is_empty() && self.not_before <= now && !halted && !taken
    }
}

impl Board {
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.jobs.iter().all(|job| matches!(job.state, State::Done))
    }

    /// Says whether another lane would find something to do.
    fn has_work(&self) -> bool {
        self.jobs.iter().any(|job| match &job.state {
            State::Waiting { told, .. } => !told,
            State::Active(active) => !active.gaps.is_empty() && !active.whole,
            _ => false,
        })
    }

    fn active(&mut self, job: usize) -> Option<&mut Active> {
        match &mut self.jobs[job].state {
            State::Active(active) => Some(active),
            _ => None,
        }
    }

    fn next(&mut self, now: Instant) -> Task {
        if self.is_over() {
            return Task::End;
        }
        let ready = |job: &Job| match &job.state {
            State::Active(active) if active.is_ready(now) => Some(active.lanes),
            _ => None,
        };
        let best = (0..self.jobs.len())
            .filter_map(|index| Some((ready(&self.jobs[index])?, index)))
            .min();
        if let Some((0, index)) = best {
            return self.take(index);
        }
        let waiting = self
            .jobs
            .iter()
            .position(|job| matches!(job.state, State::Waiting { not_before, .. } if not_before <= now));
        match (waiting, best) {
            (Some(index), _) => Task::Open(index),
            (None, Some((_, index))) => self.take(index),
            (None, None) => Task::Wait,
        }
    }

    fn take(&mut self, job: usize) -> Task {
        let blob = self.jobs[job].blob;
        let Some(active) = self.active(job) else {
            return Task::Wait;
        };
        let Some((start, mut end)) = active.gaps.pop_front() else {
            return Task::Wait;
        };
        if !active.whole && end - start > PIECE_BYTES {
            active.gaps.push_front((start + PIECE_BYTES, end));
            end = start + PIECE_BYTES;
        }
        active.lanes += 1;
        let all = (start, end) == (0, blob.size_bytes);
        Task::Fetch(Box::new(Piece {
            job,
            download: Arc::clone(&active.download),
            halt: Arc::clone(&active.halt),
            request: BlobRequest {
                digest: blob.digest,
                size_bytes: blob.size_bytes,
                range: (!all).then_some((start, end)),
                etag: active.etag.clone(),
                location: active.location.clone(),
            },
            start,
            end,
        }))
    }
}

async fn lane(shared: Arc<Shared>) {
    loop {
        if shared.running.load(Ordering::Relaxed) > shared.lanes.load(Ordering::Relaxed) {
            break;
        }
        let task = shared.board().next(Instant::now());
        let done = match task {
            Task::Open(job) => shared.open(job).await,
            Task::Fetch(piece) => shared.fetch_piece(*piece).await,
            Task::Wait => {
                let _ = time::timeout(TICK / 2, shared.changed.notified()).await;
                Ok(())
            }
            Task::End => break,
        };
        if let Err(error) = done {
            shared.board().failed.get_or_insert(error);
        }
        shared.changed.notify_waiters();
    }
    shared.running.fetch_sub(1, Ordering::Relaxed);
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a blob; it may turn out to be there, or another's.
    async fn open(self: &Arc<Self>, job: usize) -> Result<(), Error> {
        let blob = {
            let mut board = self.board();
            let told = match &board.jobs[job].state {
                State::Waiting { told, .. } => *told,
                // Another lane was quicker.
                _ => return Ok(()),
            };
            board.jobs[job].state = State::Held;
            (board.jobs[job].blob, told)
        };
        let (blob, told) = blob;
        let this = Arc::clone(self);
        let claim = blocking(move || this.fetch.store.claim(&this.fetch.lease, &blob)).await?;
        let digest = blob.digest;
        let part = match claim {
            Claim::Present => {
                self.skipped.fetch_add(blob.size_bytes, Ordering::Relaxed);
                self.tell(Event::Skipped {
                    digest,
                    size_bytes: blob.size_bytes,
                    why: Skip::Present,
                });
                self.board().jobs[job].state = State::Done;
                return Ok(());
            }
            Claim::Busy => {
                if !told {
                    self.tell(Event::Waiting { digest });
                }
                self.board().jobs[job].state = State::Waiting {
                    not_before: Instant::now() + BUSY_WAIT,
                    told: true,
                };
                return Ok(());
            }
            Claim::Ours(part) => part,
        };
        let download = blocking(move || Download::resume(part)).await?;
        let held_bytes = download.held_bytes();
        let ranges = blob.size_bytes <= PIECE_BYTES && held_bytes == 0
            || self.fetch.client.offers_ranges(&self.fetch.repository, &digest).await?;
        self.skipped.fetch_add(held_bytes, Ordering::Relaxed);
        self.tell(Event::Started {
            digest,
            size_bytes: blob.size_bytes,
            held_bytes,
        });
        let active = Active {
            gaps: download.gaps().into(),
            download: Arc::new(download),
            lanes: 0,
            whole: false,
            etag: None,
            location: None,
            failures: 0,
            start_overs: 0,
            damaged: false,
            not_before: Instant::now(),
            halt: Arc::default(),
        };
        if !ranges {
            return self.restart(job, active).await;
        }
        if active.gaps.is_empty() {
            return self.close(job, active).await;
        }
        self.board().jobs[job].state = State::Active(active);
        Ok(())
    }

    async fn fetch_piece(self: &Arc<Self>, piece: Piece) -> Result<(), Error> {
        let outcome = self.read_piece(&piece).await?;
        let (job, start, end) = (piece.job, piece.start, piece.end);
        drop(piece);
        let over = {
            let mut board = self.board();
            let blob = board.jobs[job].blob;
            let Some(active) = board.active(job) else {
                return Ok(());
            };
            active.lanes -= 1;
            match outcome {
                Outcome::Complete if active.whole => {}
                Outcome::Complete => active.failures = 0,
                Outcome::Broken(at, error) => {
                    if at - start >= PROGRESS_BYTES && !active.whole {
                        active.failures = 0;
                    }
                    active.failures += 1;
                    let retries = &self.fetch.client.options().retries;
                    if active.failures >= retries.attempts {
                        return Err(error.into());
                    }
                    active.not_before = Instant::now() + retries.wait(active.failures, None);
                    if active.whole {
                        active.halt.store(true, Ordering::Relaxed);
                    } else if at < end {
                        let place = active.gaps.partition_point(|gap| *gap < (at, end));
                        active.gaps.insert(place, (at, end));
                    }
                }
                Outcome::StartOver { told } => {
                    if !told && !active.halt.swap(true, Ordering::Relaxed) {
                        active.start_overs += 1;
                        if active.start_overs > MOST_START_OVERS {
                            return Err(Error::Restless {
                                host: self.fetch.client.host().to_string(),
                                digest: blob.digest,
                            });
                        }
                    }
                }
            }
            let halted = active.halt.load(Ordering::Relaxed);
            if active.lanes > 0 || !(halted || active.gaps.is_empty()) {
                return Ok(());
            }
            // Nobody else works on the blob now: this lane resets or closes it.
            match std::mem::replace(&mut board.jobs[job].state, State::Held) {
                State::Active(active) => (active, halted),
                other => {
                    board.jobs[job].state = other;
                    return Ok(());
                }
            }
        };
        match over {
            (active, true) => self.restart(job, active).await,
            (active, false) => self.close(job, active).await,
        }
    }

    /// Reads one piece to its end, following a blob that has moved once.
    async fn read_piece(self: &Arc<Self>, piece: &Piece) -> Result<Outcome, Error> {
        let mut request = piece.request.clone();
        loop {
            let answer = match self.fetch.client.open_blob(&self.fetch.repository, &request).await {
                // A length that is not the manifest's may be a broken middleman's: it is tried again like a broken body.
                Err(error @ registry::Error::Protocol { .. }) => return Ok(Outcome::Broken(piece.start, error)),
                answer => answer?,
            };
            match answer {
                BlobAnswer::Bytes(body) => {
                    if let Some(active) = self.board().active(piece.job) {
                        active.etag = active.etag.take().or_else(|| body.etag.clone());
                        active.location = body.location.clone();
                    }
                    return self.read_body(piece, *body).await;
                }
                BlobAnswer::Moved if request.location.is_some() => request.location = None,
                BlobAnswer::Moved | BlobAnswer::StartOver => return Ok(Outcome::StartOver { told: false }),
            }
        }
    }

    /// Writes what comes, one write behind what is being read.
    async fn read_body(self: &Arc<Self>, piece: &Piece, mut body: BlobBody) -> Result<Outcome, Error> {
        let mut writer = Writer {
            at: piece.start,
            chunks: Vec::new(),
            pending_bytes: 0,
            writing: None,
        };
        let outcome = loop {
            if piece.halt.load(Ordering::Relaxed) {
                break Outcome::StartOver { told: true };
            }
            match body.next().await {
                Ok(Some(chunk)) => {
                    self.moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    writer.pending_bytes += chunk.len();
                    writer.chunks.push(chunk);
                    if writer.pending_bytes >= FLUSH_BYTES {
                        self.flush(piece, &mut writer).await?;
                    }
                }
                Ok(None) => break Outcome::Complete,
                Err(error) => break Outcome::Broken(writer.at + writer.pending_bytes as u64, error),
            }
        };
        self.flush(piece, &mut writer).await?;
        if let Some(writing) = writer.writing.take() {
            joined(writing.await)?;
        }
        Ok(outcome)
    }

    async fn flush(&self, piece: &Piece, writer: &mut Writer) -> Result<(), Error> {
        if let Some(writing) = writer.writing.take() {
            joined(writing.await)?;
        }
        if writer.chunks.is_empty() {
            return Ok(());
        }
        let chunks = std::mem::take(&mut writer.chunks);
        let bytes = std::mem::take(&mut writer.pending_bytes) as u64;
        let (download, at) = (Arc::clone(&piece.download), writer.at);
        writer.at += bytes;
        writer.writing = Some(tokio::task::spawn_blocking(move || download.write(at, &chunks)));
        self.tell(Event::Moved {
            digest: piece.request.digest,
            bytes,
        });
        Ok(())
    }

    /// Throws away what came and asks for the whole blob.
    async fn restart(self: &Arc<Self>, job: usize, mut active: Active) -> Result<(), Error> {
        let (blob, download) = (self.board().jobs[job].blob, Arc::clone(&active.download));
        blocking(move || download.reset()).await?;
        self.tell(Event::Restarted {
            digest: blob.digest,
            held_bytes: 0,
        });
        active.whole = true;
        active.etag = None;
        active.location = None;
        active.halt = Arc::default();
        active.gaps = VecDeque::from([(0, blob.size_bytes)]);
        self.board().jobs[job].state = State::Active(active);
        Ok(())
    }

    /// Holds the hash against the digest, and makes the file the blob or starts over once.
    async fn close(self: &Arc<Self>, job: usize, mut active: Active) -> Result<(), Error> {
        let blob = self.board().jobs[job].blob;
        let download = Arc::clone(&active.download);
        let got = blocking(move || download.digest()).await?;
        if got != blob.digest {
            if std::mem::replace(&mut active.damaged, true) {
                let download = Arc::clone(&active.download);
                blocking(move || download.reset()).await?;
                return Err(Error::Corrupt {
                    wanted: Box::new(blob.digest),
                    got: Box::new(got),
                });
            }
            return self.restart(job, active).await;
        }
        let this = Arc::clone(self);
        // Lanes give their share back before they leave a piece, so this one is the last.
        if let Some(download) = Arc::into_inner(active.download) {
            blocking(move || download.commit(&this.fetch.lease, got)).await?;
        }
        self.tell(Event::Finished { digest: blob.digest });
        self.board().jobs[job].state = State::Done;
        Ok(())
    }

    fn tell(&self, event: Event) {
        self.fetch.progress.event(event);
    }
}

struct Writer {
    at: u64,
    chunks: Vec<Bytes>,
    pending_bytes: usize,
    writing: Option<JoinHandle<Result<(), crate::store::Error>>>,
}

/// Runs what blocks away from the network's threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work).await)
}

/// A task of ours ends by itself or by panic, and a panic goes on where it is waited for.
fn joined<T>(result: Result<T, tokio::task::JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
