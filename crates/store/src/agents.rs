//! The `agent` table: what programs run as.

use fallgate_domain::agent::{Agent, AgentName};
use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{AgentId, UserId};
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::revision::{AgentRow, Revision};
use crate::sqlite::column::{parsed, time};
use crate::store::Store;
use crate::vault::Vault;
use crate::{audit, changes, cuts, users};

/// How many agents one account may own. Every name is gone for everybody else.
const MOST_OF_ONE: i64 = 1_000;

/// What became of [`Vault::create_agent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CreatedAgent {
    /// It is there as of this revision.
    Created(Revision),
    /// There is one of that name; nothing was done.
    NameTaken,
    /// Somebody has that name, and with it an agent of that name; nothing was done.
    UserNamedSo,
    /// There is no such owner; nothing was done.
    OwnerUnknown,
    /// The owner is disabled; nothing was done.
    OwnerDisabled,
    /// The owner has as many as one may; nothing was done.
    TooMany,
}

/// What became of [`Vault::change_agent`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum ChangedAgent {
    /// It is like this as of this revision.
    Changed(Revision, Agent),
    /// It was like this before; nothing was done, nothing recorded.
    Unchanged(Agent),
    /// There is no such agent; nothing was done.
    Unknown,
}

/// What became of [`Vault::delete_agent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum DeletedAgent {
    /// It is gone as of this revision.
    Deleted(Revision),
    /// There is no such agent; nothing was done.
    Unknown,
}

/// An agent as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAgent {
    /// The agent.
    pub agent: Agent,
    /// Its owner's name.
    pub owner_name: Username,
    /// Whether its owner is disabled, and with them the agent.
    pub owner_disabled: bool,
    /// When a token of it last came by, as far as that was written down.
    pub last_seen_at: Option<Timestamp>,
}

impl Vault {
    /// Makes an agent, once it is sure that nobody and nothing else is called so and that its owner is enabled.
    pub async fn create_agent(&self, agent: Agent, event: NewEvent) -> Result<CreatedAgent, StoreError> {
        self.backend.add(event.author.clone(), move |act| create(act, &agent, event)).await
    }

    /// Disables an agent as of then, or, with `None`, lets its tokens in again. One that is disabled already keeps its
    /// date.
    pub async fn change_agent(
        &self,
        id: AgentId,
        disabled_at: Option<Timestamp>,
        event: NewEvent,
    ) -> Result<ChangedAgent, StoreError> {
        self.backend.write(event.author.clone(), move |act| change(act, id, disabled_at, event)).await
    }

    /// Takes an agent away, and the cuts on it. What is made later under its name is another.
    pub async fn delete_agent(&self, id: AgentId, event: NewEvent) -> Result<DeletedAgent, StoreError> {
        self.backend.write(event.author.clone(), move |act| delete(act, id, event)).await
    }
}

impl Store {
    /// The agents that somebody made, by name: one owner's, or all.
    pub async fn agents(&self, owner: Option<UserId>) -> Result<Vec<ListedAgent>, StoreError> {
        self.backend.read(move |connection| list(connection, owner)).await
    }

    /// The agent of that name, if somebody made one.
    pub async fn agent_named(&self, name: &AgentName) -> Result<Option<ListedAgent>, StoreError> {
        let name = name.clone();
        self.backend.read(move |connection| shown(connection, &name)).await
    }
}

/// The statement behind everything that is read, up to its condition.
macro_rules! agent_columns {
    () => {
        r#"SELECT agent.id, owner, name, scopes, routes, agent.created_at, agent.disabled_at,
                  "user".username, "user".disabled_at IS NOT NULL, last_seen_at
           FROM agent JOIN "user" ON "user".id = agent.owner
           "#
    };
}

