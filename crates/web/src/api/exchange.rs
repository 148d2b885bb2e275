//! Token exchange (RFC 8693): a token or a sign-in for a narrower worker token.

use std::time::Duration;

use fallgate_authority::{ExchangeError, ExchangeOrder, Refusal, RequestFacts, WorkerError};
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::worker::{self, Audience};
use fallgate_relay::Settings;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::oauth::missing;
use crate::app::App;
use crate::body::SecretText;
use crate::error::{WebError, sentence};
use crate::oauth::OAuthError;
use crate::openapi::words;
use crate::view::AccessTokenView;

/// By this grant (RFC 8693, section 2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What is exchanged, and what for (RFC 8693, section 3). A worker token is both of these.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What is exchanged, and for what.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TokenExchange)]
pub(crate) struct ExchangeRequest {
    /// For an exchange: the secret of a token or a sign-in.
    #[schema(value_type = Option<words::Secret>)]
    subject_token: Option<SecretText>,
    /// For an exchange: `urn:ietf:params:oauth:token-type:access_token`.
    subject_token_type: Option<String>,
    /// What is wanted: `urn:ietf:params:oauth:token-type:access_token`, or `…:jwt`, which is the same worker token.
    requested_token_type: Option<String>,
    /// Where the worker token may be used, sent once for each; without it, at this gate and on the agent's routes.
    #[schema(value_type = Option<Vec<words::Audience>>)]
    audience: Option<Vec<String>>,
    /// What it may be used for, with blanks between; without it, what agent and subject have of the usual scopes.
    scope: Option<String>,
    /// How long it lasts, in seconds; without it, as long as is usual here.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 604_800)]
    expires_in: Option<String>,
    /// For which of one's agents; without it, for the one of one's own name.
    #[schema(value_type = Option<words::AgentName>)]
    agent: Option<String>,
    /// Not to be given: what is meant is said by `audience`.
    resource: Option<Vec<String>>,
    /// Not to be given: nobody acts for somebody else.
    #[schema(value_type = Option<words::Secret>)]
    actor_token: Option<SecretText>,
    /// Not to be given either.
    actor_token_type: Option<String>,
}

pub(super) async fn by_exchange(
    app: &App,
    request: ExchangeRequest,
    facts: &RequestFacts<'_>,
) -> Result<AccessTokenView, OAuthError> {
    let issued = request.issued_token_type()?;
    let order = request.order()?;
    let subject = request.subject_token.ok_or_else(|| missing("subject_token"))?;
    let subject = app.verifier.subject(subject.0.as_bytes(), facts).await.map_err(refused)?;
    // Which routes there are is not told to strangers.
    let settings = app.settings.now();
    expect_known(order.audience.as_deref().unwrap_or_default(), &settings)?;
    let minted = app.verifier.exchange(&subject, order, &settings.origin, facts.ip).await;
    Ok(AccessTokenView::exchanged(minted.map_err(refused)?, issued))
}

impl ExchangeRequest {
    /// As what type the worker token is to be given, if all else that is said of types can be done.
    fn issued_token_type(&self) -> Result<&'static str, OAuthError> {
        let subject_type = self.subject_token_type.as_deref().ok_or_else(|| missing("subject_token_type"))?;
        if subject_type != ACCESS_TOKEN {
            return Err(invalid(format!("The subject_token_type is {ACCESS_TOKEN}, and no other one.")));
        }
        if self.actor_token.is_some() || self.actor_token_type.is_some() {
            return Err(invalid("Nobody acts for somebody else here: leave the actor_token out.".to_owned()));
        }
        if self.resource.is_some() {
            let says = "Say what it is for by audience, and leave the resource out.";
            return Err(OAuthError::Grant("invalid_target", says.to_owned()));
        }
        match self.requested_token_type.as_deref() {
            None | Some(ACCESS_TOKEN) => Ok(ACCESS_TOKEN),
            Some(JWT) => Ok(JWT),
            Some(_) => Err(invalid(format!("The requested_token_type is {ACCESS_TOKEN} or {JWT}."))),
        }
    }

    /// What is said of the worker token. No value is repeated: it may be a secret in the wrong place.
    fn order(&self) -> Result<ExchangeOrder, OAuthError> {
        let agent = self.agent.as_deref().map(str::parse).transpose().map_err(|_| unknown_agent())?;
        let whole = || invalid("The expires_in is a whole number of seconds.".to_owned());
        let life = self.expires_in.as_deref().map(seconds).map(|life| life.ok_or_else(whole)).transpose()?;
        let scopes = self.scope.as_deref().map(Scopes::parse).transpose().map_err(|_| unknown_scope())?;
        let audience = self.audience.as_deref().map(audiences).transpose()?;
        Ok(ExchangeOrder { agent, life, scopes, audience })
    }
}

/// Digits and nothing else.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok().map(Duration::from_secs)).flatten()
}

/// Each once.
fn audiences(texts: &[String]) -> Result<Vec<Audience>, OAuthError> {
    let mut audiences = Vec::new();
    for text in texts {
        let audience = text.parse().map_err(|_| unknown_target())?;
        if audiences.contains(&audience) {
            continue;
        }
        // No token names more, and looking through more takes its time.
        if audiences.len() == worker::MOST_AUDIENCES {
            return Err(unknown_target());
        }
        audiences.push(audience);
    }
    Ok(audiences)
}

/// That the routes among them are there.
fn expect_known(audiences: &[Audience], settings: &Settings) -> Result<(), OAuthError> {
    let is_known = |audience: &Audience| match audience {
        Audience::Gate | Audience::Egress => true,
        Audience::Route(name) => settings.routes.iter().any(|route| route.policy.name == *name),
    };
    if audiences.iter().all(is_known) { Ok(()) } else { Err(unknown_target()) }
}

/// In the words of RFC 8693, section 2.2.2.
fn refused(error: ExchangeError) -> OAuthError {
    match error {
        ExchangeError::Ended => invalid("The subject_token is not valid.".to_owned()),
        ExchangeError::Unsuitable(_) => invalid(sentence(&error)),
        ExchangeError::Refused(refusal) => invalid(refusal.problem().detail),
        ExchangeError::Throttled(throttled) => throttled.into(),
        ExchangeError::Unavailable => WebError::Refused(Refusal::Unavailable).into(),
        ExchangeError::Mint(error) => not_minted(error),
    }
}

fn not_minted(error: WorkerError) -> OAuthError {
    match error {
        WorkerError::ScopeBeyond(_) | WorkerError::ScopeBeyondMinter(_) => {
            OAuthError::Grant("invalid_scope", sentence(&error))
        }
        WorkerError::NotYours(_) | WorkerError::UnknownAgent(_) => unknown_agent(),
        WorkerError::Key(_) | WorkerError::Entropy(_) | WorkerError::Store(_) => error.into(),
        error => invalid(sentence(&error)),
    }
}

fn invalid(says: String) -> OAuthError {
    OAuthError::Grant("invalid_request", says)
}

fn unknown_agent() -> OAuthError {
    invalid("The owner of the subject_token has no agent of that name.".to_owned())
}

fn unknown_target() -> OAuthError {
    let says = "An audience is fallgate, egress, or route: and the name of a route of this gate.";
    OAuthError::Grant("invalid_target", says.to_owned())
}

fn unknown_scope() -> OAuthError {
    let known = PlainScope::ALL.map(PlainScope::name).join(", ");
    let says = format!("Name scopes with blanks between: {known}, or route: and a route's name.");
    OAuthError::Grant("invalid_scope", says)
}
