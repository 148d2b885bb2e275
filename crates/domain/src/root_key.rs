//! The root key: 32 bytes from which every key at rest is derived, and the spellings in which it may be written down.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{Entropy, NoEntropy};
use crate::hex;

/// How many bytes a root key has.
pub const ROOT_KEY_LENGTH: usize = 32;

const HEX_DIGITS: usize = 64;
/// Standard base64, padded.
const BASE64_LENGTH: usize = 44;
/// base64url, not padded.
const BASE64URL_LENGTH: usize = 43;

/// A root key. It has no `Display`, its `Debug` shows nothing, and it is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; ROOT_KEY_LENGTH]);

/// Why a text is not a root key. No variant holds any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRootKey {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// A blank, a tab, a line end or a control character stands in it.
    #[error("it has a blank, a line end or another character in it that cannot be seen")]
    Blank,
    /// `0x` stands before it.
    #[error("it begins with 0x, which must not stand there")]
    Prefixed,
    /// Neither 64, 44 nor 43 characters.
    #[error("it has {0} characters, where 64 hex digits, 44 of base64 or 43 of base64url belong")]
    Length(usize),
    /// 64 characters that are not all hex digits.
    #[error("not all of its 64 characters are hex digits")]
    NotHex,
    /// 44 characters that are not 32 bytes in padded standard base64, in its one canonical form.
    #[error("its 44 characters are not 32 bytes in standard base64 with its padding")]
    NotBase64,
    /// 43 characters that are not 32 bytes in base64url, in its one canonical form.
    #[error("its 43 characters are not 32 bytes in base64url")]
    NotBase64Url,
    /// A key of zeros is no secret.
    #[error("it is all zeros")]
    Zero,
}

impl RootKey {
    /// A new key.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut key = Self([0; ROOT_KEY_LENGTH]);
        entropy.fill(&mut key.0)?;
        Ok(key)
    }

    /// From the bytes that [`RootKey::expose`] gave.
    pub fn from_bytes(bytes: &[u8; ROOT_KEY_LENGTH]) -> Self {
        Self(*bytes)
    }

    /// Reads one of the three spellings, told apart by their length: 64 hex digits of either case, 44 characters of
    /// padded standard base64, 43 of unpadded base64url. Each has to be what its bytes would be written as.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidRootKey> {
        if text.is_empty() {
            return Err(InvalidRootKey::Empty);
        }
        if text.iter().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err(InvalidRootKey::Blank);
        }
        // The digits of base64 may well begin like this.
        let is_base64 = matches!(text.len(), BASE64_LENGTH | BASE64URL_LENGTH);
        if !is_base64 && (text.starts_with(b"0x") || text.starts_with(b"0X")) {
            return Err(InvalidRootKey::Prefixed);
        }
        let key = match text.len() {
            HEX_DIGITS => hex::decode(text).map(RootKey).ok_or(InvalidRootKey::NotHex)?,
            BASE64_LENGTH => base64(&STANDARD, text).ok_or(InvalidRootKey::NotBase64)?,
            BASE64URL_LENGTH => base64(&URL_SAFE_NO_PAD, text).ok_or(InvalidRootKey::NotBase64Url)?,
            length => return Err(InvalidRootKey::Length(length)),
        };
        if key.0.iter().all(|byte| *byte == 0) { Err(InvalidRootKey::Zero) } else { Ok(key) }
    }

    /// Reads what a file holds: the same, and at most one line end (`\n`) behind it.
    pub fn parse_file(content: &[u8]) -> Result<Self, InvalidRootKey> {
        Self::parse(content.strip_suffix(b"\n").unwrap_or(content))
    }

    /// The key itself, to derive from.
    pub const fn expose(&self) -> &[u8; ROOT_KEY_LENGTH] {
        &self.0
    }

    /// As it is written to a file: 64 lower-case hex digits and a line end.
    pub fn to_file(&self) -> Zeroizing<Vec<u8>> {
        let digits = Zeroizing::new(hex::encode(&self.0));
        let mut text = Zeroizing::new(Vec::with_capacity(HEX_DIGITS + 1));
        text.extend(digits.bytes());
        text.push(b'\n');
        text
    }

    /// Whether both are the same key, in a time that does not tell where they differ (requirement R36).
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differing, (own, other)| differing | (own ^ other)) == 0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

