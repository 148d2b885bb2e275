//! What OAuth's doors answer, by the names that its RFCs give.

use fallgate_authority::{Introspected, MintedWorker, StartedDeviceLogin};
use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::user::Username;
use fallgate_domain::worker::Audience;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::openapi::words;

/// What a credential is (RFC 7662, section 2.2); of one that is not good nothing but that.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Introspection)]
pub struct IntrospectionView {
    /// Whether it is good now.
    active: bool,
    /// What it may be used for, with blanks between.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// How it is presented: `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// Its public name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Id>)]
    jti: Option<CredentialId>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Kind>)]
    kind: Option<CredentialKind>,
    /// Its owner's name for good; left out when nobody owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Id>)]
    sub: Option<UserId>,
    /// As they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Username>)]
    username: Option<Username>,
    /// Where it may be used, if it says so itself: a worker token does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<words::Audience>>)]
    aud: Option<Vec<Audience>>,
    /// When it ends by itself, in seconds since 1970; left out when it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// As which agent it acts, if it is a worker token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    agent: Option<AgentName>,
}

impl IntrospectionView {
    /// One that is good, by the gate of that origin.
    pub(crate) fn of(found: Introspected, origin: String) -> Self {
        Self {
            active: true,
            scope: Some(found.scopes.to_string()),
            token_type: Some("Bearer"),
            iss: Some(origin),
            jti: Some(found.id),
            kind: Some(found.kind),
            sub: found.user,
            username: found.username,
            aud: found.audience,
            exp: found.expires_at.map(seconds),
            agent: found.agent,
        }
    }
}

/// What a device goes on with (RFC 8628, section 3.2).
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = StartedDeviceLogin)]
pub struct StartedDeviceLoginView {
    /// What it holds while it waits. In no other answer, ever.
    #[schema(value_type = String)]
    pub device_code: Zeroizing<String>,
    /// What it shows.
    pub user_code: String,
    /// The page on which that is typed.
    pub verification_uri: String,
    /// The same with the code in it, for a QR code.
    pub verification_uri_complete: String,
    /// How long both are good, in seconds.
    pub expires_in: u64,
    /// How long to wait between two tries, in seconds.
    pub interval: u64,
}

impl StartedDeviceLoginView {
    /// As people find it: at that origin.
    pub(crate) fn of(started: &StartedDeviceLogin, origin: &str) -> Self {
        Self {
            device_code: Zeroizing::new(started.device_code.expose().to_owned()),
            user_code: started.user_code.to_string(),
            verification_uri: format!("{origin}/device"),
            verification_uri_complete: format!("{origin}/device?user_code={}", started.user_code),
            expires_in: started.life.as_secs(),
            interval: started.interval.as_secs(),
        }
    }
}

/// What was granted (RFC 6749, section 5.1).
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = AccessToken)]
pub struct AccessTokenView {
    /// The secret, this once.
    #[schema(value_type = String)]
    pub access_token: Zeroizing<String>,
    /// What it is, where something was exchanged for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
    /// How it is presented: `Bearer`.
    pub token_type: String,
    /// How long it is good at most, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// What it may be used for, with blanks between.
    pub scope: String,
}

impl AccessTokenView {
    /// A bearer token.
    pub(crate) fn of(secret: Zeroizing<String>, life: Option<u64>, scope: String) -> Self {
        let token_type = "Bearer".to_owned();
        Self { access_token: secret, issued_token_type: None, token_type, expires_in: life, scope }
    }

    /// A worker token that something was exchanged for, as the type that was asked for (RFC 8693, section 2.2.1).
    pub(crate) fn exchanged(minted: MintedWorker, issued_token_type: &str) -> Self {
        let MintedWorker { claims, token } = minted;
        let plain = Self::of(token, Some(claims.life().as_secs()), claims.scopes.to_string());
        Self { issued_token_type: Some(issued_token_type.to_owned()), ..plain }
    }
}

/// What this gate can do as an authorization server (RFC 8414, section 2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthorizationServer)]
pub struct MetadataView {
    issuer: String,
    token_endpoint: String,
    device_authorization_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    grant_types_supported: Vec<&'static str>,
    /// None: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    scopes_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// Bearer: the caller presents a token of its own, with the scope `introspect`.
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
}

impl MetadataView {
    /// Of the gate at that origin.
    pub(crate) fn of(origin: &str, grant_types: &[&'static str], scopes: &[&'static str]) -> Self {
        let at = |path: &str| format!("{origin}{path}");
        Self {
            issuer: origin.to_owned(),
            token_endpoint: at("/oauth/token"),
            device_authorization_endpoint: at("/oauth/device"),
            introspection_endpoint: at("/oauth/introspect"),
            revocation_endpoint: at("/oauth/revoke"),
            jwks_uri: at("/.well-known/jwks.json"),
            grant_types_supported: grant_types.to_vec(),
            response_types_supported: [],
            scopes_supported: scopes.to_vec(),
            token_endpoint_auth_methods_supported: ["none"],
            revocation_endpoint_auth_methods_supported: ["none"],
            introspection_endpoint_auth_methods_supported: ["Bearer"],
        }
    }
}

/// As OAuth writes times.
fn seconds(at: Timestamp) -> i64 {
    at.millis().div_euclid(1_000)
}
