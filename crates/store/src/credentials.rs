//! The `credential` and `last_use` tables.

use std::collections::HashMap;

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{
    Credential, CredentialKind, GRANT, LastUse, NewCredential, Revocation, Status, is_expired,
};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::Username;
use rusqlite::{Connection, OptionalExtension, Row, Rows, Transaction};

use crate::changes::Moved;
use crate::error::Fault;
use crate::revision::CredentialRow;
use crate::sqlite::column::{parsed, time};
use crate::store::{CredentialFilter, Listed};
use crate::vault::{EndedCredentials, Minted, NotedUse, Revoked};
use crate::{agents, audit, changes, users};

/// The statement behind every list, up to its condition.
macro_rules! listed_columns {
    () => {
        r#"SELECT credential.id, kind, owner, parent, minted_by, name, hint, scopes, credential.created_at, expires_at,
                  revoked_at, revoked_by, reason, last_use.at, last_use.ip, last_use.user_agent, "user".username,
                  coalesce(last_use.uses, 0)
           FROM credential
           LEFT JOIN last_use ON last_use.credential = credential.id
           LEFT JOIN "user" ON "user".id = credential.owner
           "#
    };
}

/// The statement behind every decision, up to its condition. Only of sign-ins it matters when they were used.
macro_rules! lean_columns {
    () => {
        "SELECT id, kind, owner, parent, hash, scopes, expires_at, revoked_at IS NOT NULL,
                CASE kind WHEN 'login' THEN
                    coalesce((SELECT at FROM last_use WHERE last_use.credential = credential.id), created_at)
                END,
                minted_by
         FROM credential "
    };
}

/// More links than any honest lineage has: past it the table goes round in a circle.
const LONGEST_LINEAGE: usize = 100_000;

/// How long a line of credentials may be, each hanging on the one before. Every decision walks all of it.
pub(crate) const DEEPEST_LINEAGE: usize = 16;

/// Writes a new credential if its owner is enabled and has room for it, and all that it hangs on is alive.
pub(crate) fn mint(
    act: &Transaction<'_>,
    new: &NewCredential,
    most: u32,
    event: NewEvent,
) -> Result<Minted, Fault> {
    let credential = &new.credential;
    if matches!(credential.kind, CredentialKind::Internal | CredentialKind::Legacy) {
        return Err(Fault::Contradiction("the internal token and imported tokens are never minted"));
    }
    if let Some(owner) = credential.owner {
        match users::is_disabled(act, owner)? {
            None => return Ok(Minted::OwnerUnknown),
            Some(true) => return Ok(Minted::OwnerDisabled),
            Some(false) => {}
        }
    }
    if let Some(parent) = credential.parent {
        match lineage(act, parent)?.filter(|end| end.stands(credential.created_at)) {
            None => return Ok(Minted::ParentEnded),
            Some(end) if end.links.len() >= DEEPEST_LINEAGE => return Ok(Minted::TooDeep),
            Some(_) => {}
        }
    }
    if let Some(owner) = credential.owner
        && credential.kind == CredentialKind::Token
        && has_tokens(act, owner, most, credential.created_at)?
    {
        return Ok(Minted::TooMany);
    }
    insert(act, new)?;
    let revision = changes::note(act, &[Moved::Credential(credential.id)])?;
    audit::append(act, event)?;
    Ok(Minted::Minted(revision))
}