fn base64(engine: &GeneralPurpose, text: &[u8]) -> Option<RootKey> {
    // The library wants room for as much as the text could be: 33 bytes.
    let mut room = Zeroizing::new([0; ROOT_KEY_LENGTH + 4]);
    let length = engine.decode_slice(text, room.as_mut_slice()).ok()?;
    let bytes: &[u8; ROOT_KEY_LENGTH] = room.get(..length)?.try_into().ok()?;
    let canonical = Zeroizing::new(engine.encode(bytes));
    (canonical.as_bytes() == text).then(|| RootKey(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";
    const BASE64URL: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8";

    fn first(text: &str, count: usize) -> &str {
        text.get(..count).unwrap()
    }

    #[test]
    fn each_spelling_is_the_same_key() {
        let mut bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        bytes[31] = 0xff;
        for text in [HEX, &HEX.to_lowercase(), &HEX.to_uppercase(), BASE64, BASE64URL] {
            assert_eq!(RootKey::parse(text.as_bytes()).unwrap().expose(), &bytes, "{text}");
            let line = format!("{text}\n");
            assert_eq!(RootKey::parse_file(line.as_bytes()).unwrap().expose(), &bytes);
            assert_eq!(RootKey::parse(line.as_bytes()).unwrap_err(), InvalidRootKey::Blank);
        }
        for text in
            ["0xECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=", "0XECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"]
        {
            RootKey::parse(text.as_bytes()).unwrap();
        }
        let plus_and_slash = "+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8=";
        let (minus, underline) = (plus_and_slash.replace('+', "-"), plus_and_slash.replace('/', "_"));
        RootKey::parse(plus_and_slash.as_bytes()).unwrap();
        RootKey::parse(minus.replace('/', "_").trim_end_matches('=').as_bytes()).unwrap();
        for mixed in [&minus, &underline] {
            assert_eq!(RootKey::parse(mixed.as_bytes()).unwrap_err(), InvalidRootKey::NotBase64);
            let unpadded = mixed.trim_end_matches('=').as_bytes();
            assert_eq!(RootKey::parse(unpadded).unwrap_err(), InvalidRootKey::NotBase64Url);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_for_what_is_wrong_with_it() {
        let of = |length: usize| vec![0xa5_u8; length];
        let hex_of = |length: usize| "a5".repeat(length);
        let cases: Vec<(String, InvalidRootKey)> = vec![
            (String::new(), InvalidRootKey::Empty),
            (hex_of(31), InvalidRootKey::Length(62)),
            (hex_of(33), InvalidRootKey::Length(66)),
            (hex_of(48), InvalidRootKey::Length(96)),
            (first(HEX, 63).to_owned(), InvalidRootKey::Length(63)),
            (format!("{HEX}0"), InvalidRootKey::Length(65)),
            (STANDARD.encode(of(31)), InvalidRootKey::NotBase64),
            (STANDARD.encode(of(33)), InvalidRootKey::NotBase64),
            (STANDARD.encode(of(48)), InvalidRootKey::NotHex),
            (URL_SAFE_NO_PAD.encode(of(31)), InvalidRootKey::Length(42)),
            (URL_SAFE_NO_PAD.encode(of(33)), InvalidRootKey::NotBase64),
            (URL_SAFE_NO_PAD.encode(of(48)), InvalidRootKey::NotHex),
            (format!("0x{HEX}"), InvalidRootKey::Prefixed),
            (format!("0x{}", HEX.trim_start_matches("00")), InvalidRootKey::Prefixed),
            (format!(" {HEX}"), InvalidRootKey::Blank),
            (format!("{HEX}\r\n"), InvalidRootKey::Blank),
            (format!("{}\u{a0}", first(HEX, 62)), InvalidRootKey::NotHex),
            (format!("{}g", first(HEX, 63)), InvalidRootKey::NotHex),
            (format!("{}9=", first(BASE64, 42)), InvalidRootKey::NotBase64),
            (format!("{}9", first(BASE64URL, 42)), InvalidRootKey::NotBase64Url),
            (format!("{}==", first(BASE64, 42)), InvalidRootKey::NotBase64),
            ("0".repeat(64), InvalidRootKey::Zero),
            (STANDARD.encode([0; 32]), InvalidRootKey::Zero),
            (URL_SAFE_NO_PAD.encode([0; 32]), InvalidRootKey::Zero),
            ("correct-horse-battery-staple".to_owned(), InvalidRootKey::Length(28)),
            ("correct horse battery staple".to_owned(), InvalidRootKey::Blank),
        ];
        for (text, why) in cases {
            assert_eq!(RootKey::parse(text.as_bytes()).unwrap_err(), why, "{text:?}");
        }
        for content in [format!("{HEX}\n\n"), format!("\n{HEX}"), format!("{HEX} \n")] {
            assert_eq!(RootKey::parse_file(content.as_bytes()).unwrap_err(), InvalidRootKey::Blank);
        }
    }

    #[test]
    fn nothing_of_a_key_shows_in_debug() {
        assert_eq!(format!("{:?}", RootKey::parse(HEX.as_bytes()).unwrap()), "RootKey(…)");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in any::<[u8; 32]>()) {
            prop_assume!(bytes != [0; 32]);
            let key = RootKey::from_bytes(&bytes);
            prop_assert!(RootKey::parse_file(&key.to_file()).unwrap().is_same_as(&key));
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_is_canonical(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                "[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43}".prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(key) = RootKey::parse(&text) {
                let bytes = key.expose();
                let is_hex = key.to_file()[..64].eq_ignore_ascii_case(&text);
                let base64 = [STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
                prop_assert!(is_hex || base64.iter().any(|form| form.as_bytes() == text));
            }
        }
    }
}
