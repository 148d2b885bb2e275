//! Acts on tokens that are there already: renamed, given another end, ended all at once, found by their secret.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, Revocation};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::token::TokenHash;
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::Fault;
use crate::vault::Amended;
use crate::{audit, changes, credentials, workers};

/// Ends all good tokens of an owner, or of everybody, but one. Tells how many that were, worker tokens aside.
pub(crate) fn revoke_all(
    act: &Transaction<'_>,
    owner: Option<UserId>,
    except: Option<CredentialId>,
    revocation: &Revocation,
    now: Timestamp,
    mut event: NewEvent,
) -> Result<u64, Fault> {
    // Two statements, so that one owner's few are found by their index.
    macro_rules! revoke_where {
        ($owner:literal) => {
            concat!(
                "UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4 WHERE ",
                $owner,
                " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2) AND kind IN (?5, ?6)
                  AND (?7 IS NULL OR id <> ?7)"
            )
        };
    }
    let mut statement = act.prepare_cached(match owner {
        Some(_) => revoke_where!("owner = ?1"),
        None => revoke_where!("?1 IS NULL"),
    })?;
    let count = statement.execute((
        owner.map(|id| id.bytes()),
        revocation.at.millis(),
        &revocation.by,
        &revocation.reason,
        CredentialKind::Token.name(),
        CredentialKind::Legacy.name(),
        except.map(|id| id.bytes()),
    ))?;
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    // One row says it for all of them, so that whoever keeps a view takes it in at once (requirement R35).
    let mut moved = vec![Moved::Tokens(owner)];
    moved.extend(except.map(Moved::Credential));
    moved.extend(workers::end_all(act, owner, except, now)?);
    changes::note(act, &moved)?;
    event.detail.insert("revoked".to_owned(), count.into());
    audit::append(act, event)?;
    Ok(count)
}

/// Gives a credential another name.
pub(crate) fn rename(
    act: &Transaction<'_>,
    id: CredentialId,
    name: &str,
    event: NewEvent,
) -> Result<Amended, Fault> {
    let before: Option<String> = act
        .prepare_cached("SELECT name FROM credential WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    match before {
        None => return Ok(Amended::Unknown),
        Some(before) if before == name => return Ok(Amended::Unchanged),
        Some(_) => {}
    }
    act.prepare_cached("UPDATE credential SET name = ?2 WHERE id = ?1")?.execute((id.bytes(), name))?;
    amended(act, id, event)
}

/// Gives a credential another end.
pub(crate) fn redate(
    act: &Transaction<'_>,
    id: CredentialId,
    expires_at: Option<Timestamp>,
    now: Timestamp,
    event: NewEvent,
) -> Result<Amended, Fault> {
    let before: Option<Option<i64>> = act
        .prepare_cached("SELECT expires_at FROM credential WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(Amended::Unknown) };
    if !credentials::lineage(act, id)?.is_some_and(|end| end.stands(now)) {
        return Ok(Amended::Ended);
    }
    let expires_at = expires_at.map(Timestamp::millis);
    if before == expires_at {
        return Ok(Amended::Unchanged);
    }
    act.prepare_cached("UPDATE credential SET expires_at = ?2 WHERE id = ?1")?
        .execute((id.bytes(), expires_at))?;
    amended(act, id, event)
}

/// The credential whose secret hashes to this.
pub(crate) fn with_hash(connection: &Connection, hash: &TokenHash) -> Result<Option<CredentialId>, Fault> {
    let mut statement = connection.prepare_cached("SELECT id FROM credential WHERE hash = ?1")?;
    let id = statement.query_row([hash.bytes()], |row| row.get(0)).optional()?;
    Ok(id.map(CredentialId::from_bytes))
}

fn amended(act: &Transaction<'_>, id: CredentialId, event: NewEvent) -> Result<Amended, Fault> {
    let revision = changes::note(act, &[Moved::Credential(id)])?;
    audit::append(act, event)?;
    Ok(Amended::Amended(revision))
}