/// Whether somebody has so many tokens that stand.
fn has_tokens(act: &Transaction<'_>, owner: UserId, most: u32, now: Timestamp) -> Result<bool, Fault> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut statement = act.prepare_cached(
        "SELECT id FROM credential WHERE owner = ?1 AND kind = ?2 AND revoked_at IS NULL
         AND (expires_at IS NULL OR expires_at > ?3)",
    )?;
    let rows = statement.query_map((owner.bytes(), CredentialKind::Token.name(), now.millis()), |row| {
        row.get(0).map(CredentialId::from_bytes)
    })?;
    let by_their_own_dates = rows.collect::<Result<Vec<_>, _>>()?;
    if by_their_own_dates.len() < most {
        return Ok(false);
    }
    // What hangs on one that has ended has ended too, and counts no more.
    let mut standing = 0;
    for id in by_their_own_dates {
        if lineage(act, id)?.is_some_and(|end| end.stands(now)) {
            standing += 1;
        }
        if standing >= most {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the row of a new credential. The revision is the caller's to raise.
pub(crate) fn insert(act: &Transaction<'_>, new: &NewCredential) -> Result<(), Fault> {
    let credential = &new.credential;
    act.prepare_cached(
        "INSERT INTO credential
         (id, kind, owner, parent, minted_by, name, hint, hash, scopes, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute((
        credential.id.bytes(),
        credential.kind.name(),
        credential.owner.map(|id| id.bytes()),
        credential.parent.map(|id| id.bytes()),
        &credential.minted_by,
        &credential.name,
        &credential.hint,
        new.hash.bytes(),
        credential.scopes.to_string(),
        credential.created_at.millis(),
        credential.expires_at.map(Timestamp::millis),
    ))?;
    Ok(())
}

/// Ends one credential, with one row.
pub(crate) fn revoke(
    act: &Transaction<'_>,
    id: CredentialId,
    revocation: &Revocation,
    event: NewEvent,
) -> Result<Revoked, Fault> {
    let revoked: Option<bool> = act
        .prepare_cached("SELECT revoked_at IS NOT NULL FROM credential WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    match revoked {
        None => return Ok(Revoked::Unknown),
        Some(true) => return Ok(Revoked::AlreadyRevoked),
        Some(false) => {}
    }
    act.prepare_cached("UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4 WHERE id = ?1")?
        .execute((id.bytes(), revocation.at.millis(), &revocation.by, &revocation.reason))?;
    let revision = changes::note(act, &[Moved::Credential(id)])?;
    audit::append(act, event)?;
    Ok(Revoked::Revoked(revision))
}

/// Ends the credentials of an owner that are not revoked yet, but `except` and what hangs
/// on it: sign-ins only, or everything. Tells what
/// moved, and how many of them were good until then by their own dates. The revision is the caller's to raise.
///
/// However many tokens there are, one row says so: whoever keeps a view takes it in at once (requirement R35).
pub(crate) fn revoke_of(
    act: &Transaction<'_>,
    owner: UserId,
    logins_only: bool,
    except: Option<CredentialId>,
    revocation: &Revocation,
) -> Result<(Vec<Moved>, EndedCredentials), Fault> {
    let mut statement = act.prepare_cached(
        "UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4
         WHERE owner = ?1 AND revoked_at IS NULL AND (kind = ?5 OR NOT ?6) AND (?7 IS NULL OR (id <> ?7 AND parent IS NOT ?7))
         RETURNING id, kind = ?5, expires_at, kind IN (?8, ?9),
             EXISTS (SELECT 1 FROM credential AS up WHERE up.id = credential.parent AND up.kind = ?5)",
    )?;
    let mut rows = statement.query((
        owner.bytes(),
        revocation.at.millis(),
        &revocation.by,
        &revocation.reason,
        CredentialKind::Login.name(),
        logins_only,
        except.map(|id| id.bytes()),
        CredentialKind::Token.name(),
        CredentialKind::Legacy.name(),
    ))?;
    let (mut moved, mut tokens) = (Vec::new(), false);
    let mut ended = EndedCredentials::default();
    while let Some(row) = rows.next()? {
        if row.get(3)? {
            tokens = true;
        } else {
            moved.push(Moved::Credential(CredentialId::from_bytes(row.get(0)?)));
        }
        // What hangs on a sign-in is part of it: the same device, on the host of a route.
        if row.get(4)? {
            continue;
        }
        let expires_at = row.get::<_, Option<i64>>(2)?.map(time).transpose()?;
        let count = if row.get(1)? { &mut ended.logins } else { &mut ended.tokens };
        *count += u64::from(!is_expired(expires_at, revocation.at));
    }
    if tokens {
        moved.push(Moved::Tokens(Some(owner)));
        // Were it a token, it would have to be spared.
        moved.extend(except.map(Moved::Credential));
    }
    Ok((moved, ended))
}

/// What these are called, as far as they are known.
pub(crate) fn names(
    connection: &Connection,
    ids: &[CredentialId],
) -> Result<Vec<(CredentialId, String)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT name FROM credential WHERE id = ?1")?;
    let mut names = Vec::new();
    for id in ids {
        let name = statement.query_row([id.bytes()], |row| row.get(0)).optional()?;
        names.extend(name.map(|name| (*id, name)));
    }
    Ok(names)
}

/// Writes down last uses, each unless a later one is there, and counts them.
pub(crate) fn note_uses(act: &Transaction<'_>, uses: &[NotedUse]) -> Result<(), Fault> {
    let mut upsert = act.prepare_cached(
        "INSERT INTO last_use (credential, at, ip, user_agent, uses)
         SELECT id, ?2, ?3, ?4, ?5 FROM credential WHERE id = ?1
         ON CONFLICT (credential) DO UPDATE
         SET uses = uses + excluded.uses,
             ip = iif(excluded.at >= at, excluded.ip, ip),
             user_agent = iif(excluded.at >= at, excluded.user_agent, user_agent),
             at = max(at, excluded.at)",
    )?;
    let mut count = act.prepare_cached("UPDATE last_use SET uses = uses + ?2 WHERE credential = ?1")?;
    for NotedUse { credential, last, times, agent } in uses {
        let (id, times) = (credential.bytes(), i64::try_from(*times).unwrap_or(i64::MAX));
        match last {
            Some(last) => upsert.execute((id, last.at.millis(), &last.ip, &last.user_agent, times))?,
            None => count.execute((id, times))?,
        };
        if let (Some(agent), Some(last)) = (agent, last) {
            agents::note_seen(act, *agent, last.at)?;
        }
    }
    Ok(())
}

/// What a decision needs of one credential.
pub(crate) fn row(connection: &Connection, id: CredentialId) -> Result<Option<CredentialRow>, Fault> {
    let mut statement = connection.prepare_cached(concat!(lean_columns!(), "WHERE id = ?1"))?;
    let mut rows = statement.query([id.bytes()])?;
    rows.next()?.map(|row| decide(row, &mut ScopesSeen::default())).transpose()
}

/// How many there are.
pub(crate) fn count(connection: &Connection) -> Result<usize, Fault> {
    let count: i64 =
        connection.prepare_cached("SELECT count(*) FROM credential")?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// What a decision needs of every credential, by id.
pub(crate) fn each(connection: &Connection, give: &mut dyn FnMut(CredentialRow)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(concat!(lean_columns!(), "ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut seen = ScopesSeen::default();
    while let Some(row) = rows.next()? {
        give(decide(row, &mut seen)?);
    }
    Ok(())
}

/// Credentials to show, by id.
pub(crate) fn list(connection: &mut Connection, filter: &CredentialFilter) -> Result<Vec<Listed>, Fault> {
    let snapshot = connection.transaction()?;
    // Two statements, so that one owner's few are found by their index.
    let mut statement = snapshot.prepare_cached(match filter.owner {
        Some(_) => concat!(listed_columns!(), "WHERE credential.owner = ?1 ORDER BY credential.id"),
        None => concat!(listed_columns!(), "WHERE ?1 IS NULL ORDER BY credential.id"),
    })?;
    let rows = statement.query([filter.owner.map(|id| id.bytes())])?;
    chosen(&snapshot, rows, filter, usize::MAX)
}

/// At most `limit` credentials to show, the youngest first, from before `before` on.
pub(crate) fn youngest(
    connection: &mut Connection,
    filter: &CredentialFilter,
    before: Option<CredentialId>,
    limit: usize,
) -> Result<Vec<Listed>, Fault> {
    let snapshot = connection.transaction()?;
    let mut statement = snapshot.prepare_cached(match filter.owner {
        Some(_) => concat!(
            listed_columns!(),
            "WHERE credential.owner = ?1 AND (?2 IS NULL OR credential.id < ?2) ORDER BY credential.id DESC"
        ),
        None => concat!(
            listed_columns!(),
            "WHERE ?1 IS NULL AND (?2 IS NULL OR credential.id < ?2) ORDER BY credential.id DESC"
        ),
    })?;
    let rows = statement.query((filter.owner.map(|id| id.bytes()), before.map(|id| id.bytes())))?;
    chosen(&snapshot, rows, filter, limit)
}

/// The first `limit` of the rows that the filter takes.
fn chosen(
    snapshot: &Transaction<'_>,
    mut rows: Rows<'_>,
    filter: &CredentialFilter,
    limit: usize,
) -> Result<Vec<Listed>, Fault> {
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let listed = show(row)?;
        if filter.kinds.is_empty() || filter.kinds.contains(&listed.credential.kind) {
            let listed = with_lineage(snapshot, listed)?;
            if filter.with_ended || listed.credential.status(filter.now) == Status::Active {
                found.push(listed);
            }
        }
    }
    Ok(found)
}

/// One credential to show.
pub(crate) fn with_id(connection: &mut Connection, id: CredentialId) -> Result<Option<Listed>, Fault> {
    let snapshot = connection.transaction()?;
    let mut statement = snapshot.prepare_cached(concat!(listed_columns!(), "WHERE credential.id = ?1"))?;
    let mut rows = statement.query([id.bytes()])?;
    match rows.next()? {
        Some(row) => with_lineage(&snapshot, show(row)?).map(Some),
        None => Ok(None),
    }
}

/// How a credential and all that it hangs on end, taken together.
pub(crate) struct LineageEnd {
    /// The earliest expiry.
    expires_at: Option<Timestamp>,
    /// The nearest revocation.
    revoked: Option<Revocation>,
    /// Which they are, from below.
    pub(crate) links: Vec<CredentialId>,
}

impl LineageEnd {
    /// Whether all of it is good at `now`.
    pub(crate) fn stands(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && !is_expired(self.expires_at, now)
    }
}

/// Walks up from `id`; `None` when it, or a link above it, is no more.
pub(crate) fn lineage(connection: &Connection, id: CredentialId) -> Result<Option<LineageEnd>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT parent, expires_at, revoked_at, revoked_by, reason FROM credential WHERE id = ?1",
    )?;
    let mut end = LineageEnd { expires_at: None, revoked: None, links: Vec::new() };
    let mut link = Some(id.bytes());
    for _ in 0..LONGEST_LINEAGE {
        let Some(id) = link else { return Ok(Some(end)) };
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        link = row.get(0)?;
        end.links.push(CredentialId::from_bytes(id));
        let expires_at = row.get::<_, Option<i64>>(1)?.map(time).transpose()?;
        end.expires_at = [end.expires_at, expires_at].into_iter().flatten().min();
        if end.revoked.is_none() {
            end.revoked = revocation(row, 2)?;
        }
    }
    Err(Fault::Unreadable(format!("the lineage of credential {id} has no end")))
}

/// Counts in what a credential hangs on.
fn with_lineage(connection: &Connection, mut listed: Listed) -> Result<Listed, Fault> {
    let credential = &mut listed.credential;
    if let Some(parent) = credential.parent
        && let Some(end) = lineage(connection, parent)?
    {
        credential.expires_at = [credential.expires_at, end.expires_at].into_iter().flatten().min();
        credential.revoked = credential.revoked.take().or(end.revoked);
    }
    Ok(listed)
}

/// Reads a row of the lean columns.
fn decide(row: &Row<'_>, seen: &mut ScopesSeen) -> Result<CredentialRow, Fault> {
    Ok(CredentialRow {
        id: CredentialId::from_bytes(row.get(0)?),
        kind: parsed(text(row, 1)?)?,
        owner: row.get::<_, Option<_>>(2)?.map(UserId::from_bytes),
        parent: row.get::<_, Option<_>>(3)?.map(CredentialId::from_bytes),
        hash: row.get::<_, Option<_>>(4)?.map(TokenHash::from_bytes),
        scopes: seen.parse(text(row, 5)?)?,
        granted: text(row, 9)?.starts_with(GRANT),
        expires_at: row.get::<_, Option<i64>>(6)?.map(time).transpose()?,
        revoked: row.get(7)?,
        used_at: row.get::<_, Option<i64>>(8)?.map(time).transpose()?,
    })
}

/// Reads a row of [`listed_columns`].
fn show(row: &Row<'_>) -> Result<Listed, Fault> {
    let last_use = match row.get::<_, Option<i64>>(13)? {
        Some(at) => Some(LastUse { at: time(at)?, ip: row.get(14)?, user_agent: row.get(15)? }),
        None => None,
    };
    let credential = Credential {
        id: CredentialId::from_bytes(row.get(0)?),
        kind: parsed::<CredentialKind>(text(row, 1)?)?,
        owner: row.get::<_, Option<_>>(2)?.map(UserId::from_bytes),
        parent: row.get::<_, Option<_>>(3)?.map(CredentialId::from_bytes),
        minted_by: row.get(4)?,
        name: row.get(5)?,
        hint: row.get(6)?,
        scopes: scopes(text(row, 7)?)?,
        created_at: time(row.get(8)?)?,
        expires_at: row.get::<_, Option<i64>>(9)?.map(time).transpose()?,
        revoked: revocation(row, 10)?,
        last_use,
    };
    let owner_name = match row.get_ref(16)?.as_str_or_null().map_err(rusqlite::Error::from)? {
        Some(name) => Some(parsed::<Username>(name)?),
        None => None,
    };
    Ok(Listed { credential, owner_name, uses: u64::try_from(row.get::<_, i64>(17)?).unwrap_or(0) })
}

/// Reads `revoked_at, revoked_by, reason` from column `first` on.
fn revocation(row: &Row<'_>, first: usize) -> Result<Option<Revocation>, Fault> {
    match row.get::<_, Option<i64>>(first)? {
        Some(at) => {
            Ok(Some(Revocation { at: time(at)?, by: row.get(first + 1)?, reason: row.get(first + 2)? }))
        }
        None => Ok(None),
    }
}

fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str, Fault> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn scopes(text: &str) -> Result<Scopes, Fault> {
    Scopes::parse(text).map_err(|error| Fault::Unreadable(error.to_string()))
}

/// Scopes read before: of a million credentials, most have one of a few sets.
#[derive(Default)]
struct ScopesSeen(HashMap<Box<str>, Scopes>);

impl ScopesSeen {
    const MOST: usize = 256;

    fn parse(&mut self, text: &str) -> Result<Scopes, Fault> {
        if let Some(seen) = self.0.get(text) {
            return Ok(seen.clone());
        }
        let read = scopes(text)?;
        if self.0.len() < Self::MOST {
            self.0.insert(text.into(), read.clone());
        }
        Ok(read)
    }
}
