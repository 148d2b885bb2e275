//! The kill switch: a worker token ends, with all of its family, whoever minted it and whether or not anybody here has
//! ever seen it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use fallgate_domain::worker::{Family, LONGEST_LIFE, MOST_SKEW};
use fallgate_store::{RevokedWorker, StoreError};
use serde_json::Value;

use crate::actions::WriteTokens;
use crate::halt::Unwritten;
use crate::permit::Permit;
use crate::registrar::{Actor, Registrar, RevokeOutcome};
use crate::tokens::TokenError;
use crate::verifier::Verifier;

/// How long a revocation must be remembered unless somebody knows better: the longest life and the greatest skew that
/// there can be, whatever the config says.
const REMEMBERED: Duration = LONGEST_LIFE.saturating_add(MOST_SKEW);

/// Until when a revocation is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerEnd {
    /// The token's own end, for whoever knows it; nothing: as late as any token's can be.
    pub expires_at: Option<Timestamp>,
    /// Take also an end that is earlier than any token's can be.
    pub force: bool,
}

/// A worker token that is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRevocation {
    /// Whether it was before.
    pub outcome: RevokeOutcome,
    /// Until when that is remembered at least.
    pub until: Timestamp,
}

impl WorkerEnd {
    /// The same, and not remembered longer than any token can last.
    fn within_any_life(self, now: Timestamp) -> Self {
        Self { expires_at: self.expires_at.filter(|end| *end < now.plus(REMEMBERED)), ..self }
    }

    /// Until when to remember it. A token may come from a clock that is ahead of this one: that much is added to what is
    /// not forced.
    fn until(self, now: Timestamp) -> Result<Timestamp, TokenError> {
        let earliest = now.plus(REMEMBERED);
        match self.expires_at {
            Some(end) if end <= now => Err(TokenError::WorkerEndPast),
            Some(end) if end < earliest && !self.force => Err(TokenError::WorkerEndEarly(earliest)),
            Some(end) if end < earliest => Ok(end),
            end => Ok(end.unwrap_or(earliest).max(earliest).plus(MOST_SKEW)),
        }
    }
}

impl Registrar {
    /// Ends a worker token and all of its family: one durable row.
    pub async fn revoke_worker(
        &self,
        id: CredentialId,
        end: WorkerEnd,
        actor: &Actor,
    ) -> Result<WorkerRevocation, TokenError> {
        let now = self.clock.now();
        let until = end.until(now)?;
        let detail = BTreeMap::from([("kind".to_owned(), Value::from("worker"))]);
        let event = actor.event(now, audit::Action::TokenRevoke, id.to_string(), detail);
        let outcome = match self.vault.revoke_worker(id, until, event).await? {
            RevokedWorker::Revoked(_) => RevokeOutcome::Revoked,
            RevokedWorker::AlreadyRevoked => RevokeOutcome::AlreadyRevoked,
        };
        Ok(WorkerRevocation { outcome, until })
    }
}

impl Verifier {
    /// The same in the daemon: what rests on it is cut before this returns, also when it could not be written down.
    pub(crate) async fn end_worker(
        &self,
        id: CredentialId,
        end: WorkerEnd,
        actor: &Actor,
    ) -> Result<WorkerRevocation, TokenError> {
        match self.registrar.revoke_worker(id, end, actor).await {
            Ok(revocation) => {
                // Commit, then cut; only then acknowledge.
                self.freshen_after_act().await;
                Ok(revocation)
            }
            Err(TokenError::Store(error))
                if !matches!(error, StoreError::CallerEnded | StoreError::CallerCut { .. }) =>
            {
                Err(self.halt_worker(id, &error).into())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends what may be a worker token. Everybody ends their own; an admin any, also one of which nobody here has heard: it
    /// may be another node's (requirement R30). Names are told to upstreams, so that somebody knows one proves nothing.
    pub(crate) async fn revoke_unlisted(
        &self,
        permit: &Permit<WriteTokens>,
        id: CredentialId,
        end: WorkerEnd,
        actor: Actor,
    ) -> Result<RevokeOutcome, TokenError> {
        let caller = permit.principal();
        let own = match self.owner_seen(Family::of(id)) {
            Some(claims) => Some(caller.user() == Some(claims.owner_id)),
            None => self.store().owner_when_minted(id).await?.map(|owner| caller.username() == Some(&owner)),
        };
        let (actor, end) = match own {
            Some(true) => (actor, end.within_any_life(self.clock().now())),
            _ if caller.is_admin() => (actor.for_others(), end),
            Some(false) => return Ok(RevokeOutcome::NotYours),
            None => return Ok(RevokeOutcome::Unknown),
        };
        // The caller is to hear what came of it, also when it is what they use.
        caller.lease.act();
        Ok(self.end_worker(id, end, &actor).await?.outcome)
    }

    /// Refuses a worker token and its family from now on and cuts what rests on it.
    fn halt_worker(&self, id: CredentialId, error: &StoreError) -> Unwritten {
        self.view.workers.halt(Family::of(id));
        // After it, never before: the contract of `View::apply`.
        self.view.poke_all();
        tracing::error!(%error, credential = %id, "cannot write down that a worker token ends; refusing it until restarted");
        Unwritten
    }

    /// Ends a worker token on behalf of whoever holds it, if it is one of ours: what anybody makes up is not remembered.
    pub(crate) async fn revoke_held_worker(&self, text: &[u8], ip: Option<IpAddr>) -> Result<(), TokenError> {
        let Ok(entry) = self.first_sight(text) else { return Ok(()) };
        // That its owner is disabled, say, is no end: they may be enabled again.
        if entry.has_ended() || entry.has_expired(self.clock().now()) {
            return Ok(());
        }
        let actor = Actor::Holder { credential: entry.id, ip };
        self.end_worker(entry.id, WorkerEnd::default(), &actor).await.map(|_| ())
    }
}
