//! Keys at rest: the root key that a machine's owner holds, and what is sealed under it in the store.
//!
//! A [`Registrar`] begins locked, which is enough for most acts. [`Registrar::unlock`] takes the root key, once it is
//! sure that it fits the store. From then on the registrar follows a rotation by whichever process: the old root key
//! opens its successor until that is confirmed.

mod rotate;
mod seal;
mod signing;

use std::fmt;
use std::sync::{Arc, OnceLock};

use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::hex::encode as hex;
use fallgate_domain::root_key::RootKey;
use fallgate_store::{ChangedKeys, Keys, RootKeyRow, StoreError};
use parking_lot::RwLock;

use self::seal::{Purpose, Sealer};
use crate::registrar::Registrar;
use crate::verifier::Verifier;

pub use rotate::Confirmed;
pub use signing::{KeyList, KnownRootKey, KnownSigningKey, PublishedKey, SigningKeyState};
pub(crate) use signing::{Signer, VerifyingKeys};

/// What is sealed so that a key can be recognised.
const KNOWN_TEXT: &[u8] = b"fallgate";

/// How often something is begun anew because another process changed the keys meanwhile.
const MOST_TRIES: u32 = 10;

/// Why something could not be opened, sealed or signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No root key has been taken.
    #[error("the root key has not been given, and this needs it")]
    Locked,
    /// The store is sealed under another root key.
    #[error("it is the key {given}, and this store is sealed under the key {wanted}")]
    DoesNotFit {
        /// The id of the key that was given.
        given: String,
        /// The id of the key that is wanted.
        wanted: String,
    },
    /// A seal does not open though the key is right.
    #[error("{0} in the store was changed since it was sealed: restore the store from a backup")]
    BrokenSeal(&'static str),
    /// There was a rotation before, which the old key outlives until it is confirmed.
    #[error("the last rotation is not confirmed yet: run `fallgate key rotate --confirm` first")]
    Unconfirmed,
    /// The old key and the new one are the same.
    #[error("the new key is the one that is in use already")]
    SameKey,
    /// A rotation cannot be confirmed with the key that is to go.
    #[error(
        "the key in use is still the old one, {given}: put the new one, {wanted}, in its place, restart the daemon, and confirm then"
    )]
    NotInPlace {
        /// The id of the key that was given.
        given: String,
        /// The id of the key that is wanted.
        wanted: String,
    },
    /// Other processes change the keys all the time.
    #[error("other processes are changing the keys: try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// What came of [`Registrar::unlock`].
#[derive(Debug)]
#[must_use]
pub enum Unlocked {
    /// It is the key under which the store is sealed.
    Current,
    /// It is the one before, and opened its successor: this.
    ByOld(RootKey),
}

/// Where a root key may lie that has come since.
type Source = Box<dyn Fn() -> Option<RootKey> + Send + Sync>;

/// The root key that a registrar has taken, if any.
#[derive(Default)]
pub(crate) struct Keyring {
    held: RwLock<Option<Arc<Sealer>>>,
    source: OnceLock<Source>,
}

impl Keyring {
    fn held(&self) -> Result<Arc<Sealer>, KeyError> {
        self.held.read().clone().ok_or(KeyError::Locked)
    }

    /// The root key under which the store is sealed, which may have come after the one that was `held` before `keys`
    /// were read.
    fn current(&self, held: &Arc<Sealer>, keys: &Keys) -> Result<Arc<Sealer>, KeyError> {
        let current = match fitting(held.clone(), keys) {
            // A rotation was made and confirmed between two looks.
            Err(unfit @ KeyError::DoesNotFit { .. }) => {
                let found = self.source.get().and_then(|source| source()).ok_or(unfit)?;
                fitting(Arc::new(Sealer::new(found)), keys)?
            }
            fitted => fitted?,
        };
        // Whoever has put another there meanwhile may have read later keys: what is held never goes back.
        let mut now = self.held.write();
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, held)) {
            *now = Some(current.clone());
        }
        Ok(current)
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.held.read().is_none()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("held", &self.held).finish_non_exhaustive()
    }
}

