//! What a person or a pipe gets to see: data on stdout, words on stderr.

mod bars;
mod progress;
mod secret;
mod status;
mod table;
mod units;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

pub use bars::{Bar, Bars};
pub use progress::Progress;
pub use secret::{ask, ask_secret};
pub use status::Status;
pub use table::{Align, Table, bar};
pub use units::{bytes, count, duration};

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// Says how much is told and in which form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voice {
    /// Results and errors are JSON.
    pub json: bool,
    /// Nothing is told but results, warnings and errors.
    pub quiet: bool,
    /// Reasons are told as well.
    pub verbose: bool,
}

/// Is the pair of output streams.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    voice: Voice,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Term {
    /// Looks at the streams of this process.
    pub fn new(voice: Voice) -> Self {
        Term {
            voice,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Tells whether the user asked for JSON.
    pub fn json(&self) -> bool {
        self.voice.json
    }

    /// Tells whether a verb that prints tables to people and JSON to pipes should print JSON.
    pub fn json_or_piped(&self) -> bool {
        self.voice.json || !self.stdout_is_terminal
    }

    /// Tells whether a person watches stderr and wants to see progress.
    pub fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.voice.quiet && !self.voice.json
    }

    /// Writes data to stdout, with a newline.
    ///
    /// Errors: what the stream answers; a closed pipe is [`io::ErrorKind::BrokenPipe`], which ends gpux in silence.
    pub fn data(&self, text: impl Display) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        stdout.flush()
    }

    /// Writes data to stdout through `write`, buffered and flushed.
    pub fn stream(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        write(&mut stdout)?;
        stdout.flush()
    }

    /// Tells something in passing; silent with `--quiet`.
    pub fn tell(&self, text: impl Display) {
        if !self.voice.quiet {
            self.words(text);
        }
    }

    /// Tells a reason; only with `--verbose`.
    pub fn explain(&self, text: impl Display) {
        if self.voice.verbose && !self.voice.quiet {
            self.words(text);
        }
    }

    /// Warns: something the user wrote has no effect, or another one than they may think.
    pub fn warn(&self, text: impl Display) {
        self.words(format_args!("{YELLOW}warning:{YELLOW:#} {text}"));
    }

    /// Prints a failure: as `document` where the user asked for JSON, else in its three parts.
    pub fn failure(&self, document: &impl Display, what: &str, causes: &[String], hints: &[String]) {
        if self.voice.json {
            return self.words(document);
        }
        self.words(format_args!("{RED}error:{RED:#} {what}"));
        for cause in causes {
            self.words(format_args!("{RED}caused by:{RED:#} {cause}"));
        }
        for hint in hints {
            self.words(format_args!("{CYAN}hint:{CYAN:#} {hint}"));
        }
    }

    /// Writes a line to stderr. A stderr that is gone is no reason to fail.
    pub fn words(&self, text: impl Display) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{text}");
    }
}
