//! Pairing codes: what stands in the QR code by which a device is signed in. A code is no credential: somebody has to
//! let the device in, or a passphrase has to be shown.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::token::{TokenHash, write_base62};

/// Tells codes apart. It is no secret: a wrong try that names a code is counted against that one, and against no other.
const NAME_DIGITS: usize = 6;
/// 128 bits.
const SECRET_DIGITS: usize = 22;

/// The length of a code's text, in bytes.
pub const CODE_LENGTH: usize = NAME_DIGITS + SECRET_DIGITS;

/// How many random bytes a code is made of.
pub const CODE_RANDOM: usize = 20;
const NAME_RANDOM: usize = 4;

/// Six base62 digits that name it and 22 more of 128 random bits. It has no `Display`, its `Debug` shows nothing, and it
/// is wiped when dropped.
#[derive(Clone)]
pub struct PairingCode(Zeroizing<[u8; CODE_LENGTH]>);

/// By which a code is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeName([u8; NAME_DIGITS]);

/// A text that has not the form of a code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a pairing code")]
pub struct InvalidCode;

impl PairingCode {
    /// Writes random bytes as a code: 32 bits for its name, 128 for its secret.
    pub fn new(random: &Zeroizing<[u8; CODE_RANDOM]>) -> Self {
        let (mut random, mut text) = (random.clone(), Zeroizing::new([b'0'; CODE_LENGTH]));
        let (name, secret) = random.split_at_mut(NAME_RANDOM);
        let (name_digits, secret_digits) = text.split_at_mut(NAME_DIGITS);
        write_base62(name, name_digits);
        write_base62(secret, secret_digits);
        Self(text)
    }

    /// Checks the form; asks nobody. White space around it is what copying adds.
    pub fn parse(presented: &[u8]) -> Result<Self, InvalidCode> {
        let text: [u8; CODE_LENGTH] = presented.trim_ascii().try_into().map_err(|_| InvalidCode)?;
        let text = Zeroizing::new(text);
        if text.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(text)) } else { Err(InvalidCode) }
    }

    /// The code itself, for the one who shows it.
    pub fn expose(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&*self.0).unwrap_or_default()
    }

    /// What tells it apart.
    pub fn name(&self) -> CodeName {
        let mut name = [b'0'; NAME_DIGITS];
        name.iter_mut().zip(&*self.0).for_each(|(digit, told)| *digit = *told);
        CodeName(name)
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_bytes(Sha256::digest(*self.0).into())
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r26_a_code_has_128_bits_beside_its_name_and_shows_nothing() {
        let code = PairingCode::new(&Zeroizing::new([0xff; CODE_RANDOM]));
        // 2^32 - 1 and 2^128 - 1 in base 62, written down by another program.
        assert_eq!(code.expose(), "4gfFC37n42DGM5Tflk9n8mt7Fhc7");
        assert_eq!(format!("{code:?} {:?}", code.hash()), "PairingCode(…) TokenHash(…)");
        let low = PairingCode::new(&Zeroizing::new([0; CODE_RANDOM]));
        assert_eq!(low.expose(), "0".repeat(CODE_LENGTH));
        assert_ne!((low.name(), low.hash()), (code.name(), code.hash()));
    }

    #[test]
    fn a_code_is_read_as_it_is_written_with_blanks_around_it_at_most() {
        let code = PairingCode::new(&Zeroizing::new([7; CODE_RANDOM]));
        let text = code.expose();
        for read in [text.to_owned(), format!(" {text}\r\n")] {
            assert_eq!(PairingCode::parse(read.as_bytes()).map(|read| read.hash()), Ok(code.hash()));
        }
        let short: String = text.chars().skip(1).collect();
        for wrong in ["", &short, &format!("{text}0"), &format!("{short}-"), &format!("{short}\u{e4}")] {
            assert_eq!(PairingCode::parse(wrong.as_bytes()).unwrap_err(), InvalidCode, "{wrong}");
        }
    }
}