fn create(act: &Transaction<'_>, agent: &Agent, event: NewEvent) -> Result<CreatedAgent, Fault> {
    match users::is_disabled(act, agent.owner)? {
        None => return Ok(CreatedAgent::OwnerUnknown),
        Some(true) => return Ok(CreatedAgent::OwnerDisabled),
        Some(false) => {}
    }
    if is_named(act, agent.name.as_str())? {
        return Ok(CreatedAgent::NameTaken);
    }
    // Everybody has an agent of their own name. What can be no username is nobody's.
    if let Ok(username) = agent.name.as_str().parse::<Username>()
        && users::named(act, &username)?.is_some()
    {
        return Ok(CreatedAgent::UserNamedSo);
    }
    let count: i64 = act
        .prepare_cached("SELECT count(*) FROM agent WHERE owner = ?1")?
        .query_row([agent.owner.bytes()], |row| row.get(0))?;
    if count >= MOST_OF_ONE {
        return Ok(CreatedAgent::TooMany);
    }
    let routes: Vec<_> = agent.routes.iter().map(RouteName::as_str).collect();
    act.prepare_cached(
        "INSERT INTO agent (id, owner, name, scopes, routes, created_at, disabled_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        agent.id.bytes(),
        agent.owner.bytes(),
        agent.name.as_str(),
        agent.scopes.to_string(),
        routes.join(" "),
        agent.created_at.millis(),
        agent.disabled_at.map(Timestamp::millis),
    ))?;
    let revision = changes::note(act, &[Moved::Agent(agent.id)])?;
    audit::append(act, event)?;
    Ok(CreatedAgent::Created(revision))
}

fn change(
    act: &Transaction<'_>,
    id: AgentId,
    disabled_at: Option<Timestamp>,
    event: NewEvent,
) -> Result<ChangedAgent, Fault> {
    let Some(mut agent) = with_id(act, id)?.map(|listed| listed.agent) else {
        return Ok(ChangedAgent::Unknown);
    };
    if agent.disabled_at.is_some() == disabled_at.is_some() {
        return Ok(ChangedAgent::Unchanged(agent));
    }
    agent.disabled_at = disabled_at;
    act.prepare_cached("UPDATE agent SET disabled_at = ?2 WHERE id = ?1")?
        .execute((id.bytes(), disabled_at.map(Timestamp::millis)))?;
    let revision = changes::note(act, &[Moved::Agent(id)])?;
    audit::append(act, event)?;
    Ok(ChangedAgent::Changed(revision, agent))
}

/// Writes down that a token of it came by then, unless a later one did. Of an agent that nobody made there is no row.
pub(crate) fn note_seen(act: &Transaction<'_>, id: AgentId, at: Timestamp) -> Result<(), Fault> {
    act.prepare_cached("UPDATE agent SET last_seen_at = max(?2, coalesce(last_seen_at, ?2)) WHERE id = ?1")?
        .execute((id.bytes(), at.millis()))?;
    Ok(())
}

fn delete(act: &Transaction<'_>, id: AgentId, event: NewEvent) -> Result<DeletedAgent, Fault> {
    if act.prepare_cached("DELETE FROM agent WHERE id = ?1")?.execute([id.bytes()])? == 0 {
        return Ok(DeletedAgent::Unknown);
    }
    let mut moved = cuts::forget(act, id.bytes())?;
    moved.push(Moved::Agent(id));
    let revision = changes::note(act, &moved)?;
    audit::append(act, event)?;
    Ok(DeletedAgent::Deleted(revision))
}

/// Takes away all that somebody owns, and the cuts on them. The revision is the caller's to raise.
pub(crate) fn delete_of(act: &Transaction<'_>, owner: UserId) -> Result<Vec<Moved>, Fault> {
    let mut statement = act.prepare_cached("DELETE FROM agent WHERE owner = ?1 RETURNING id")?;
    let rows = statement.query_map([owner.bytes()], |row| Ok(AgentId::from_bytes(row.get(0)?)))?;
    let deleted = rows.collect::<Result<Vec<_>, _>>()?;
    let mut moved = Vec::new();
    for id in deleted {
        moved.extend(cuts::forget(act, id.bytes())?);
        moved.push(Moved::Agent(id));
    }
    Ok(moved)
}

/// Whether an agent that somebody made is called so.
pub(crate) fn is_named(connection: &Connection, name: &str) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM agent WHERE name = ?1)")?;
    Ok(statement.query_row([name], |row| row.get(0))?)
}

