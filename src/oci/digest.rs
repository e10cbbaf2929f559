use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::Error;
use super::error::shown;

/// Names a hash function of the OCI registry of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which gpux writes.
    Sha256,
    /// SHA-512, which gpux reads and verifies.
    Sha512,
}

impl Algorithm {
    /// Gives every algorithm.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// Gives the name that stands before the colon, which is also the folder in an image layout's `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// Names content by its hash.
///
/// Shape: `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits. Two ways lead to one: parsing a text
/// of exactly that shape, and hashing bytes; so the text of a digest is always safe as a file name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Digest {
    /// Hashes `bytes` with SHA-256.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Gives the hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Value::Sha256(_) => Algorithm::Sha256,
            Value::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Gives the hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        let bytes: &[u8] = match &self.0 {
            Value::Sha256(bytes) => bytes,
            Value::Sha512(bytes) => bytes,
        };
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }

    /// Gives the first 12 hexadecimal digits, for tables.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Tells whether `bytes` are the content that the digest names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = Hasher::new(self.algorithm());
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

fn digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}

impl FromStr for Digest {
    type Err = Error;

    /// Reads `sha256:HEX` or `sha512:HEX`.
    ///
    /// Errors: [`Error::Digest`] for every other text, upper-case digits and surrounding space included.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Digest {
            text: shown(text),
            problem,
        };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| refuse("it has no `algorithm:`"))?;
        match algorithm {
            "sha256" => decode(hex).map(Value::Sha256),
            "sha512" => decode(hex).map(Value::Sha512),
            _ => return Err(refuse("only sha256 and sha512 are known")),
        }
        .map(Digest)
        .map_err(refuse)
    }
}

fn decode<const N: usize>(hex: &str) -> Result<[u8; N], &'static str> {
    if hex.len() != 2 * N {
        return Err("sha256 has 64 digits and sha512 has 128");
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Result<u8, &'static str> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err("its digits must be 0-9 and a-f"),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.algorithm().name(), self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// Hashes content that comes in pieces, and counts it.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    size_bytes: u64,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Starts with no content.
    pub fn new(algorithm: Algorithm) -> Hasher {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(Sha512::new())),
        };
        Hasher { state, size_bytes: 0 }
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Gives the number of bytes added so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Gives the digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(match self.state {
            State::Sha256(state) => Value::Sha256(state.finalize().into()),
            State::Sha512(state) => Value::Sha512(state.finalize().into()),
        })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashing_gives_the_published_values() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.size_bytes(), 3);
        let digest = hasher.finish();
        assert!(
            digest
                .to_string()
                .starts_with("sha512:ddaf35a193617abacc417349ae204131")
        );
        assert!(digest.to_string().ends_with("2a9ac94fa54ca49f"));
    }

    #[test]
    fn sha512_is_read_and_verified() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest: Digest = hasher.finish().to_string().parse().unwrap();
        assert!(digest.matches(b"abc"));
        assert!(!digest.matches(b"abd"));
    }

    #[test]
    fn only_the_exact_shape_is_a_digest() {
        let hex = &ABC[7..];
        let cases = [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            "sha256:../../etc/passwd".into(),
            format!("sha256-{hex}"),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha256:{hex}\n"),
            format!("sha256:{}\n", &hex[1..]),
            format!("sha256:{}\0", &hex[1..]),
            format!(" sha256:{hex}"),
            format!("sha512:{hex}"),
            "md5:d41d8cd98f00b204e9800998ecf8427e".into(),
            format!("sha256:{}é", &hex[2..]),
        ];
        for text in cases {
            let error = text.parse::<Digest>().expect_err(&text).to_string();
            assert!(!error.contains(['\n', '\0']), "{error:?}");
        }
        assert_eq!(ABC.parse::<Digest>().unwrap().to_string(), ABC);
    }

    #[test]
    fn a_digest_in_json_is_checked() {
        assert_eq!(
            serde_json::from_str::<Digest>(&format!("\"{ABC}\"")).unwrap().hex(),
            &ABC[7..]
        );
        assert!(serde_json::from_str::<Digest>("\"sha256:../x\"").is_err());
    }
}
