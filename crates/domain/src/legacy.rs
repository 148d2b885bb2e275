//! Tokens of llmux, as they are presented after a move: read, hashed, and never made.
//!
//! There are two forms. An anonymous one is `sas_` and 16 to 128 characters of base64url; it is known by the SHA-256 of
//! all of it. A bound one, which has an owner, is `sas_`, an id of 16 such characters, a point and 43 more; llmux kept
//! the id and the SHA-256 of the text after the point, so both together are what it is known by here.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::token::{InvalidToken, TokenHash};

const PREFIX: &[u8; 4] = b"sas_";
const ANONYMOUS: std::ops::RangeInclusive<usize> = 16..=128;
const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 43;
/// Keeps what a bound token is known by apart from the hash of any text.
const BOUND: &[u8] = b"llmux-bound\0";
const HINT_LENGTH: usize = 8;

/// A text in one of the two forms. Whether anybody has it is the verifier's to say.
#[derive(Clone, Copy)]
pub struct LegacyToken<'t> {
    text: &'t [u8],
    bound: Option<(BoundId, &'t [u8])>,
}

/// The public half of a bound token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BoundId([u8; ID_LENGTH]);

impl<'t> LegacyToken<'t> {
    /// Checks the form; asks nobody.
    pub fn parse(presented: &'t [u8]) -> Result<Self, InvalidToken> {
        let rest = presented.strip_prefix(PREFIX).ok_or(InvalidToken)?;
        if ANONYMOUS.contains(&rest.len()) && is_base64url(rest) {
            return Ok(Self { text: presented, bound: None });
        }
        let (id, secret) = rest.split_first_chunk().ok_or(InvalidToken)?;
        let secret = secret.strip_prefix(b".").ok_or(InvalidToken)?;
        if secret.len() == SECRET_LENGTH && is_base64url(id) && is_base64url(secret) {
            Ok(Self { text: presented, bound: Some((BoundId(*id), secret)) })
        } else {
            Err(InvalidToken)
        }
    }

    /// What the store knows it by.
    pub fn hash(&self) -> TokenHash {
        match &self.bound {
            None => TokenHash::from_bytes(Sha256::digest(self.text).into()),
            Some((id, secret)) => id.hash(&Sha256::digest(secret).into()),
        }
    }

    /// The first eight characters, four of them secret.
    pub fn hint(&self) -> String {
        self.text.iter().take(HINT_LENGTH).map(|byte| char::from(*byte)).collect()
    }

    /// Whether it has an owner.
    pub fn is_bound(&self) -> bool {
        self.bound.is_some()
    }
}

impl std::fmt::Debug for LegacyToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LegacyToken(…)")
    }
}

impl BoundId {
    /// What the store knows a bound token by: its id, and the SHA-256 of the text after the point.
    pub fn hash(&self, secret_hash: &[u8; 32]) -> TokenHash {
        let whole = Sha256::new().chain_update(BOUND).chain_update(self.0).chain_update(secret_hash);
        TokenHash::from_bytes(whole.finalize().into())
    }

    /// As a token with this id begins, for lists: `sas_` and four characters.
    pub fn hint(&self) -> String {
        PREFIX.iter().chain(&self.0).take(HINT_LENGTH).map(|byte| char::from(*byte)).collect()
    }
}

impl std::fmt::Debug for BoundId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl FromStr for BoundId {
    type Err = InvalidToken;

    /// With `sas_` before it or without.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let bytes = text.as_bytes();
        let bytes =
            if bytes.len() == ID_LENGTH { bytes } else { bytes.strip_prefix(PREFIX).unwrap_or(bytes) };
        let id: [u8; ID_LENGTH] = bytes.try_into().map_err(|_| InvalidToken)?;
        if is_base64url(&id) { Ok(Self(id)) } else { Err(InvalidToken) }
    }
}

