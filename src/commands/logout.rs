use crate::oci::Host;
use crate::registry::erase_credential;

use super::{Code, Context, Failure, OrFail, login};

/// Forget the credentials for a registry
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry, such as ghcr.io
    host: Host,
}

/// Removes what login kept.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let host = args.host;
    let Some(path) = &context.env.registry.docker_config else {
        return Err(login::no_place());
    };
    if !erase_credential(path, &host).or_fail(|| format!("cannot forget the credentials for {host}"))? {
        let path = path.display();
        return Err(Failure::new(
            Code::NotFound,
            format!("there are no credentials for {host} in `{path}`"),
        ));
    }
    context.term.tell(format_args!("logged out of {host}"));
    Ok(())
}
