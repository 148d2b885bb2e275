//! Agents, as the API shows them.

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::AgentId;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use fallgate_store::ListedAgent;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// An agent: a named identity that programs run as.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Agent)]
pub struct AgentView {
    /// Its public name, for good.
    #[schema(value_type = words::Id)]
    pub id: AgentId,
    /// How it is called.
    #[schema(value_type = words::AgentName)]
    pub name: AgentName,
    /// Whose it is.
    #[schema(value_type = words::Username)]
    pub owner: Username,
    /// What its tokens may be used for at most.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Scopes,
    /// The routes its tokens are good for unless less is asked for.
    #[schema(value_type = Vec<words::RouteName>)]
    pub routes: Vec<RouteName>,
    /// When it was made.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// Since when it is disabled.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub disabled_at: Option<Timestamp>,
    /// Whether its owner is disabled, and with them the agent.
    pub owner_disabled: bool,
    /// When a token of it last came by; written down about once a minute.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub last_seen_at: Option<Timestamp>,
}

impl From<ListedAgent> for AgentView {
    fn from(listed: ListedAgent) -> Self {
        let ListedAgent { agent, owner_name, owner_disabled, last_seen_at } = listed;
        Self {
            id: agent.id,
            name: agent.name,
            owner: owner_name,
            scopes: agent.scopes,
            routes: agent.routes,
            created_at: agent.created_at,
            disabled_at: agent.disabled_at,
            owner_disabled,
            last_seen_at,
        }
    }
}

/// `GET /api/agents`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// By name.
    pub agents: Vec<AgentView>,
}

impl From<Vec<ListedAgent>> for AgentList {
    fn from(agents: Vec<ListedAgent>) -> Self {
        Self { agents: agents.into_iter().map(AgentView::from).collect() }
    }
}