/// The root key under which the store is sealed: the one held, or what it opens.
fn fitting(held: Arc<Sealer>, keys: &Keys) -> Result<Arc<Sealer>, KeyError> {
    let mut sealer = held;
    for _ in 0..=keys.root_keys.len() {
        let Some(row) = keys.root_keys.iter().find(|row| row.id == sealer.id()) else {
            let current = keys.root_keys.iter().find(|row| row.successor.is_none());
            return Err(KeyError::DoesNotFit {
                given: hex(&sealer.id()),
                wanted: current.map_or_else(String::new, |row| hex(&row.id)),
            });
        };
        match sealer.open(Purpose::CheckValue, &row.id, &row.check_value) {
            Ok(text) if *text == KNOWN_TEXT => {}
            _ => return Err(KeyError::BrokenSeal("the check value of the root key")),
        }
        let Some(successor) = &row.successor else { return Ok(sealer) };
        let broken = KeyError::BrokenSeal("the root key's successor");
        let Ok(successor) = sealer.open(Purpose::Successor, &row.id, successor) else { return Err(broken) };
        let Ok(successor) = successor.as_slice().try_into() else { return Err(broken) };
        sealer = Arc::new(Sealer::new(RootKey::from_bytes(successor)));
    }
    Err(KeyError::BrokenSeal("the order of the root keys"))
}

impl Registrar {
    /// A new root key, for nothing yet.
    pub fn make_root_key(&self) -> Result<RootKey, NoEntropy> {
        RootKey::new(&*self.entropy)
    }

    /// Takes the root key, if it fits the store. A store without keys is given its first ones: this root key, and a
    /// new signing key sealed under it.
    pub async fn unlock(&self, root: &RootKey) -> Result<Unlocked, KeyError> {
        let given = Arc::new(Sealer::new(root.clone()));
        for _ in 0..MOST_TRIES {
            let keys = self.vault.keys().await?;
            if keys.root_keys.is_empty() {
                let now = self.clock.now();
                let row = self.recognisable(&given)?;
                let signing = self.new_signing_key(&given, now)?;
                match self.vault.adopt_keys(row, signing).await? {
                    ChangedKeys::Changed | ChangedKeys::Outdated => continue,
                }
            }
            let current = fitting(given.clone(), &keys)?;
            // Each seal is tried here, so that a broken one is found now and not at its first use.
            for key in &keys.signing_keys {
                signing::check(&current, key)?;
            }
            *self.keys.held.write() = Some(current.clone());
            return Ok(if current.id() == given.id() {
                Unlocked::Current
            } else {
                Unlocked::ByOld(current.root().clone())
            });
        }
        Err(KeyError::Contended)
    }

    /// Where to look for the root key once the one that was taken opens nothing any more. Only the first place counts.
    pub fn look_for_root_key(&self, place: impl Fn() -> Option<RootKey> + Send + Sync + 'static) {
        let _ = self.keys.source.set(Box::new(place));
    }

    /// All keys, and the root key under which they are sealed.
    async fn opened(&self) -> Result<(Keys, Arc<Sealer>), KeyError> {
        let mut unfit = None;
        for _ in 0..MOST_TRIES {
            // The key first: one that somebody takes meanwhile may be too new for what was read before.
            let held = self.keys.held()?;
            let keys = self.vault.keys().await?;
            match self.keys.current(&held, &keys) {
                // So may the one that is kept elsewhere. Nothing changes while keys are read twice: then it is lost.
                Err(lost @ KeyError::DoesNotFit { .. }) if unfit.as_ref() == Some(&keys) => return Err(lost),
                Err(KeyError::DoesNotFit { .. }) => unfit = Some(keys),
                fitted => return Ok((keys, fitted?)),
            }
        }
        Err(KeyError::Contended)
    }

    /// The row by which a root key is known again.
    fn recognisable(&self, sealer: &Sealer) -> Result<RootKeyRow, NoEntropy> {
        let id = sealer.id();
        let check_value = sealer.seal(Purpose::CheckValue, &id, KNOWN_TEXT, &*self.entropy)?;
        Ok(RootKeyRow { id, check_value, successor: None, created_at: self.clock.now() })
    }
}

