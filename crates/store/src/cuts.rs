//! The `cut` table: what is stopped until it is lifted.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::is_expired;
use fallgate_domain::cut::{Cut, CutReason, CutTarget};
use fallgate_domain::id::{AgentId, CredentialId, CutId, UserId};
use rusqlite::{Connection, Row, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::revision::{CutOn, CutRow, Revision};
use crate::sqlite::column::{parsed, time};
use crate::store::Store;
use crate::vault::Vault;
use crate::{agents, audit, changes, credentials, users};

/// How many cuts on one thing may stand that one account placed.
const MOST_BY_ONE: i64 = 16;

/// What became of [`Vault::place_cut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PlacedCut {
    /// It stands as of this revision.
    Placed(Revision),
    /// There is nothing of that name; nothing was done.
    Unknown,
    /// Whoever placed it has placed as many on the same thing as one may; nothing was done.
    TooMany,
}

/// What became of [`Vault::lift_cut`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum LiftedCut {
    /// It does not stand any more as of this revision; this is what it was.
    Lifted(Revision, Cut),
    /// No such cut stands; nothing was done.
    Unknown,
}

impl Vault {
    /// Places a cut. A route is taken as it is named: the store does not know which there are.
    pub async fn place_cut(&self, cut: Cut, event: NewEvent) -> Result<PlacedCut, StoreError> {
        self.backend.write(event.author.clone(), move |act| place(act, &cut, event)).await
    }

    /// Lifts a cut that stands at `now`. The event's target is told what was cut.
    pub async fn lift_cut(
        &self,
        id: CutId,
        now: Timestamp,
        event: NewEvent,
    ) -> Result<LiftedCut, StoreError> {
        self.backend.write(event.author.clone(), move |act| lift(act, id, now, event)).await
    }

    /// Takes away cuts whose time was over before `before`; tells how many. It changes nothing for anybody, so it is not
    /// recorded.
    pub async fn sweep_cuts(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.backend.add_alone(None, move |act| sweep(act, before)).await
    }
}

impl Store {
    /// The cuts that stand at `now`, oldest first.
    pub async fn cuts(&self, now: Timestamp) -> Result<Vec<Cut>, StoreError> {
        self.backend.read(move |connection| standing(connection, now)).await
    }

    /// The cut of that id, if it stands at `now`.
    pub async fn cut(&self, id: CutId, now: Timestamp) -> Result<Option<Cut>, StoreError> {
        self.backend.read(move |connection| Ok(shown(connection, id)?.filter(|cut| cut.stands(now)))).await
    }
}

/// The statement behind every list, up to its condition.
macro_rules! shown_columns {
    () => {
        "SELECT id, target, reason, placed_by, placer, created_at, expires_at FROM cut "
    };
}

/// The statement behind every decision, up to its condition.
macro_rules! lean_columns {
    () => {
        "SELECT id, target, subject, reason, expires_at FROM cut "
    };
}

fn place(act: &Transaction<'_>, cut: &Cut, mut event: NewEvent) -> Result<PlacedCut, Fault> {
    let subject = match &cut.target {
        CutTarget::User(username) => match users::named(act, username)? {
            Some(user) => Some(user.id.bytes()),
            None => return Ok(PlacedCut::Unknown),
        },
        CutTarget::Credential(id) => match credentials::row(act, *id)? {
            Some(credential) => Some(credential.id.bytes()),
            None => return Ok(PlacedCut::Unknown),
        },
        CutTarget::Agent(name) => match agents::id_of(act, name)? {
            Some(id) => Some(id.bytes()),
            None => return Ok(PlacedCut::Unknown),
        },
        CutTarget::Route(_) | CutTarget::Everything => None,
    };
    let target = cut.target.to_string();
    if let Some(placer) = cut.placer {
        let count: i64 = act
            .prepare_cached(
                "SELECT count(*) FROM cut
                 WHERE target = ?1 AND placer = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
            )?
            .query_row((&target, placer.bytes(), cut.created_at.millis()), |row| row.get(0))?;
        if count >= MOST_BY_ONE {
            return Ok(PlacedCut::TooMany);
        }
    }
    act.prepare_cached(
        "INSERT INTO cut (id, target, subject, reason, placed_by, placer, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        cut.id.bytes(),
        target,
        subject,
        cut.reason.as_ref().map(CutReason::as_str),
        &cut.placed_by,
        cut.placer.map(|id| id.bytes()),
        cut.created_at.millis(),
        cut.expires_at.map(Timestamp::millis),
    ))?;
    let revision = changes::note(act, &[Moved::Cut(cut.id)])?;
    name_owner(act, &cut.target, &mut event)?;
    audit::append(act, event)?;
    Ok(PlacedCut::Placed(revision))
}

/// Says in the event whose credential or agent it is: the trail is asked by user.
fn name_owner(act: &Transaction<'_>, target: &CutTarget, event: &mut NewEvent) -> Result<(), Fault> {
    let owner = match target {
        CutTarget::Credential(id) => credentials::row(act, *id)?.and_then(|credential| credential.owner),
        CutTarget::Agent(name) => agents::owner_of(act, name)?,
        CutTarget::User(_) | CutTarget::Route(_) | CutTarget::Everything => None,
    };
    if let Some(owner) = owner
        && let Some(user) = users::row(act, owner)?
    {
        event.detail.insert("owner".to_owned(), user.username.as_str().into());
    }
    Ok(())
}

