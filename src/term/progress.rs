use indicatif::{ProgressBar, ProgressStyle};

use super::Term;

/// Is a progress bar on stderr, shown only where a person watches.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar of `total` steps; a total of 0 is not known and shows a count.
    pub fn steps(term: &Term, what: &str, total: u64) -> Self {
        if !term.shows_progress() {
            return Progress(ProgressBar::hidden());
        }
        let template = if total == 0 {
            "{msg} {spinner} {pos} done, {per_sec}"
        } else {
            "{msg} {wide_bar} {pos}/{len}, {eta} left"
        };
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Progress(bar)
    }

    /// Moves on.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
