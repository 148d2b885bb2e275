//! Issuing a worker token: decide what it may be, write down that it was asked for, sign it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::{AgentId, CredentialId, UserId};
use fallgate_domain::lifetime;
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::User;
use fallgate_domain::worker::{self, Audience, WorkerClaims};
use fallgate_store::StoreError;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::actions::ManageAgents;
use crate::entry::{Entry, Parent};
use crate::keys::{KeyError, Signer};
use crate::permit::Permit;
use crate::principal::Principal;
use crate::registrar::{Actor, Registrar};
use crate::throttle::Throttled;
use crate::verifier::Verifier;

/// A worker token to be minted.
#[derive(Debug, Clone)]
pub struct WorkerOrder {
    /// For which agent.
    pub agent: AgentName,
    /// How long it lasts; as the policy says, if nothing is said.
    pub life: Option<Duration>,
    /// What it may be used for; the agent's scopes, if nothing is said.
    pub scopes: Option<Scopes>,
    /// Where it may be used; here and on the agent's routes, if nothing is said.
    pub audience: Option<Vec<Audience>>,
    /// The session that it is for.
    pub session: Option<String>,
}

/// A worker token that was minted, with the one sight of it.
#[derive(Debug)]
pub struct MintedWorker {
    /// What it says.
    pub claims: WorkerClaims,
    /// Shown once.
    pub token: Zeroizing<String>,
}

/// Why a worker token was not minted or renewed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No agent has that name.
    #[error("there is no agent {0}")]
    UnknownAgent(AgentName),
    /// It is another's.
    #[error("the agent {0} is another's: only an admin may do this for others")]
    NotYours(AgentName),
    /// Its owner is disabled.
    #[error("the owner of the agent {0} is disabled")]
    OwnerDisabled(AgentName),
    /// It is disabled itself.
    #[error("the agent {0} is disabled")]
    AgentDisabled(AgentName),
    /// A worker token asks for another one.
    #[error(
        "a worker token mints nothing: ask with a token or a sign-in, or renew it with POST /api/workers/renew"
    )]
    ByWorker,
    /// Only a worker token can be renewed.
    #[error("only a worker token can be renewed, and this credential is none")]
    NotAWorker,
    /// A credential that nobody owns.
    #[error("nobody owns this credential, so it mints nothing")]
    Ownerless,
    /// A scope that the agent does not have, or its owner's role does not allow.
    #[error("the scope {0} is more than the agent and its owner have: leave it out")]
    ScopeBeyond(Scope),
    /// A scope that the credential which mints it does not have.
    #[error(
        "the scope {0} is not one of the credential that mints it, and none can give more than it has: leave it out"
    )]
    ScopeBeyondMinter(Scope),
    /// No life at all, or a longer one than any worker token has.
    #[error("a worker token lasts from 1s to {} at most", lifetime::written(worker::LONGEST_LIFE))]
    BadLife,
    /// A longer life than that of the credential which mints it.
    #[error("a worker token cannot outlive the token that mints it, which ends at {0}")]
    OutlivesParent(Timestamp),
    /// What it hangs on has ended, or does so within a second.
    #[error("what it hangs on has ended")]
    ParentEnded,
    /// No audience.
    #[error("a worker token needs an audience: fallgate, route:<name> or egress")]
    NoAudience,
    /// So many scopes and audiences that it would not be read.
    #[error(
        "a token has {} audiences and {} KiB at most: name fewer",
        worker::MOST_AUDIENCES,
        worker::MOST_BYTES / 1_024
    )]
    TooLong,
    /// Renewed again and again.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// It cannot be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose agent it may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The caller's own.
    Own,
    /// The caller's own, and for an admin anybody's.
    Anybodys,
}

