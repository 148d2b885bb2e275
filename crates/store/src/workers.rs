//! The `revoked_worker` table: worker tokens that ended before their time. Of all others there is no row.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use fallgate_domain::worker::Family;
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::revision::Revision;
use crate::store::Store;
use crate::vault::Vault;
use crate::{audit, changes};

/// What became of [`Vault::revoke_worker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum RevokedWorker {
    /// It and all of its family are refused as of this revision.
    Revoked(Revision),
    /// One of its family was revoked before; the later of both times is kept.
    AlreadyRevoked,
}

impl Vault {
    /// Refuses a worker token and all of its family, which is remembered until then at least. Nobody asks whether there
    /// is such a token: it may be another node's.
    pub async fn revoke_worker(
        &self,
        id: CredentialId,
        until: Timestamp,
        event: NewEvent,
    ) -> Result<RevokedWorker, StoreError> {
        self.backend.write(event.author.clone(), move |act| revoke(act, id, until, event)).await
    }

    /// Forgets at most `most` revocations whose time is over at `now`; tells how many. It is no act of anybody's.
    pub async fn sweep_workers(&self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.backend.add(None, move |act| sweep(act, now, most)).await
    }
}

impl Store {
    /// Whether one of this family was revoked and that is still remembered.
    pub async fn is_worker_revoked(&self, family: Family) -> Result<bool, StoreError> {
        self.backend.read(move |connection| is_revoked(connection, family)).await
    }
}

fn revoke(
    act: &Transaction<'_>,
    id: CredentialId,
    until: Timestamp,
    mut event: NewEvent,
) -> Result<RevokedWorker, Fault> {
    let family = Family::of(id).bytes();
    let known: Option<i64> = act
        .prepare_cached("SELECT until FROM revoked_worker WHERE family = ?1")?
        .query_row([family], |row| row.get(0))
        .optional()?;
    let later = known.is_none_or(|known| known < until.millis());
    if later {
        act.prepare_cached(
            "INSERT INTO revoked_worker (family, jti, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (family) DO UPDATE SET until = excluded.until",
        )?
        .execute((family, id.bytes(), until.millis()))?;
        event.detail.insert("until".to_owned(), until.to_string().into());
        audit::append(act, event)?;
    }
    if known.is_some() {
        return Ok(RevokedWorker::AlreadyRevoked);
    }
    Ok(RevokedWorker::Revoked(changes::note(act, &[Moved::Worker(id)])?))
}

fn sweep(act: &Transaction<'_>, now: Timestamp, most: u32) -> Result<u64, Fault> {
    let mut statement = act.prepare_cached(
        "DELETE FROM revoked_worker WHERE family IN (
             SELECT family FROM revoked_worker WHERE until <= ?1 ORDER BY until LIMIT ?2
         )
         RETURNING jti",
    )?;
    let rows = statement
        .query_map((now.millis(), most), |row| Ok(Moved::Worker(CredentialId::from_bytes(row.get(0)?))))?;
    let swept = rows.collect::<Result<Vec<_>, _>>()?;
    if !swept.is_empty() {
        changes::note(act, &swept)?;
    }
    Ok(u64::try_from(swept.len()).unwrap_or(u64::MAX))
}

/// Whether one of this family was revoked.
pub(crate) fn is_revoked(connection: &Connection, family: Family) -> Result<bool, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM revoked_worker WHERE family = ?1)")?;
    Ok(statement.query_row([family.bytes()], |row| row.get(0))?)
}

/// Every family of which one was revoked.
pub(crate) fn each(connection: &Connection, give: &mut dyn FnMut(Family)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("SELECT family FROM revoked_worker")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        give(Family::from_bytes(row.get(0)?));
    }
    Ok(())
}
