//! Agents: made, disabled, deleted. What runs as one ends with it, at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fallgate_domain::agent::{Agent, AgentName};
use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::AgentId;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::Username;
use fallgate_store::{ChangedAgent, CreatedAgent, CutOn, DeletedAgent, ListedAgent, StoreError};
use serde_json::Value;

use crate::actions::ManageAgents;
use crate::halt::{Unwritten, or_halt};
use crate::permit::Permit;
use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

/// An agent to be made.
#[derive(Debug, Clone)]
pub struct AgentOrder {
    /// How it will be called.
    pub name: AgentName,
    /// Whose it will be.
    pub owner: Username,
    /// What its tokens may be used for at most; the defaults of a token, if nothing is said.
    pub scopes: Option<Scopes>,
    /// The routes its tokens are good for unless less is asked for. A route is taken as it is named.
    pub routes: Vec<RouteName>,
}

/// Why an agent was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is one of that name.
    #[error("there is an agent {0} already")]
    NameTaken(AgentName),
    /// Somebody has that name.
    #[error("there is a user {0}, whose own agent is called so: take another name")]
    UserNamedSo(AgentName),
    /// A route lets it in by its name.
    #[error(
        "a route lets in an agent {0} by that name, so only an admin makes it: take another name, or ask one"
    )]
    LetInByName(AgentName),
    /// Nobody made one of that name.
    #[error("there is no agent {0}")]
    Unknown(AgentName),
    /// It is another's.
    #[error("this is not for you to do: only an admin may do it for others")]
    NotYours,
    /// Nobody has the name of the owner that it was to have.
    #[error("there is no user {0}")]
    UnknownUser(Username),
    /// They are disabled.
    #[error("the user {0} is disabled")]
    OwnerDisabled(Username),
    /// They have as many as one may.
    #[error("the user {0} has a thousand agents already: delete some first")]
    TooMany(Username),
    /// A scope that its owner's role does not allow.
    #[error("the scope {0} is more than the role of its owner allows: leave it out")]
    ScopeBeyond(Scope),
    /// A scope that the credential which makes it does not have.
    #[error(
        "the scope {0} is not one of the token that makes the agent, and no token can give more than it has: \
         leave it out"
    )]
    ScopeBeyondCaller(Scope),
    /// More routes than one may name.
    #[error("an agent names at most {} routes", Scopes::MAX_ROUTES)]
    TooManyRoutes,
    /// No random bytes for the id.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// What was to end has ended in this process only.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Registrar {
    /// Makes an agent.
    pub async fn create_agent(&self, order: AgentOrder, actor: &Actor) -> Result<ListedAgent, AgentError> {
        self.create_agent_within(order, None, actor).await
    }

    /// The same, with what the caller may give at most.
    async fn create_agent_within(
        &self,
        order: AgentOrder,
        limit: Option<&Scopes>,
        actor: &Actor,
    ) -> Result<ListedAgent, AgentError> {
        let AgentOrder { name, owner, scopes, mut routes } = order;
        let found = self.store.user_named(&owner).await?;
        let owner = found.ok_or(AgentError::UnknownUser(owner))?;
        routes.sort();
        routes.dedup();
        if routes.len() > Scopes::MAX_ROUTES {
            return Err(AgentError::TooManyRoutes);
        }
        let now = self.clock.now();
        let agent = Agent {
            id: AgentId::new(now, &*self.entropy)?,
            owner: owner.id,
            name,
            scopes: granted_scopes(scopes, &Scopes::ceiling(owner.role), limit)?,
            routes,
            created_at: now,
            disabled_at: None,
        };
        let routes: Vec<_> = agent.routes.iter().map(RouteName::as_str).collect();
        let detail = BTreeMap::from([
            ("owner".to_owned(), Value::from(owner.username.as_str())),
            ("agent".to_owned(), Value::from(agent.id.to_string())),
            ("scopes".to_owned(), Value::from(agent.scopes.to_string())),
            ("routes".to_owned(), Value::from(routes.join(" "))),
        ]);
        let event = actor.event(now, audit::Action::AgentCreate, target(&agent.name), detail);
        match self.vault.create_agent(agent.clone(), event).await? {
            CreatedAgent::Created(_) => Ok(ListedAgent {
                agent,
                owner_name: owner.username,
                owner_disabled: false,
                last_seen_at: None,
            }),
            CreatedAgent::NameTaken => Err(AgentError::NameTaken(agent.name)),
            CreatedAgent::UserNamedSo => Err(AgentError::UserNamedSo(agent.name)),
            CreatedAgent::OwnerUnknown => Err(AgentError::UnknownUser(owner.username)),
            CreatedAgent::OwnerDisabled => Err(AgentError::OwnerDisabled(owner.username)),
            CreatedAgent::TooMany => Err(AgentError::TooMany(owner.username)),
        }
    }

    /// Refuses an agent's every token from now on, or lets in again what was not revoked and is not over.
    pub async fn disable_agent(
        &self,
        name: &AgentName,
        disabled: bool,
        actor: &Actor,
    ) -> Result<ListedAgent, AgentError> {
        let listed = self.agent(name).await?;
        self.set_disabled(listed, disabled, actor).await
    }

    async fn set_disabled(
        &self,
        listed: ListedAgent,
        disabled: bool,
        actor: &Actor,
    ) -> Result<ListedAgent, AgentError> {
        let now = self.clock.now();
        let action = if disabled { audit::Action::AgentDisable } else { audit::Action::AgentEnable };
        let event = actor.event(now, action, target(&listed.agent.name), told_of(&listed));
        match self.vault.change_agent(listed.agent.id, disabled.then_some(now), event).await? {
            ChangedAgent::Changed(_, agent) | ChangedAgent::Unchanged(agent) => {
                Ok(ListedAgent { agent, ..listed })
            }
            ChangedAgent::Unknown => Err(AgentError::Unknown(listed.agent.name)),
        }
    }

    /// Deletes an agent and with it whatever runs as it. What is made under its name later inherits nothing.
    pub async fn delete_agent(&self, name: &AgentName, actor: &Actor) -> Result<(), AgentError> {
        let listed = self.agent(name).await?;
        self.take_agent_away(listed, actor).await
    }

    async fn take_agent_away(&self, listed: ListedAgent, actor: &Actor) -> Result<(), AgentError> {
        let name = &listed.agent.name;
        let event = actor.event(self.clock.now(), audit::Action::AgentDelete, target(name), told_of(&listed));
        match self.vault.delete_agent(listed.agent.id, event).await? {
            DeletedAgent::Deleted(_) => Ok(()),
            DeletedAgent::Unknown => Err(AgentError::Unknown(listed.agent.name)),
        }
    }

    /// The agent of that name that somebody made.
    async fn agent(&self, name: &AgentName) -> Result<ListedAgent, AgentError> {
        let found = self.store.agent_named(name).await?;
        found.ok_or_else(|| AgentError::Unknown(name.clone()))
    }
}

