//! User codes: what a device shows, and somebody types on another one, to say which device they mean (RFC 8628, section
//! 6.1). A code is no credential: whoever knows it can let that device in as themselves, and nothing else.

use std::fmt;
use std::str::FromStr;

/// No vowels, so that no word comes of them, and nothing that is taken for something else (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;
/// How much of what was typed is looked at, in bytes.
const LONGEST: usize = 64;

/// How many random bytes a code is made of.
pub const USER_CODE_RANDOM: usize = 8;

/// Eight letters of twenty: 34 bits. Shown as `WDJB-MJHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserCode([u8; LENGTH]);

/// A text that has not the form of a code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a code has eight letters, such as WDJB-MJHT")]
pub struct InvalidUserCode;

impl UserCode {
    /// Writes random bytes as a code. There are so many more numbers than codes that no letter is likelier than another.
    pub fn new(random: [u8; USER_CODE_RANDOM]) -> Self {
        let mut number = u64::from_be_bytes(random);
        Self(std::array::from_fn(|_| {
            let letter = usize::try_from(number % 20).unwrap_or_default();
            number /= 20;
            LETTERS.get(letter).copied().unwrap_or(b'B')
        }))
    }
}

/// As people type it: in either case, with dashes and blanks wherever, or without.
impl FromStr for UserCode {
    type Err = InvalidUserCode;

    fn from_str(text: &str) -> Result<Self, InvalidUserCode> {
        if text.len() > LONGEST {
            return Err(InvalidUserCode);
        }
        let is_between =
            |c: &char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
        let typed: Vec<char> = text.chars().filter(|c| !is_between(c)).collect();
        let typed: [char; LENGTH] = typed.try_into().map_err(|_| InvalidUserCode)?;
        let mut letters = [b'B'; LENGTH];
        for (letter, typed) in letters.iter_mut().zip(typed) {
            let typed = u8::try_from(typed.to_ascii_uppercase()).map_err(|_| InvalidUserCode)?;
            if !LETTERS.contains(&typed) {
                return Err(InvalidUserCode);
            }
            *letter = typed;
        }
        Ok(Self(letters))
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.iter().enumerate() {
            if at == LENGTH / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r62_a_code_is_the_same_however_it_is_typed() {
        let code = UserCode::new(*b"\x01\x23\x45\x67\x89\xab\xcd\xef");
        let shown = code.to_string();
        assert_eq!(shown.len(), 9);
        let bare = shown.replace('-', "");
        let (first, second) = shown.split_once('-').unwrap();
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            bare.clone(),
            format!("  {first} \u{2014} {}\n", second.to_lowercase()),
            format!("-{first}- -{second}-"),
        ] {
            assert_eq!(typed.parse(), Ok(code), "{typed}");
        }
        for wrong in ["", "-", first, &format!("{bare}B"), "WDJB-MJHA", "WDJB-MJH1", "ẞDJB-MJHT"] {
            assert_eq!(wrong.parse::<UserCode>(), Err(InvalidUserCode), "{wrong}");
        }
        assert!(format!("{shown}{}", " ".repeat(LONGEST)).parse::<UserCode>().is_err());
    }

    #[test]
    fn codes_reach_every_letter() {
        assert_eq!(UserCode::new([0; 8]).to_string(), "BBBB-BBBB");
        assert_eq!(UserCode::new(19_u64.to_be_bytes()).to_string(), "ZBBB-BBBB");
        assert_eq!(UserCode::new(20_u64.to_be_bytes()).to_string(), "BCBB-BBBB");
    }
}
