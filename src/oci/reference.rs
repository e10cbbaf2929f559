use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{Digest, Error};

/// The longest host and name together, as every registry known accepts it.
const MAX_NAME_CHARACTERS: usize = 255;

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $part:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Gives the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match $check(text) {
                    Ok(()) => Ok($name(text.to_owned())),
                    Err(problem) => Err(Error::Reference {
                        part: $part,
                        text: shown(&without_credentials(text)),
                        problem,
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_text! {
    /// Names one artifact within a repository, and may move.
    ///
    /// Shape: 1 to 128 of `A-Za-z0-9_.-`, the first not `.` or `-`.
    Tag, "tag", check_tag
}

checked_text! {
    /// Names a repository, without the host.
    ///
    /// Shape: components of `a-z0-9`, joined inside by `.`, `_`, `__` or dashes, with `/` between them.
    Repository, "name", check_repository
}

checked_text! {
    /// Names a registry: a domain name, an IPv4 address or a bracketed IPv6 address, and a port or none.
    Host, "host", check_host
}

impl Tag {
    /// Gives `latest`, which a reference without a tag means.
    pub fn latest() -> Tag {
        Tag("latest".to_owned())
    }
}

/// Names an artifact, in this store or in a registry.
///
/// Shape: `[HOST/]NAME[:TAG][@DIGEST]`. The first component is a host only if it has `.` or `:` or is `localhost`; a
/// reference without a host is local and never touches the network. There is always a tag or a digest: a text with
/// neither means the tag `latest`. Where both are given the digest decides and the tag only informs.
///
/// Source: the grammar of the OCI distribution specification.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    host: Option<Host>,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// Gives the registry; `None` for a local name.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Gives the repository, without the host.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Gives the tag; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Gives the digest, which decides where it is given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Gives `[HOST/]NAME`, without tag and digest.
    pub fn name(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}/{}", self.repository),
            None => self.repository.0.clone(),
        }
    }

    /// Tells whether the reference names no registry.
    pub fn is_local(&self) -> bool {
        self.host.is_none()
    }

    /// Gives the reference with another tag and without a digest.
    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference {
            tag: Some(tag),
            digest: None,
            ..self.clone()
        }
    }

    /// Gives the reference with a digest and without a tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Reads `[HOST/]NAME[:TAG][@DIGEST]`.
    ///
    /// Errors: [`Error::Reference`] or [`Error::Digest`]; no message repeats what stands where a password would.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Reference {
            part: "reference",
            text: shown(&without_credentials(text)),
            problem,
        };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.starts_with('-') {
            return Err(refuse("it starts with `-`"));
        }
        if text.contains("://") {
            return Err(refuse("it must not have a scheme such as `https://`"));
        }
        if text.parse::<Digest>().is_ok() {
            return Err(refuse("it is a digest alone; a name and `@` go before it"));
        }
        let (rest, digest) = match text.rsplit_once('@') {
            Some((rest, digest)) if is_like_a_digest(digest) && !rest.contains('@') => (rest, Some(digest.parse()?)),
            Some(_) => {
                return Err(refuse(
                    "it must hold no user and password; after `@` comes a digest only",
                ));
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(first.to_ascii_lowercase().parse()?), rest),
            _ => (None, name),
        };
        if name.len() > MAX_NAME_CHARACTERS {
            return Err(refuse("host and name together have more than 255 characters"));
        }
        let repository = repository.parse()?;
        let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
        Ok(Reference {
            host,
            repository,
            tag,
            digest,
        })
    }
}

fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) && !matches!(first, "." | "..") || first == "localhost"
}

/// A text after `@` is taken as a digest only if nobody could mean a host by it.
fn is_like_a_digest(text: &str) -> bool {
    let algorithm = text.split([':', '-']).next().unwrap_or_default();
    let known = ["sha1", "sha224", "sha256", "sha384", "sha512", "md5", "blake3"];
    known.contains(&algorithm.to_ascii_lowercase().as_str())
}

/// Replaces what stands before the last `@` that no digest follows: a password may be there.
fn without_credentials(text: &str) -> String {
    let searched = match text.rsplit_once('@') {
        Some((before, after)) if is_like_a_digest(after) => before,
        _ => text,
    };
    match searched.rfind('@') {
        Some(at) => format!("…{}", &text[at..]),
        None => text.to_owned(),
    }
}

fn check_tag(text: &str) -> Result<(), &'static str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 128 {
        return Err("it has more than 128 characters");
    }
    if text.starts_with(['.', '-']) || !text.chars().all(legal) {
        return Err("a tag is letters, digits, `_`, `.` and `-`, and does not start with `.` or `-`");
    }
    Ok(())
}

fn check_repository(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the name is empty");
    }
    if text.len() > MAX_NAME_CHARACTERS {
        return Err("it has more than 255 characters");
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("a name has no upper-case letters");
    }
    if text.split('/').all(is_component) {
        return Ok(());
    }
    Err("a name is `a-z0-9` with `.`, `_`, `__` or dashes inside, and `/` between its components")
}

fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && text
            .split(is_word)
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.chars().all(|c| c == '-'))
}

