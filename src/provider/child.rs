use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The most that is kept of what a child writes to one of its streams.
const KEPT_BYTES: usize = 1 << 20;

/// Is how a child process ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// None where it was killed at the deadline.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Ended {
    /// Tells whether it ended by itself, and well.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Says in a few words how it ended, where that was not well.
    pub fn describe(&self) -> String {
        let Some(status) = self.status else {
            return format!("did not answer within {} s", self.took.as_secs().max(1));
        };
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            let name = match signal {
                4 => " (illegal instruction)",
                6 => " (abort)",
                7 => " (bus error)",
                8 => " (arithmetic error)",
                9 => " (killed)",
                11 => " (segmentation fault)",
                _ => "",
            };
            return format!("crashed: signal {signal}{name}");
        }
        match status.code() {
            // Windows gives the exception as the code.
            Some(code) if cfg!(windows) && code < 0 => format!("crashed: exception {code:#010x}"),
            Some(code) => format!("ended with exit code {code}"),
            None => "ended in an unknown way".to_owned(),
        }
    }

    /// Gives the last words that the child wrote, on one escaped line.
    pub fn last_words(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let words = [text(&self.stderr), text(&self.stdout)]
            .into_iter()
            .find(|text| !text.is_empty());
        let words = words.unwrap_or_default();
        let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        let skip = last.chars().count().saturating_sub(600);
        let mut line = String::new();
        for c in last.chars().skip(skip) {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        line
    }
}

/// Runs a command to its end, or until the deadline, when it is killed.
///
/// Shape: stdout and stderr are kept where the command does not send them elsewhere, at most a mebibyte each.
/// Errors: the command cannot be started.
pub fn run(command: &mut Command, input: &[u8], deadline: Option<Duration>) -> io::Result<Ended> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A child that does not read must not keep this one; the pipe breaks when it ends.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
    }
    let stdout = child.stdout.take().map(keep);
    let stderr = child.stderr.take().map(keep);
    let status = wait(&mut child, start, deadline)?;
    let read = |reader: Option<JoinHandle<Vec<u8>>>| reader.and_then(|it| it.join().ok()).unwrap_or_default();
    Ok(Ended {
        status,
        stdout: read(stdout),
        stderr: read(stderr),
        took: start.elapsed(),
    })
}

fn wait(child: &mut Child, start: Instant, deadline: Option<Duration>) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline.is_some_and(|deadline| start.elapsed() >= deadline) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Reads a stream to its end, and keeps its last part.
fn keep(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 1 << 14];
        while let Ok(count) = stream.read(&mut chunk) {
            if count == 0 {
                break;
            }
            kept.extend_from_slice(&chunk[..count]);
            if kept.len() > 2 * KEPT_BYTES {
                kept.drain(..kept.len() - KEPT_BYTES);
            }
        }
        kept
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Option<Duration>) -> Ended {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        run(&mut command, b"hello", deadline).unwrap()
    }

    #[test]
    fn a_child_is_given_its_input_and_its_output_is_kept() {
        let ended = shell("cat; echo oops >&2", None);
        assert!(ended.is_success());
        assert_eq!(
            (ended.stdout.as_slice(), ended.last_words().as_str()),
            (&b"hello"[..], "oops")
        );
    }

    #[test]
    fn every_bad_end_is_told_apart() {
        let hung = shell("exec sleep 60", Some(Duration::from_millis(50)));
        assert_eq!(
            (hung.is_success(), hung.describe().as_str()),
            (false, "did not answer within 1 s")
        );
        assert_eq!(
            shell("kill -SEGV $$", None).describe(),
            "crashed: signal 11 (segmentation fault)"
        );
        assert_eq!(shell("exit 3", None).describe(), "ended with exit code 3");
    }

    #[test]
    fn what_a_child_says_comes_out_as_one_escaped_line() {
        let ended = shell("printf 'a\\n\\nb \\033[2J\\nc\\nd\\n' >&2; exit 1", None);
        assert_eq!(ended.last_words(), "b \\u{1b}[2J; c; d");
    }
}
