//! How a model that is served is run fastest: looked up, or found out in short, for the calls that it will mostly get.

use crate::commands::opened::{EngineArgs, Shapes};
use crate::commands::subject::Subject;
use crate::commands::synthetic::{self, Sizes};
use crate::commands::trial::Request;
use crate::commands::{Context, tuned};

/// Gives the shapes of a call of so many rows; `None` where the model leaves other sizes open.
pub fn shapes(subject: &Subject, rows: usize) -> Option<Shapes> {
    let sizes = sizes(rows);
    let ports = subject.signature.inputs.iter();
    let each = ports.map(|port| Some((port.name.as_str().to_owned(), synthetic::shape(port, &sizes).ok()?)));
    each.collect()
}

fn sizes(rows: usize) -> Sizes {
    Sizes {
        batch: rows,
        ..Sizes::default()
    }
}

/// Tunes a model in short for calls of so many rows, where the choice is gpux's and nothing is known of such calls.
///
/// A model that cannot be tuned is served as it would be without, and its owner is told why.
pub fn ensure(operand: &str, subject: &Subject, engine: &EngineArgs, rows: usize, context: &Context) {
    let gpuxfile = subject.gpuxfile.as_ref();
    let is_chosen = gpuxfile.is_some_and(|file| !file.runtime.providers.is_empty() || file.generation.is_some());
    if is_chosen || !engine.leaves_choice() || synthetic::inputs(&subject.signature, &sizes(rows)).is_err() {
        return;
    }
    let request = Request {
        batch: u32::try_from(rows).unwrap_or(u32::MAX),
        ..Request::of(operand, engine.device())
    };
    if let Err(failure) = tuned::ensure(request, subject, engine, context) {
        let why = [&[failure.what().to_owned()], failure.causes().as_slice()]
            .concat()
            .join(": ");
        context
            .term
            .warn(format_args!("`{operand}` is served without tuning: {why}"));
    }
}