fn is_base64url(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(digits: &str) -> TokenHash {
        TokenHash::from_bytes(crate::hex::decode(digits.as_bytes()).unwrap())
    }

    #[test]
    fn both_forms_are_known_by_what_llmux_kept() {
        // printf %s "$text" | sha256sum
        let anonymous = LegacyToken::parse(b"sas_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE").unwrap();
        assert_eq!(
            anonymous.hash(),
            bytes("9c381456145785bb1ec67df2658d5283a2e79d41afa2fdbd13dc2d56d14a5086")
        );
        assert_eq!((anonymous.hint().as_str(), anonymous.is_bound()), ("sas_AbCd", false));
        let text = format!("sas_0123456789abcdef.{}", "s".repeat(43));
        let bound = LegacyToken::parse(text.as_bytes()).unwrap();
        let id: BoundId = "0123456789abcdef".parse().unwrap();
        assert_eq!(bound.hash(), id.hash(&Sha256::digest("s".repeat(43)).into()));
        // { printf 'llmux-bound\0'; printf %s 0123456789abcdef; printf %s sss… | sha256sum -b, as bytes; } | sha256sum
        assert_eq!(bound.hash(), bytes("ad8833a509badcf41ec996ccb479dfb7ff76ddfdd0ec663361f57e75038df711"));
        assert_eq!((bound.hint(), bound.is_bound()), (id.hint(), true));
        assert_eq!("sas_0123456789abcdef".parse(), Ok(id));
    }

    #[test]
    fn both_halves_of_a_bound_token_count() {
        let hash = |text: &str| LegacyToken::parse(text.as_bytes()).unwrap().hash();
        let one = format!("sas_0123456789abcdef.{}", "s".repeat(43));
        assert_ne!(hash(&one), hash(&one.replace("0123", "3210")));
        assert_ne!(hash(&one), hash(&one.replace("sss", "sSs")));
    }

    #[test]
    fn r8_what_llmux_never_wrote_is_no_token() {
        let (id, secret) = ("0123456789abcdef", "s".repeat(43));
        for text in [
            String::new(),
            "sas_".to_owned(),
            format!("sas_{}", "x".repeat(15)),
            format!("sas_{}", "x".repeat(129)),
            format!("SAS_{secret}"),
            format!("fgt_{secret}"),
            format!("sas_{secret} "),
            format!("sas_{secret}="),
            format!("sas_{secret}\u{e9}"),
            format!("sas_{secret}+/"),
            format!("sas_{id}.{secret}x"),
            format!("sas_{id}.{}", "s".repeat(42)),
            format!("sas_{id}x.{secret}"),
            format!("sas_{id}..{}", "s".repeat(42)),
            format!("sas_{id}.{secret}."),
        ] {
            assert_eq!(LegacyToken::parse(text.as_bytes()).unwrap_err(), InvalidToken, "{text}");
        }
        for id in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcde.", "sas_0123456789abcde"] {
            assert!(id.parse::<BoundId>().is_err(), "{id}");
        }
    }

    #[test]
    fn nothing_of_a_token_shows_in_debug() {
        let text = format!("sas_{}", "x".repeat(43));
        assert_eq!(format!("{:?}", LegacyToken::parse(text.as_bytes()).unwrap()), "LegacyToken(…)");
    }

    proptest! {
        #[test]
        fn r8_any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = LegacyToken::parse(&bytes);
            let mut prefixed = b"sas_".to_vec();
            prefixed.extend(&bytes);
            let _ = LegacyToken::parse(&prefixed);
        }

        #[test]
        fn a_text_is_of_one_form_and_two_texts_never_hash_alike(
            a in "sas_[A-Za-z0-9_-]{16,128}|sas_[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{43}",
            b in "sas_[A-Za-z0-9_-]{16,128}|sas_[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{43}",
        ) {
            let (one, other) = (LegacyToken::parse(a.as_bytes()).unwrap(), LegacyToken::parse(b.as_bytes()).unwrap());
            prop_assert_eq!(one.is_bound(), a.contains('.'));
            prop_assert_eq!(one.hash() == other.hash(), a == b);
        }
    }
}
