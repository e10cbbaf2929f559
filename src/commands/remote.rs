use std::path::PathBuf;
use std::sync::Arc;

use crate::env::{self, RegistryEnv};
use crate::fs;
use crate::oci::{Host, Reference};
use crate::registry::{Credential, CredentialSources, Options, Proxies, find_credential};
use crate::store::{self, Entry, Lease, Store};
use crate::transfer::{self, Remote, Report};

use super::moving::Moving;
use super::{Code, Context, Failure, OrFail};

/// Says how registries are reached; shared by the verbs that reach one.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Registry options")]
pub struct RemoteArgs {
    /// Speak http to the registry, not https; this machine is always spoken to so unless certificates are given
    #[arg(long)]
    plain_http: bool,
    /// Take any certificate
    #[arg(long)]
    tls_skip_verify: bool,
    /// Trust these certificates too, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Show this certificate to the registry, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl RemoteArgs {
    /// Gathers how to reach the registry of a reference, and who the user is there.
    ///
    /// Errors: the reference is local; certificates or credentials cannot be read.
    pub fn remote(&self, reference: &Reference, context: &Context) -> Result<Remote, Failure> {
        let Some(host) = reference.host() else {
            return Err(local(reference));
        };
        let options = self.options(context)?;
        let sources = sources(&context.env.registry)?;
        let credential = find_credential(&sources, host, Some(reference.repository()))
            .or_fail(|| format!("cannot find the credentials for {host}"))?;
        Ok(Remote { options, credential })
    }

    /// Gathers how to reach a registry.
    pub fn options(&self, context: &Context) -> Result<Options, Failure> {
        let read = |path: &PathBuf| {
            let path = context.env.current_dir.join(path);
            fs::read(&path).or_fail(|| format!("cannot use `{}`", path.display()))
        };
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let mut pem = read(cert)?;
                pem.push(b'\n');
                pem.extend(read(key)?);
                Some(pem)
            }
            _ => None,
        };
        let given = &context.env.registry;
        Ok(Options {
            plain_http: self.plain_http,
            skip_verify: self.tls_skip_verify,
            authorities: self.ca.iter().map(read).collect::<Result<_, _>>()?,
            identity,
            proxies: Proxies {
                http: given.http_proxy.clone(),
                https: given.https_proxy.clone(),
                none: given.no_proxy.clone(),
            },
            clock: Some(env::now),
            memory: context.home().ok().map(|home| home.join("cache")),
            ..Options::default()
        })
    }
}

/// Refuses a name without a host.
pub fn local(reference: &Reference) -> Failure {
    Failure::new(Code::Usage, format!("`{reference}` names no registry")).hint(format!(
        "a registry is the first part of the name, with a dot or a port: docker.io/{reference}, ghcr.io/USER/{reference}"
    ))
}

/// Says where credentials are.
///
/// Errors: user and password are in the environment and the registry they are for is not.
pub fn sources(given: &RegistryEnv) -> Result<CredentialSources, Failure> {
    let credential = match (&given.username, &given.password) {
        (Some(username), Some(password)) => Some(Credential::Password {
            username: username.clone(),
            password: password.clone(),
        }),
        (None, None) => None,
        _ => {
            return Err(Failure::new(
                Code::Usage,
                "one of GPUX_REGISTRY_USERNAME and GPUX_REGISTRY_PASSWORD is set and the other is not",
            ));
        }
    };
    let given_for = match (&given.registry, credential) {
        (Some(host), Some(credential)) => {
            let host: Host = host.parse().or_fail(|| "GPUX_REGISTRY is no registry".into())?;
            Some((host, credential))
        }
        (None, Some(_)) => {
            return Err(Failure::new(
                Code::Usage,
                "GPUX_REGISTRY_USERNAME and GPUX_REGISTRY_PASSWORD are set, but not the registry they are for",
            )
            .hint("set GPUX_REGISTRY to the registry's host"));
        }
        (_, None) => None,
    };
    Ok(CredentialSources {
        given: given_for,
        docker: given.docker_config.clone(),
        podman: given.podman_auth.clone(),
    })
}

/// Pulls with progress.
pub fn pull(store: &Store, reference: &Reference, args: &RemoteArgs, context: &Context) -> Result<Report, Failure> {
    let remote = args.remote(reference, context)?;
    let moving = Arc::new(Moving::new(&context.term, "pulling"));
    transfer::pull(store, reference, &remote, moving, env::now()).or_fail(|| format!("cannot pull `{reference}`"))
}

/// Finds an artifact in the store and leases it; one that is missing and names a registry is pulled first.
pub fn checkout(store: &Store, reference: &Reference, context: &Context) -> Result<(Entry, Lease), Failure> {
    let what = || format!("cannot open `{reference}`");
    match store.checkout(reference) {
        Err(store::Error::NotFound { .. }) if !reference.is_local() => {
            if !context.term.json() {
                context
                    .term
                    .tell(format_args!("`{reference}` is not here yet: pulling it"));
            }
            pull(store, reference, &RemoteArgs::default(), context)?;
            store.checkout(reference).or_fail(what)
        }
        found => found.or_fail(what),
    }
}
