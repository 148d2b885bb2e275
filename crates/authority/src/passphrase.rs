//! Passphrases: what is good enough, and the hash that is kept.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as Mismatch, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use fallgate_domain::entropy::{self, Entropy, NoEntropy};
use fallgate_store::PassphraseHash;
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use crate::hasher::HasherBusy;
use crate::imported_hash::{self, ScryptHash};
use crate::policy::Policy;

const MEMORY_KIB: u32 = 64 * 1_024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// How many characters are looked at to tell how fast it is guessed.
const MEASURED: usize = 100;

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
    /// The store holds something in its place that is no hash of ours.
    #[error("what is stored of the passphrase cannot be read: set it anew")]
    Unreadable,
    /// Too many at once.
    #[error(transparent)]
    Busy(#[from] HasherBusy),
}

impl Passphrase {
    /// Checks a passphrase that is to be set; `about` is what an attacker would try first: username, display name.
    pub fn new(text: Zeroizing<String>, about: &[&str], policy: &Policy) -> Result<Self, WeakPassphrase> {
        Self::measure(&text, policy)?;
        // What is far longer than anybody guesses is good by its beginning; measuring all of it would take seconds.
        let beginning: Zeroizing<String> = Zeroizing::new(text.chars().take(MEASURED).collect());
        if zxcvbn(&beginning, about).score() < Score::Two {
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

    /// Its hash as it is kept from now on.
    pub(crate) fn hash(&self, entropy: &dyn Entropy) -> Result<PassphraseHash, HashFailed> {
        hash(&self.0, entropy)
    }
}

/// What became of holding a passphrase against a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is another.
    Wrong,
    /// It is the one.
    Right,
    /// It is the one, but its hash is of a form or a cost that is not made any more: hash it anew.
    RightButOld,
}

/// Argon2id, as a PHC string. Takes a good part of a second and 64 MiB, so never on a thread that serves.
pub(crate) fn hash(text: &str, entropy: &dyn Entropy) -> Result<PassphraseHash, HashFailed> {
    let salt = entropy::bytes::<16>(entropy)?;
    let hash = argon2()?.hash_password_with_salt(text.as_bytes(), &salt).map_err(|_| HashFailed::Argon2)?;
    Ok(PassphraseHash::new(hash.to_string()))
}

/// What checking a passphrase costs, whosever it is: one argon2id, and, as long as somebody's hash of llmux is in the
/// store, as much scrypt as the dearest of these takes. So time does not tell who has which, nor who is nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Costs {
    imported: Option<u8>,
}

impl Costs {
    /// With the largest N of the store's imported hashes, if it has any.
    pub(crate) fn with_imported(n: Option<u64>) -> Self {
        Self { imported: n.and_then(imported_hash::log_n) }
    }
}

