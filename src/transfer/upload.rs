//! The body of an upload: a part of a file, read while it is sent.

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::fs;

/// How much is read at once. One read is under way while the last is sent.
const READ_BYTES: u64 = 512 << 10;

/// Is told how many bytes were handed to the network.
type Told = Box<dyn Fn(u64) + Send + Sync>;

pub(super) struct FileBody {
    path: PathBuf,
    next: u64,
    end: u64,
    left: u64,
    reading: Option<JoinHandle<Result<(fs::File, Bytes), fs::Error>>>,
    told: Told,
}

impl FileBody {
    /// Reads bytes `start..end` of a file.
    pub fn new(path: PathBuf, (start, end): (u64, u64), told: Told) -> Self {
        Self {
            path,
            next: start,
            end,
            left: end - start,
            reading: None,
            told,
        }
    }

    fn read_on(&mut self, file: Option<fs::File>) {
        if self.next >= self.end {
            return;
        }
        let (at, length) = (self.next, READ_BYTES.min(self.end - self.next));
        self.next += length;
        let path = self.path.clone();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let file = match file {
                Some(file) => file,
                None => fs::File::open(&path)?,
            };
            // `length` is at most `READ_BYTES`.
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, at)?;
            Ok((file, bytes.into()))
        }));
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = fs::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, fs::Error>>> {
        let this = self.get_mut();
        if this.reading.is_none() {
            this.read_on(None);
        }
        let Some(reading) = &mut this.reading else {
            return Poll::Ready(None);
        };
        let read = match Pin::new(reading).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(read)) => read,
            Poll::Ready(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        };
        this.reading = None;
        Poll::Ready(Some(read.map(|(file, bytes)| {
            this.left -= bytes.len() as u64;
            (this.told)(bytes.len() as u64);
            this.read_on(Some(file));
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
