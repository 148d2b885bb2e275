//! The store's ever-rising number, and what moved between two of them.

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::cut::CutReason;
use fallgate_domain::id::{AgentId, CredentialId, CutId, UserId};
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_domain::worker::Family;

use crate::keys::PublicKeys;

/// The store's ever-rising number: every change to identity data raises it by one. Notes of last use and of the audit
/// trail alone do not. A new store starts at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A present row of identity data, as lean as a verifier needs it: there may be a million in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A person's account.
    User(UserRow),
    /// A cut, also one whose time is over.
    Cut(CutRow),
    /// A credential.
    Credential(CredentialRow),
    /// Worker tokens that were revoked: one, with its renewals and all that it renews.
    RevokedWorker(Family),
    /// What verifies signatures.
    Keys(PublicKeys),
    /// An agent that somebody made.
    Agent(AgentRow),
}

/// What a decision needs to know of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// For good.
    pub id: UserId,
    /// How they sign in.
    pub username: Username,
    /// How they are shown.
    pub display_name: DisplayName,
    /// What they may do at most.
    pub role: Role,
    /// Whether every credential of theirs is refused.
    pub disabled: bool,
}

/// What a decision needs to know of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// Its public name.
    pub id: CredentialId,
    /// What it is.
    pub kind: CredentialKind,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// What it hangs on. Only its own row is marked when that ends: whoever decides walks up.
    pub parent: Option<CredentialId>,
    /// What its secret hashes to, if it has one.
    pub hash: Option<TokenHash>,
    /// What it may be used for, before its owner's role is asked.
    pub scopes: Scopes,
    /// It is good *before* this time and refused *at* it.
    pub expires_at: Option<Timestamp>,
    /// Whether somebody ended it.
    pub revoked: bool,
    /// When a sign-in was last used, to about a minute, or else made; `None` for what does not end by lying idle.
    pub used_at: Option<Timestamp>,
}

/// What a decision needs to know of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// For good.
    pub id: AgentId,
    /// Whose it is.
    pub owner: UserId,
    /// How it is called.
    pub name: AgentName,
    /// What its tokens may be used for at most.
    pub scopes: Scopes,
    /// The routes its tokens are good for unless less is asked for.
    pub routes: Vec<RouteName>,
    /// Whether its every token is refused.
    pub disabled: bool,
}

/// What a decision needs to know of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutRow {
    /// Its public name.
    pub id: CutId,
    /// What it stops.
    pub on: CutOn,
    /// Why, for whoever is refused by it.
    pub reason: Option<CutReason>,
    /// It stands *before* this time and not any more *at* it.
    pub expires_at: Option<Timestamp>,
}

/// What a cut stops: names have become what they stood for when it was placed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CutOn {
    /// All that this account owns.
    User(UserId),
    /// This credential, and all that hangs on it.
    Credential(CredentialId),
    /// What runs as this agent.
    Agent(AgentId),
    /// This route.
    Route(RouteName),
    /// All there is.
    Everything,
}

/// Something that changed and whose row is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gone {
    /// A deleted account.
    User(UserId),
    /// A purged credential.
    Credential(CredentialId),
    /// A cut that was lifted, or was over long ago.
    Cut(CutId),
    /// Worker tokens that were revoked and are dead by themselves.
    RevokedWorker(Family),
    /// A deleted agent.
    Agent(AgentId),
}

/// What moved since some revision, all seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision at that moment.
    pub revision: Revision,
    /// Each changed thing's present row, once: revoked worker tokens, then users, keys, cuts, credentials by id, and
    /// agents.
    pub rows: Vec<Row>,
    /// Changed things that have no row any more.
    pub gone: Vec<Gone>,
    /// Owners, or everybody (`None`), all of whose tokens (kinds `token` and `legacy`) were revoked. Those that are
    /// nevertheless good at `revision` have their row in `rows`; what came before and has none there has ended.
    pub revoked_all: Vec<Option<UserId>>,
    /// What moved cannot be told any more: `rows` are all there are, and whatever has none is no more.
    pub whole: bool,
}
