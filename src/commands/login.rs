use std::io::{IsTerminal, Read};

use crate::oci::Host;
use crate::registry::{Credential, store_credential};
use crate::transfer;

use super::remote::RemoteArgs;
use super::{Code, Context, Failure, OrFail};

/// The longest password that is read.
const MOST_PASSWORD_BYTES: u64 = 64 << 10;

/// Keep the credentials for a registry where Docker keeps them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry, such as ghcr.io
    host: Host,
    /// The user's name
    #[arg(long, short)]
    username: String,
    /// Read the password or token from stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Asks the registry whether the credentials are good, and keeps them.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Args { host, username, .. } = args;
    let stdin = std::io::stdin();
    if !args.password_stdin && stdin.is_terminal() {
        return Err(
            Failure::new(Code::Usage, "the password is read from stdin").hint(format!(
                "gpux login {host} --username {username} --password-stdin < FILE"
            )),
        );
    }
    let mut password = String::new();
    stdin
        .lock()
        .take(MOST_PASSWORD_BYTES)
        .read_to_string(&mut password)
        .or_fail(|| "cannot read the password from stdin".into())?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err(Failure::new(Code::Usage, "the password on stdin is empty"));
    }
    let Some(path) = &context.env.registry.docker_config else {
        return Err(no_place());
    };
    let credential = Credential::Password { username, password };
    let options = args.remote.options(context)?;
    transfer::check_credential(&host, &credential, options).or_fail(|| format!("cannot log in to {host}"))?;
    let helper =
        store_credential(path, &host, &credential).or_fail(|| format!("cannot keep the credentials for {host}"))?;
    match helper {
        Some(helper) => context.term.tell(format_args!(
            "logged in to {host}; the helper `{helper}` keeps the password"
        )),
        None => context.term.tell(format_args!(
            "logged in to {host}; the password is in `{}`, readable by you",
            path.display()
        )),
    }
    Ok(())
}

pub(super) fn no_place() -> Failure {
    Failure::new(
        Code::Failed,
        "there is no place for credentials: the environment names no home folder",
    )
    .hint("set DOCKER_CONFIG to a folder")
}
