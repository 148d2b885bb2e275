//! Acts: what changes who may do what. Each is one durable transaction with its audit event.
//!
//! The command line uses a registrar alone, on the home folder. In the daemon the [`Verifier`] owns it, and cuts
//! after each act what the act ended.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use fallgate_domain::audit::{self, Author, NewEvent};
use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::credential::Revocation;
use fallgate_domain::entropy::Entropy;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::PlainScope;
use fallgate_domain::user::Username;
use fallgate_domain::worker::WorkerClaims;
use fallgate_store::{Revoked, Store, StoreError, Vault};
use parking_lot::RwLock;
use serde_json::Value;

use crate::actions::WriteTokens;
use crate::halt::or_halt;
use crate::hasher::Hasher;
use crate::keys::Keyring;
use crate::permit::{Action, Permit};
use crate::policy::Policy;
use crate::principal::Principal;
use crate::tokens::TokenError;
use crate::verifier::Verifier;
use crate::workers::WorkerEnd;

/// Makes acts durable.
#[derive(Debug)]
pub struct Registrar {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) hasher: Hasher,
    policy: RwLock<Arc<Policy>>,
    pub(crate) keys: Keyring,
}

/// Who acts, for the audit trail.
#[derive(Debug, Clone)]
pub enum Actor {
    /// Somebody with access to the home folder, under this OS user's name.
    Cli {
        /// The OS user.
        os_user: String,
    },
    /// The daemon itself.
    Internal,
    /// A verified caller.
    User {
        /// For good.
        id: UserId,
        /// As they are called.
        username: Username,
        /// With which credential.
        credential: CredentialId,
        /// From where.
        ip: Option<IpAddr>,
        /// What that credential must still be good for when the act is committed.
        by: Authority,
        /// What it says, if it is a worker token.
        worker: Option<Arc<WorkerClaims>>,
    },
    /// Whoever brought a credential's own secret, to end it or to be signed in by it.
    Holder {
        /// Which.
        credential: CredentialId,
        /// From where.
        ip: Option<IpAddr>,
    },
}

/// What a caller's credential must be good for, from the permit until the commit. A caller who is shut out in between
/// does not act any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Nothing: it comes to be by this act.
    New,
    /// It must stand.
    Standing,
    /// It must stand and have this scope, within what its owner's role allows.
    Scope(PlainScope),
    /// The same, for what an admin's sign-in may do while everything is cut.
    Mending(PlainScope),
}

impl Actor {
    /// The caller as an actor, by what they have a permit for; `None` for a credential that nobody owns, which cannot
    /// act.
    pub fn of<A: Action>(permit: &Permit<A>, ip: Option<IpAddr>) -> Option<Self> {
        let principal = permit.principal();
        Some(Self::User {
            id: principal.user()?,
            username: principal.username()?.clone(),
            credential: principal.credential(),
            ip,
            by: if A::MENDS { Authority::Mending(A::SCOPE) } else { Authority::Scope(A::SCOPE) },
            worker: principal.worker().cloned(),
        })
    }

    /// The caller as an actor, as long as their credential stands; `None` for one that nobody owns.
    pub(crate) fn standing(principal: &Principal, ip: Option<IpAddr>) -> Option<Self> {
        Some(Self::User {
            id: principal.user()?,
            username: principal.username()?.clone(),
            credential: principal.credential(),
            ip,
            by: Authority::Standing,
            worker: principal.worker().cloned(),
        })
    }

    /// The same, acting for somebody else: as an admin.
    pub(crate) fn for_others(mut self) -> Self {
        if let Self::User { by, .. } = &mut self {
            *by = match by {
                Authority::Mending(_) => Authority::Mending(PlainScope::Admin),
                _ => Authority::Scope(PlainScope::Admin),
            };
        }
        self
    }

    fn author(&self, at: Timestamp, action: audit::Action) -> Option<Author> {
        let Self::User { credential, by, worker, .. } = self else { return None };
        // Whoever signs out only gives away what they have: nothing stands in their way, cuts neither.
        if action == audit::Action::Logout {
            return None;
        }
        let needs = match by {
            Authority::New => return None,
            Authority::Standing => None,
            Authority::Scope(scope) | Authority::Mending(scope) => Some(*scope),
        };
        let though_all_is_cut = matches!(by, Authority::Mending(_));
        Some(Author { credential: *credential, needs, at, though_all_is_cut, worker: worker.clone() })
    }

