//! The machine's internal token: 32 random bytes, written as 64 hex digits.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{self, Entropy, NoEntropy};
use crate::scope::{PlainScope, Scopes};
use crate::token::{InvalidToken, TokenHash};

/// How many hex digits it has.
pub const DIGITS: usize = 64;

/// Keeps its hash apart from that of any text of 32 bytes.
const DOMAIN: &[u8] = b"fallgate-internal\0";

/// The secret by which this machine's own programs come in. It has no `Display`, its `Debug` shows nothing, and it is
/// wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InternalToken([u8; 32]);

impl InternalToken {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        entropy::bytes(entropy).map(Self)
    }

    /// Exactly 64 hex digits, in either case.
    pub fn parse(presented: &[u8]) -> Result<Self, InvalidToken> {
        let digits: &[u8; DIGITS] = presented.try_into().map_err(|_| InvalidToken)?;
        let mut token = Self([0; 32]);
        let (pairs, _) = digits.as_chunks::<2>();
        for (byte, [high, low]) in token.0.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4) | digit(*low)?;
        }
        Ok(token)
    }

    /// The secret itself, in lower case, for its file and for whoever may read that.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(DIGITS));
        for byte in self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What the store knows it by.
    pub fn hash(&self) -> TokenHash {
        TokenHash::from_bytes(Sha256::new().chain_update(DOMAIN).chain_update(self.0).finalize().into())
    }

    /// What it may be used for; no more, whoever asks.
    pub fn scopes() -> Scopes {
        use PlainScope::{LiveRead, RoutesUse, SessionsAttach, SessionsRead, SessionsWrite};
        Scopes::plain([SessionsRead, SessionsAttach, SessionsWrite, LiveRead, RoutesUse])
    }
}

impl fmt::Debug for InternalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalToken(…)")
    }
}

fn digit(byte: u8) -> Result<u8, InvalidToken> {
    let value = char::from(byte).to_digit(16).ok_or(InvalidToken)?;
    u8::try_from(value).map_err(|_| InvalidToken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;

    #[test]
    fn both_cases_are_the_same_bytes_and_the_hash_is_the_documented_one() {
        let text: String = (0_u8..32).map(|byte| format!("{byte:02x}")).collect();
        let token = InternalToken::parse(text.as_bytes()).unwrap();
        assert_eq!(*token.expose(), text);
        let upper = InternalToken::parse(text.to_ascii_uppercase().as_bytes()).unwrap();
        assert_eq!(upper.hash(), token.hash());
        // Python: hashlib.sha256(b"fallgate-internal\0" + bytes(range(32))).hexdigest()
        let hash: String = token.hash().bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "0c3b5ed2e70b9fe52f08661ebf98093adc5e1b71a978c43f6b40d01b376df2af");
    }

    #[test]
    fn r8_only_64_hex_digits_are_one() {
        let good = InternalToken::new(&TestEntropy::default()).unwrap().expose().to_string();
        for text in [
            String::new(),
            good[..63].to_owned(),
            format!("{good}0"),
            format!("{good}\n"),
            format!("0x{}", &good[2..]),
            format!("{}g", &good[1..]),
            format!("{}\u{e9}", &good[2..]),
            format!("+{}", &good[1..]),
        ] {
            assert_eq!(InternalToken::parse(text.as_bytes()).unwrap_err(), InvalidToken, "{text}");
        }
    }

    #[test]
    fn nothing_of_it_shows_in_debug() {
        let token = InternalToken::new(&TestEntropy::default()).unwrap();
        assert_eq!(format!("{token:?}"), "InternalToken(…)");
    }
}
