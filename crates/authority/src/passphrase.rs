//! Passphrases: what is good enough, and the hash that is kept.

use std::fmt;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use fallgate_domain::entropy::{self, Entropy, NoEntropy};
use fallgate_store::PassphraseHash;
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use crate::hasher::HasherBusy;
use crate::policy::Policy;

const MEMORY_KIB: u32 = 64 * 1_024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A passphrase that is good enough to be set. Wiped when dropped; shows nothing of itself.
pub struct Passphrase(Zeroizing<String>);

/// What is wrong with a passphrase. Says nothing of the passphrase itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WeakPassphrase {
    /// Too short or too long.
    #[error("a passphrase has {fewest} to {} bytes", Policy::MOST_BYTES)]
    Length {
        /// What the policy asks for.
        fewest: usize,
    },
    /// Easily guessed (zxcvbn score below 2).
    #[error("this passphrase is too easy to guess: take a longer one, such as four or five unrelated words")]
    Guessable,
}

/// A passphrase could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashFailed {
    /// No random bytes for the salt.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// Not enough memory, most likely.
    #[error("the passphrase could not be hashed: argon2id needs {} MiB", MEMORY_KIB / 1_024)]
    Argon2,
    /// Too many at once.
    #[error(transparent)]
    Busy(#[from] HasherBusy),
}

impl Passphrase {
    /// Checks a passphrase that is to be set; `about` is what an attacker would try first: username, display name.
    pub fn new(text: Zeroizing<String>, about: &[&str], policy: &Policy) -> Result<Self, WeakPassphrase> {
        Self::measure(&text, policy)?;
        if zxcvbn(&text, about).score() < Score::Two {
            return Err(WeakPassphrase::Guessable);
        }
        Ok(Self(text))
    }

    /// The part of the check that costs nothing.
    pub(crate) fn measure(text: &str, policy: &Policy) -> Result<(), WeakPassphrase> {
        let fewest = policy.passphrase_bytes.max(Policy::FEWEST_BYTES);
        if (fewest..=Policy::MOST_BYTES).contains(&text.len()) {
            Ok(())
        } else {
            Err(WeakPassphrase::Length { fewest })
        }
    }

    /// Argon2id, as a PHC string. Takes a good part of a second and 64 MiB, so never on a thread that serves.
    pub(crate) fn hash(&self, entropy: &dyn Entropy) -> Result<PassphraseHash, HashFailed> {
        let salt = entropy::bytes::<16>(entropy)?;
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashFailed::Argon2)?;
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(self.0.as_bytes(), &salt)
            .map_err(|_| HashFailed::Argon2)?;
        Ok(PassphraseHash::new(hash.to_string()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Passphrase, WeakPassphrase> {
        Passphrase::new(Zeroizing::new(text.to_owned()), &["alice"], &Policy::default())
    }

    #[test]
    fn passphrases_are_measured_in_bytes_and_by_how_fast_they_are_guessed() {
        assert!(check("correct horse battery staple").is_ok());
        assert_eq!(check("x7!Qz#9pLm2").unwrap_err(), WeakPassphrase::Length { fewest: 12 });
        assert_eq!(check(&"ab cd ef ".repeat(114)).unwrap_err(), WeakPassphrase::Length { fewest: 12 });
        assert_eq!(check("passwordpassword").unwrap_err(), WeakPassphrase::Guessable);
        assert_eq!(check("alicealicealice").unwrap_err(), WeakPassphrase::Guessable);
    }

    #[test]
    fn nothing_of_a_passphrase_shows() {
        let passphrase = check("correct horse battery staple").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
    }
}
