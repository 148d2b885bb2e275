//! OAuth's doors: is a credential good, end one, sign in a box without a browser.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use fallgate_authority::actions::AskOfCredentials;
use fallgate_authority::{
    DeviceLoginError, DeviceOrder, IntrospectError, NewSignIn, PeerAddress, Permit, Refusal, RequestFacts,
    Verifier,
};
use fallgate_domain::credential::TokenName;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_relay::LiveSettings;
use http::{HeaderMap, header};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::answer::Nothing;
use crate::api::exchange::{ExchangeRequest, TOKEN_EXCHANGE, by_exchange};
use crate::api::tokens::end_held;
use crate::app::App;
use crate::body::SecretText;
use crate::doors::Public;
use crate::error::{WebError, sentence};
use crate::oauth::{OAuthError, Parameters};
use crate::openapi::words;
use crate::view::{AccessTokenView, IntrospectionView, MetadataView, StartedDeviceLoginView};

/// A device asks for what another signed in person approved (RFC 8628, section 3.4).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What `POST /oauth/token` gives something for.
pub(crate) const GRANT_TYPES: [&str; 2] = [DEVICE_CODE, TOKEN_EXCHANGE];

/// A credential that is asked about or to be ended.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OAuthHeld)]
pub(crate) struct Held {
    #[schema(value_type = words::Secret)]
    token: SecretText,
    /// What the caller takes it for. It makes no difference: each kind is known by its form.
    #[serde(default, rename = "token_type_hint")]
    #[schema(value_type = Option<String>)]
    _hint: Option<String>,
}

/// For an upstream that was given a credential. Why one is not good is not told.
pub(crate) async fn introspect(
    permit: Permit<AskOfCredentials>,
    State(verifier): State<Arc<Verifier>>,
    State(settings): State<LiveSettings>,
    Extension(peer): Extension<PeerAddress>,
    Parameters(Held { token, .. }): Parameters<Held>,
) -> Result<Json<IntrospectionView>, OAuthError> {
    let found = verifier.introspect(&permit, token.0.as_bytes(), peer.0).await?;
    let view = |found| IntrospectionView::of(found, settings.now().origin.clone());
    Ok(Json(found.map(view).unwrap_or_default()))
}

/// Whoever holds a credential may end it, and the answer is the same whatever it was (requirement R37).
pub(crate) async fn revoke(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
    Extension(peer): Extension<PeerAddress>,
    Parameters(Held { token, .. }): Parameters<Held>,
) -> Result<Nothing, OAuthError> {
    end_held(&verifier, &token, peer).await?;
    Ok(Nothing)
}

/// A device that asks to be signed in.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeviceAuthorization)]
pub(crate) struct Asking {
    /// What program asks. It is shown to whoever is to approve, and believed by nobody.
    #[schema(value_type = words::Name)]
    client_id: TokenName,
    /// What the list of signed-in devices is to call it, in at most 80 characters; without this, as the program.
    #[schema(value_type = Option<String>)]
    device_name: Option<TokenName>,
    /// Not to be given: a sign-in may do all that its user may.
    scope: Option<String>,
}

/// What it then shows, and what it holds while somebody approves it.
pub(crate) async fn device(
    _: Public,
    State(verifier): State<Arc<Verifier>>,
    State(settings): State<LiveSettings>,
    Extension(peer): Extension<PeerAddress>,
    Parameters(Asking { client_id, device_name, scope }): Parameters<Asking>,
) -> Result<Json<StartedDeviceLoginView>, OAuthError> {
    if scope.is_some() {
        let says = "A device becomes a sign-in, which may do all that its user may: leave the scope out.";
        return Err(OAuthError::Grant("invalid_scope", says.to_owned()));
    }
    let order = DeviceOrder { client: client_id, device_name };
    let started = verifier.start_device_login(order, peer.0).await.map_err(refused)?;
    Ok(Json(StartedDeviceLoginView::of(&started, &settings.now().reached_at)))
}

