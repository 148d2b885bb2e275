//! What the API shows, as JSON. No view has a field for a hash or a passphrase; the one with a secret is a mint's
//! answer. The command line's `--json` prints the same shapes, and from a server it reads them.

mod agents;
mod live;
mod oauth;
mod pairing;
mod workers;

use std::time::Duration;

use fallgate_authority::{Closed, CutPlaced, MintedToken, NewSignIn, Principal};
use fallgate_domain::audit::{Checkpoint, Event};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, Status};
use fallgate_domain::cut::{Cut, CutReason, CutTarget};
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::{EndedCredentials, Listed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

pub use self::agents::{AgentList, AgentView};
pub use self::live::{LiveList, LiveView};
pub use self::oauth::{AccessTokenView, IntrospectionView, MetadataView, StartedDeviceLoginView};
pub(crate) use self::pairing::link as pairing_link;
pub use self::pairing::{ClaimView, PairingView, StartedPairingView};
pub use self::workers::{InspectedWorkerView, MintedWorkerView};
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

/// A person's account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    /// How they sign in.
    #[schema(value_type = words::Username)]
    pub username: Username,
    /// How they are shown.
    #[schema(value_type = words::Name)]
    pub display_name: DisplayName,
    /// What they may do at most.
    #[schema(value_type = words::PersonsRole)]
    pub role: Role,
    /// When the account was made.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// Since when it is disabled.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub disabled_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            username: user.username,
            display_name: user.display_name,
            role: user.role,
            created_at: user.created_at,
            disabled_at: user.disabled_at,
        }
    }
}

/// `GET /api/users`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// Everybody, by username.
    pub users: Vec<UserView>,
}

impl From<Vec<User>> for UserList {
    fn from(users: Vec<User>) -> Self {
        Self { users: users.into_iter().map(UserView::from).collect() }
    }
}

/// What setting a passphrase has ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Ended)]
pub struct EndedView {
    /// How many sign-ins.
    pub revoked_logins: u64,
    /// How many tokens.
    pub revoked_tokens: u64,
}

impl From<EndedCredentials> for EndedView {
    fn from(ended: EndedCredentials) -> Self {
        Self { revoked_logins: ended.logins, revoked_tokens: ended.tokens }
    }
}

/// How many tokens were revoked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedCount {
    /// That many.
    pub revoked: u64,
}

/// `GET /api/audit`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Newest first.
    #[schema(value_type = Vec<words::Event>)]
    pub events: Vec<Event>,
    /// What to ask for with `before` to go on; none after the last page.
    #[schema(required = true)]
    pub next: Option<u64>,
    /// What stands in the place of the events that were deleted as too old, if any were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointView>,
}

/// A cut that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Cut)]
pub struct CutView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CutId,
    /// What is cut.
    #[schema(value_type = words::CutTarget)]
    pub target: CutTarget,
    /// Why, if that was said.
    #[schema(value_type = Option<words::CutReason>, required = true)]
    pub reason: Option<CutReason>,
    /// Who placed it.
    pub placed_by: String,
    /// Since when it stands.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub expires_at: Option<Timestamp>,
}

impl From<Cut> for CutView {
    fn from(cut: Cut) -> Self {
        let Cut { id, target, reason, placed_by, placer: _, created_at, expires_at } = cut;
        Self { id, target, reason, placed_by, created_at, expires_at }
    }
}

/// `GET /api/cuts`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CutList {
    /// Those that stand, oldest first.
    pub cuts: Vec<CutView>,
}

/// What a cut has done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = PlacedCut)]
pub struct PlacedCutView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CutId,
    /// What is cut.
    #[schema(value_type = words::CutTarget)]
    pub target: CutTarget,
    /// What it closed. A gate always tells; on a home folder it takes one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = ClosedView)]
    pub closed: Option<ClosedView>,
    /// How long that took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = u64)]
    pub took_ms: Option<u64>,
}

/// What was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Closed)]
pub struct ClosedView {
    /// What outlives its first answer: tunnels, event streams, long bodies.
    pub streams: u64,
    /// Requests under way.
    pub requests: u64,
}

impl PlacedCutView {
    /// What a gate answers.
    pub fn of(placed: CutPlaced) -> Self {
        let CutPlaced { cut, closed, took } = placed;
        Self::new(cut, Some((closed.into(), took)))
    }

    /// A cut, and what a gate closed for it in which time, if one told.
    pub fn new(cut: Cut, closed: Option<(ClosedView, Duration)>) -> Self {
        let took_ms = closed.map(|(_, took)| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        Self { id: cut.id, target: cut.target, closed: closed.map(|(closed, _)| closed), took_ms }
    }
}

impl From<Closed> for ClosedView {
    fn from(Closed { streams, requests }: Closed) -> Self {
        Self { streams, requests }
    }
}

/// Where the trail begins after events were deleted as too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Checkpoint)]
pub struct CheckpointView {
    /// The place of the last deleted event.
    pub seq: u64,
    /// Its hash, which the next one names.
    pub hash: String,
    /// When they were deleted.
    #[schema(value_type = words::Time)]
    pub at: Timestamp,
}

impl EventPage {
    /// A page that was asked for with at most `limit` events, of a trail that begins behind this checkpoint.
    pub fn of(events: Vec<Event>, limit: u32, checkpoint: Option<Checkpoint>) -> Self {
        let full = u32::try_from(events.len()).is_ok_and(|count| count == limit);
        let begin = checkpoint.as_ref().map_or(1, |checkpoint| checkpoint.seq.saturating_add(1));
        let last = events.last().map(|event| event.seq);
        let checkpoint = checkpoint.map(|Checkpoint { seq, hash, at, .. }| CheckpointView { seq, hash, at });
        Self { next: last.filter(|seq| full && *seq > begin), events, checkpoint }
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
