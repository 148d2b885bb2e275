//! Any secret text that may be presented, in whatever carrier: read strictly, and turned into what the store knows it
//! by. No text is of two forms, and no two texts hash alike.

use std::fmt;

use zeroize::Zeroizing;

use crate::internal::InternalToken;
use crate::legacy::LegacyToken;
use crate::token::{InvalidToken, PlainToken, TokenHash, TokenKind};

/// The hash of a secret: a token's or a sign-in's, an old one's of llmux, or the internal token's.
pub fn hash(text: &[u8]) -> Result<TokenHash, InvalidToken> {
    PlainToken::parse(TokenKind::Token, text)
        .or_else(|_| PlainToken::parse(TokenKind::Login, text))
        .map(|token| token.hash())
        .or_else(|_| LegacyToken::parse(text).map(|token| token.hash()))
        .or_else(|_| InternalToken::parse(text).map(|token| token.hash()))
}

/// The text of a secret, of whatever form. Wiped when dropped; shows nothing of itself.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// A text that has one of the forms; asks nobody.
    pub fn new(text: Zeroizing<String>) -> Result<Self, InvalidToken> {
        hash(text.as_bytes()).map(|_| Self(text))
    }

    /// The secret itself, for whoever decides on it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Text that nobody is to see and that is not ours to understand, such as an upstream's own token. Wiped when dropped;
/// shows nothing of itself.
pub struct HiddenText(Zeroizing<String>);

impl HiddenText {
    /// This text.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself, for whoever sends it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;
    use crate::hex;

    #[test]
    fn r41_each_form_is_read_and_hashed_in_its_own_way() {
        let token = PlainToken::new(TokenKind::Token, &[7; 32]);
        let login = PlainToken::new(TokenKind::Login, &[7; 32]);
        let internal = InternalToken::new(&TestEntropy::default()).unwrap();
        let legacy = format!("sas_{}", "x".repeat(28));
        assert_eq!(hash(token.expose().as_bytes()), Ok(token.hash()));
        assert_eq!(hash(login.expose().as_bytes()), Ok(login.hash()));
        let known = hash(legacy.as_bytes()).unwrap();
        assert_eq!(hash(internal.expose().as_bytes()), Ok(internal.hash()));
        // The legacy token's 32 bytes, written as an internal token, are another secret.
        let digits = hex::encode(legacy.as_bytes());
        assert_ne!(hash(digits.as_bytes()).unwrap(), known);
    }
    #[test]
    fn only_what_has_a_form_is_held_and_nothing_of_it_shows() {
        let held = SecretText::new(Zeroizing::new(format!("sas_{}", "x".repeat(43)))).unwrap();
        assert_eq!(format!("{held:?}"), "SecretText(…)");
        assert_eq!(format!("{:?}", HiddenText::new(Zeroizing::new("x".to_owned()))), "HiddenText(…)");
        for text in ["", "fgt_", "correct horse battery staple", "sas_x"] {
            assert!(SecretText::new(Zeroizing::new(text.to_owned())).is_err(), "{text}");
        }
    }
}
