//! From where a server may be called: a page of another site must not reach it through the user's browser.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::{Refusal, Shared};
use crate::serve::error::shown;

/// Says which names the server goes by, and which sites may call it from a browser.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Host names beside `localhost` and every IP address; a page cannot make a browser send an address that is not its
    /// own, but any name of its own can be made to lead here.
    pub hosts: Vec<String>,
    /// Origins beside the server's own, as browsers write them.
    pub sites: Vec<String>,
}

/// Refuses a request whose Host or Origin is none of ours.
pub(in crate::serve) fn check(shared: &Shared, request: &Request) -> Result<(), Refusal> {
    let host = host(request.headers(), request.uri())?;
    let name = name_of(&host);
    if !shared.origins.admits_host(name) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!(
                "the server does not go by the name `{}`: --allow-host lets it",
                shown(name)
            ),
        ));
    }
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if !shared.origins.admits_site(origin, &host) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!(
                    "pages of `{}` may not call this server: --allow-origin lets them",
                    shown(origin)
                ),
            ));
        }
    }
    Ok(())
}

impl Origins {
    fn admits_host(&self, name: &str) -> bool {
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || plain.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn admits_site(&self, origin: &str, host: &str) -> bool {
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host)) || self.sites.iter().any(|site| site == origin)
    }
}

/// Gives the host and port that the client called.
fn host(headers: &HeaderMap, uri: &Uri) -> Result<String, Refusal> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next(), uri.authority()) {
        // HTTP/2 has it in the address.
        (None, _, Some(authority)) => Ok(authority.as_str().to_owned()),
        (Some(host), None, _) => Ok(host.to_str().unwrap_or_default().to_owned()),
        _ => Err(Refusal::bad("a request must have one Host")),
    }
}

/// Cuts the port off.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_names_addresses_and_named_hosts_are_admitted() {
        let origins = Origins {
            hosts: vec!["models.example".into()],
            sites: vec![],
        };
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "models.example:443",
            "10.1.2.3",
        ] {
            assert!(origins.admits_host(name_of(host)), "{host}");
        }
        for host in [
            "evil.example",
            "",
            "localhost.evil.example:8000",
            "127.0.0.1.evil.example",
            "models.example.x",
        ] {
            assert!(!origins.admits_host(name_of(host)), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_or_port_is_refused() {
        let origins = Origins {
            hosts: vec![],
            sites: vec!["https://lab.example".into()],
        };
        assert!(origins.admits_site("http://localhost:8000", "localhost:8000"));
        assert!(origins.admits_site("https://lab.example", "localhost:8000"));
        for origin in [
            "http://localhost:3000",
            "https://evil.example",
            "null",
            "",
            "http://lab.example",
        ] {
            assert!(!origins.admits_site(origin, "localhost:8000"), "{origin}");
        }
    }
}
