//! Worker tokens, as they are shown.

use fallgate_authority::{InspectedWorker, MintedWorker};
use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use fallgate_domain::worker::{Audience, WorkerClaims};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::openapi::words;

/// A freshly minted worker token. It is in no other answer, ever.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = MintedWorkerToken)]
pub struct MintedWorkerView {
    /// Its public name: its `jti`.
    #[schema(value_type = words::Id)]
    pub id: CredentialId,
    /// What it is.
    #[schema(value_type = words::Kind)]
    pub kind: CredentialKind,
    /// As which agent it acts.
    #[schema(value_type = words::AgentName)]
    pub agent: AgentName,
    /// On whose behalf.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// What it may be used for.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Scopes,
    /// Where it may be used.
    #[schema(value_type = Vec<words::Audience>)]
    pub audience: Vec<Audience>,
    /// When it was minted.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = words::Time)]
    pub expires_at: Timestamp,
    /// Shown this once.
    #[schema(value_type = String)]
    pub secret: Zeroizing<String>,
}

impl MintedWorkerView {
    /// What a mint answers.
    pub fn of(minted: MintedWorker) -> Self {
        let MintedWorker { claims, token } = minted;
        Self {
            id: claims.id,
            kind: CredentialKind::Worker,
            agent: claims.agent,
            username: claims.owner,
            scopes: claims.scopes,
            audience: claims.audience,
            created_at: claims.issued_at,
            expires_at: claims.expires_at,
            secret: token,
        }
    }
}

/// A worker token that somebody found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = InspectedWorkerToken)]
pub struct InspectedWorkerView {
    /// Its public name, by which it is revoked.
    #[schema(value_type = words::Id)]
    pub jti: CredentialId,
    /// What it is.
    #[schema(value_type = words::Kind)]
    pub kind: CredentialKind,
    /// `active`, or why it is refused.
    pub status: String,
    /// The name of the key that signed it.
    pub kid: String,
    /// Whether that is a key of this gate's that was dropped, so that it verifies no more.
    #[serde(default)]
    pub key_dropped: bool,
    /// What it says.
    #[schema(value_type = Object)]
    pub claims: WorkerClaims,
}

impl From<InspectedWorker> for InspectedWorkerView {
    fn from(inspected: InspectedWorker) -> Self {
        let InspectedWorker { claims, kid, refused, key_dropped } = inspected;
        let status = refused.map_or("active", fallgate_authority::Denial::name).to_owned();
        Self { jti: claims.id, kind: CredentialKind::Worker, status, kid, key_dropped, claims }
    }
}
