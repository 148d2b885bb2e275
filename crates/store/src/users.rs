//! The `user` table.

use std::collections::HashMap;

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::UserId;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use crate::changes::Moved;
use crate::error::Fault;
use crate::revision::UserRow;
use crate::sqlite::column::{parsed, time};
use crate::vault::{CreatedUser, PassphraseHash};
use crate::{agents, audit, changes};

/// Makes an account.
pub(crate) fn create(
    act: &Transaction<'_>,
    user: &User,
    passphrase: Option<&PassphraseHash>,
    event: NewEvent,
) -> Result<CreatedUser, Fault> {
    if named(act, &user.username)?.is_some() {
        return Ok(CreatedUser::UsernameTaken);
    }
    if agents::is_named(act, user.username.as_str())? {
        return Ok(CreatedUser::AgentNamedSo);
    }
    insert(act, user, passphrase)?;
    let revision = changes::note(act, &[Moved::User(user.id)])?;
    audit::append(act, event)?;
    Ok(CreatedUser::Created(revision))
}

/// Writes the row of an account. The revision is the caller's to raise.
pub(crate) fn insert(
    act: &Transaction<'_>,
    user: &User,
    passphrase: Option<&PassphraseHash>,
) -> Result<(), Fault> {
    act.prepare_cached(
        r#"INSERT INTO "user" (id, username, display_name, role, passphrase, created_at, disabled_at)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"#,
    )?
    .execute((
        user.id.bytes(),
        user.username.as_str(),
        user.display_name.as_str(),
        user.role.name(),
        passphrase.map(PassphraseHash::expose),
        user.created_at.millis(),
        user.disabled_at.map(Timestamp::millis),
    ))?;
    Ok(())
}

/// When each of these accounts was last used, if ever.
pub(crate) fn last_seen(
    connection: &mut Connection,
    accounts: &[UserId],
) -> Result<HashMap<UserId, Timestamp>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT max(last_use.at) FROM credential JOIN last_use ON last_use.credential = credential.id
         WHERE credential.owner = ?1",
    )?;
    let mut seen = HashMap::new();
    for account in accounts {
        let at: Option<i64> = statement.query_row([account.bytes()], |row| row.get(0))?;
        if let Some(at) = at {
            seen.insert(*account, time(at)?);
        }
    }
    Ok(seen)
}

/// Whether the account is disabled; `None` when there is none.
pub(crate) fn is_disabled(connection: &Connection, id: UserId) -> Result<Option<bool>, Fault> {
    let mut statement =
        connection.prepare_cached(r#"SELECT disabled_at IS NOT NULL FROM "user" WHERE id = ?1"#)?;
    Ok(statement.query_row([id.bytes()], |row| row.get(0)).optional()?)
}

/// Every account, by username.
pub(crate) fn all(connection: &mut Connection) -> Result<Vec<User>, Fault> {
    let mut statement = connection.prepare_cached(
        r#"SELECT id, username, display_name, role, created_at, disabled_at FROM "user" ORDER BY username"#,
    )?;
    let mut rows = statement.query([])?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        users.push(UserRecord::read(row)?.try_into()?);
    }
    Ok(users)
}

/// The account of that name.
pub(crate) fn named(connection: &Connection, username: &Username) -> Result<Option<User>, Fault> {
    let mut statement = connection.prepare_cached(
        r#"SELECT id, username, display_name, role, created_at, disabled_at FROM "user" WHERE username = ?1"#,
    )?;
    let mut rows = statement.query([username.as_str()])?;
    rows.next()?.map(|row| UserRecord::read(row)?.try_into()).transpose()
}

/// The account of that id.
pub(crate) fn with_id(connection: &Connection, id: UserId) -> Result<Option<User>, Fault> {
    let mut statement = connection.prepare_cached(
        r#"SELECT id, username, display_name, role, created_at, disabled_at FROM "user" WHERE id = ?1"#,
    )?;
    let mut rows = statement.query([id.bytes()])?;
    rows.next()?.map(|row| UserRecord::read(row)?.try_into()).transpose()
}

/// What a decision needs of one account.
pub(crate) fn row(connection: &Connection, id: UserId) -> Result<Option<UserRow>, Fault> {
    Ok(with_id(connection, id)?.map(UserRow::from))
}

/// What a decision needs of every account, by id.
pub(crate) fn each(connection: &Connection, give: &mut dyn FnMut(UserRow)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        r#"SELECT id, username, display_name, role, created_at, disabled_at FROM "user" ORDER BY id"#,
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        give(User::try_from(UserRecord::read(row)?)?.into());
    }
    Ok(())
}

/// A row as it lies in the table.
struct UserRecord<'row> {
    id: [u8; 16],
    username: &'row str,
    display_name: &'row str,
    role: &'row str,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl<'row> UserRecord<'row> {
    fn read(row: &'row Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: row.get(0)?,
            username: row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?,
            display_name: row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?,
            role: row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?,
            created_at: row.get(4)?,
            disabled_at: row.get(5)?,
        })
    }
}

impl TryFrom<UserRecord<'_>> for User {
    type Error = Fault;

    fn try_from(record: UserRecord<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: UserId::from_bytes(record.id),
            username: parsed::<Username>(record.username)?,
            display_name: parsed::<DisplayName>(record.display_name)?,
            role: parsed::<Role>(record.role)?,
            created_at: time(record.created_at)?,
            disabled_at: record.disabled_at.map(time).transpose()?,
        })
    }
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            display_name: user.display_name,
            role: user.role,
            disabled: user.disabled_at.is_some(),
        }
    }
}