impl Verifier {
    /// Follows a rotation of the root key while the key that was taken still opens its successor.
    pub async fn follow_keys(&self) -> Result<(), KeyError> {
        if self.registrar.keys.is_locked() { Ok(()) } else { self.registrar.opened().await.map(drop) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use fallgate_domain::clock::SystemClock;
    use fallgate_domain::entropy::SystemEntropy;
    use fallgate_store::Location;

    use super::*;
    use crate::policy::Policy;
    use crate::registrar::Actor;

    #[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
    async fn unlocked(folder: &std::path::Path, byte: u8) -> Registrar {
        let location = Location::Sqlite(folder.join("fallgate.db"));
        let (store, vault) = fallgate_store::open(&location).await.unwrap();
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let registrar = Registrar::new(store, vault, clock, entropy, Policy::default());
        let _ = registrar.unlock(&RootKey::from_bytes(&[byte; 32])).await.unwrap();
        registrar
    }

    #[tokio::test]
    async fn a_verifier_that_nobody_asks_follows_rotations_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (verifier, _notes) = Verifier::start(unlocked(folder.path(), 1).await).await.unwrap();
        let watched = verifier.clone();
        let watch = tokio::spawn(async move { watched.watch().await });
        let elsewhere = unlocked(folder.path(), 1).await;
        let actor = Actor::Cli { os_user: "tester".to_owned() };
        for byte in 2..5 {
            let new = RootKey::from_bytes(&[byte; 32]);
            elsewhere.rotate_root_key(&new, &actor).await.unwrap();
            let begun = Instant::now();
            let wanted = Sealer::new(new.clone()).id();
            while verifier.registrar.keys.held.read().as_ref().unwrap().id() != wanted {
                assert!(begun.elapsed() < Duration::from_secs(10), "it does not follow");
                tokio::task::yield_now().await;
            }
            assert_eq!(elsewhere.confirm_root_key(&new, &actor).await.unwrap(), Confirmed::Confirmed);
        }
        watch.abort();
    }

    /// Signs again and again while another process rotates, tells where the key is kept, and confirms.
    async fn sign_while_rotating(
        house: Registrar,
        elsewhere: &Registrar,
        tell: impl AsyncFn(&Registrar, RootKey),
    ) {
        let (house, done) = (Arc::new(house), Arc::new(AtomicBool::new(false)));
        let signing = (0..4).map(|_| {
            let (house, done) = (house.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Acquire) {
                    house.signer().await?;
                }
                Ok::<_, KeyError>(())
            })
        });
        let signing: Vec<_> = signing.collect();
        let actor = Actor::Cli { os_user: "tester".to_owned() };
        for byte in 2..60 {
            let new = RootKey::from_bytes(&[byte; 32]);
            elsewhere.rotate_root_key(&new, &actor).await.unwrap();
            tell(&house, new.clone()).await;
            assert_eq!(elsewhere.confirm_root_key(&new, &actor).await.unwrap(), Confirmed::Confirmed);
        }
        done.store(true, Ordering::Release);
        for signer in signing {
            signer.await.unwrap().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_signs_while_the_file_of_the_root_key_is_replaced_never_finds_it_gone() {
        let folder = tempfile::tempdir().unwrap();
        let house = unlocked(folder.path(), 1).await;
        let file = Arc::new(RwLock::new(RootKey::from_bytes(&[1; 32])));
        let place = file.clone();
        house.look_for_root_key(move || Some(place.read().clone()));
        let elsewhere = unlocked(folder.path(), 1).await;
        sign_while_rotating(house, &elsewhere, async |_, new| *file.write() = new).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_has_followed_a_rotation_never_goes_back_to_the_key_before() {
        let folder = tempfile::tempdir().unwrap();
        let house = unlocked(folder.path(), 1).await;
        let elsewhere = unlocked(folder.path(), 1).await;
        // It is kept nowhere else: this look is what the next one begins from.
        let looked = async |house: &Registrar, _| drop(house.signer().await.unwrap());
        sign_while_rotating(house, &elsewhere, looked).await;
    }
}
