//! The `root_key`, `signing_key` and `audit_checkpoint` tables: what is sealed, and what vouches for events that are
//! gone. Nothing here opens a seal.
//!
//! Whoever changes keys has read them first, sealed anew outside, and says what it has read: when that is no longer so,
//! nothing is done.

use fallgate_domain::audit::{Checkpoint, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::SigningKeyId;
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::sqlite::column::time;
use crate::store::Store;
use crate::vault::Vault;
use crate::{audit, changes};

/// Tells one root key from another; derived from it, and public.
pub type RootKeyId = [u8; 8];

/// A root key, as far as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKeyRow {
    /// Which.
    pub id: RootKeyId,
    /// A known text, sealed under it.
    pub check_value: Vec<u8>,
    /// The key that came after it, sealed under it; `None`: all else is sealed under this one.
    pub successor: Option<Vec<u8>>,
    /// When the store was first sealed under it.
    pub created_at: Timestamp,
}

/// A signing key's public half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Which.
    pub id: SigningKeyId,
    /// Ed25519 (RFC 8032).
    pub public_key: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when another one signs, and until when this one verifies; `None`: it signs.
    pub retired: Option<Retired>,
}

/// The end of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Since when another one signs.
    pub at: Timestamp,
    /// Until when it verifies what it has signed; refused at that time.
    pub verifies_until: Timestamp,
}

/// A signing key with what is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSigningKey {
    /// What is public of it.
    pub row: SigningKeyRow,
    /// Its private half, sealed; of a retired key nothing, sealed.
    pub sealed: Vec<u8>,
}

/// All keys, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Rises with every restored backup.
    pub epoch: u64,
    /// None before the first start.
    pub root_keys: Vec<RootKeyRow>,
    /// The one that signs, then the others, newest first.
    pub signing_keys: Vec<SealedSigningKey>,
    /// The newest audit checkpoint, which the key that signs vouches for.
    pub checkpoint: Option<Checkpoint>,
}

/// The public halves, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// Rises with every restored backup.
    pub epoch: u64,
    /// The one that signs, then the others, newest first.
    pub signing_keys: Vec<SigningKeyRow>,
}

/// What became of a change to the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ChangedKeys {
    /// It is done.
    Changed,
    /// The keys are no longer what was read; nothing was done. Read them again.
    Outdated,
}

impl Store {
    /// The public halves of all signing keys, dropped ones too. Answered in place.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn signing_keys(&self) -> Result<PublicKeys, StoreError> {
        self.backend.in_place(|connection| public(&*connection.transaction()?))
    }

    /// The newest audit checkpoint.
    pub async fn audit_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.backend.read(|connection| checkpoint(connection)).await
    }
}

impl Vault {
    /// All keys, with what is sealed.
    pub async fn keys(&self) -> Result<Keys, StoreError> {
        self.backend.read(|connection| all(&*connection.transaction()?)).await
    }

    /// Gives a store without keys its first ones. It is no act of anybody's, so no event tells of it.
    pub async fn adopt_keys(
        &self,
        root: RootKeyRow,
        signing: SealedSigningKey,
    ) -> Result<ChangedKeys, StoreError> {
        let act = move |act: &Transaction<'_>| {
            if !(root_keys(act)?.is_empty() && signing_keys(act)?.is_empty()) {
                return Ok(ChangedKeys::Outdated);
            }
            insert_root(act, &root)?;
            insert_signing(act, &signing)?;
            changes::note(act, &[Moved::Keys])?;
            Ok(ChangedKeys::Changed)
        };
        self.backend.write(None, act).await
    }

    /// Puts `new` in the place of `read`: root keys, everything sealed and what is signed, in one transaction. The
    /// revision rises, so that whoever holds a key looks again.
    pub async fn replace_keys(
        &self,
        read: Keys,
        new: Keys,
        event: NewEvent,
    ) -> Result<ChangedKeys, StoreError> {
        let author = event.author.clone();
        let act = move |act: &Transaction<'_>| {
            if all(act)? != read {
                return Ok(ChangedKeys::Outdated);
            }
            act.execute("DELETE FROM root_key", [])?;
            new.root_keys.iter().try_for_each(|root| insert_root(act, root))?;
            act.execute("DELETE FROM signing_key", [])?;
            new.signing_keys.iter().try_for_each(|signing| insert_signing(act, signing))?;
            if let Some(checkpoint) = new.checkpoint.filter(|new| read.checkpoint.as_ref() != Some(new)) {
                insert_checkpoint(act, &checkpoint)?;
            }
            changes::note(act, &[Moved::Keys])?;
            audit::append(act, event)?;
            Ok(ChangedKeys::Changed)
        };
        self.backend.write(author, act).await
    }

    /// Takes what was deleted out of the write-ahead log too: a key that was replaced opens what still stands there.
    /// `false`: somebody was reading from it all the time; ask again later.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        self.backend.empty_log().await
    }

    /// Deletes the audit events up to the checkpoint's, which has to be there with the checkpoint's hash and must not
    /// be the last one, and leaves the checkpoint in their and all earlier ones' place. How many were deleted; `None`:
    /// the trail is not like that, there is a later checkpoint, or another key signs now, and nothing was done.
    pub async fn trim_audit(&self, checkpoint: Checkpoint) -> Result<Option<u64>, StoreError> {
        self.backend.write_alone(None, move |act| trim(act, &checkpoint)).await
    }
}

