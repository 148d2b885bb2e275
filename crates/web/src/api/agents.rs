//! Agents: list, make, disable, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use fallgate_authority::actions::ManageAgents;
use fallgate_authority::{AgentError, AgentOrder, PeerAddress, Permit, Verifier};
use fallgate_domain::agent::AgentName;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use fallgate_relay::LiveSettings;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::{Created, NoContent};
use crate::body::JsonBody;
use crate::error::WebError;
use crate::openapi::words;
use crate::view::{AgentList, AgentView};

pub(crate) async fn list(
    permit: Permit<ManageAgents>,
    State(verifier): State<Arc<Verifier>>,
) -> Result<Json<AgentList>, WebError> {
    Ok(Json(verifier.agents(&permit).await?.into()))
}

/// The body that makes an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAgent {
    #[schema(value_type = words::AgentName)]
    name: AgentName,
    /// Whose it will be: the caller's own, unless an admin says otherwise.
    #[schema(value_type = Option<words::Username>)]
    owner: Option<Username>,
    /// What its tokens may be used for at most; without it what a token may by default.
    #[schema(value_type = Option<Vec<words::Scope>>)]
    scopes: Option<Scopes>,
    /// The routes its tokens are good for unless less is asked for. There need be none of that name yet.
    #[schema(value_type = Option<Vec<words::RouteName>>, max_items = 64)]
    routes: Option<Vec<RouteName>>,
}

pub(crate) async fn create(
    permit: Permit<ManageAgents>,
    State(verifier): State<Arc<Verifier>>,
    State(settings): State<LiveSettings>,
    Extension(peer): Extension<PeerAddress>,
    JsonBody(NewAgent { name, owner, scopes, routes }): JsonBody<NewAgent>,
) -> Result<Created<AgentView>, WebError> {
    let own = permit.principal().username().cloned();
    let owner = owner.or(own).ok_or(AgentError::NotYours)?;
    let order = AgentOrder { name, owner, scopes, routes: routes.unwrap_or_default() };
    let settings = settings.now();
    let let_in = |name: &AgentName| settings.let_in_by_name(name);
    Ok(Created(verifier.create_agent(&permit, order, let_in, peer.0).await?.into()))
}

pub(crate) async fn show(
    permit: Permit<ManageAgents>,
    State(verifier): State<Arc<Verifier>>,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, WebError> {
    Ok(Json(verifier.agent(&permit, &named(&name)?).await?.into()))
}

/// The body that changes an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentChange {
    /// Whether its every token is refused.
    disabled: Option<bool>,
}

pub(crate) async fn change(
    permit: Permit<ManageAgents>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
    JsonBody(AgentChange { disabled }): JsonBody<AgentChange>,
) -> Result<Json<AgentView>, WebError> {
    let name = named(&name)?;
    let agent = match disabled {
        Some(disabled) => verifier.disable_agent(&permit, &name, disabled, peer.0).await?,
        None => verifier.agent(&permit, &name).await?,
    };
    Ok(Json(agent.into()))
}

pub(crate) async fn delete(
    permit: Permit<ManageAgents>,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
) -> Result<NoContent, WebError> {
    verifier.delete_agent(&permit, &named(&name)?, peer.0).await?;
    Ok(NoContent)
}

/// What is no agent's name is nobody's.
pub(crate) fn named(text: &str) -> Result<AgentName, WebError> {
    text.parse().map_err(|_| WebError::NotFound("There is no such agent.".to_owned()))
}
