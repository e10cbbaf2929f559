//! Where a registry is, and where its users' credentials may go.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Mutex,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::{Error, quote};
use crate::oci;

/// The address of a registry.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The host as references name it.
    pub host: oci::Host,
    /// Scheme and authority, with the path `/`.
    pub base: Url,
}

impl Endpoint {
    /// Finds the address of a host: https, or http where `plain` says so. `docker.io` stands for the host behind it.
    pub fn new(host: &oci::Host, plain: bool) -> Result<Self, Error> {
        let scheme = if plain { "http" } else { "https" };
        let authority = match host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        };
        let base = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| Error::Host {
            host: host.as_str().to_owned(),
        })?;
        Ok(Self {
            host: host.clone(),
            base,
        })
    }

    /// Tells whether a host is this machine by its name alone.
    pub fn is_loopback(host: &oci::Host) -> bool {
        let Ok(url) = Url::parse(&format!("http://{}/", host.as_str())) else {
            return false;
        };
        match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Tells whether an address is of this registry: credentials go nowhere else.
    pub fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// The repository's name on the wire: Docker Hub's own images stand under `library/`.
    pub fn repository(&self, name: &str) -> String {
        if self.base.host_str() == Some("registry-1.docker.io") && !name.contains('/') {
            return format!("library/{name}");
        }
        name.to_owned()
    }
}

/// Gives an address without user, query and fragment, as messages show it.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    quote(&format!(
        "{}://{}{port}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path()
    ))
}

/// Resolves names once a process, so that the address that was checked is the address that is connected to.
#[derive(Debug, Default)]
pub(super) struct PinnedResolver {
    known: Mutex<HashMap<String, Vec<SocketAddr>>>,
}

impl PinnedResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let known = |map: &Mutex<HashMap<String, Vec<SocketAddr>>>| match map.lock() {
            Ok(map) => map.get(name).cloned(),
            Err(_) => None,
        };
        if let Some(found) = known(&self.known) {
            return Ok(found);
        }
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        if let Ok(mut map) = self.known.lock() {
            map.insert(name.to_owned(), found.clone());
        }
        Ok(found)
    }

    /// The addresses behind an URL's host.
    async fn of(&self, url: &Url) -> io::Result<Vec<IpAddr>> {
        match url.host() {
            Some(Host::Ipv4(address)) => Ok(vec![address.into()]),
            Some(Host::Ipv6(address)) => Ok(vec![address.into()]),
            Some(Host::Domain(name)) => {
                let found = self.addresses(name).await?;
                Ok(found.into_iter().map(|address| address.ip()).collect())
            }
            None => Ok(Vec::new()),
        }
    }
}

/// Hands a shared [`PinnedResolver`] to the HTTP client.
pub(super) struct SharedResolver(pub std::sync::Arc<PinnedResolver>);

impl Resolve for SharedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = std::sync::Arc::clone(&self.0);
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Checks the token realm that a registry named, before anything is sent there.
///
/// Errors: [`Error::Realm`] for a realm that is no web address, that is plain http while the registry is https, that
/// carries a user, or that lies in a private network while the registry does not.
pub(super) async fn check_realm(endpoint: &Endpoint, realm: &str, resolver: &PinnedResolver) -> Result<Url, Error> {
    let refuse = |why| Error::Realm {
        host: endpoint.host.as_str().to_owned(),
        realm: quote(realm),
        why,
    };
    let url = Url::parse(realm).map_err(|_| refuse("it is not an address"))?;
    match (url.scheme(), endpoint.base.scheme()) {
        ("https", _) | ("http", "http") => {}
        ("http", _) => return Err(refuse("it is plain http and the registry is https")),
        _ => return Err(refuse("it is not https")),
    }
    if url.host().is_none() {
        return Err(refuse("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries a user"));
    }
    if url.origin() == endpoint.base.origin() {
        return Ok(url);
    }
    // A name that cannot be resolved here may be one that only a proxy knows; without a proxy the request fails by itself.
    let own = resolver.of(&endpoint.base).await.unwrap_or_default();
    let named = resolver.of(&url).await.unwrap_or_default();
    if leads_inside(&own, &named) {
        return Err(refuse(
            "it is an address of a private network and the registry's is not",
        ));
    }
    Ok(url)
}

/// Tells whether `named` has an address that the outside cannot reach while all of `own` are public.
fn leads_inside(own: &[IpAddr], named: &[IpAddr]) -> bool {
    own.iter().all(|address| is_public(*address)) && named.iter().any(|address| !is_public(*address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let segments = address.segments();
    // NAT64 and 6to4 carry an IPv4 address that decides.
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(Ipv4Addr::from((u32::from(segments[6]) << 16) | u32::from(segments[7])));
    }
    if segments[0] == 0x2002 {
        return is_public_v4(Ipv4Addr::from((u32::from(segments[1]) << 16) | u32::from(segments[2])));
    }
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || segments[..6] == [0; 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn realms_inside_are_refused_to_registries_outside() {
        let outside = ips(&["140.82.121.34"]);
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(leads_inside(&outside, &ips(&[inside])), "{inside}");
            assert!(
                leads_inside(&outside, &ips(&["1.1.1.1", inside])),
                "{inside} behind another"
            );
        }
        assert!(!leads_inside(&outside, &ips(&["1.1.1.1", "2606:4700::1111"])));
        assert!(!leads_inside(&ips(&["10.0.0.1"]), &ips(&["10.0.0.2"])));
    }

    #[test]
    fn realms_must_be_web_addresses_no_weaker_than_the_registry() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let endpoint = Endpoint::new(&"127.0.0.1:5000".parse().unwrap(), false).unwrap();
        let check = |realm: &str| runtime.block_on(check_realm(&endpoint, realm, &PinnedResolver::default()));
        for realm in [
            "http://127.0.0.1/token",
            "file:///etc/passwd",
            "token",
            "",
            "https://user:pass@127.0.0.1/",
            "data:,x",
            "unix:///run/x",
        ] {
            assert!(check(realm).is_err(), "{realm}");
        }
        assert!(check("https://127.0.0.2/token").is_ok());
    }

    #[test]
    fn docker_io_stands_for_the_host_behind_it() {
        let endpoint = Endpoint::new(&"docker.io".parse().unwrap(), false).unwrap();
        assert_eq!(endpoint.base.as_str(), "https://registry-1.docker.io/");
        assert_eq!(endpoint.repository("ubuntu"), "library/ubuntu");
        assert_eq!(endpoint.repository("me/x"), "me/x");
    }

    #[test]
    fn loopback_is_told_by_name() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "x.localhost",
        ] {
            assert!(Endpoint::is_loopback(&host.parse().unwrap()), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1"] {
            assert!(!Endpoint::is_loopback(&host.parse().unwrap()), "{host}");
        }
    }
}
