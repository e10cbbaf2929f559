use crate::runtime::Broken;

use super::{Code, Context, Failure};

/// Gives what the watchdog calls before it ends the process: it says which limit was broken.
pub fn reporter(operand: &str, context: &Context) -> impl Fn(&Broken) + Send + Sync + 'static {
    let (operand, term) = (operand.to_owned(), context.term);
    move |broken| {
        let failure = Failure::new(Code::Limit, format!("stopped `{operand}`: {broken}")).hint(match broken {
            Broken::Memory { .. } | Broken::Allocation { .. } => {
                "raise the limit with --memory SIZE, or run a smaller batch"
            }
            Broken::RunTime { .. } => "raise the limit with --timeout TIME",
            Broken::LoadTime { .. } => "raise the limit with --load-timeout TIME, if the model is big and not hostile",
        });
        term.failure(&failure.to_json(), failure.what(), &[], failure.hints());
    }
}
