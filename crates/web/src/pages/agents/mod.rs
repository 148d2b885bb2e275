//! `/agents`: one's own agents; for an admin everybody's.

pub(crate) mod change;
pub(crate) mod create;

use std::collections::HashMap;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use fallgate_authority::Permit;
use fallgate_authority::actions::ManageAgents;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::AgentId;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::PlainScope;
use fallgate_store::ListedAgent;

use super::frame::{Frame, Place};
use super::moment::Moment;
use super::tokens::in_words;
use crate::app::App;
use crate::error::WebError;

/// How many stand on one page.
const PAGE: usize = 100;

const HOME: &str = "/agents";

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: Frame,
    /// Whether the viewer may cut.
    cuts: bool,
    rows: Vec<Row>,
    /// Whether it is not the first page.
    goes_on: bool,
    /// The name after which the next page begins.
    next: Option<String>,
}

/// An agent in the list.
struct Row {
    name: String,
    owner: String,
    scopes: String,
    routes: String,
    /// Since when, if it is.
    disabled: Option<Moment>,
    owner_disabled: bool,
    is_cut: bool,
    /// How many of its tokens stand, of those that came by.
    tokens: usize,
    open: u64,
    last_seen: Option<Moment>,
}

pub(crate) async fn list(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let caller = permit.principal();
    let after = after(query.as_deref().unwrap_or_default());
    let mut agents = app.verifier.agents(&permit).await?;
    agents.retain(|listed| listed.agent.name.as_str() > after.as_str());
    let next = agents.get(PAGE).and(agents.get(PAGE - 1)).map(|listed| listed.agent.name.to_string());
    agents.truncate(PAGE);
    let (open, now) = (app.verifier.open_by_agent(), app.verifier.clock().now());
    let page = AgentsPage {
        frame: Frame::of(&app, caller, Place::Agents)?.noticing(query.as_deref()),
        cuts: caller.scopes().allow(&PlainScope::Cut.into()),
        rows: agents.into_iter().map(|listed| Row::of(&app, listed, &open, now)).collect(),
        goes_on: !after.is_empty(),
        next,
    };
    page.frame.show(&page)
}

fn after(query: &str) -> String {
    let after = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    after.map(|(_, name)| name.into_owned()).unwrap_or_default()
}

impl Row {
    fn of(app: &App, listed: ListedAgent, open: &HashMap<AgentId, u64>, now: Timestamp) -> Self {
        let ListedAgent { agent, owner_name, owner_disabled, last_seen_at } = listed;
        let does = app.verifier.agent_now(agent.id);
        let routes: Vec<_> = agent.routes.iter().map(RouteName::as_str).collect();
        Self {
            name: agent.name.to_string(),
            owner: owner_name.to_string(),
            scopes: in_words(&agent.scopes),
            routes: if routes.is_empty() { "none".to_owned() } else { routes.join(", ") },
            disabled: agent.disabled_at.map(|at| Moment::of(at, now)),
            owner_disabled,
            is_cut: does.is_cut,
            tokens: does.tokens,
            open: open.get(&agent.id).copied().unwrap_or(0),
            last_seen: does.last_seen.max(last_seen_at).map(|at| Moment::of(at, now)),
        }
    }
}
