use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::oci::Digest;
use crate::term::{Bar, Bars, Term, bytes};
use crate::transfer::{Event, Progress, Skip};

/// Shows what moves: a line a blob and a total on a terminal, plain lines elsewhere.
#[derive(Debug)]
pub struct Moving {
    term: Term,
    bars: Bars,
    blobs: Mutex<HashMap<Digest, Blob>>,
}

#[derive(Debug)]
struct Blob {
    bar: Bar,
    size_bytes: u64,
    moved_bytes: u64,
}

impl Moving {
    /// Starts with nothing moving.
    pub fn new(term: &Term, what: &str) -> Self {
        Moving {
            term: *term,
            bars: Bars::new(term, what),
            blobs: Mutex::default(),
        }
    }

    /// Tells a line where no bars are shown.
    fn line(&self, text: std::fmt::Arguments<'_>) {
        if !self.term.shows_progress() && !self.term.json() {
            self.term.tell(text);
        }
    }
}

impl Progress for Moving {
    fn event(&self, event: Event) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started {
                digest,
                size_bytes,
                held_bytes,
            } => {
                if held_bytes > 0 {
                    let held = bytes(held_bytes);
                    self.line(format_args!("{}  goes on after {held}", digest.short()));
                }
                let bar = self.bars.add(&digest.short(), size_bytes, held_bytes);
                let blob = Blob {
                    bar,
                    size_bytes,
                    moved_bytes: held_bytes,
                };
                blobs.insert(digest, blob);
            }
            Event::Moved { digest, bytes } => {
                if let Some(blob) = blobs.get_mut(&digest) {
                    blob.moved_bytes += bytes;
                    blob.bar.advance(bytes);
                }
            }
            Event::Restarted { digest, held_bytes } => {
                if let Some(blob) = blobs.get_mut(&digest) {
                    blob.bar.restart(std::mem::replace(&mut blob.moved_bytes, held_bytes));
                    blob.bar.advance(held_bytes);
                }
                match held_bytes {
                    0 => self.line(format_args!("{}  starts over", digest.short())),
                    held => self.line(format_args!("{}  goes on after {}", digest.short(), bytes(held))),
                }
            }
            Event::Waiting { digest } => {
                self.line(format_args!("{}  is moved by another gpux: waiting", digest.short()));
            }
            Event::Finished { digest } => {
                if let Some(blob) = blobs.remove(&digest) {
                    let size = bytes(blob.size_bytes);
                    self.line(format_args!("{}  done, {size}", digest.short()));
                    blob.bar.finish();
                }
            }
            Event::Skipped {
                digest,
                size_bytes,
                why,
            } => {
                let why = match why {
                    Skip::Present => "is there",
                    Skip::Mounted => "mounted from another repository",
                };
                let size = bytes(size_bytes);
                self.line(format_args!("{}  {why}, {size}", digest.short()));
            }
        }
    }
}