/// What is known of an agent beyond its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentNow {
    /// How many tokens came by as it, in this process, that still stand.
    pub tokens: usize,
    /// When the last came by, to about a minute, since this process began.
    pub last_seen: Option<Timestamp>,
    /// Whether a cut on it stands.
    pub is_cut: bool,
}

/// The same on a caller's behalf: for themselves, or, for an admin, for anybody. Each commits, then cuts, and only then
/// answers; and whoever ends their own credential by it still hears what came of it.
impl Verifier {
    /// The agents that somebody made, by name: the caller's own; for an admin, all.
    pub async fn agents(&self, permit: &Permit<ManageAgents>) -> Result<Vec<ListedAgent>, StoreError> {
        let caller = permit.principal();
        match caller.user() {
            _ if caller.is_admin() => self.store().agents(None).await,
            Some(user) => self.store().agents(Some(user)).await,
            None => Ok(Vec::new()),
        }
    }

    /// One of those.
    pub async fn agent(
        &self,
        permit: &Permit<ManageAgents>,
        name: &AgentName,
    ) -> Result<ListedAgent, AgentError> {
        Ok(self.managed_agent(permit, name, None).await?.0)
    }

    /// How an agent does now. Who may hear it is decided by who is shown the agent.
    pub fn agent_now(&self, id: AgentId) -> AgentNow {
        let seen = self.view.agent(id).map(|agent| agent.seen(self.clock().now()));
        let (tokens, last_seen) = seen.unwrap_or_default();
        AgentNow { tokens, last_seen, is_cut: self.view.cuts.is_on(&CutOn::Agent(id)) }
    }