/// Holds a passphrase against what is stored, by the form that this says it has.
pub(crate) fn verify(stored: &PassphraseHash, text: &str, costs: Costs) -> Result<Verdict, HashFailed> {
    if imported_hash::is_one(stored) {
        let imported = ScryptHash::parse(stored.expose()).map_err(|_| HashFailed::Unreadable)?;
        let is_right = imported.matches(text.as_bytes());
        imported_hash::top_up(imported.log_n(), costs.imported.unwrap_or_default(), text.as_bytes());
        // Whoever is right is hashed anew, which costs the same as this.
        return if is_right { Ok(Verdict::RightButOld) } else { verify_nothing(text, Costs::default()) };
    }
    let stored = PasswordHash::new(stored.expose()).map_err(|_| HashFailed::Unreadable)?;
    let verdict = match argon2()?.verify_password(text.as_bytes(), &stored) {
        Ok(()) if is_as_made_now(&stored) => Ok(Verdict::Right),
        Ok(()) => Ok(Verdict::RightButOld),
        Err(Mismatch::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(Mismatch::OutOfMemory) => Err(HashFailed::Argon2),
        Err(_) => Err(HashFailed::Unreadable),
    }?;
    if let Some(log_n) = costs.imported {
        imported_hash::spend(log_n, text.as_bytes());
    }
    Ok(verdict)
}

/// Takes as long as [`verify`] and finds out nothing: for accounts that are not there (requirement R52).
pub(crate) fn verify_nothing(text: &str, costs: Costs) -> Result<Verdict, HashFailed> {
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    argon2()?.hash_password_into(text.as_bytes(), &[0; 16], &mut *output).map_err(|_| HashFailed::Argon2)?;
    if let Some(log_n) = costs.imported {
        imported_hash::spend(log_n, text.as_bytes());
    }
    Ok(Verdict::Wrong)
}

/// The hash as it is made now.
fn argon2() -> Result<Argon2<'static>, HashFailed> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashFailed::Argon2)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_as_made_now(stored: &PasswordHash) -> bool {
    let costs = |params: Params| params.m_cost() >= MEMORY_KIB && params.t_cost() >= PASSES;
    stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
        && Params::try_from(stored).is_ok_and(costs)
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;

    use super::*;

    const PLAIN: Costs = Costs { imported: None };

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
    fn a_passphrase_is_right_wrong_or_right_by_a_hash_to_be_made_anew() {
        let text = "correct horse battery staple";
        let stored = hash(text, &TestEntropy::default()).unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=65536,t=3,p=1$"));
        assert_eq!(verify(&stored, text, PLAIN).unwrap(), Verdict::Right);
        for wrong in ["correct horse battery stapl", "correct horse battery staplE", ""] {
            assert_eq!(verify(&stored, wrong, PLAIN).unwrap(), Verdict::Wrong);
        }
        for (algorithm, memory, passes) in [
            (Algorithm::Argon2id, 19_456, 3),
            (Algorithm::Argon2id, 65_536, 2),
            (Algorithm::Argon2i, 65_536, 3),
        ] {
            let params = Params::new(memory, passes, 1, None).unwrap();
            let older = Argon2::new(algorithm, Version::V0x13, params)
                .hash_password_with_salt(text.as_bytes(), &[7; 16])
                .unwrap();
            let older = PassphraseHash::new(older.to_string());
            assert_eq!(verify(&older, text, PLAIN).unwrap(), Verdict::RightButOld);
            assert_eq!(verify(&older, "another", PLAIN).unwrap(), Verdict::Wrong);
        }
        assert_eq!(verify_nothing(text, PLAIN).unwrap(), Verdict::Wrong);
        let broken = PassphraseHash::new("$argon2id$broken".to_owned());
        assert!(matches!(verify(&broken, text, PLAIN), Err(HashFailed::Unreadable)));
    }

    /// What this thread computes for, in nanoseconds: waiting for a core is not counted.
    fn cost_of(check: impl FnOnce() -> Result<Verdict, HashFailed>) -> f64 {
        let spent = || {
            let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            line.split(' ').next().unwrap().parse::<f64>().unwrap()
        };
        let before = spent();
        check().unwrap();
        spent() - before
    }

    #[test]
    fn r52_a_check_costs_the_same_whatever_hash_there_is() {
        let text = "correct horse battery staple";
        let (n, dearest) = (1 << 14, Costs::with_imported(Some(1 << 16)));
        let scrypt = format!("scrypt${n}${}${}", "A".repeat(22) + "==", "A".repeat(86) + "==");
        let (scrypt, argon2) = (PassphraseHash::new(scrypt), hash(text, &TestEntropy::default()).unwrap());
        let nothing = cost_of(|| verify_nothing(text, PLAIN));
        let unknown = cost_of(|| verify_nothing(text, dearest));
        assert!(unknown > 1.25 * nothing, "{unknown} {nothing}");
        for (name, stored, text) in
            [("scrypt", &scrypt, "wrong"), ("argon2", &argon2, "wrong"), ("right", &argon2, text)]
        {
            let cost = cost_of(|| verify(stored, text, dearest));
            assert!((0.75..1.33).contains(&(cost / unknown)), "{name}: {cost}, not {unknown}");
        }
        assert_eq!(Costs::with_imported(Some(1 << 20)), PLAIN, "no such hash is checked");
    }

    #[test]
    fn nothing_of_a_passphrase_shows() {
        let passphrase = check("correct horse battery staple").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
    }
}
