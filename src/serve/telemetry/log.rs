use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::Lost;
use super::record::{Line, Record};

/// Takes whole lines, several at once.
pub type Lines = Arc<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// How many lines may wait for a slow disk.
const WAITING: usize = 8192;
/// How much is written at once. Units: bytes.
const BATCH_BYTES: usize = 64 << 10;

enum Message {
    Line(Vec<u8>),
    Finish(SyncSender<()>),
}

/// Is the access log: one JSON object a line, written by a thread of its own.
pub struct AccessLog {
    sender: SyncSender<Message>,
    lost: Arc<Lost>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Starts the thread that writes.
    ///
    /// Errors: the system gives none.
    pub fn start(lines: Lines, lost: Arc<Lost>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let counted = Arc::clone(&lost);
        let thread = thread::Builder::new().name("access log".to_owned());
        thread.spawn(move || write_all(&receiver, &lines, &counted))?;
        Ok(AccessLog { sender, lost })
    }

    /// Queues a line, or drops and counts it where too many wait.
    pub fn write(&self, record: &Record) {
        let Ok(mut line) = serde_json::to_vec(&Line::from(record)) else {
            return;
        };
        line.push(b'\n');
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.lost.lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the lines that wait are written, or `patience` is over.
    pub fn finish(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.sender.try_send(Message::Finish(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, lines: &Lines, lost: &Lost) {
    let mut batch = Vec::new();
    while let Ok(first) = receiver.recv() {
        let mut next = Some(first);
        let (mut count, mut finish) = (0, None);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    count += 1;
                }
                Message::Finish(done) => finish = Some(done),
            }
            let goes_on = batch.len() < BATCH_BYTES && finish.is_none();
            next = if goes_on { receiver.try_recv().ok() } else { None };
        }
        if lines(&batch).is_err() {
            lost.lines.fetch_add(count, Ordering::Relaxed);
        }
        batch.clear();
        if let Some(done) = finish {
            let _ = done.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::serve::telemetry::record::tests::record;

    #[test]
    fn all_lines_are_there_once_the_log_has_finished() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lost = Arc::new(Lost::default());
        let to = Arc::clone(&written);
        let lines: Lines = Arc::new(move |bytes| {
            to.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        });
        let log = AccessLog::start(lines, Arc::clone(&lost)).unwrap();
        for _ in 0..1000 {
            log.write(&record("/x"));
        }
        log.finish(Duration::from_secs(10));
        let written = written.lock().unwrap();
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1000);
        assert_eq!(lost.counts(), (0, 0));
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_lines_and_blocks_nobody() {
        let lost = Arc::new(Lost::default());
        let lines: Lines = Arc::new(|_| Err(io::Error::other("full")));
        let log = AccessLog::start(lines, Arc::clone(&lost)).unwrap();
        log.write(&record("/x"));
        log.finish(Duration::from_secs(10));
        assert_eq!(lost.counts(), (1, 0));
    }
}