/// The id behind a name: that of an agent that somebody made, or else of the one that somebody of that name has.
pub(crate) fn id_of(connection: &Connection, name: &AgentName) -> Result<Option<AgentId>, Fault> {
    let mut statement = connection.prepare_cached("SELECT id FROM agent WHERE name = ?1")?;
    let made = statement.query_row([name.as_str()], |row| row.get(0)).optional()?;
    if let Some(id) = made {
        return Ok(Some(AgentId::from_bytes(id)));
    }
    let Ok(username) = name.as_str().parse() else { return Ok(None) };
    Ok(users::named(connection, &username)?.map(|user| AgentId::implicit(user.id)))
}

/// Whose the agent of that name is, also if it is the one that everybody has.
pub(crate) fn owner_of(connection: &Connection, name: &AgentName) -> Result<Option<UserId>, Fault> {
    if let Some(listed) = shown(connection, name)? {
        return Ok(Some(listed.agent.owner));
    }
    let Ok(username) = name.as_str().parse() else { return Ok(None) };
    Ok(users::named(connection, &username)?.map(|user| user.id))
}

/// What a decision needs of one agent.
pub(crate) fn row(connection: &Connection, id: AgentId) -> Result<Option<AgentRow>, Fault> {
    Ok(with_id(connection, id)?.map(AgentRow::from))
}

/// What a decision needs of every agent, by id.
pub(crate) fn each(connection: &Connection, give: &mut dyn FnMut(AgentRow)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(concat!(agent_columns!(), "ORDER BY agent.id"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        give(show(row)?.into());
    }
    Ok(())
}

fn list(connection: &Connection, owner: Option<UserId>) -> Result<Vec<ListedAgent>, Fault> {
    // Two statements, so that one owner's few are found by their index.
    let mut statement = connection.prepare_cached(match owner {
        Some(_) => concat!(agent_columns!(), "WHERE owner = ?1 ORDER BY name"),
        None => concat!(agent_columns!(), "WHERE ?1 IS NULL ORDER BY name"),
    })?;
    let mut rows = statement.query([owner.map(|id| id.bytes())])?;
    let mut agents = Vec::new();
    while let Some(row) = rows.next()? {
        agents.push(show(row)?);
    }
    Ok(agents)
}

fn shown(connection: &Connection, name: &AgentName) -> Result<Option<ListedAgent>, Fault> {
    let mut statement = connection.prepare_cached(concat!(agent_columns!(), "WHERE name = ?1"))?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(show).transpose()
}

fn with_id(connection: &Connection, id: AgentId) -> Result<Option<ListedAgent>, Fault> {
    let mut statement = connection.prepare_cached(concat!(agent_columns!(), "WHERE agent.id = ?1"))?;
    let mut rows = statement.query([id.bytes()])?;
    rows.next()?.map(show).transpose()
}

/// Reads a row of [`agent_columns`].
fn show(row: &Row<'_>) -> Result<ListedAgent, Fault> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let unreadable = |error: fallgate_domain::scope::InvalidScope| Fault::Unreadable(error.to_string());
    let routes = text(4)?.split(' ').filter(|name| !name.is_empty()).map(parsed);
    let agent = Agent {
        id: AgentId::from_bytes(row.get(0)?),
        owner: UserId::from_bytes(row.get(1)?),
        name: parsed(text(2)?)?,
        scopes: Scopes::parse(text(3)?).map_err(unreadable)?,
        routes: routes.collect::<Result<_, _>>()?,
        created_at: time(row.get(5)?)?,
        disabled_at: row.get::<_, Option<i64>>(6)?.map(time).transpose()?,
    };
    let last_seen_at = row.get::<_, Option<i64>>(9)?.map(time).transpose()?;
    Ok(ListedAgent { agent, owner_name: parsed(text(7)?)?, owner_disabled: row.get(8)?, last_seen_at })
}

impl From<ListedAgent> for AgentRow {
    fn from(listed: ListedAgent) -> Self {
        let agent = listed.agent;
        Self {
            id: agent.id,
            owner: agent.owner,
            name: agent.name,
            scopes: agent.scopes,
            routes: agent.routes,
            disabled: agent.disabled_at.is_some(),
        }
    }
}
