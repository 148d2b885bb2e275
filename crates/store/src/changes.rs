//! The `state` and `change` tables: the revision, and what moved.

use fallgate_domain::id::{AgentId, CredentialId, CutId, UserId};
use fallgate_domain::worker::Family;
use rusqlite::{Connection, Transaction};

use crate::error::Fault;
use crate::revision::{Changes, Gone, Revision, Row};
use crate::{agents, credentials, cuts, keys, users, workers};

/// What a `change` row speaks of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moved {
    User(UserId),
    Credential(CredentialId),
    Cut(CutId),
    Agent(AgentId),
    /// All tokens of an owner, or of everybody: see [`Changes::revoked_all`]. One row, however many they are.
    Tokens(Option<UserId>),
    /// A revoked worker token, and all of its family.
    Worker(CredentialId),
    /// The signing keys.
    Keys,
}

const USER: &str = "user";
const CREDENTIAL: &str = "credential";
const CUT: &str = "cut";
const AGENT: &str = "agent";
const TOKENS: &str = "tokens";
const WORKER: &str = "worker";
const KEYS: &str = "keys";

/// Stands for everybody, where an owner's id would.
const EVERYBODY: [u8; 16] = [0; 16];

/// Raises the revision by one and says what moved.
pub(crate) fn note(act: &Transaction<'_>, moved: &[Moved]) -> Result<Revision, Fault> {
    let raised: i64 = act
        .prepare_cached("UPDATE state SET revision = revision + 1 RETURNING revision")?
        .query_row([], |row| row.get(0))?;
    let mut insert = act.prepare_cached("INSERT INTO change (revision, kind, id) VALUES (?1, ?2, ?3)")?;
    for thing in moved {
        let (kind, id) = match thing {
            Moved::User(id) => (USER, id.bytes()),
            Moved::Credential(id) => (CREDENTIAL, id.bytes()),
            Moved::Cut(id) => (CUT, id.bytes()),
            Moved::Agent(id) => (AGENT, id.bytes()),
            Moved::Tokens(owner) => (TOKENS, owner.map_or(EVERYBODY, |id| id.bytes())),
            Moved::Worker(id) => (WORKER, id.bytes()),
            Moved::Keys => (KEYS, [0; 16]),
        };
        insert.execute((raised, kind, id))?;
    }
    to_revision(raised)
}

/// The revision as of the connection's transaction, or else as of now.
pub(crate) fn revision(connection: &Connection) -> Result<Revision, Fault> {
    let revision =
        connection.prepare_cached("SELECT revision FROM state")?.query_row([], |row| row.get(0))?;
    to_revision(revision)
}