/// The credential that mints, as far as it limits what it mints (requirement R27).
struct Minter {
    /// What the new token hangs on, nearest first. A sign-in is never among it: signing out stops no agent.
    lineage: Vec<CredentialId>,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

impl Minter {
    fn of(principal: &Principal) -> Self {
        let mut lineage = Vec::new();
        let mut nearest = None;
        let mut link = Some(&principal.entry);
        while let Some(entry) = link {
            if entry.kind != CredentialKind::Login {
                nearest = nearest.or(Some(entry));
                lineage.push(entry.id);
            }
            link = match &entry.parent {
                Parent::Entry(parent) => Some(parent),
                Parent::None | Parent::Gone => None,
            };
        }
        let expires_at = nearest.and_then(|entry: &Arc<Entry>| entry.deadline());
        Self { lineage, scopes: principal.scopes(), expires_at }
    }
}

/// An agent, as far as it decides what its tokens may be.
struct AgentLimits {
    id: AgentId,
    /// When a token of its is made now.
    made_at: Timestamp,
    owner: User,
    scopes: Scopes,
    /// What its tokens are for and may do when nothing is said.
    audience: Vec<Audience>,
    usual: Scopes,
}

impl Registrar {
    /// Mints a worker token that hangs on nothing, for whoever has access to the home folder. `issuer` is the gate's own
    /// origin.
    pub async fn mint_worker(
        &self,
        order: WorkerOrder,
        issuer: &str,
        actor: &Actor,
    ) -> Result<MintedWorker, WorkerError> {
        let agent = self.agent_limits(&order.agent).await?;
        let claims = self.claims(order, agent, None, issuer)?;
        let signer = self.signer().await?;
        self.issue_worker(claims, &signer, None, actor).await
    }

    async fn agent_limits(&self, name: &AgentName) -> Result<AgentLimits, WorkerError> {
        let unknown = || WorkerError::UnknownAgent(name.clone());
        let made = self.store.agent_named(name).await?.map(|listed| listed.agent);
        let owner = match &made {
            Some(agent) => self.store.user(agent.owner).await?,
            None => self.store.user_named(&name.as_str().parse().map_err(|_| unknown())?).await?,
        };
        let owner = owner.ok_or_else(unknown)?;
        if owner.disabled_at.is_some() {
            return Err(WorkerError::OwnerDisabled(name.clone()));
        }
        let ceiling = Scopes::ceiling(owner.role);
        let made_at = self.worker_made_at(owner.id).await?;
        let Some(agent) = made else {
            // The one that everybody has.
            let (id, usual) = (AgentId::implicit(owner.id), Scopes::default_for_tokens().within(&ceiling));
            let audience = vec![Audience::Gate];
            return Ok(AgentLimits { id, made_at, owner, scopes: ceiling, audience, usual });
        };
        if agent.disabled_at.is_some() {
            return Err(WorkerError::AgentDisabled(name.clone()));
        }
        let scopes = agent.scopes.within(&ceiling);
        let routes = agent.routes.into_iter().map(Audience::Route);
        let audience = std::iter::once(Audience::Gate).chain(routes).collect();
        Ok(AgentLimits { id: agent.id, made_at, owner, usual: scopes.clone(), scopes, audience })
    }

    /// When a worker token of theirs is made now, as its id tells it. What ends all that there are goes by that: it is
    /// after the last time that this was done, though the clock was set back since.
    pub(super) async fn worker_made_at(&self, owner: UserId) -> Result<Timestamp, StoreError> {
        let now = self.clock.now();
        let ended = self.store.all_workers_ended(owner).await?;
        Ok(ended.map_or(now, |all| now.max(all.at.plus(Duration::from_millis(1)))))
    }

    fn claims(
        &self,
        order: WorkerOrder,
        agent: AgentLimits,
        minter: Option<Minter>,
        issuer: &str,
    ) -> Result<WorkerClaims, WorkerError> {
        let now = to_the_second(self.clock.now());
        let scopes = granted_scopes(order.scopes, &agent, minter.as_ref())?;
        let latest = minter.as_ref().and_then(|minter| minter.expires_at);
        let expires_at = granted_end(order.life, self.policy().worker_life, latest, now)?;
        let audience = order.audience.unwrap_or(agent.audience);
        if audience.is_empty() {
            return Err(WorkerError::NoAudience);
        }
        let id = CredentialId::new(agent.made_at, &*self.entropy)?;
        let above = minter.map(|minter| minter.lineage).unwrap_or_default();
        Ok(WorkerClaims {
            issuer: issuer.to_owned(),
            agent: order.agent,
            agent_id: agent.id,
            owner: agent.owner.username,
            owner_id: agent.owner.id,
            audience,
            id,
            issued_at: now,
            not_before: now,
            expires_at,
            scopes,
            ancestors: [&[id], above.as_slice()].concat(),
            session: order.session,
        })
    }

