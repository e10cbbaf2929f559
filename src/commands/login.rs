use std::io::Read;

use crate::oci::Host;
use crate::registry::{Credential, store_credential};
use crate::term::{ask, ask_secret};
use crate::transfer;

use super::remote::RemoteArgs;
use super::{Code, Context, Failure, OrFail};

/// The longest password that is read.
const MOST_PASSWORD_BYTES: u64 = 64 << 10;

/// Keep the credentials for a registry where Docker keeps them
///
/// At a terminal, asks for what is not given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry, such as ghcr.io
    host: Host,
    /// The user's name
    #[arg(long, short)]
    username: Option<String>,
    /// Read the password or token from stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Asks the registry whether the credentials are good, and keeps them.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let host = args.host;
    let username = username(args.username, args.password_stdin, &host)?;
    let password = password(args.password_stdin)?;
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

/// Finds out who logs in. Where the password is on stdin, nobody can be asked.
fn username(given: Option<String>, password_on_stdin: bool, host: &Host) -> Result<String, Failure> {
    let asked = match given {
        None if !password_on_stdin => ask("username").or_fail(|| "cannot read the user's name".into())?,
        given => given,
    };
    asked.filter(|name| !name.is_empty()).ok_or_else(|| {
        Failure::new(Code::Usage, "the user's name is missing").hint(format!("gpux login {host} --username NAME"))
    })
}

/// Reads the password: hidden where a person types it, else from stdin.
fn password(on_stdin: bool) -> Result<String, Failure> {
    let what = || "cannot read the password".to_owned();
    let typed = if on_stdin {
        None
    } else {
        ask_secret("password").or_fail(what)?
    };
    let password = match typed {
        Some(password) => password,
        None => {
            let mut text = String::new();
            let stdin = std::io::stdin().lock();
            stdin
                .take(MOST_PASSWORD_BYTES)
                .read_to_string(&mut text)
                .or_fail(what)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    if password.is_empty() {
        return Err(Failure::new(Code::Usage, "the password is empty"));
    }
    Ok(password)
}

pub(super) fn no_place() -> Failure {
    Failure::new(
        Code::Failed,
        "there is no place for credentials: the environment names no home folder",
    )
    .hint("set DOCKER_CONFIG to a folder")
}