/// What moved after `since`, from one snapshot.
pub(crate) fn since(connection: &mut Connection, since: Revision) -> Result<Changes, Fault> {
    let snapshot = connection.transaction()?;
    let mut changes = Changes {
        revision: revision(&snapshot)?,
        rows: Vec::new(),
        gone: Vec::new(),
        revoked_all: Vec::new(),
        whole: false,
    };
    if changes.revision < since {
        return Err(Fault::WentBack { seen: since, found: changes.revision });
    }
    if is_beyond(&snapshot, since, changes.revision)? {
        changes.whole = true;
        everything(&snapshot, &mut |row| changes.rows.push(row))?;
        return Ok(changes);
    }
    let mut moved = snapshot
        .prepare_cached("SELECT DISTINCT kind, id FROM change WHERE revision > ?1 ORDER BY kind DESC, id")?;
    let mut moved = moved.query([i64::try_from(since.0).unwrap_or(i64::MAX)])?;
    while let Some(row) = moved.next()? {
        let id: [u8; 16] = row.get(1)?;
        match row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)? {
            USER => {
                let id = UserId::from_bytes(id);
                match users::row(&snapshot, id)? {
                    Some(user) => changes.rows.push(Row::User(user)),
                    None => changes.gone.push(Gone::User(id)),
                }
            }
            CREDENTIAL => {
                let id = CredentialId::from_bytes(id);
                match credentials::row(&snapshot, id)? {
                    Some(credential) => changes.rows.push(Row::Credential(credential)),
                    None => changes.gone.push(Gone::Credential(id)),
                }
            }
            CUT => {
                let id = CutId::from_bytes(id);
                match cuts::row(&snapshot, id)? {
                    Some(cut) => changes.rows.push(Row::Cut(cut)),
                    None => changes.gone.push(Gone::Cut(id)),
                }
            }
            WORKER => {
                let family = Family::of(CredentialId::from_bytes(id));
                if workers::is_revoked(&snapshot, family)? {
                    changes.rows.push(Row::RevokedWorker(family));
                } else {
                    changes.gone.push(Gone::RevokedWorker(family));
                }
            }
            KEYS => changes.rows.push(Row::Keys(keys::public(&snapshot)?)),
            AGENT => {
                let id = AgentId::from_bytes(id);
                match agents::row(&snapshot, id)? {
                    Some(agent) => changes.rows.push(Row::Agent(agent)),
                    None => changes.gone.push(Gone::Agent(id)),
                }
            }
            TOKENS => {
                changes.revoked_all.push((id != EVERYBODY).then(|| UserId::from_bytes(id)));
            }
            other => {
                return Err(Fault::Unreadable(format!("something of the unknown kind {other:?} changed")));
            }
        }
    }
    Ok(changes)
}

/// Whether what moved after `since` may have been taken away. A revision at which nothing moved has no rows either;
/// reading everything is right then, too.
fn is_beyond(connection: &Connection, since: Revision, now: Revision) -> Result<bool, Fault> {
    if since == now {
        return Ok(false);
    }
    let mut oldest = connection.prepare_cached("SELECT min(revision) FROM change")?;
    let oldest: Option<i64> = oldest.query_row([], |row| row.get(0))?;
    let oldest = oldest.map(to_revision).transpose()?;
    Ok(oldest.is_none_or(|oldest| oldest.0 > since.0.saturating_add(1)))
}

/// Every revoked worker token, every user, the signing keys, every cut, then every credential by id, then every agent.
pub(crate) fn everything(connection: &Connection, each: &mut dyn FnMut(Row)) -> Result<(), Fault> {
    workers::each(connection, &mut |family| each(Row::RevokedWorker(family)))?;
    users::each(connection, &mut |user| each(Row::User(user)))?;
    let keys = keys::public(connection)?;
    if !keys.signing_keys.is_empty() {
        each(Row::Keys(keys));
    }
    cuts::each(connection, &mut |cut| each(Row::Cut(cut)))?;
    credentials::each(connection, &mut |credential| each(Row::Credential(credential)))?;
    agents::each(connection, &mut |agent| each(Row::Agent(agent)))
}

/// Takes away what moved more than `kept` revisions ago, about `most` rows at once and a revision whole or not at all.
/// Tells how many rows.
pub(crate) fn prune(act: &Transaction<'_>, kept: u64, most: u32) -> Result<u64, Fault> {
    let last = revision(act)?.0.saturating_sub(kept);
    let last = i64::try_from(last).unwrap_or(i64::MAX);
    let mut bound = act.prepare_cached(
        "SELECT max(revision) FROM (SELECT revision FROM change WHERE revision <= ?1 ORDER BY revision LIMIT ?2)",
    )?;
    let bound: Option<i64> = bound.query_row((last, most), |row| row.get(0))?;
    let Some(bound) = bound else { return Ok(0) };
    let count = act.prepare_cached("DELETE FROM change WHERE revision <= ?1")?.execute([bound])?;
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

fn to_revision(number: i64) -> Result<Revision, Fault> {
    u64::try_from(number)
        .map(Revision)
        .map_err(|_| Fault::Unreadable(format!("its revision is {number}, below zero")))
}
