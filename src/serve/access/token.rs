//! What a client shows to be known, and what a server keeps of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring::default_provider;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::serve::hex::hex;

/// What every token starts with, so that scanners of leaked secrets and people tell one when they see it.
const PREFIX: &str = "gpux_";
/// Bytes of the part that names a token.
const ID_BYTES: usize = 4;
/// Bytes of the part that is secret.
const SECRET_BYTES: usize = 32;

/// Is a token: `gpux_ID_SECRET`. It is shown once, and never printed by accident: it has no `Debug` and no `Display`.
pub struct Token {
    text: String,
}

/// Is what is kept of a token: SHA-256 of its text. Its secret has 256 random bits, so there is nothing to guess.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash([u8; 32]);

/// Says that the system gives no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

impl Token {
    /// Draws a new token.
    ///
    /// Errors: the system gives no random numbers.
    pub fn draw() -> Result<Token, NoRandom> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| NoRandom)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        Ok(Token {
            text: format!("{PREFIX}{}_{}", hex(id), URL_SAFE_NO_PAD.encode(secret)),
        })
    }

    /// Reads what a client shows; `None` where it has not the form of a token.
    pub fn parse(text: &str) -> Option<Token> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_secret = URL_SAFE_NO_PAD
            .decode(secret)
            .is_ok_and(|secret| secret.len() == SECRET_BYTES);
        (is_id && is_secret).then(|| Token { text: text.to_owned() })
    }

    /// Gives the part by which a token is spoken of; it is no secret.
    pub fn id(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + 2 * ID_BYTES]
    }

    /// Gives the whole token, for the one who asked for it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Gives what is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl TokenHash {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<TokenHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| {
                (pair[at] as char)
                    .to_digit(16)
                    .filter(|_| !pair[at].is_ascii_uppercase())
            };
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(TokenHash(bytes))
    }

    /// Compares in a time that tells nothing of where two differ.
    pub fn is(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Display for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_no_two_are_equal() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_eq!(one.reveal().len(), 5 + 8 + 1 + 43);
        assert!(one.reveal().starts_with("gpux_"));
        assert_ne!(one.reveal(), other.reveal());
        let again = Token::parse(one.reveal()).unwrap();
        assert_eq!(again.id(), one.id());
        assert!(again.hash().is(&one.hash()));
        assert!(!again.hash().is(&other.hash()));
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        let token = Token::draw().unwrap();
        let text = token.reveal();
        let long = format!("{text}A");
        let other_id = format!("gpux_ABCDEF12{}", &text[13..]);
        for wrong in [
            "",
            "gpux_",
            "gpux__",
            &text[1..],
            &text[..text.len() - 1],
            &long,
            &other_id,
        ] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = Token::draw().unwrap().hash();
        assert!(TokenHash::parse(&hash.to_string()).unwrap().is(&hash));
        let upper = hash.to_string().to_uppercase();
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert!(TokenHash::parse(wrong).is_none(), "{wrong}");
        }
        assert!(upper == hash.to_string() || TokenHash::parse(&upper).is_none());
    }
}
