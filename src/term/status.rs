use indicatif::{ProgressBar, ProgressStyle};

use super::Term;

/// Is a few lines at the end of the terminal that say how things stand, shown only where a person watches.
#[derive(Debug)]
pub struct Status(ProgressBar);

impl Status {
    /// Starts with nothing.
    pub fn new(term: &Term) -> Self {
        if !term.shows_progress() {
            return Status(ProgressBar::hidden());
        }
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Status(bar)
    }

    /// Shows other lines.
    pub fn show(&self, lines: String) {
        self.0.set_message(lines);
        self.0.tick();
    }

    /// Lets something be told above the lines.
    pub fn aside(&self, tell: impl FnOnce()) {
        self.0.suspend(tell);
    }

    /// Takes the lines away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
