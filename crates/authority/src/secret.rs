//! Any secret text that may be presented, in whatever carrier: read strictly, and turned into what the store knows it
//! by. No form is a prefix of another, and no two texts of different forms hash alike.

use fallgate_domain::internal::InternalToken;
use fallgate_domain::legacy::LegacyToken;
use fallgate_domain::token::{InvalidToken, PlainToken, TokenHash, TokenKind};

/// The hash of a secret: a token's or a sign-in's, an old one's of llmux, or the internal token's.
pub(crate) fn read(text: &[u8]) -> Result<TokenHash, InvalidToken> {
    PlainToken::parse(TokenKind::Token, text)
        .or_else(|_| PlainToken::parse(TokenKind::Login, text))
        .map(|token| token.hash())
        .or_else(|_| LegacyToken::parse(text).map(|token| token.hash()))
        .or_else(|_| InternalToken::parse(text).map(|token| token.hash()))
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;

    use super::*;

    #[test]
    fn r41_each_form_is_read_and_hashed_in_its_own_way() {
        let token = PlainToken::new(TokenKind::Token, &[7; 32]);
        let login = PlainToken::new(TokenKind::Login, &[7; 32]);
        let internal = InternalToken::new(&TestEntropy::default()).unwrap();
        let legacy = format!("sas_{}", "x".repeat(28));
        assert_eq!(read(token.expose().as_bytes()), Ok(token.hash()));
        assert_eq!(read(login.expose().as_bytes()), Ok(login.hash()));
        let hash = read(legacy.as_bytes()).unwrap();
        assert_eq!(read(internal.expose().as_bytes()), Ok(internal.hash()));
        // The legacy token's 32 bytes, written as an internal token, are another secret.
        let digits = fallgate_domain::hex::encode(legacy.as_bytes());
        assert_ne!(read(digits.as_bytes()).unwrap(), hash);
    }
}
