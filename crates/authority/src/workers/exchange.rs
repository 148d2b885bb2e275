//! Exchanging a token or a sign-in for a narrower worker token (RFC 8693). Whoever holds the one asks for the other, so what
//! is exchanged is verified as any caller is, and the mint is the usual one on that caller's behalf.

use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::scope::Scopes;
use fallgate_domain::worker::Audience;
use fallgate_store::StoreError;

use super::mint::Whose;
use super::{MintedWorker, WorkerError, WorkerOrder};
use crate::actions::ManageAgents;
use crate::lease::Lease;
use crate::permit::Permit;
use crate::presented::{Presented, RequestFacts};
use crate::refusal::Refusal;
use crate::throttle::{Throttle, Throttled};
use crate::verifier::Verifier;

/// So many that do not stand may be brought at once from one network, then one every so often. What stands is always
/// exchanged.
const UNSOUND: (u32, Duration) = (60, Duration::from_secs(2));

/// What limits bringing what does not stand.
#[derive(Debug)]
pub(crate) struct ExchangeThrottle(Throttle);

impl Default for ExchangeThrottle {
    fn default() -> Self {
        Self(Throttle::new(UNSOUND.0, UNSOUND.1))
    }
}

/// A credential that may be exchanged, as long as this is held.
#[derive(Debug)]
pub struct Subject {
    permit: Permit<ManageAgents>,
    /// Of its own: a stranger's connection rests on nothing.
    _lease: Lease,
}

/// What it is to be exchanged for: within what it is itself, and within what the agent is.
#[derive(Debug)]
pub struct ExchangeOrder {
    /// Which of its owner's agents; the one of their own name, if nothing is said.
    pub agent: Option<AgentName>,
    /// How long that lasts; as the policy says, if nothing is said.
    pub life: Option<Duration>,
    /// What it may be used for; what agent and subject have of the usual scopes, if nothing is said.
    pub scopes: Option<Scopes>,
    /// Where it may be used; here and on the agent's routes, if nothing is said.
    pub audience: Option<Vec<Audience>>,
}

/// Why nothing was exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The subject does not stand. Why is for the audit trail only (requirement R38).
    #[error("the subject_token is not valid")]
    Ended,
    /// It stands, and is none that mints.
    #[error("a token or a sign-in can be exchanged, and the subject_token is neither but of the kind {}", .0.name())]
    Unsuitable(CredentialKind),
    /// It stands, and may not mint, or a cut stops it.
    #[error("the subject_token may not be exchanged")]
    Refused(Refusal),
    /// Too many that did not stand.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The store cannot be asked.
    #[error("the store cannot be asked")]
    Unavailable,
    /// The worker token was not minted.
    #[error(transparent)]
    Mint(WorkerError),
}

impl From<WorkerError> for ExchangeError {
    fn from(error: WorkerError) -> Self {
        match error {
            // It stood when it was looked at.
            WorkerError::ParentEnded
            | WorkerError::OwnerDisabled(_)
            | WorkerError::Store(StoreError::CallerEnded) => Self::Ended,
            WorkerError::Store(StoreError::CallerCut(notice)) => Self::Refused(Refusal::Cut(notice)),
            error => Self::Mint(error),
        }
    }
}

impl Verifier {
    /// The credential of that secret, if it may be exchanged. It counts as used, or as refused, like a caller's.
    pub async fn subject(&self, secret: &[u8], facts: &RequestFacts<'_>) -> Result<Subject, ExchangeError> {
        let lease = self.lease();
        let presented = Presented::from_secret(secret, None)
            .inspect_err(|refusal| self.count_refusal(refusal, None, facts.ip));
        let verified = match presented {
            Ok(presented) => self.verify(&presented, facts, &lease.handle()).await,
            Err(refusal) => Err(refusal),
        };
        let principal = match verified {
            Ok(principal) => principal,
            Err(Refusal::Unavailable) => return Err(ExchangeError::Unavailable),
            Err(_) => {
                self.unsound.0.count(facts.ip, self.clock().now())?;
                return Err(ExchangeError::Ended);
            }
        };
        let kind = principal.kind();
        if !matches!(kind, CredentialKind::Token | CredentialKind::Login) {
            return Err(ExchangeError::Unsuitable(kind));
        }
        // What a route's host was signed in by, or an old address, has not the scope for it.
        let credential = Some(principal.credential());
        let refused = |refusal: &Refusal| self.count_refusal(refusal, credential, facts.ip);
        let permit = principal.permit().inspect_err(refused).map_err(ExchangeError::Refused)?;
        Ok(Subject { permit, _lease: lease })
    }

    /// Mints a worker token on the subject's behalf, for an agent of its owner's. It hangs on the subject, and on nothing
    /// if that is a sign-in. `issuer` is the gate's own origin.
    pub async fn exchange(
        &self,
        subject: &Subject,
        order: ExchangeOrder,
        issuer: &str,
        ip: Option<IpAddr>,
    ) -> Result<MintedWorker, ExchangeError> {
        let ExchangeOrder { agent, life, scopes, audience } = order;
        let own = subject.permit.principal().username().map(AgentName::from);
        let agent = agent.or(own).ok_or(WorkerError::Ownerless)?;
        let order = WorkerOrder { agent, life, scopes, audience, session: None };
        Ok(self.mint_worker_of(&subject.permit, order, Whose::Own, issuer, ip).await?)
    }
}
