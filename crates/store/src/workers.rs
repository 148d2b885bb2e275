//! The `revoked_worker` table: worker tokens that ended before their time. Of all others there is no row.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::user::Username;
use fallgate_domain::worker::{AllEnded, Family};
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::revision::Revision;
use crate::sqlite::column::parsed;
use crate::store::Store;
use crate::vault::Vault;
use crate::{audit, changes, users};

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
        self.backend.add_alone(None, move |act| sweep(act, now, most)).await
    }
}

impl Store {
    /// Whether a token of this owner was revoked, by any of its family or with all of the owner's, and that is still
    /// remembered.
    pub async fn is_worker_revoked(&self, id: CredentialId, owner: UserId) -> Result<bool, StoreError> {
        self.backend.read(move |connection| has_ended(connection, id, owner)).await
    }

    /// Whether all worker tokens of this owner were ever ended at once.
    pub async fn all_workers_ended(&self, owner: UserId) -> Result<Option<AllEnded>, StoreError> {
        self.backend
            .read(move |connection| Ok(users::row(connection, owner)?.and_then(|owner| owner.workers_ended)))
            .await
    }

    /// Who owns the token of this id, as they were called when it was minted: as far as the audit trail goes back, and of
    /// those that were minted here.
    pub async fn owner_when_minted(&self, id: CredentialId) -> Result<Option<Username>, StoreError> {
        self.backend.read(move |connection| owner_when_minted(connection, id)).await
    }
}

fn owner_when_minted(connection: &Connection, id: CredentialId) -> Result<Option<Username>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT json_extract(detail, '$.owner') FROM audit WHERE action = 'token.mint' AND target = ?1
         ORDER BY seq DESC LIMIT 1",
    )?;
    let mut rows = statement.query([id.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let owner = row.get_ref(0)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    owner.map(parsed::<Username>).transpose()
}

/// Whether somebody ended it, by itself or with all of its owner's. An owner who is gone has none that stand.
pub(crate) fn has_ended(connection: &Connection, id: CredentialId, owner: UserId) -> Result<bool, Fault> {
    let ended = |all: AllEnded| all.ends(id);
    let with_all = users::row(connection, owner)?.is_none_or(|owner| owner.workers_ended.is_some_and(ended));
    Ok(with_all || is_revoked(connection, Family::of(id))?)
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

/// Ends all worker tokens of an owner, or of everybody, that were made until now, but a family. The revision is the
/// caller's to raise. `now` is asked while nobody else writes: what was minted before this act was made before that, or
/// before the newest there is, if the clock was set back.
pub(crate) fn end_all(
    act: &Transaction<'_>,
    owner: Option<UserId>,
    spared: Option<CredentialId>,
    now: Timestamp,
) -> Result<Vec<Moved>, Fault> {
    let now = newest_minted(act)?.map_or(now, |newest| now.max(newest.made_at()));
    let mut statement = act.prepare_cached(
        r#"UPDATE "user" SET workers_ended_at = max(ifnull(workers_ended_at, ?2), ?2), worker_spared = ?3
           WHERE ?1 IS NULL OR id = ?1 RETURNING id"#,
    )?;
    let row = (owner.map(|id| id.bytes()), now.millis(), spared.map(|id| Family::of(id).bytes()));
    let moved = statement.query_map(row, |row| Ok(Moved::User(UserId::from_bytes(row.get(0)?))))?;
    Ok(moved.collect::<Result<_, _>>()?)
}

/// The last made of all tokens that were ever minted here: ids sort by when they were made, as texts too.
fn newest_minted(act: &Transaction<'_>) -> Result<Option<CredentialId>, Fault> {
    let newest: Option<String> = act
        .prepare_cached("SELECT target FROM audit WHERE action = 'token.mint' ORDER BY target DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(newest.and_then(|newest| newest.parse().ok()))
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
