//! Ed25519 keys that sign, and what is shown of them.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::hex::encode as hex;
use fallgate_domain::id::SigningKeyId;
use fallgate_store::{PublicKeys, SealedSigningKey, SigningKeyRow, StoreError};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::{Purpose, Sealer};
use super::{KeyError, rotate};
use crate::registrar::Registrar;
use crate::verifier::Verifier;

/// How long a retired key may have to verify: the longest life that a token signed by it can have, 7 days, and the
/// greatest clock skew, 5 minutes.
pub(super) const VERIFIES_FOR: Duration = Duration::from_secs(7 * 86_400 + 5 * 60);

/// How many bytes of a hash make a `kid`.
const KID_BYTES: usize = 16;

/// A signing key as the JWKS lists it (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// Its public name. It changes with the store's epoch, so that tokens from before a restored backup name no key.
    pub kid: String,
    /// The public half, base64url.
    pub x: String,
}

/// The keys of a store, for whoever runs it.
#[derive(Debug, Clone)]
pub struct KeyList {
    /// The newest first.
    pub root_keys: Vec<KnownRootKey>,
    /// The newest first.
    pub signing_keys: Vec<KnownSigningKey>,
}

/// A root key that opens the store.
#[derive(Debug, Clone)]
pub struct KnownRootKey {
    /// Tells it from others; nothing of the key follows from it.
    pub id: String,
    /// When the store was first sealed under it.
    pub created_at: Timestamp,
    /// Whether everything is sealed under it; else it is the old one of a rotation that is not confirmed.
    pub current: bool,
}

/// A signing key, at work or not.
#[derive(Debug, Clone)]
pub struct KnownSigningKey {
    /// Its name in the JWKS and in what it signs.
    pub kid: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops, or stopped, to verify.
    pub verifies_until: Option<Timestamp>,
    /// What it is good for now.
    pub state: SigningKeyState,
}

/// What a signing key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyState {
    /// It signs what is signed now.
    Signs,
    /// It verifies what it has signed.
    Verifies,
    /// Nothing that it has signed is good any more.
    Dropped,
}

impl SigningKeyState {
    /// As lists show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signs => "signs",
            Self::Verifies => "verifies",
            Self::Dropped => "dropped",
        }
    }

    fn of(row: &SigningKeyRow, now: Timestamp) -> Self {
        match row.retired {
            None => Self::Signs,
            Some(retired) if now < retired.verifies_until => Self::Verifies,
            Some(_) => Self::Dropped,
        }
    }
}

/// A signing key's name, derived of the store's epoch and of its public half.
pub(super) fn kid(epoch: u64, public_key: &[u8; 32]) -> String {
    let hash = Sha256::new()
        .chain_update(b"fallgate signing key")
        .chain_update(epoch.to_be_bytes())
        .chain_update(public_key)
        .finalize();
    URL_SAFE_NO_PAD.encode(hash.get(..KID_BYTES).unwrap_or_default())
}

/// What a signing key's seal is bound to.
pub(super) fn seal_row(row: &SigningKeyRow) -> [u8; 48] {
    let mut bound = [0; 48];
    let (id, public_key) = bound.split_at_mut(16);
    id.copy_from_slice(&row.id.bytes());
    public_key.copy_from_slice(&row.public_key);
    bound
}

/// Whether the row is ours; gives the private half of one that signs.
pub(super) fn check(sealer: &Sealer, key: &SealedSigningKey) -> Result<Option<SigningKey>, KeyError> {
    let broken = KeyError::BrokenSeal("a signing key");
    let Ok(opened) = sealer.open(Purpose::SigningKey, &seal_row(&key.row), &key.sealed) else {
        return Err(broken);
    };
    if key.row.retired.is_some() {
        return if opened.is_empty() { Ok(None) } else { Err(broken) };
    }
    let Ok(private) = opened.as_slice().try_into() else { return Err(broken) };
    let private = SigningKey::from_bytes(private);
    if private.verifying_key().to_bytes() == key.row.public_key { Ok(Some(private)) } else { Err(broken) }
}

/// Whether a public key has signed a text, by the strict rules of `verify_strict`.
pub(crate) fn has_signed(public_key: &[u8; 32], text: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(text, &Signature::from_bytes(signature)).is_ok())
}

/// The public halves that verify, or did.
#[derive(Debug, Default)]
pub(crate) struct VerifyingKeys(Vec<(Box<str>, SigningKeyRow)>);

impl VerifyingKeys {
    pub(crate) fn of(keys: &PublicKeys) -> Self {
        let named = |row: &SigningKeyRow| (kid(keys.epoch, &row.public_key).into(), row.clone());
        Self(keys.signing_keys.iter().map(named).collect())
    }

    /// Whether the key of that name verifies then.
    pub(crate) fn verify_at(&self, kid: &str, now: Timestamp) -> bool {
        self.at(kid, now).is_some()
    }

    /// Whether the key of that name verifies then and has signed a text.
    pub(crate) fn have_signed(&self, kid: &str, text: &[u8], signature: &[u8; 64], now: Timestamp) -> bool {
        self.at(kid, now).is_some_and(|row| has_signed(&row.public_key, text, signature))
    }

    /// Whether the key of that name, which does not verify any more, has signed a text when it did.
    pub(crate) fn had_signed(&self, kid: &str, text: &[u8], signature: &[u8; 64], now: Timestamp) -> bool {
        let row = self.0.iter().find(|(known, _)| **known == *kid).map(|(_, row)| row);
        let dropped = row.filter(|row| SigningKeyState::of(row, now) == SigningKeyState::Dropped);
        dropped.is_some_and(|row| has_signed(&row.public_key, text, signature))
    }

