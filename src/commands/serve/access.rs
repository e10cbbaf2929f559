use std::net::IpAddr;
use std::path::PathBuf;

use crate::commands::{Code, Context, Failure, OrFail};
use crate::env;
use crate::serve::{AccessOptions, Reloaded, TlsFiles, read_tokens};
use crate::term::Term;

/// Is what the command line says of who may call.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Who may call")]
pub struct AccessArgs {
    /// Ask for a token of this file; without it, for one of `gpux serve token`, once there is such a file
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Ask for no token, whoever calls
    #[arg(long, conflicts_with = "tokens")]
    no_auth: bool,
    /// Speak TLS with this certificate, in PEM form, and behind it those that lead to its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let only clients in that show a certificate of these authorities
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Speak no TLS, whoever can read along: for TLS that ends elsewhere
    #[arg(long, conflicts_with = "tls_cert")]
    plaintext: bool,
}

impl AccessArgs {
    /// Says who may call a server that listens on an address.
    ///
    /// Errors: the address can be reached from other machines, and there are no tokens or no TLS; a file of tokens
    /// makes no sense.
    pub fn for_host(&self, host: IpAddr, context: &Context) -> Result<AccessOptions, Failure> {
        let tokens = self.tokens(context)?;
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        if !host.to_canonical().is_loopback() {
            let reached = format!("{host} can be reached from other machines");
            let only_here = "`--host 127.0.0.1` serves this machine alone";
            if !tokens.has_some && !self.no_auth {
                return Err(Failure::new(
                    Code::Usage,
                    format!("{reached}, and without a token whoever reaches it may call the models"),
                )
                .hint("make a token with `gpux serve token create --tenant NAME`")
                .hint(only_here)
                .hint("`--no-auth` serves whoever comes, for a server whose callers are looked at elsewhere"));
            }
            if tls.is_none() && !self.plaintext {
                return Err(Failure::new(
                    Code::Usage,
                    format!("{reached}, and without TLS whoever is on the way reads tokens and data"),
                )
                .hint("give a certificate and its key with `--tls-cert FILE --tls-key FILE`")
                .hint(only_here)
                .hint("`--plaintext` speaks no TLS, for a proxy before the server that does"));
            }
        }
        Ok(AccessOptions {
            tokens: tokens.file,
            tls: tls.map(|(certificate, key)| TlsFiles {
                certificate,
                key,
                client_authority: self.tls_client_ca.clone(),
            }),
            clock: env::now,
        })
    }

    fn tokens(&self, context: &Context) -> Result<Found, Failure> {
        let none = Found {
            file: None,
            has_some: false,
        };
        if self.no_auth {
            return Ok(none);
        }
        let file = match &self.tokens {
            Some(file) => file.clone(),
            None => match &context.env.home {
                Some(home) => home.join(DEFAULT_FILE),
                None => return Ok(none),
            },
        };
        let read = read_tokens(&file).or_fail(|| "the tokens cannot be read".into())?;
        match read {
            Some(tokens) => {
                if tokens.is_empty() {
                    let file = file.display();
                    context.term.warn(format_args!(
                        "there is no token in `{file}`, so every call is refused; `gpux serve token create` makes one, and \
                         `--no-auth` asks for none"
                    ));
                }
                Ok(Found {
                    file: Some(file),
                    has_some: !tokens.is_empty(),
                })
            }
            None if self.tokens.is_some() => Err(Failure::new(
                Code::NotFound,
                format!("there is no file of tokens at `{}`", file.display()),
            )
            .hint(format!(
                "make it with `gpux serve token create --tenant NAME --tokens {}`",
                file.display()
            ))),
            None => Ok(none),
        }
    }
}

/// Is a file of tokens, and whether it has any.
struct Found {
    file: Option<PathBuf>,
    has_some: bool,
}

/// Where tokens are kept unless another file is named, below the home folder.
pub const DEFAULT_FILE: &str = "serve/tokens.json";

/// Tells what came of reading tokens or certificates again.
pub fn report(term: &Term, reloaded: &Reloaded) {
    match reloaded {
        Reloaded::Tokens(Ok(count)) => term.tell(format_args!("tokens were read again: there are {count}")),
        Reloaded::Tokens(Err(why)) => term.warn(format_args!("the tokens stay as they were: {why}")),
        Reloaded::Certificates(Ok(())) => term.tell("certificates were read again"),
        Reloaded::Certificates(Err(why)) => term.warn(format_args!("the certificates stay as they were: {why}")),
    }
}
