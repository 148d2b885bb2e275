//! Token secrets: the text that is shown once, and the hash that is kept.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_DIGITS: usize = 43;
const CHECK_DIGITS: usize = 6;
const PREFIX_LENGTH: usize = 4;

/// The length of every token's text, in bytes: prefix, 256 random bits, checksum.
pub const TOKEN_LENGTH: usize = PREFIX_LENGTH + RANDOM_DIGITS + CHECK_DIGITS;

/// How many leading characters of a secret may be shown in lists.
const HINT_LENGTH: usize = 8;

/// What a token's prefix says it is. A wrong kind is refused before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `fgt_`: a user-owned token.
    Token,
    /// `fgl_`: a browser or CLI sign-in.
    Login,
    /// `fge_`: what a browser gets on a route's host before it is sent to sign in. Nobody is anybody by it.
    Knock,
    /// `fgc_`: what brings a sign-in over to a route's host, once and at once.
    EnterCode,
    /// `fgp_`: what a device holds while it waits to be let in. Nobody is anybody by it.
    PairingClaim,
    /// `fgd_`: what a device holds while it waits to be approved (RFC 8628). Nobody is anybody by it.
    DeviceCode,
}

impl TokenKind {
    const fn prefix(self) -> &'static [u8; PREFIX_LENGTH] {
        match self {
            Self::Token => b"fgt_",
            Self::Login => b"fgl_",
            Self::Knock => b"fge_",
            Self::EnterCode => b"fgc_",
            Self::PairingClaim => b"fgp_",
            Self::DeviceCode => b"fgd_",
        }
    }
}

/// A token's secret text: `fgt_`, 43 base62 digits of 256 random bits, 6 base62 digits of the CRC-32 (IEEE) of all
/// before them. It has no `Display`, its `Debug` shows nothing, and it is wiped when dropped (requirement R25).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PlainToken {
    text: [u8; TOKEN_LENGTH],
}

/// SHA-256 of a token's whole text: the only form in which a store knows it (requirement R26).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// A text that is not a token of ours: wrong prefix, length, alphabet or checksum.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a token")]
pub struct InvalidToken;

impl PlainToken {
    /// Writes 256 random bits as a token of that kind.
    pub fn new(kind: TokenKind, random: &[u8; 32]) -> Self {
        let mut text = [b'0'; TOKEN_LENGTH];
        let (head, check) = text.split_at_mut(PREFIX_LENGTH + RANDOM_DIGITS);
        let (prefix, digits) = head.split_at_mut(PREFIX_LENGTH);
        prefix.copy_from_slice(kind.prefix());
        let mut number = *random;
        write_base62(&mut number, digits);
        number.zeroize();
        let mut checksum = crc32fast::hash(head).to_be_bytes();
        write_base62(&mut checksum, check);
        Self { text }
    }

    /// Checks form and checksum; asks nobody.
    pub fn parse(kind: TokenKind, presented: &[u8]) -> Result<Self, InvalidToken> {
        let text: [u8; TOKEN_LENGTH] = presented.try_into().map_err(|_| InvalidToken)?;
        let (head, check) = text.split_at(PREFIX_LENGTH + RANDOM_DIGITS);
        let (prefix, digits) = head.split_at(PREFIX_LENGTH);
        if prefix != kind.prefix() || !digits.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidToken);
        }
        let mut expected = [b'0'; CHECK_DIGITS];
        write_base62(&mut crc32fast::hash(head).to_be_bytes(), &mut expected);
        // No secret is compared here: whoever has the text can compute its checksum.
        if check == expected { Ok(Self { text }) } else { Err(InvalidToken) }
    }

    /// The secret itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        // The text is ASCII by construction.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// What the store keeps in its place.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.text).into())
    }

    /// The first eight characters: enough to tell one's tokens apart, useless to a guesser.
    pub fn hint(&self) -> String {
        self.expose().chars().take(HINT_LENGTH).collect()
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(…)")
    }
}

impl TokenHash {
    /// From the 32 bytes that the store kept.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the store.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Writes a big-endian number in base 62, most significant digit first, left-padded with `0`. The number is used up.
pub(crate) fn write_base62(number: &mut [u8], digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in number.iter_mut() {
            let value = (remainder << 8) | u32::from(*byte);
            // Below 62 * 256, so the quotient fits a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = BASE62.get(remainder as usize).copied().unwrap_or(b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r25_a_token_has_the_documented_form() {
        // Written down by another program, from the same definition.
        for (kind, random, text) in [
            (TokenKind::Token, [0; 32], "fgt_00000000000000000000000000000000000000000000pc7Ih"),
            (TokenKind::Login, [0xff; 32], "fgl_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp12zzmgc"),
            (
                TokenKind::Token,
                std::array::from_fn(|i| u8::try_from(i).unwrap()),
                "fgt_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf00Z4sN",
            ),
        ] {
            assert_eq!(PlainToken::new(kind, &random).expose(), text);
            assert!(PlainToken::parse(kind, text.as_bytes()).is_ok());
        }
    }

    #[test]
    fn r25_every_single_changed_character_is_noticed() {
        let token = PlainToken::new(TokenKind::Token, &[7; 32]);
        for position in 0..TOKEN_LENGTH {
            for other in [b'0', b'z', b'-', 0xff, 0] {
                let mut text = token.expose().as_bytes().to_vec();
                if text[position] == other {
                    continue;
                }
                text[position] = other;
                assert!(PlainToken::parse(TokenKind::Token, &text).is_err());
            }
        }
    }

    #[test]
    fn kinds_do_not_interchange() {
        let token = PlainToken::new(TokenKind::Token, &[7; 32]);
        assert!(PlainToken::parse(TokenKind::Token, token.expose().as_bytes()).is_ok());
        assert_eq!(PlainToken::parse(TokenKind::Login, token.expose().as_bytes()).unwrap_err(), InvalidToken);
    }

    #[test]
    fn nothing_of_a_token_shows_in_debug() {
        let token = PlainToken::new(TokenKind::Token, &[7; 32]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "PlainToken(…) TokenHash(…)");
        assert_eq!(Some(token.hint().as_str()), token.expose().get(..8));
    }
}
