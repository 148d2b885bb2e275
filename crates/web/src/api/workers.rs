//! Worker tokens: mint one for an agent, renew one.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use fallgate_authority::actions::ManageAgents;
use fallgate_authority::{PeerAddress, Permit, Principal, WorkerOrder};
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::scope::Scopes;
use fallgate_domain::worker::Audience;
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

use crate::answer::Created;
use crate::app::App;
use crate::body::JsonBody;
use crate::error::WebError;
use crate::openapi::words;
use crate::view::MintedWorkerView;

/// The body of a mint for an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MintForAgent)]
pub(crate) struct Mint {
    /// How long it lasts; without it, as long as is usual here.
    #[schema(value_type = Option<words::Life>)]
    ttl: Option<Life>,
    /// What it may be used for; without them, what the agent and the caller both may.
    #[schema(value_type = Option<Vec<words::Scope>>)]
    scopes: Option<Scopes>,
    /// Where it may be used; without it, at this gate and on the agent's routes.
    #[schema(value_type = Option<Vec<words::Audience>>)]
    audience: Option<Vec<Audience>>,
}

/// A whole number of seconds, or a duration such as `2h`.
#[derive(Debug)]
pub(crate) struct Life(Duration);

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("ttl is a whole number of seconds, or a duration such as \"2h\"");
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(number) => {
                number.as_u64().map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(wrong)
            }
            serde_json::Value::String(text) => match text.parse() {
                Ok(Lifetime::For(duration)) => Ok(Self(duration)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

pub(crate) async fn mint(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
    JsonBody(Mint { ttl, scopes, audience }): JsonBody<Mint>,
) -> Result<Created<MintedWorkerView>, WebError> {
    let agent = name.parse().map_err(|_| WebError::NotFound("There is no such agent.".to_owned()))?;
    let life = ttl.map(|life| life.0);
    let order = WorkerOrder { agent, life, scopes, audience, session: None };
    let issuer = &app.settings.now().origin;
    Ok(Created(MintedWorkerView::of(app.verifier.mint_worker(&permit, order, issuer, peer.0).await?)))
}

/// Another one in the place of the one that asks. It needs no scope.
pub(crate) async fn renew(
    principal: Principal,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
) -> Result<Created<MintedWorkerView>, WebError> {
    let issuer = &app.settings.now().origin;
    Ok(Created(MintedWorkerView::of(app.verifier.renew_worker(&principal, issuer, peer.0).await?)))
}