/// The public halves, as of the connection's transaction.
pub(crate) fn public(connection: &Connection) -> Result<PublicKeys, Fault> {
    let signing_keys = signing_keys(connection)?.into_iter().map(|key| key.row).collect();
    Ok(PublicKeys { epoch: epoch(connection)?, signing_keys })
}

fn all(connection: &Connection) -> Result<Keys, Fault> {
    Ok(Keys {
        epoch: epoch(connection)?,
        root_keys: root_keys(connection)?,
        signing_keys: signing_keys(connection)?,
        checkpoint: checkpoint(connection)?,
    })
}

fn epoch(connection: &Connection) -> Result<u64, Fault> {
    let epoch: i64 = connection.prepare_cached("SELECT epoch FROM state")?.query_row([], |row| row.get(0))?;
    u64::try_from(epoch).map_err(|_| Fault::Unreadable(format!("its epoch is {epoch}, below zero")))
}

fn root_keys(connection: &Connection) -> Result<Vec<RootKeyRow>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, check_value, successor, created_at FROM root_key ORDER BY created_at DESC, id",
    )?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(RootKeyRow {
            id: row.get(0)?,
            check_value: row.get(1)?,
            successor: row.get(2)?,
            created_at: time(row.get(3)?)?,
        });
    }
    Ok(keys)
}

fn signing_keys(connection: &Connection) -> Result<Vec<SealedSigningKey>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, public_key, sealed, created_at, retired_at, verifies_until FROM signing_key
         ORDER BY retired_at IS NOT NULL, created_at DESC, id DESC",
    )?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let retired: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let retired = match retired {
            (Some(at), Some(until)) => Some(Retired { at: time(at)?, verifies_until: time(until)? }),
            _ => None,
        };
        let id = SigningKeyId::from_bytes(row.get(0)?);
        let row_of = SigningKeyRow { id, public_key: row.get(1)?, created_at: time(row.get(3)?)?, retired };
        keys.push(SealedSigningKey { row: row_of, sealed: row.get(2)? });
    }
    Ok(keys)
}

fn insert_root(act: &Transaction<'_>, key: &RootKeyRow) -> Result<(), Fault> {
    act.prepare_cached(
        "INSERT INTO root_key (id, check_value, successor, created_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((key.id, &key.check_value, &key.successor, key.created_at.millis()))?;
    Ok(())
}

fn insert_signing(act: &Transaction<'_>, key: &SealedSigningKey) -> Result<(), Fault> {
    let row = &key.row;
    act.prepare_cached(
        "INSERT INTO signing_key (id, public_key, sealed, created_at, retired_at, verifies_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        row.id.bytes(),
        row.public_key,
        &key.sealed,
        row.created_at.millis(),
        row.retired.map(|retired| retired.at.millis()),
        row.retired.map(|retired| retired.verifies_until.millis()),
    ))?;
    Ok(())
}

fn checkpoint(connection: &Connection) -> Result<Option<Checkpoint>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, hash, at, signing_key, signature FROM audit_checkpoint ORDER BY seq DESC LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Checkpoint {
        seq: audit::sequence(row.get(0)?)?,
        hash: row.get(1)?,
        at: time(row.get(2)?)?,
        signing_key: SigningKeyId::from_bytes(row.get(3)?),
        signature: row.get(4)?,
    }))
}

fn trim(act: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<Option<u64>, Fault> {
    let seq = audit::stored(checkpoint.seq);
    // The last event stays: the next one is linked to it.
    let fits: Option<bool> = act
        .prepare_cached(
            "SELECT seq < (SELECT max(seq) FROM audit)
                AND NOT EXISTS (SELECT 1 FROM audit_checkpoint WHERE seq >= ?1)
                AND EXISTS (SELECT 1 FROM signing_key WHERE id = ?3 AND retired_at IS NULL)
             FROM audit WHERE seq = ?1 AND hash = ?2",
        )?
        .query_row((seq, &checkpoint.hash, checkpoint.signing_key.bytes()), |row| row.get(0))
        .optional()?;
    if fits != Some(true) {
        return Ok(None);
    }
    let deleted = act.execute("DELETE FROM audit WHERE seq <= ?1", [seq])?;
    insert_checkpoint(act, checkpoint)?;
    Ok(Some(u64::try_from(deleted).unwrap_or(u64::MAX)))
}

/// In the place of all before it.
fn insert_checkpoint(act: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), Fault> {
    act.execute("DELETE FROM audit_checkpoint", [])?;
    act.execute(
        "INSERT INTO audit_checkpoint (seq, hash, at, signing_key, signature) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            audit::stored(checkpoint.seq),
            &checkpoint.hash,
            checkpoint.at.millis(),
            checkpoint.signing_key.bytes(),
            checkpoint.signature,
        ),
    )?;
    Ok(())
}
