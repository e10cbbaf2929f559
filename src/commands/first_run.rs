use crate::provider::{Os, Platform};
use crate::term::bytes;

use super::provider::{provision, suggestion};
use super::{Code, Context, Failure, machine};

/// Is what `GPUX_PROVISION` says about a machine that has an accelerator and no pack for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provision {
    /// Say how to get one.
    Tell,
    /// Install it.
    Auto,
    /// Say nothing.
    Off,
}

/// Sees to it, before a provider is chosen, that an accelerator does not go unused unnoticed.
///
/// Errors: `GPUX_PROVISION` is none of its words; with `auto`, nothing could be installed.
pub fn prepare(context: &Context) -> Result<(), Failure> {
    let provision_by = match context.env.provider.provision.as_deref() {
        None | Some("tell") => Provision::Tell,
        Some("auto") => Provision::Auto,
        Some("off") => Provision::Off,
        Some(other) => {
            let what = format!("GPUX_PROVISION is `{}`", other.escape_debug());
            return Err(Failure::new(Code::Usage, what).hint("it is auto, tell or off"));
        }
    };
    // A model on a processor starts in a millisecond: nothing here may cost as much.
    if provision_by == Provision::Off || Platform::current().os != Os::Linux || !machine::may_have_accelerator(context)
    {
        return Ok(());
    }
    let hardware = machine::look(context);
    let Some(found) = suggestion(&hardware, context) else {
        return Ok(());
    };
    if provision_by == Provision::Auto {
        return provision(&found, context);
    }
    let size = bytes(found.download_bytes);
    context.term.tell(format_args!(
        "{} is not used yet: `gpux provider install {}` ({size}) lets models run on it",
        found.device, found.kind
    ));
    Ok(())
}