/// Something is asked for, and what it is asked for by.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TokenRequest {
    /// By what: `urn:ietf:params:oauth:grant-type:device_code` or `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// For a device: what it was given.
    #[schema(value_type = Option<words::Secret>)]
    device_code: Option<SecretText>,
    /// For a device: the same as it asked with.
    client_id: Option<String>,
    #[serde(flatten)]
    exchange: ExchangeRequest,
}

pub(crate) async fn token(
    _: Public,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    headers: HeaderMap,
    Parameters(request): Parameters<TokenRequest>,
) -> Result<Json<AccessTokenView>, OAuthError> {
    let user_agent = headers.get(header::USER_AGENT).map(http::HeaderValue::as_bytes);
    let facts = RequestFacts { ip: peer.0, user_agent };
    match request.grant_type.as_str() {
        DEVICE_CODE => by_device_code(&app.verifier, request, &facts).await.map(Json),
        TOKEN_EXCHANGE => by_exchange(&app, request.exchange, &facts).await.map(Json),
        _ => {
            let says = format!("Something is granted by {} only.", GRANT_TYPES.join(" and "));
            Err(OAuthError::Grant("unsupported_grant_type", says))
        }
    }
}

async fn by_device_code(
    verifier: &Verifier,
    request: TokenRequest,
    facts: &RequestFacts<'_>,
) -> Result<AccessTokenView, OAuthError> {
    let code = request.device_code.ok_or_else(|| missing("device_code"))?;
    let client = request.client_id.ok_or_else(|| missing("client_id"))?;
    let signed_in =
        verifier.collect_device_login(code.0.as_bytes(), &client, facts.ip, facts.user_agent).await;
    let NewSignIn { credential, user, secret } = signed_in.map_err(refused)?;
    let life = credential.expires_at.map(|end| end.since(credential.created_at).as_secs());
    let scopes = credential.scopes.within(&Scopes::ceiling(user.role));
    Ok(AccessTokenView::of(Zeroizing::new(secret.expose().to_owned()), life, scopes.to_string()))
}

/// A parameter that this grant needs is not there.
pub(super) fn missing(name: &str) -> WebError {
    WebError::BadRequest(format!("The form needs one field {name}."))
}

/// What there is (RFC 8414), and nothing else.
pub(crate) async fn metadata(_: Public, State(settings): State<LiveSettings>) -> Json<MetadataView> {
    let scopes = PlainScope::ALL.map(PlainScope::name);
    Json(MetadataView::of(&settings.now().origin, &GRANT_TYPES, &scopes))
}

impl From<IntrospectError> for WebError {
    fn from(error: IntrospectError) -> Self {
        match error {
            IntrospectError::Throttled(throttled) => Self::Throttled(throttled),
            IntrospectError::Unavailable => Self::Refused(Refusal::Unavailable),
        }
    }
}

/// In the words of RFC 8628, section 3.5.
fn refused(error: DeviceLoginError) -> OAuthError {
    let name = match &error {
        DeviceLoginError::Pending => "authorization_pending",
        DeviceLoginError::TooSoon => "slow_down",
        DeviceLoginError::Late => "expired_token",
        DeviceLoginError::Refused | DeviceLoginError::ApproverEnded | DeviceLoginError::Cut(_) => {
            "access_denied"
        }
        DeviceLoginError::Unknown | DeviceLoginError::Answered => "invalid_grant",
        DeviceLoginError::SetupNeeded
        | DeviceLoginError::Throttled(_)
        | DeviceLoginError::Entropy(_)
        | DeviceLoginError::Store(_) => return OAuthError::Other(error.into()),
    };
    let says = match &error {
        DeviceLoginError::Unknown => {
            "This is no device code of this gate, or it was used already: ask anew.".to_owned()
        }
        error => sentence(error),
    };
    OAuthError::Grant(name, says)
}