    fn at(&self, kid: &str, now: Timestamp) -> Option<&SigningKeyRow> {
        let (_, row) = self.0.iter().find(|(known, _)| **known == *kid)?;
        (SigningKeyState::of(row, now) != SigningKeyState::Dropped).then_some(row)
    }
}

/// A signing key, ready to sign. Its private half is wiped when dropped.
pub(crate) struct Signer {
    /// Its name in the JWKS.
    pub(crate) kid: String,
    private: SigningKey,
}

impl Signer {
    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        ed25519_dalek::Signer::sign(&self.private, text).to_bytes()
    }
}

/// Its name only.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Registrar {
    /// A signing key that nobody knows yet.
    pub(super) fn new_signing_key(
        &self,
        under: &Sealer,
        now: Timestamp,
    ) -> Result<SealedSigningKey, NoEntropy> {
        let private = Zeroizing::new(entropy::bytes::<32>(&*self.entropy)?);
        let public_key = SigningKey::from_bytes(&private).verifying_key().to_bytes();
        let id = SigningKeyId::new(now, &*self.entropy)?;
        let row = SigningKeyRow { id, public_key, created_at: now, retired: None };
        let sealed = under.seal(Purpose::SigningKey, &seal_row(&row), &*private, &*self.entropy)?;
        Ok(SealedSigningKey { row, sealed })
    }

    /// Signs a text with the key that signs now.
    pub(crate) async fn sign(&self, text: &[u8]) -> Result<(SigningKeyId, [u8; 64]), KeyError> {
        use ed25519_dalek::Signer;
        let (keys, sealer) = self.opened().await?;
        let key = rotate::signing(&keys)?;
        let private = check(&sealer, key)?.ok_or(KeyError::BrokenSeal("a signing key"))?;
        Ok((key.row.id, private.sign(text).to_bytes()))
    }

    /// The key that signs now, opened, with its name.
    pub(crate) async fn signer(&self) -> Result<Signer, KeyError> {
        let (keys, sealer) = self.opened().await?;
        let key = rotate::signing(&keys)?;
        let private = check(&sealer, key)?.ok_or(KeyError::BrokenSeal("a signing key"))?;
        Ok(Signer { kid: kid(keys.epoch, &key.row.public_key), private })
    }

    /// Whether a signature is of the key that signs now: others have none that still counts. And whether that could be made sure of: the
    /// root key vouches for a signing key, so a locked registrar has to believe the store.
    pub(crate) async fn is_signed(
        &self,
        by: SigningKeyId,
        text: &[u8],
        signature: &[u8; 64],
    ) -> Result<bool, KeyError> {
        let (keys, sealer) = if self.keys.is_locked() {
            (self.vault.keys().await?, None)
        } else {
            let (keys, sealer) = self.opened().await?;
            (keys, Some(sealer))
        };
        let mut signs = keys.signing_keys.iter().filter(|key| key.row.retired.is_none());
        let Some(key) = signs.find(|key| key.row.id == by) else { return Ok(false) };
        if let Some(sealer) = sealer {
            check(&sealer, key)?;
        }
        Ok(has_signed(&key.row.public_key, text, signature))
    }

    /// The keys of this store, without what is secret of them.
    pub async fn keys(&self) -> Result<KeyList, StoreError> {
        let keys = self.vault.keys().await?;
        let now = self.clock.now();
        let root_keys = keys.root_keys.iter().map(|row| KnownRootKey {
            id: hex(&row.id),
            created_at: row.created_at,
            current: row.successor.is_none(),
        });
        let signing_keys = keys.signing_keys.iter().map(|key| KnownSigningKey {
            kid: kid(keys.epoch, &key.row.public_key),
            created_at: key.row.created_at,
            verifies_until: key.row.retired.map(|retired| retired.verifies_until),
            state: SigningKeyState::of(&key.row, now),
        });
        Ok(KeyList { root_keys: root_keys.collect(), signing_keys: signing_keys.collect() })
    }
}

impl Verifier {
    /// The signing keys that verify now, the one that signs first.
    pub async fn published_keys(&self) -> Result<Vec<PublishedKey>, StoreError> {
        let keys = self.store().signing_keys().await?;
        let now = self.clock().now();
        let good =
            keys.signing_keys.iter().filter(|row| SigningKeyState::of(row, now) != SigningKeyState::Dropped);
        let published = good.map(|row| PublishedKey {
            kid: kid(keys.epoch, &row.public_key),
            x: URL_SAFE_NO_PAD.encode(row.public_key),
        });
        Ok(published.collect())
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::hex::decode;

    use super::*;

    #[test]
    fn a_key_has_another_name_in_another_epoch() {
        let names = [kid(1, &[7; 32]), kid(2, &[7; 32]), kid(1, &[8; 32])];
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
        assert!(names.iter().all(|name| name.len() == 22));
    }

    #[test]
    fn a_signature_is_the_standards() {
        // RFC 8032, 7.1, test 2.
        let public =
            decode::<32>(b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").unwrap();
        let signature = decode::<64>(
            b"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        )
        .unwrap();
        assert!(has_signed(&public, &[0x72], &signature));
        assert!(!has_signed(&public, &[0x73], &signature));
        assert!(!has_signed(&[2; 32], &[0x72], &signature));
        // The neutral element signs everything for whoever does not look.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!has_signed(&neutral, &[0x72], &forged));
    }
}
