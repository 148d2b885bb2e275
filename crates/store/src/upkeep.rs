//! What keeps the house: purges, tokens that nobody uses, events that no act wrote, restored backups.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, Revocation};
use fallgate_domain::id::CredentialId;
use rusqlite::{Connection, Transaction};

use crate::changes::Moved;
use crate::error::Fault;
use crate::revision::Revision;
use crate::sqlite::column::time;
use crate::store::UnusedPage;
use crate::vault::{Accepted, EndedCredentials};
use crate::{audit, changes, cuts};

/// Takes away at most `most` credentials that ended before `before`, what hangs on them first. Tells how many.
pub(crate) fn purge(
    act: &Transaction<'_>,
    before: Timestamp,
    most: u32,
    mut event: NewEvent,
) -> Result<u64, Fault> {
    // What hangs on something that has ended has ended with it, whatever its own dates say. Only what nothing hangs on
    // goes: a child that lost its parent's row could not be told from one that stands. Each inner limit bounds the work;
    // below every credential that has ended there is one that nothing hangs on, so each call comes further.
    let mut statement = act.prepare_cached(
        "WITH RECURSIVE ended (id) AS (
             SELECT * FROM (SELECT id FROM credential WHERE revoked_at < ?1 LIMIT ?2)
             UNION SELECT * FROM (SELECT id FROM credential WHERE expires_at < ?1 LIMIT ?2)
             UNION SELECT credential.id FROM credential JOIN ended ON credential.parent = ended.id
         )
         DELETE FROM credential WHERE id IN (
             SELECT id FROM ended
             WHERE NOT EXISTS (SELECT 1 FROM credential AS child WHERE child.parent = ended.id)
             LIMIT ?2
         )
         RETURNING id",
    )?;
    let rows =
        statement.query_map((before.millis(), most), |row| Ok(CredentialId::from_bytes(row.get(0)?)))?;
    let purged = rows.collect::<Result<Vec<_>, _>>()?;
    let count = u64::try_from(purged.len()).unwrap_or(u64::MAX);
    if count > 0 {
        let mut moved = Vec::with_capacity(purged.len());
        for id in purged {
            moved.push(Moved::Credential(id));
            moved.extend(cuts::forget(act, id.bytes())?);
        }
        changes::note(act, &moved)?;
        event.detail.insert("purged".to_owned(), count.into());
        audit::append(act, event)?;
    }
    Ok(count)
}

/// Of the `most` tokens after `after` that were made before `since`, those that stand at `now` and were not used since.
pub(crate) fn unused(
    connection: &Connection,
    since: Timestamp,
    now: Timestamp,
    after: Option<CredentialId>,
    most: u32,
) -> Result<UnusedPage, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT credential.id, kind = ?4 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?3),
                created_at, last_use.at
         FROM credential LEFT JOIN last_use ON last_use.credential = credential.id
         WHERE credential.id > ?1 AND credential.id < ?2 ORDER BY credential.id LIMIT ?5",
    )?;
    let after = after.map_or([0; 16], |id| id.bytes());
    let kind = CredentialKind::Token.name();
    let mut rows = statement.query((after, made_at(since), now.millis(), kind, most))?;
    let mut page = UnusedPage { tokens: Vec::new(), next: None };
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let id = CredentialId::from_bytes(row.get(0)?);
        let made = time(row.get(2)?)?;
        let used = row.get::<_, Option<i64>>(3)?.map(time).transpose()?;
        if row.get(1)? && made < since && used.is_none_or(|used| used < since) {
            page.tokens.push(id);
        }
        seen += 1;
        page.next = (seen == most).then_some(id);
    }
    Ok(page)
}

/// Ends those of the tokens that are still unused and on which nothing hangs that stands: a token whose children are
/// used is in use.
pub(crate) fn revoke_unused(
    act: &Transaction<'_>,
    tokens: Vec<(CredentialId, NewEvent)>,
    since: Timestamp,
    revocation: &Revocation,
) -> Result<Vec<CredentialId>, Fault> {
    let mut statement = act.prepare_cached(
        "UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4
         WHERE id = ?1 AND revoked_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM last_use WHERE credential = ?1 AND at >= ?5)
           AND NOT EXISTS (
               SELECT 1 FROM credential AS child
               WHERE child.parent = ?1 AND child.revoked_at IS NULL
                 AND (child.expires_at IS NULL OR child.expires_at > ?2)
           )",
    )?;
    let mut revoked = Vec::new();
    let mut events = Vec::new();
    for (id, event) in tokens {
        let row = (id.bytes(), revocation.at.millis(), &revocation.by, &revocation.reason, since.millis());
        if statement.execute(row)? > 0 {
            revoked.push(id);
            events.push(event);
        }
    }
    if !revoked.is_empty() {
        let moved: Vec<_> = revoked.iter().map(|id| Moved::Credential(*id)).collect();
        changes::note(act, &moved)?;
        record(act, events)?;
    }
    Ok(revoked)
}

/// Writes events that belong to no act.
pub(crate) fn record(act: &Transaction<'_>, events: Vec<NewEvent>) -> Result<(), Fault> {
    events.into_iter().try_for_each(|event| audit::append(act, event))
}

/// Ends every credential and begins a new epoch, above every revision that was `reached`.
pub(crate) fn accept_restored(
    act: &Transaction<'_>,
    reached: Option<Revision>,
    revocation: &Revocation,
    mut event: NewEvent,
) -> Result<Accepted, Fault> {
    let now = revocation.at.millis();
    let mut ended = EndedCredentials::default();
    let mut count = act.prepare(
        "SELECT kind = ?2, count(*) FROM credential
         WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1) GROUP BY 1",
    )?;
    let mut rows = count.query((now, CredentialKind::Login.name()))?;
    while let Some(row) = rows.next()? {
        *(if row.get(0)? { &mut ended.logins } else { &mut ended.tokens }) = counted(row.get(1)?);
    }
    act.execute(
        "UPDATE credential SET revoked_at = ?1, revoked_by = ?2, reason = ?3 WHERE revoked_at IS NULL",
        (now, &revocation.by, &revocation.reason),
    )?;
    let found = changes::revision(act)?;
    let revision = Revision(reached.map_or(found, |reached| reached.max(found)).0.saturating_add(1));
    // No epoch comes twice, though the same backup may be restored twice: what was signed in between must not stand
    // again. So it is no count.
    let epoch: i64 = act.query_row(
        "UPDATE state SET revision = ?1, epoch = max(epoch + 1, ?2), guarded = 1 RETURNING epoch",
        (i64::try_from(revision.0).unwrap_or(i64::MAX), now),
        |row| row.get(0),
    )?;
    event.detail.extend([
        ("revoked_logins".to_owned(), ended.logins.into()),
        ("revoked_tokens".to_owned(), ended.tokens.into()),
        ("revision".to_owned(), found.0.into()),
        ("epoch".to_owned(), epoch.into()),
    ]);
    event.detail.extend(reached.map(|reached| ("reached".to_owned(), reached.0.into())));
    audit::append(act, event)?;
    Ok(Accepted { revision, found, reached, ended })
}

fn counted(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

/// The smallest id of the version that begins with its time, had it been made then.
fn made_at(time: Timestamp) -> [u8; 16] {
    let mut id = [0; 16];
    let millis = u64::try_from(time.millis()).unwrap_or(0).to_be_bytes();
    id.iter_mut().zip(millis.into_iter().skip(2)).for_each(|(byte, time)| *byte = time);
    id
}