    /// As the audit trail names it.
    pub fn name(&self) -> String {
        match self {
            Self::Cli { os_user } => format!("cli:{os_user}"),
            Self::Internal => "internal".to_owned(),
            Self::User { username, .. } => username.to_string(),
            Self::Holder { credential, .. } => format!("holder:{credential}"),
        }
    }

    /// The account that acts, if one does.
    pub(crate) fn account(&self) -> Option<UserId> {
        match self {
            Self::User { id, .. } => Some(*id),
            Self::Cli { .. } | Self::Internal | Self::Holder { .. } => None,
        }
    }

    /// As a credential's row remembers it: by id, since a re-created username inherits nothing.
    pub(crate) fn mark(&self) -> String {
        match self {
            Self::Cli { os_user } => format!("cli:{os_user}"),
            Self::Internal => "internal".to_owned(),
            Self::User { id, .. } => format!("user:{id}"),
            Self::Holder { credential, .. } => format!("holder:{credential}"),
        }
    }

    pub(crate) fn event(
        &self,
        at: Timestamp,
        action: audit::Action,
        target: String,
        detail: BTreeMap<String, Value>,
    ) -> NewEvent {
        let (credential, ip) = match self {
            Self::Cli { .. } | Self::Internal => (None, None),
            Self::User { credential, ip, .. } | Self::Holder { credential, ip } => {
                (Some(*credential), ip.map(|ip| ip.to_string()))
            }
        };
        NewEvent {
            at,
            action,
            actor: self.name(),
            credential,
            target,
            ip,
            detail,
            author: self.author(at, action),
        }
    }
}

/// What came of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// It is revoked now, durably.
    Revoked,
    /// It was revoked before.
    AlreadyRevoked,
    /// There is no such credential.
    Unknown,
    /// It is another's.
    NotYours,
}

impl Registrar {
    /// Takes the vault: whoever holds this can change who may do what.
    pub fn new(
        store: Store,
        vault: Vault,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        policy: Policy,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            entropy,
            hasher: Hasher::new(),
            policy: RwLock::new(Arc::new(policy)),
            keys: Keyring::default(),
        }
    }

    /// What may be listed and shown.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock that acts are dated by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The rules that acts keep to.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.read().clone()
    }

    /// Ends a credential for good, and all minted from it with it: one durable row (requirement R31).
    pub async fn revoke(
        &self,
        id: CredentialId,
        reason: Option<String>,
        actor: &Actor,
    ) -> Result<RevokeOutcome, StoreError> {
        let now = self.clock.now();
        let event = actor.event(now, audit::Action::TokenRevoke, id.to_string(), BTreeMap::new());
        let revocation = Revocation { at: now, by: actor.mark(), reason };
        Ok(match self.vault.revoke(id, revocation, event).await? {
            Revoked::Revoked(_) => RevokeOutcome::Revoked,
            Revoked::AlreadyRevoked => RevokeOutcome::AlreadyRevoked,
            Revoked::Unknown => RevokeOutcome::Unknown,
        })
    }
}

impl Verifier {
    /// Has later rules count for what is done from here on. How long a sign-in may lie unused is as it was at start.
    pub fn set_policy(&self, policy: Policy) {
        *self.registrar.policy.write() = Arc::new(policy);
    }

    /// Ends a credential on a caller's behalf: their own, one they minted, or, for an admin, any. What is none that the
    /// store knows is taken for a worker token; `end` is for those alone. Open connections are cut before this returns,
    /// also when it fails with [`TokenError::Unwritten`].
    pub async fn revoke(
        &self,
        permit: &Permit<WriteTokens>,
        id: CredentialId,
        end: WorkerEnd,
        ip: Option<IpAddr>,
    ) -> Result<RevokeOutcome, TokenError> {
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let Some(actor) = Actor::of(permit, ip) else { return Ok(RevokeOutcome::NotYours) };
        let Some(listed) = self.store().credential(id).await? else {
            return self.revoke_unlisted(permit, id, end, actor).await;
        };
        let own = listed.credential.owner == permit.principal().user();
        let own = own || listed.credential.minted_by == actor.mark();
        if !own && !permit.principal().is_admin() {
            return Ok(RevokeOutcome::NotYours);
        }
        let actor = if own { actor } else { actor.for_others() };
        // From here on the caller is to hear what came of it, also when it is their own credential that ends: the
        // request that does it is not among what is cut.
        permit.principal().lease.act();
        let revoked = self.registrar.revoke(id, None, &actor).await;
        let outcome = or_halt::<_, TokenError>(revoked, |error| self.halt_credential(id, error))?;
        // Commit, then cut; only then acknowledge.
        self.freshen_after_act().await;
        Ok(outcome)
    }
}
