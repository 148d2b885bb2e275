//! What a worker token is, for whoever found one: so that a leaked one can be ended.

use std::sync::Arc;

use fallgate_domain::credential::Status;
use fallgate_domain::id::AgentId;
use fallgate_domain::worker::{self, ReadWorker, WorkerClaims};
use fallgate_store::StoreError;

use crate::actions::ReadIdentity;
use crate::keys::VerifyingKeys;
use crate::permit::Permit;
use crate::refusal::Denial;
use crate::registrar::Registrar;
use crate::verifier::Verifier;

/// A worker token that was looked at.
#[derive(Debug, Clone)]
pub struct InspectedWorker {
    /// What it says.
    pub claims: WorkerClaims,
    /// The name of the key that is said to have signed it.
    pub kid: String,
    /// Why it is refused, if it is.
    pub refused: Option<Denial>,
    /// Whether a key of ours has signed it that verifies no more.
    pub key_dropped: bool,
}

impl Registrar {
    /// Looks at a text: is it a worker token, and does it stand? As the store has it, without what cuts stop.
    pub async fn inspect_worker(&self, text: &[u8]) -> Result<Option<InspectedWorker>, StoreError> {
        let Ok(read) = worker::read(text) else { return Ok(None) };
        let keys = VerifyingKeys::of(&self.store.signing_keys().await?);
        let ReadWorker { claims, kid, signed, signature } = read;
        let now = self.clock.now();
        let refused = if keys.have_signed(&kid, signed, &signature, now) {
            self.refused(&claims).await?
        } else {
            Some(Denial::NotOurs)
        };
        let key_dropped = keys.had_signed(&kid, signed, &signature, now);
        Ok(Some(InspectedWorker { claims, kid, refused, key_dropped }))
    }

    async fn refused(&self, claims: &WorkerClaims) -> Result<Option<Denial>, StoreError> {
        let now = self.clock.now();
        let skew = self.policy().worker_skew;
        let denial = match self.store.user(claims.owner_id).await? {
            None => Some(Denial::OwnerGone),
            Some(owner) if owner.disabled_at.is_some() => Some(Denial::OwnerDisabled),
            _ if self.store.is_worker_revoked(claims.id, claims.owner_id).await? => Some(Denial::Revoked),
            _ if now >= claims.expires_at.plus(skew) => Some(Denial::Expired),
            _ if claims.not_before > now.plus(skew) => Some(Denial::NotYet),
            _ => None,
        };
        if denial.is_some() {
            return Ok(denial);
        }
        if claims.agent_id != AgentId::implicit(claims.owner_id) {
            let agent = self.store.agent_named(&claims.agent).await?.map(|listed| listed.agent);
            match agent.filter(|agent| agent.id == claims.agent_id) {
                None => return Ok(Some(Denial::AgentGone)),
                Some(agent) if agent.disabled_at.is_some() => return Ok(Some(Denial::AgentDisabled)),
                Some(_) => {}
            }
        }
        let Some(nearest) = claims.credentials().first() else { return Ok(None) };
        let parent = self.store.credential(*nearest).await?;
        let stands = parent.is_some_and(|parent| parent.credential.status(now) == Status::Active);
        Ok((!stands).then_some(Denial::ParentEnded))
    }
}

impl Verifier {
    /// The same for a caller: their own, or, for an admin, anybody's. What is not ours is nobody's.
    pub async fn inspect_worker(
        &self,
        permit: &Permit<ReadIdentity>,
        text: &[u8],
    ) -> Result<Option<InspectedWorker>, StoreError> {
        let caller = permit.principal();
        let found = self.registrar.inspect_worker(text).await?;
        Ok(found.filter(|found| caller.is_admin() || caller.user() == Some(found.claims.owner_id)))
    }

    /// Whose worker token of that family was seen here lately, if any was.
    pub(super) fn owner_seen(&self, family: worker::Family) -> Option<Arc<WorkerClaims>> {
        self.view.workers.sighted.of_family(family)
    }
}