fn lift(act: &Transaction<'_>, id: CutId, now: Timestamp, mut event: NewEvent) -> Result<LiftedCut, Fault> {
    let Some(cut) = shown(act, id)?.filter(|cut| cut.stands(now)) else { return Ok(LiftedCut::Unknown) };
    act.prepare_cached("DELETE FROM cut WHERE id = ?1")?.execute([id.bytes()])?;
    let revision = changes::note(act, &[Moved::Cut(id)])?;
    event.target = cut.target.to_string();
    name_owner(act, &cut.target, &mut event)?;
    audit::append(act, event)?;
    Ok(LiftedCut::Lifted(revision, cut))
}

fn sweep(act: &Transaction<'_>, before: Timestamp) -> Result<u64, Fault> {
    let moved = delete(act, "DELETE FROM cut WHERE expires_at < ?1 RETURNING id", before.millis())?;
    if !moved.is_empty() {
        changes::note(act, &moved)?;
    }
    Ok(u64::try_from(moved.len()).unwrap_or(u64::MAX))
}

/// Takes away the cuts on what is no more. The revision is the caller's to raise.
pub(crate) fn forget(act: &Transaction<'_>, subject: [u8; 16]) -> Result<Vec<Moved>, Fault> {
    delete(act, "DELETE FROM cut WHERE subject = ?1 RETURNING id", subject)
}

fn delete(
    act: &Transaction<'_>,
    statement: &str,
    parameter: impl rusqlite::ToSql,
) -> Result<Vec<Moved>, Fault> {
    let mut statement = act.prepare_cached(statement)?;
    let rows = statement.query_map([parameter], |row| Ok(Moved::Cut(CutId::from_bytes(row.get(0)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The oldest cut at `now` that stops whoever owns something, the agent that acts for them, or what comes with something
/// of that lineage; one on everything does so unless they are `spared`.
pub(crate) fn on_caller(
    connection: &Connection,
    (owner, agent): (UserId, Option<AgentId>),
    lineage: &[CredentialId],
    spared: bool,
    now: Timestamp,
) -> Result<Option<CutRow>, Fault> {
    let mut found = None;
    each(connection, &mut |row| {
        let stops = match &row.on {
            CutOn::User(id) => *id == owner,
            CutOn::Credential(id) => lineage.contains(id),
            CutOn::Everything => !spared,
            CutOn::Agent(id) => agent == Some(*id),
            CutOn::Route(_) => false,
        };
        if found.is_none() && stops && !is_expired(row.expires_at, now) {
            found = Some(row);
        }
    })?;
    Ok(found)
}

/// What a decision needs of one cut.
pub(crate) fn row(connection: &Connection, id: CutId) -> Result<Option<CutRow>, Fault> {
    let mut statement = connection.prepare_cached(concat!(lean_columns!(), "WHERE id = ?1"))?;
    let mut rows = statement.query([id.bytes()])?;
    rows.next()?.map(decide).transpose()
}

/// What a decision needs of every cut, by id.
pub(crate) fn each(connection: &Connection, give: &mut dyn FnMut(CutRow)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(concat!(lean_columns!(), "ORDER BY id"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        give(decide(row)?);
    }
    Ok(())
}

fn standing(connection: &mut Connection, now: Timestamp) -> Result<Vec<Cut>, Fault> {
    let mut statement = connection.prepare_cached(concat!(
        shown_columns!(),
        "WHERE expires_at IS NULL OR expires_at > ?1 ORDER BY id"
    ))?;
    let mut rows = statement.query([now.millis()])?;
    let mut cuts = Vec::new();
    while let Some(row) = rows.next()? {
        cuts.push(show(row)?);
    }
    Ok(cuts)
}

fn shown(connection: &Connection, id: CutId) -> Result<Option<Cut>, Fault> {
    let mut statement = connection.prepare_cached(concat!(shown_columns!(), "WHERE id = ?1"))?;
    let mut rows = statement.query([id.bytes()])?;
    rows.next()?.map(show).transpose()
}

/// Reads a row of the lean columns.
fn decide(row: &Row<'_>) -> Result<CutRow, Fault> {
    let subject: Option<[u8; 16]> = row.get(2)?;
    let on = match (target(row, 1)?, subject) {
        (CutTarget::User(_), Some(id)) => CutOn::User(UserId::from_bytes(id)),
        (CutTarget::Credential(_), Some(id)) => CutOn::Credential(CredentialId::from_bytes(id)),
        (CutTarget::Agent(_), Some(id)) => CutOn::Agent(AgentId::from_bytes(id)),
        (CutTarget::Route(name), None) => CutOn::Route(name),
        (CutTarget::Everything, None) => CutOn::Everything,
        (target, _) => return Err(Fault::Unreadable(format!("a cut names what cannot be cut: {target}"))),
    };
    Ok(CutRow {
        id: CutId::from_bytes(row.get(0)?),
        on,
        reason: reason(row, 3)?,
        expires_at: row.get::<_, Option<i64>>(4)?.map(time).transpose()?,
    })
}

/// Reads a row of the shown columns.
fn show(row: &Row<'_>) -> Result<Cut, Fault> {
    Ok(Cut {
        id: CutId::from_bytes(row.get(0)?),
        target: target(row, 1)?,
        reason: reason(row, 2)?,
        placed_by: row.get(3)?,
        placer: row.get::<_, Option<_>>(4)?.map(UserId::from_bytes),
        created_at: time(row.get(5)?)?,
        expires_at: row.get::<_, Option<i64>>(6)?.map(time).transpose()?,
    })
}

fn target(row: &Row<'_>, column: usize) -> Result<CutTarget, Fault> {
    parsed(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn reason(row: &Row<'_>, column: usize) -> Result<Option<CutReason>, Fault> {
    row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?.map(parsed).transpose()
}
