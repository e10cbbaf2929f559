use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Term;

/// Is a line of progress for each of several transfers and one for all of them, shown only where a person watches.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    total: ProgressBar,
}

/// Is the line of one transfer.
#[derive(Debug)]
pub struct Bar {
    line: ProgressBar,
    total: ProgressBar,
}

impl Bars {
    /// Starts with the line for all.
    pub fn new(term: &Term, what: &str) -> Self {
        let all = MultiProgress::new();
        if !term.shows_progress() {
            all.set_draw_target(ProgressDrawTarget::hidden());
        }
        let total = all.add(ProgressBar::new(0));
        let template = "{msg:12} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            total.set_style(style);
        }
        total.set_message(what.to_owned());
        Bars { all, total }
    }

    /// Adds a transfer of which a part is done already.
    pub fn add(&self, name: &str, size_bytes: u64, done_bytes: u64) -> Bar {
        self.total.inc_length(size_bytes);
        self.total.inc(done_bytes);
        let line = self.all.insert_before(&self.total, ProgressBar::new(size_bytes));
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {wide_bar} {bytes}/{total_bytes}") {
            line.set_style(style);
        }
        line.set_message(name.to_owned());
        line.set_position(done_bytes);
        Bar {
            line,
            total: self.total.clone(),
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
    }
}

impl Bar {
    /// Moves on.
    pub fn advance(&self, bytes: u64) {
        self.line.inc(bytes);
        self.total.inc(bytes);
    }

    /// Takes back what was done.
    pub fn restart(&self, done_bytes: u64) {
        self.line.set_position(0);
        self.total.dec(done_bytes);
    }

    /// Takes the line away.
    pub fn finish(self) {
        self.line.finish_and_clear();
    }
}
