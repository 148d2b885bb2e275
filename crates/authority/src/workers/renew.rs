//! Renewing: another token of the same family, while the old one is good. What it is bound to never changes (requirement
//! R31).

use std::net::IpAddr;

use fallgate_domain::worker::WorkerClaims;

use super::mint::to_the_second;
use super::{MintedWorker, WorkerError};
use crate::principal::Principal;
use crate::registrar::Actor;
use crate::verifier::Verifier;

impl Verifier {
    /// Mints another worker token in the place of the one that asks, as long-lived and never beyond the end of what that
    /// hangs on. The old one stays good until its own end. Whoever was revoked meanwhile gets none. `issuer` is the
    /// gate's own origin, which may be another one by now.
    pub async fn renew_worker(
        &self,
        principal: &Principal,
        issuer: &str,
        ip: Option<IpAddr>,
    ) -> Result<MintedWorker, WorkerError> {
        let Some(worker) = &principal.entry.worker else { return Err(WorkerError::NotAWorker) };
        let actor = Actor::standing(principal, ip).ok_or(WorkerError::Ownerless)?;
        let old = &worker.claims;
        let registrar = &self.registrar;
        let now = self.clock().now();
        self.worker_throttles.renewals.count_for(old.family(), now)?;
        let now = to_the_second(now);
        let latest = principal.entry.parent_deadline().map(to_the_second);
        let end = now.plus(old.life());
        let expires_at = latest.map_or(end, |latest| end.min(latest));
        if expires_at <= now {
            return Err(WorkerError::ParentEnded);
        }
        let made_at = registrar.worker_made_at(old.owner_id).await?;
        let id = old.family().member(made_at, &*registrar.entropy)?;
        let issuer = issuer.to_owned();
        let claims =
            WorkerClaims { issuer, id, issued_at: now, not_before: now, expires_at, ..(**old).clone() };
        let signer = self.current_signer().await?;
        registrar.issue_worker(claims, &signer, Some(old.id), &actor).await
    }
}
