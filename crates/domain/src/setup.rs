//! The setup token: whoever has it makes the first admin.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::token::write_base62;

const DIGITS: usize = 43;

/// 256 random bits as 43 base62 digits. It has no `Display`, its `Debug` shows nothing, and it is wiped when dropped.
#[derive(Clone)]
pub struct SetupToken(Zeroizing<[u8; DIGITS]>);

impl SetupToken {
    /// Writes 256 random bits.
    pub fn new(random: &Zeroizing<[u8; 32]>) -> Self {
        let mut digits = Zeroizing::new([b'0'; DIGITS]);
        write_base62(&mut *random.clone(), &mut *digits);
        Self(digits)
    }

    /// Whether this is it. Held against each other are digests, of which nobody can choose how they begin: how far they
    /// are alike tells nothing (requirement R36).
    pub fn is(&self, presented: &[u8]) -> bool {
        Sha256::digest(*self.0) == Sha256::digest(presented)
    }

    /// The token itself, for its file.
    pub fn expose(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&*self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SetupToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r36_a_setup_token_is_itself_and_nothing_else() {
        let token = SetupToken::new(&Zeroizing::new([7; 32]));
        let text = token.expose().to_owned();
        assert!(text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        assert!(token.is(text.as_bytes()));
        let cut: String = text.chars().skip(1).collect();
        for other in ["", "0", &cut, &format!("{text}0"), &text.to_lowercase()] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "SetupToken(…)");
    }
}