    /// Makes an agent. What a plain user asks for somebody else is made for themselves, as with a token. `let_in`: whether
    /// a route lets an agent in by its name. Such a name is an admin's to give, or whoever takes it while it is free comes
    /// in by it.
    pub async fn create_agent(
        &self,
        permit: &Permit<ManageAgents>,
        mut order: AgentOrder,
        let_in: impl Fn(&AgentName) -> bool,
        ip: Option<IpAddr>,
    ) -> Result<ListedAgent, AgentError> {
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let caller = permit.principal();
        let (Some(actor), Some(username)) = (Actor::of(permit, ip), caller.username()) else {
            return Err(AgentError::NotYours);
        };
        if !caller.is_admin() {
            if let_in(&order.name) {
                return Err(AgentError::LetInByName(order.name));
            }
            order.owner = username.clone();
        }
        let actor = if order.owner == *username { actor } else { actor.for_others() };
        let listed = self.registrar.create_agent_within(order, Some(&caller.scopes()), &actor).await?;
        self.freshen_after_act().await;
        Ok(listed)
    }

    /// Disables or enables an agent. What runs as it is cut before this returns.
    pub async fn disable_agent(
        &self,
        permit: &Permit<ManageAgents>,
        name: &AgentName,
        disabled: bool,
        ip: Option<IpAddr>,
    ) -> Result<ListedAgent, AgentError> {
        let (listed, actor) = self.managed_agent(permit, name, ip).await?;
        let id = listed.agent.id;
        permit.principal().lease.act();
        let changed = match self.registrar.set_disabled(listed, disabled, &actor).await {
            Err(AgentError::Store(error)) if disabled => {
                or_halt::<_, AgentError>(Err(error), |error| self.halt_agent(id, error))?
            }
            changed => changed?,
        };
        if !disabled {
            self.unhalt_agent(id);
        }
        self.freshen_after_act().await;
        Ok(changed)
    }

    /// Deletes an agent. What runs as it is cut before this returns.
    pub async fn delete_agent(
        &self,
        permit: &Permit<ManageAgents>,
        name: &AgentName,
        ip: Option<IpAddr>,
    ) -> Result<(), AgentError> {
        let (listed, actor) = self.managed_agent(permit, name, ip).await?;
        let id = listed.agent.id;
        permit.principal().lease.act();
        match self.registrar.take_agent_away(listed, &actor).await {
            Err(AgentError::Store(error)) => {
                or_halt::<_, AgentError>(Err(error), |error| self.halt_agent(id, error))?;
            }
            deleted => deleted?,
        }
        self.freshen_after_act().await;
        Ok(())
    }

    /// An agent that the caller may manage, and as whom.
    async fn managed_agent(
        &self,
        permit: &Permit<ManageAgents>,
        name: &AgentName,
        ip: Option<IpAddr>,
    ) -> Result<(ListedAgent, Actor), AgentError> {
        self.freshen().await?;
        let caller = permit.principal();
        let actor = Actor::of(permit, ip).ok_or(AgentError::NotYours)?;
        let listed = self.registrar.agent(name).await?;
        if Some(listed.agent.owner) == caller.user() {
            Ok((listed, actor))
        } else if caller.is_admin() {
            Ok((listed, actor.for_others()))
        } else {
            Err(AgentError::NotYours)
        }
    }
}

/// As cuts and `allow` lists name it.
fn target(name: &AgentName) -> String {
    format!("agent:{name}")
}

fn told_of(listed: &ListedAgent) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("owner".to_owned(), Value::from(listed.owner_name.as_str())),
        ("agent".to_owned(), Value::from(listed.agent.id.to_string())),
    ])
}

/// Asked-for scopes must fit; defaults are cut down to fit.
fn granted_scopes(
    asked: Option<Scopes>,
    ceiling: &Scopes,
    limit: Option<&Scopes>,
) -> Result<Scopes, AgentError> {
    let Some(scopes) = asked else {
        let scopes = Scopes::default_for_tokens().within(ceiling);
        return Ok(limit.map_or_else(|| scopes.clone(), |limit| scopes.within(limit)));
    };
    if let Some(scope) = ceiling.first_beyond(&scopes) {
        return Err(AgentError::ScopeBeyond(scope));
    }
    match limit.and_then(|limit| limit.first_beyond(&scopes)) {
        Some(scope) => Err(AgentError::ScopeBeyondCaller(scope)),
        None => Ok(scopes),
    }
}
