//! Who asks, by what, and where else they are signed in.

use fallgate_authority::{NewSignIn, Principal};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind};
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::{DisplayName, Username};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Who asks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Their username, if anybody owns the credential.
    #[schema(value_type = Option<words::Username>, required = true)]
    pub username: Option<Username>,
    /// Their role.
    #[schema(value_type = words::CallersRole)]
    pub role: String,
}

impl Me {
    /// The caller.
    pub fn of(principal: &Principal) -> Self {
        Self { username: principal.username().cloned(), role: role_name(principal).to_owned() }
    }
}

/// `GET /api/whoami`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The owner's username, if anybody owns the credential.
    #[schema(value_type = Option<words::Username>, required = true)]
    pub username: Option<Username>,
    /// How they are shown.
    #[schema(value_type = Option<words::Name>, required = true)]
    pub display_name: Option<DisplayName>,
    /// Their role.
    #[schema(value_type = words::CallersRole)]
    pub role: String,
    /// What was presented.
    pub credential: CredentialView,
}

impl WhoAmI {
    /// Whoever just signed in. The secret is in the cookie, not in here.
    pub(crate) fn of_sign_in(sign_in: NewSignIn) -> Self {
        let NewSignIn { credential, user, .. } = sign_in;
        Self {
            username: Some(user.username),
            display_name: Some(user.display_name),
            role: user.role.name().to_owned(),
            credential: CredentialView {
                id: credential.id,
                kind: credential.kind,
                name: credential.name,
                scopes: credential.scopes.within(&Scopes::ceiling(user.role)),
                expires_at: credential.expires_at,
            },
        }
    }
}

/// What was presented.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Credential)]
pub struct CredentialView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CredentialId,
    /// What it is.
    #[schema(value_type = words::Kind)]
    pub kind: CredentialKind,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for now.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Scopes,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub expires_at: Option<Timestamp>,
}

/// A role as the API writes it; a credential without an owner has its kind's.
pub(crate) fn role_name(principal: &Principal) -> &'static str {
    principal.role_name()
}

/// `GET /api/logins`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginList {
    /// One's own sign-ins that stand, oldest first.
    pub logins: Vec<LoginView>,
}

/// A sign-in: a device that somebody signed in on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Login)]
pub struct LoginView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CredentialId,
    /// What it was called when it was made.
    pub name: String,
    /// When it was made.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// When it ends by itself, however much it is used.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    #[schema(required = true)]
    pub last_used_ip: Option<String>,
    /// What the client called itself then.
    #[schema(required = true)]
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl LoginView {
    /// A sign-in as its owner sees it who is signed in by `current`.
    pub fn of(credential: Credential, current: CredentialId) -> Self {
        let (last_used_at, last_used_ip, user_agent) = match credential.last_use {
            Some(last_use) => (Some(last_use.at), last_use.ip, last_use.user_agent),
            None => (None, None, None),
        };
        Self {
            id: credential.id,
            name: credential.name,
            created_at: credential.created_at,
            expires_at: credential.expires_at,
            last_used_at,
            last_used_ip,
            user_agent,
            current: credential.id == current,
        }
    }
}
