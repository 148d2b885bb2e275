//! Tokens, as the API shows them.

use fallgate_authority::MintedToken;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, Status};
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::{DisplayName, Username};
use fallgate_store::Listed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{InspectedWorkerView, Me};
use crate::openapi::words;

/// A token in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CredentialId,
    /// What it is.
    #[schema(value_type = words::Kind)]
    pub kind: CredentialKind,
    /// Whose it is.
    #[schema(value_type = Option<words::Username>, required = true)]
    pub username: Option<Username>,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its secret.
    pub hint: String,
    /// What it may be used for.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Scopes,
    /// When it was minted.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    #[schema(required = true)]
    pub last_used_ip: Option<String>,
    /// Where it stands in its life.
    #[schema(value_type = words::Standing)]
    pub status: Status,
}

impl TokenView {
    /// A listed credential as it stands at `now`.
    pub fn of(listed: Listed, now: Timestamp) -> Self {
        Self::new(listed.credential, listed.owner_name, now)
    }

    fn new(credential: Credential, username: Option<Username>, now: Timestamp) -> Self {
        let status = credential.status(now);
        let (last_used_at, last_used_ip) =
            credential.last_use.map_or((None, None), |last_use| (Some(last_use.at), last_use.ip));
        Self {
            id: credential.id,
            kind: credential.kind,
            username,
            name: credential.name,
            hint: credential.hint,
            scopes: credential.scopes,
            created_at: credential.created_at,
            expires_at: credential.expires_at,
            last_used_at,
            last_used_ip,
            status,
        }
    }
}

/// A token that was found by its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = InspectedToken)]
pub struct InspectedView {
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
    /// How often it was used, to about the last minute.
    pub uses: u64,
}

/// What was found by its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Inspected {
    /// A worker token: all that is known of it is in it.
    Worker(InspectedWorkerView),
    /// Any other, as the store has it.
    Stored(InspectedView),
}

impl InspectedView {
    /// A found credential as it stands at `now`.
    pub fn of(listed: Listed, now: Timestamp) -> Self {
        Self { uses: listed.uses, token: TokenView::of(listed, now) }
    }
}

/// A freshly minted token, with its secret. The secret is in no other answer, ever.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = MintedToken)]
pub struct MintedView {
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
    /// Shown this once.
    #[schema(value_type = String)]
    pub secret: Zeroizing<String>,
}

impl MintedView {
    /// What a mint answers.
    pub fn of(minted: MintedToken) -> Self {
        let created_at = minted.credential.created_at;
        Self {
            token: TokenView::new(minted.credential, Some(minted.owner), created_at),
            secret: Zeroizing::new(minted.secret.expose().to_owned()),
        }
    }
}

/// `GET /api/tokens`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// Who asks.
    pub me: Me,
    /// Their tokens; for an admin, everybody's.
    pub tokens: Vec<TokenView>,
    /// Everybody, for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<UserName>>,
}

/// A person, as admins see them in lists.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserName {
    /// How they sign in.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// How they are shown.
    #[schema(value_type = words::Name)]
    pub display_name: DisplayName,
}

/// How many tokens were revoked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedCount {
    /// That many.
    pub revoked: u64,
}
