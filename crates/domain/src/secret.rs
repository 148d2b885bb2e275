//! Any secret text that may be presented, in whatever carrier: read strictly, and turned into what the store knows it
//! by. No text is of two forms, and no two texts hash alike. And any other text, looked through for one.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::internal::InternalToken;
use crate::legacy::LegacyToken;
use crate::token::{InvalidToken, PlainToken, TokenHash, TokenKind};
use crate::worker;

/// The hash of a secret: a token's or a sign-in's, an old one's of llmux, or the internal token's.
pub fn hash(text: &[u8]) -> Result<TokenHash, InvalidToken> {
    PlainToken::parse(TokenKind::Token, text)
        .or_else(|_| PlainToken::parse(TokenKind::Login, text))
        .map(|token| token.hash())
        .or_else(|_| LegacyToken::parse(text).map(|token| token.hash()))
        .or_else(|_| InternalToken::parse(text).map(|token| token.hash()))
}

/// How secrets begin, of whatever kind. The internal token has no such beginning; it is 64 hexadecimal digits.
const BEGINNINGS: [&[u8]; 7] = [b"fgt_", b"fgl_", b"fge_", b"fgp_", b"fgd_", b"sas_", SIGNED];
/// `{"alg":"EdDSA","kid":"` in base64url: so begins whatever is signed here.
const SIGNED: &[u8] = b"eyJhbGciOiJFZERTQSIsImtpZCI6I";
const DIGITS: usize = 64;
/// How many runs of that many digits are looked at in one address: each is a hash.
const MOST_LOOKED_AT: usize = 256;

/// Whether a secret of ours may stand anywhere in a part of an address, or what begins like one: however it is
/// percent-encoded, and whatever stands around it.
pub fn is_within(text: &str) -> bool {
    begins_within(text) || has_run_of_digits(&decoded(text))
}

/// The same of those alone that can be known by how they begin. An upstream's own addresses have digests in them, too.
pub fn begins_within(text: &str) -> bool {
    let text = decoded(text);
    BEGINNINGS.iter().any(|beginning| text.windows(beginning.len()).any(|window| window == *beginning))
}

/// Whether an internal token that `is_known` stands anywhere in a part of an address. Whoever writes more digits in a row
/// than are worth looking through is taken to have written one.
pub fn internal_within(text: &str, is_known: impl Fn(&TokenHash) -> bool) -> bool {
    let text = decoded(text);
    let runs = text.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= DIGITS);
    let mut looked_at = 0;
    runs.flat_map(|run| run.windows(DIGITS)).any(|digits| {
        looked_at += 1;
        looked_at > MOST_LOOKED_AT || InternalToken::parse(digits).is_ok_and(|token| is_known(&token.hash()))
    })
}

fn has_run_of_digits(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() >= DIGITS)
}

/// Percent-decoded as often as there is anything to decode: the last three bytes read are decoded as soon as they can be.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        decoded.push(byte);
        while let [.., b'%', high, low] = decoded.as_slice()
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(high << 4 | low);
        }
    }
    Cow::Owned(decoded)
}

/// The text of a secret, of whatever form. Wiped when dropped; shows nothing of itself.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// A text that has one of the forms; asks nobody.
    pub fn new(text: Zeroizing<String>) -> Result<Self, InvalidToken> {
        let is_one = hash(text.as_bytes()).is_ok() || worker::read(text.as_bytes()).is_ok();
        if is_one { Ok(Self(text)) } else { Err(InvalidToken) }
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
    fn r23_a_secret_is_found_wherever_it_stands_and_however_it_is_encoded() {
        let (digits, short) = ("0Aa9".repeat(16), "0Aa9".repeat(15) + "Aa9");
        for text in [
            "fgt_x",
            "api;t=fgt_x",
            "x-fgl_",
            "sas_x",
            "fge_x",
            "fgt%5Fx",
            "fgt%5fx",
            "%66gt_x",
            "a%25255ffgt%25255f",
        ] {
            assert!(is_within(text) && begins_within(text), "{text}");
        }
        for text in [digits.clone(), format!("token={digits};x"), format!("%30{short}")] {
            assert!(is_within(&text) && !begins_within(&text), "{text}");
        }
        for text in ["", "fgt", "fgt-x", "fgt%", "fgt%5", "fgt%5gx", "%", "100%25", &*short, "notes"] {
            assert!(!is_within(text), "{text}");
        }
    }

    #[test]
    fn r23_an_internal_token_is_found_among_other_digits() {
        let token = InternalToken::new(&TestEntropy::default()).unwrap();
        let (hash, exposed) = (token.hash(), token.expose());
        let digits = exposed.as_str();
        let found = |text: &str| internal_within(text, |known| *known == hash);
        let (upper, coded) = (digits.to_ascii_uppercase(), digits.replace('a', "%61"));
        for text in [digits, &upper, &coded, &format!("/x/a{digits}0?b"), &"0".repeat(400)] {
            assert!(found(text), "{text}");
        }
        for text in ["", "/x", digits.split_at(1).1, &"0aA9".repeat(16), &"0".repeat(100)] {
            assert!(!found(text), "{text}");
        }
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
