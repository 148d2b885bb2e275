//! Another root key, another signing key. Whoever reads the keys at use sees the old or the new, never half of each.

use std::collections::BTreeMap;

use ed25519_dalek::Signer;
use fallgate_domain::audit::{Action, Checkpoint};
use fallgate_domain::hex::encode as hex;
use fallgate_domain::root_key::RootKey;
use fallgate_store::{ChangedKeys, Keys, Retired, SealedSigningKey, StoreError};
use serde_json::Value;

use super::seal::{Purpose, Sealer};
use super::signing::{VERIFIES_FOR, check, has_signed, kid, seal_row};
use super::{KeyError, MOST_TRIES};
use crate::registrar::{Actor, Registrar};

/// What came of [`Registrar::confirm_root_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Confirmed {
    /// The old root key opens nothing any more.
    Confirmed,
    /// There was no rotation to confirm.
    Nothing,
}

/// The key that signs now.
pub(super) fn signing(keys: &Keys) -> Result<&SealedSigningKey, KeyError> {
    let current = keys.signing_keys.iter().find(|key| key.row.retired.is_none());
    current.ok_or(KeyError::BrokenSeal("the list of signing keys"))
}

/// The audit checkpoint, signed by another key. One that the key until now has not signed stays as it is, and is good
/// for nothing.
fn signed_anew(sealer: &Sealer, keys: &Keys, by: &SealedSigningKey) -> Result<Option<Checkpoint>, KeyError> {
    let Some(checkpoint) = keys.checkpoint.clone() else { return Ok(None) };
    let text = Checkpoint::signed_text(checkpoint.seq, &checkpoint.hash, checkpoint.at);
    let current = &signing(keys)?.row;
    if checkpoint.signing_key != current.id
        || !has_signed(&current.public_key, text.as_bytes(), &checkpoint.signature)
    {
        return Ok(Some(checkpoint));
    }
    let private = check(sealer, by)?.ok_or(KeyError::BrokenSeal("a signing key"))?;
    let signature = private.sign(text.as_bytes()).to_bytes();
    Ok(Some(Checkpoint { signing_key: by.row.id, signature, ..checkpoint }))
}

impl Registrar {
    /// Takes what old keys open out of the database's log too. `false`: other processes were reading it all the time;
    /// to be tried again later.
    pub async fn forget_old_seals(&self) -> Result<bool, StoreError> {
        self.vault.empty_log().await
    }

    /// Seals everything anew under another root key, in one transaction. The old one goes on opening, by way of the
    /// new one sealed under it, until [`Registrar::confirm_root_key`].
    pub async fn rotate_root_key(&self, new: &RootKey, actor: &Actor) -> Result<(), KeyError> {
        let new = Sealer::new(new.clone());
        for _ in 0..MOST_TRIES {
            let (keys, old) = self.opened().await?;
            if old.id() == new.id() {
                return Err(KeyError::SameKey);
            }
            let [old_row] = keys.root_keys.as_slice() else { return Err(KeyError::Unconfirmed) };
            let mut old_row = old_row.clone();
            let successor = new.root().expose();
            old_row.successor = Some(old.seal(Purpose::Successor, &old_row.id, successor, &*self.entropy)?);
            let mut signing_keys = Vec::with_capacity(keys.signing_keys.len());
            for key in &keys.signing_keys {
                check(&old, key)?;
                let row = seal_row(&key.row);
                let Ok(plain) = old.open(Purpose::SigningKey, &row, &key.sealed) else {
                    return Err(KeyError::BrokenSeal("a signing key"));
                };
                let sealed = new.seal(Purpose::SigningKey, &row, &plain, &*self.entropy)?;
                signing_keys.push(SealedSigningKey { row: key.row.clone(), sealed });
            }
            let ids = BTreeMap::from([("from".to_owned(), Value::from(hex(&old_row.id)))]);
            let event = actor.event(self.clock.now(), Action::KeyRotate, hex(&new.id()), ids);
            let root_keys = vec![self.recognisable(&new)?, old_row];
            let rotated = Keys { root_keys, signing_keys, ..keys.clone() };
            if self.vault.replace_keys(keys, rotated, event).await? == ChangedKeys::Changed {
                return Ok(());
            }
        }
        Err(KeyError::Contended)
    }

    /// Ends the old root key of a rotation, once `in_use` is the new one: whoever still has the old one only could
    /// open nothing any more.
    pub async fn confirm_root_key(&self, in_use: &RootKey, actor: &Actor) -> Result<Confirmed, KeyError> {
        let in_use = Sealer::new(in_use.clone());
        for _ in 0..MOST_TRIES {
            let (keys, current) = self.opened().await?;
            if current.id() != in_use.id() {
                return Err(KeyError::NotInPlace { given: hex(&in_use.id()), wanted: hex(&current.id()) });
            }
            let mut kept = keys.clone();
            kept.root_keys.retain(|row| row.id == current.id());
            if kept == keys {
                return Ok(Confirmed::Nothing);
            }
            let event =
                actor.event(self.clock.now(), Action::KeyConfirm, hex(&current.id()), BTreeMap::new());
            if self.vault.replace_keys(keys, kept, event).await? == ChangedKeys::Changed {
                return Ok(Confirmed::Confirmed);
            }
        }
        Err(KeyError::Contended)
    }

    /// Lets a new key sign from now on. What the old one has signed is good until the last of it has expired; or, with
    /// `at_once` (it was stolen), nothing that any key before this one has signed is good any more. An old key's
    /// private half is forgotten either way, and the audit checkpoint is signed anew: no retired key vouches for one.
    pub async fn rotate_signing_key(&self, at_once: bool, actor: &Actor) -> Result<(), KeyError> {
        for _ in 0..MOST_TRIES {
            let (keys, sealer) = self.opened().await?;
            let now = self.clock.now();
            let ends = if at_once { now } else { now.plus(VERIFIES_FOR) };
            let fresh = self.new_signing_key(&sealer, now)?;
            let checkpoint = signed_anew(&sealer, &keys, &fresh)?;
            let target = kid(keys.epoch, &fresh.row.public_key);
            let mut signing_keys = vec![fresh];
            for key in &keys.signing_keys {
                check(&sealer, key)?;
                let mut key = key.clone();
                let retired = key.row.retired.get_or_insert(Retired { at: now, verifies_until: ends });
                if at_once {
                    retired.verifies_until = retired.verifies_until.min(now);
                }
                key.sealed = sealer.seal(Purpose::SigningKey, &seal_row(&key.row), &[], &*self.entropy)?;
                signing_keys.push(key);
            }
            let detail = BTreeMap::from([("at_once".to_owned(), Value::from(at_once))]);
            let event = actor.event(now, Action::KeyRotateSigning, target, detail);
            let rotated = Keys { signing_keys, checkpoint, ..keys.clone() };
            if self.vault.replace_keys(keys, rotated, event).await? == ChangedKeys::Changed {
                return Ok(());
            }
        }
        Err(KeyError::Contended)
    }
}