    /// Signs it, once it is written down durably that it was asked for by somebody who may.
    pub(super) async fn issue_worker(
        &self,
        claims: WorkerClaims,
        signer: &Signer,
        renews: Option<CredentialId>,
        actor: &Actor,
    ) -> Result<MintedWorker, WorkerError> {
        // Nothing is minted that would not be read.
        let text = claims.check().and_then(|()| claims.to_be_signed(&signer.kid));
        let text = text.map_err(|_| WorkerError::TooLong)?;
        let audience = claims.audience.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let mut detail = BTreeMap::from([
            ("kind".to_owned(), Value::from(CredentialKind::Worker.name())),
            ("agent".to_owned(), claims.agent.to_string().into()),
            ("owner".to_owned(), claims.owner.to_string().into()),
            ("scopes".to_owned(), claims.scopes.to_string().into()),
            ("audience".to_owned(), audience.into()),
            ("expires_at".to_owned(), claims.expires_at.to_string().into()),
        ]);
        detail.extend(renews.map(|id| ("renews".to_owned(), id.to_string().into())));
        let now = self.clock.now();
        let event = actor.event(now, audit::Action::TokenMint, claims.id.to_string(), detail);
        self.vault.record(vec![event]).await?;
        let token = Zeroizing::new(worker::assembled(&text, &signer.sign(text.as_bytes())));
        Ok(MintedWorker { claims, token })
    }
}

impl Verifier {
    /// Mints a worker token on a caller's behalf: for an agent of theirs, or, for an admin, for any. It hangs on the token
    /// that asks for it, and on nothing if that is a sign-in.
    pub async fn mint_worker(
        &self,
        permit: &Permit<ManageAgents>,
        order: WorkerOrder,
        issuer: &str,
        ip: Option<IpAddr>,
    ) -> Result<MintedWorker, WorkerError> {
        self.mint_worker_of(permit, order, Whose::Anybodys, issuer, ip).await
    }

    pub(super) async fn mint_worker_of(
        &self,
        permit: &Permit<ManageAgents>,
        order: WorkerOrder,
        whose: Whose,
        issuer: &str,
        ip: Option<IpAddr>,
    ) -> Result<MintedWorker, WorkerError> {
        let actor = Actor::of(permit, ip).ok_or(WorkerError::Ownerless)?;
        let principal = permit.principal();
        if principal.kind() == CredentialKind::Worker {
            return Err(WorkerError::ByWorker);
        }
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let agent = self.registrar.agent_limits(&order.agent).await?;
        let own = principal.user() == Some(agent.owner.id);
        let may = own || (whose == Whose::Anybodys && principal.is_admin());
        if !may {
            return Err(WorkerError::NotYours(order.agent));
        }
        let actor = if own { actor } else { actor.for_others() };
        let claims = self.registrar.claims(order, agent, Some(Minter::of(principal)), issuer)?;
        let signer = self.current_signer().await?;
        self.registrar.issue_worker(claims, &signer, None, &actor).await
    }
}

/// Worker tokens speak of whole seconds.
pub(super) fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() / 1_000 * 1_000)
}

/// Asked-for scopes must fit; defaults are cut down to fit.
fn granted_scopes(
    asked: Option<Scopes>,
    agent: &AgentLimits,
    minter: Option<&Minter>,
) -> Result<Scopes, WorkerError> {
    let Some(scopes) = asked else {
        return Ok(minter.map_or_else(|| agent.usual.clone(), |minter| agent.usual.within(&minter.scopes)));
    };
    if let Some(scope) = agent.scopes.first_beyond(&scopes) {
        return Err(WorkerError::ScopeBeyond(scope));
    }
    match minter.and_then(|minter| minter.scopes.first_beyond(&scopes)) {
        Some(scope) => Err(WorkerError::ScopeBeyondMinter(scope)),
        None => Ok(scopes),
    }
}

/// An asked-for end must not be after that of what it hangs on; the usual one is cut down to that.
fn granted_end(
    asked: Option<Duration>,
    usual: Duration,
    latest: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, WorkerError> {
    let life = asked.unwrap_or(usual);
    if life < Duration::from_secs(1) || life > worker::LONGEST_LIFE {
        return Err(WorkerError::BadLife);
    }
    let end = to_the_second(now.plus(life));
    let Some(latest) = latest.map(to_the_second) else { return Ok(end) };
    if latest <= now {
        Err(WorkerError::ParentEnded)
    } else if end <= latest {
        Ok(end)
    } else if asked.is_some() {
        Err(WorkerError::OutlivesParent(latest))
    } else {
        Ok(latest)
    }
}
