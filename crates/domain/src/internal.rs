//! The machine's internal token: 32 random bytes, written as 64 hex digits.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{self, Entropy, NoEntropy};
use crate::hex;
use crate::scope::{PlainScope, Scopes};
use crate::token::{InvalidToken, TokenHash};

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
        hex::decode(presented).map(Self).ok_or(InvalidToken)
    }

    /// The secret itself, in lower case, for its file and for whoever may read that.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(&self.0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;

    #[test]
    fn both_cases_are_the_same_bytes_and_the_hash_is_the_documented_one() {
        let text = hex::encode(&(0_u8..32).collect::<Vec<_>>());
        let token = InternalToken::parse(text.as_bytes()).unwrap();
        assert_eq!(*token.expose(), text);
        let upper = InternalToken::parse(text.to_ascii_uppercase().as_bytes()).unwrap();
        assert_eq!(upper.hash(), token.hash());
        // Python: hashlib.sha256(b"fallgate-internal\0" + bytes(range(32))).hexdigest()
        assert_eq!(
            hex::encode(token.hash().bytes()),
            "0c3b5ed2e70b9fe52f08661ebf98093adc5e1b71a978c43f6b40d01b376df2af"
        );
    }

    #[test]
    fn r8_only_64_hex_digits_are_one() {
        let digits = |count| "7".repeat(count);
        assert!(InternalToken::parse(digits(64).as_bytes()).is_ok());
        for text in [
            String::new(),
            digits(63),
            digits(65),
            format!("{}\n", digits(64)),
            format!("0x{}", digits(62)),
            format!("{}g", digits(63)),
            format!("{}\u{e9}", digits(62)),
            format!("+{}", digits(63)),
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