fn check_host(text: &str) -> Result<(), &'static str> {
    let (domain, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or("an IPv6 address ends with `]`")?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| "the address in brackets is not IPv6")?;
            match after.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if after.is_empty() => (None, None),
                None => return Err("after `]` comes a port or nothing"),
            }
        }
        None => match text.split_once(':') {
            Some((domain, port)) => (Some(domain), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if domain.is_some_and(|domain| !domain.split('.').all(is_label)) {
        return Err("a host is labels of letters, digits and `-`, with `.` between them");
    }
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("the port is not a number from 1 to 65535");
    }
    Ok(())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            text = format!("{text}@{digest}");
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        text.parse::<Reference>().expect_err(text).to_string()
    }

    #[test]
    fn the_first_component_is_a_host_only_if_it_looks_like_one() {
        let cases = [
            ("resnet", None, "resnet", "latest"),
            ("resnet:1", None, "resnet", "1"),
            ("team/resnet:1.0.0", None, "team/resnet", "1.0.0"),
            ("localhost/x", Some("localhost"), "x", "latest"),
            ("localhost:5000", None, "localhost", "5000"),
            ("localhost:5000/x:v", Some("localhost:5000"), "x", "v"),
            ("GHCR.io/a/b:c", Some("ghcr.io"), "a/b", "c"),
            ("foo:80/x", Some("foo:80"), "x", "latest"),
            ("127.0.0.1:5000/x", Some("127.0.0.1:5000"), "x", "latest"),
            ("[::1]:5000/x", Some("[::1]:5000"), "x", "latest"),
            ("[2001:db8::1]/x:v", Some("[2001:db8::1]"), "x", "v"),
            ("a.b-c__d---e:_T.g-", None, "a.b-c__d---e", "_T.g-"),
        ];
        for (text, host, repository, tag) in cases {
            let reference = read(text);
            assert_eq!(reference.host().map(Host::as_str), host, "{text}");
            assert_eq!(reference.repository().as_str(), repository, "{text}");
            assert_eq!(reference.tag().map(Tag::as_str), Some(tag), "{text}");
            assert_eq!(read(&reference.to_string()), reference, "{text}");
        }
    }

    #[test]
    fn a_digest_stands_alone_or_after_a_tag() {
        let reference = read(&format!("ghcr.io/a/b@sha256:{HEX}"));
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest().unwrap().hex(), HEX);
        assert_eq!(reference.to_string(), format!("ghcr.io/a/b@sha256:{HEX}"));
        let both = read(&format!("x:tag@sha256:{HEX}"));
        assert_eq!(
            (both.tag().unwrap().as_str(), both.digest().unwrap().hex()),
            ("tag", HEX.into())
        );
        assert_eq!(
            both.with_digest(*both.digest().unwrap()).to_string(),
            format!("x@sha256:{HEX}")
        );
        assert_eq!(both.with_tag(Tag::latest()).to_string(), "x:latest");
    }

    #[test]
    fn illegal_references_are_refused() {
        let cases = [
            "".to_owned(),
            "-x".into(),
            "--help".into(),
            ":tag".into(),
            "x:".into(),
            "x@".into(),
            "a//b".into(),
            "/a".into(),
            "a/".into(),
            "..".into(),
            "../x".into(),
            "host/../x:tag".into(),
            "host.io/../x:tag".into(),
            "host.io/".into(),
            "host.io//x".into(),
            "Upper".into(),
            "a b".into(),
            "a\n".into(),
            "a\0b".into(),
            "a._b".into(),
            "a___b".into(),
            "a-".into(),
            "é".into(),
            "https://ghcr.io/x".into(),
            "x:.tag".into(),
            "x:-tag".into(),
            "x:ta/g:".into(),
            "x:a:b".into(),
            "host:0/x".into(),
            "host:65536/x".into(),
            "host:+5/x".into(),
            "-host.io/x".into(),
            "[::1/x".into(),
            "[::zz]:5000/x".into(),
            "[::1]5000/x".into(),
            format!("x:{}", "t".repeat(129)),
            "n".repeat(256),
            format!("ghcr.io/{}", "n".repeat(248)),
            format!("x@sha256:{}", &HEX[1..]),
            format!("x@sha256-{HEX}"),
            format!("x@md5:{HEX}"),
            format!("sha256:{HEX}"),
            format!("x@sha256:{HEX}@sha256:{HEX}"),
            "x@sha256:../../etc/passwd".into(),
        ];
        for text in cases {
            let error = refused(&text);
            assert!(!error.contains(['\n', '\0', '\u{1b}']), "{error:?}");
        }
        read(&format!("x:{}", "t".repeat(128)));
        read(&"n".repeat(255));
    }

    #[test]
    fn a_password_is_never_printed() {
        let cases = [
            "user:secret@host/x",
            "user:secret@host.io/x:tag",
            "https://user:secret@host.io/x",
            "user:sec@secret@host.io/x",
            "user:secret@",
            "user:secret@localhost:5000/x",
            &format!("user:secret@host.io/x@sha256:{HEX}"),
            "user:secret@host.io/x@sha256:bad",
        ];
        for text in cases {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
        assert!(!format!("{:?}", "user:secret@host".parse::<Host>()).contains("secret"));
        assert!(!format!("{:?}", "user:secret@host".parse::<Repository>()).contains("secret"));
    }
}
