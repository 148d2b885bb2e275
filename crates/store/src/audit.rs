//! The `audit` table: append-only, each event chained to the one before.

use std::collections::BTreeMap;

use fallgate_domain::audit::{Event, FIRST_PREV, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use rusqlite::{Connection, OptionalExtension, Row, Rows, Transaction};

use crate::error::Fault;
use crate::sqlite::column::time;
use crate::store::EventFilter;

/// Records an event behind the last one. The transaction has the write lock, so no other process can link to the same.
pub(crate) fn append(act: &Transaction<'_>, new: NewEvent) -> Result<(), Fault> {
    let last: Option<(i64, String)> = act
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last_seq, prev) = last.unwrap_or_else(|| (0, FIRST_PREV.to_owned()));
    let seq = last_seq + 1;
    let event = Event::link(sequence(seq)?, prev, new);
    let detail = serde_json::to_string(&event.detail)
        .map_err(|error| Fault::Unreadable(format!("an event's detail cannot be written ({error})")))?;
    act.prepare_cached(
        "INSERT INTO audit (seq, at, action, actor, credential, target, outcome, ip, detail, prev, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute((
        seq,
        event.at.millis(),
        &event.action,
        &event.actor,
        event.credential.map(|id| id.bytes()),
        &event.target,
        &event.outcome,
        &event.ip,
        detail,
        &event.prev,
        &event.hash,
    ))?;
    Ok(())
}

/// Events of a filter, newest first.
pub(crate) fn page(connection: &Connection, filter: &EventFilter) -> Result<Vec<Event>, Fault> {
    let before = filter.before.map_or(i64::MAX, stored);
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, action, actor, credential, target, outcome, ip, detail, prev, hash FROM audit
         WHERE seq < ?1 AND seq > ?5 AND (?6 IS NULL OR at >= ?6) AND (?7 IS NULL OR at < ?7) AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR actor = ?3 OR target = ?3
               OR target = 'user:' || ?3 OR json_extract(detail, '$.owner') = ?3)
         ORDER BY seq DESC LIMIT ?4",
    )?;
    let after = filter.after.map_or(0, stored);
    let (since, until) = (filter.since.map(Timestamp::millis), filter.until.map(Timestamp::millis));
    collect(statement.query((before, &filter.action, &filter.user, filter.limit, after, since, until))?)
}

/// At most `limit` events, oldest first, after the event `after`.
pub(crate) fn after(connection: &Connection, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, action, actor, credential, target, outcome, ip, detail, prev, hash FROM audit
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    collect(statement.query((stored(after), limit))?)
}

fn collect(mut rows: Rows<'_>) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(EventRecord::read(row)?.try_into()?);
    }
    Ok(events)
}

pub(crate) fn stored(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A row as it lies in the table.
struct EventRecord {
    seq: i64,
    at: i64,
    action: String,
    actor: String,
    credential: Option<[u8; 16]>,
    target: String,
    outcome: String,
    ip: Option<String>,
    detail: String,
    prev: String,
    hash: String,
}

impl EventRecord {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            seq: row.get(0)?,
            at: row.get(1)?,
            action: row.get(2)?,
            actor: row.get(3)?,
            credential: row.get(4)?,
            target: row.get(5)?,
            outcome: row.get(6)?,
            ip: row.get(7)?,
            detail: row.get(8)?,
            prev: row.get(9)?,
            hash: row.get(10)?,
        })
    }
}

impl TryFrom<EventRecord> for Event {
    type Error = Fault;

    fn try_from(record: EventRecord) -> Result<Self, Fault> {
        let detail: BTreeMap<_, _> = serde_json::from_str(&record.detail).map_err(|error| {
            Fault::Unreadable(format!("the detail of audit event {} cannot be read ({error})", record.seq))
        })?;
        Ok(Self {
            seq: sequence(record.seq)?,
            at: time(record.at)?,
            action: record.action,
            actor: record.actor,
            credential: record.credential.map(CredentialId::from_bytes),
            target: record.target,
            outcome: record.outcome,
            ip: record.ip,
            detail,
            prev: record.prev,
            hash: record.hash,
        })
    }
}

pub(crate) fn sequence(number: i64) -> Result<u64, Fault> {
    u64::try_from(number)
        .map_err(|_| Fault::Unreadable(format!("an audit event has the number {number}, below zero")))
}
