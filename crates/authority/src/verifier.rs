//! The one verifier. Every door asks it: API, inline proxy, WebSocket. There is no second check anywhere.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::CredentialId;
use fallgate_store::{Revision, Store, StoreError};
use tokio::sync::Mutex;

use crate::assertion::Assertions;
use crate::device_login::DeviceLogins;
use crate::enter::EnterCodes;
use crate::entry::Entry;
use crate::introspect::InactiveThrottle;
use crate::lease::{Lease, LeaseHandle};
use crate::live::Live;
use crate::login_throttle::LoginThrottle;
use crate::pairing::Pairings;
use crate::policy::Policy;
use crate::presented::{Presented, RequestFacts};
use crate::principal::Principal;
use crate::refusal::{Denial, Refusal};
use crate::refusals::RefusalCounts;
use crate::registrar::Registrar;
use crate::setup::Setup;
use crate::tokens::HeldThrottle;
use crate::uses::{UseNotes, UseQueue};
use crate::view::{Orphans, View};
use crate::workers::ExchangeThrottle;
use crate::workers::WorkerThrottles;

/// How often a decision is begun anew because a change came in between. More often than that, one was never finished.
const MOST_READS: u32 = 1_000;

/// Decides who a caller is. It owns the vault, which is not `Clone`: there can be one verifier for a store, and nobody
/// else can ask whose credential a hash is.
#[derive(Debug)]
pub struct Verifier {
    pub(crate) registrar: Registrar,
    pub(crate) view: View,
    /// Held while changes are taken in.
    pub(crate) applying: Mutex<()>,
    uses: UseQueue,
    /// The watch found the store's file gone or replaced.
    pub(crate) lost: AtomicBool,
    pub(crate) held: HeldThrottle,
    pub(crate) logins: Arc<LoginThrottle>,
    pub(crate) refusals: RefusalCounts,
    pub(crate) setup: Setup,
    pub(crate) assertions: Assertions,
    pub(crate) enter_codes: EnterCodes,
    pub(crate) pairings: Pairings,
    pub(crate) devices: DeviceLogins,
    pub(crate) inactive: InactiveThrottle,
    pub(crate) unsound: ExchangeThrottle,
    pub(crate) worker_throttles: WorkerThrottles,
    pub(crate) live: Arc<Live>,
}

impl Verifier {
    /// Reads the whole store, so that nothing is answered before every revocation is known (requirement R43). The
    /// second value writes down uses: somebody must run it.
    pub async fn start(registrar: Registrar) -> Result<(Arc<Self>, UseNotes), StoreError> {
        let policy = registrar.policy();
        let view = View::new(policy.login_idle, policy.worker_skew, registrar.clock.clone());
        view.reserve(registrar.vault.count().await?);
        let mut orphans = Orphans::default();
        // Before the first of all changes: whatever is said of all tokens later holds for these.
        let mut take = |row| {
            view.take(&row, Revision(0), &mut orphans);
        };
        let revision = registrar.vault.load(&mut take).await?;
        view.adopt(orphans, Revision(0));
        view.set_revision(revision);
        let (uses, notes) = UseQueue::new();
        let (held, refusals) = (HeldThrottle::new(), RefusalCounts::default());
        let (applying, lost) = (Mutex::new(()), AtomicBool::new(false));
        let (logins, setup, enter_codes) = (Arc::default(), Setup::default(), EnterCodes::default());
        let live = Arc::new(Live::new(registrar.clock.clone(), registrar.entropy.clone()));
        let (assertions, pairings) = (Assertions::default(), Pairings::default());
        let (devices, inactive) = (DeviceLogins::default(), InactiveThrottle::default());
        let verifier = Self {
            registrar,
            view,
            applying,
            uses,
            lost,
            held,
            logins,
            refusals,
            setup,
            assertions,
            enter_codes,
            pairings,
            devices,
            inactive,
            unsound: ExchangeThrottle::default(),
            worker_throttles: WorkerThrottles::default(),
            live,
        };
        Ok((Arc::new(verifier), notes))
    }

    /// A lease that rests on nothing yet, for whoever owns a socket.
    pub fn lease(&self) -> Lease {
        Lease::new(self.clock().clone(), self.live.clone())
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.registrar.clock
    }

    /// The rules that acts keep to.
    pub fn policy(&self) -> Arc<Policy> {
        self.registrar.policy()
    }

    /// Bytes that nobody can guess, from the source that secrets come from.
    pub fn fresh_bytes<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        entropy::bytes(&*self.registrar.entropy)
    }

    /// What may be listed and shown.
    pub fn store(&self) -> &Store {
        &self.registrar.store
    }

    /// Finds out who is calling. The lease rests on the caller from here on, until it is settled or dropped.
    pub async fn verify(
        &self,
        presented: &Presented,
        facts: &RequestFacts<'_>,
        lease: &LeaseHandle,
    ) -> Result<Principal, Refusal> {
        match self.recognise(presented, lease).await {
            Ok((principal, now)) => {
                principal.entry.touch(now);
                self.uses.note(&principal.entry, facts, now);
                Ok(principal)
            }
            Err((refusal, known)) => {
                self.count_refusal(&refusal, known, facts.ip);
                Err(refusal)
            }
        }
    }

    /// The same, without a trace: nobody uses the credential by this, nor is anybody refused. Tells at what time it was
    /// found to stand; or, with the refusal, whose credential it was, if that is known.
    pub(crate) async fn recognise(
        &self,
        presented: &Presented,
        lease: &LeaseHandle,
    ) -> Result<(Principal, Timestamp), (Refusal, Option<CredentialId>)> {
        self.freshen().await.map_err(|error| {
            tracing::error!(%error, "cannot read the store; refusing");
            (Refusal::Unavailable, None)
        })?;
        let now = self.clock().now();
        let sighted = self.sight(presented).transpose();
        let sighted = sighted.map_err(|denial| (Refusal::BadCredential(denial), None))?;
        for _ in 0..MOST_READS {
            let decide = |view: &View| decide(view, presented, sighted.as_ref(), lease, now);
            if let Some(decision) = self.view.read(decide) {
                return decision.map(|principal| (principal, now));
            }
            // A change is being taken in: wait until it is.
            drop(self.applying.lock().await);
        }
        tracing::error!("the view of the store never comes to rest; refusing");
        Err((Refusal::Unavailable, None))
    }
}

/// A refusal also tells whose credential it was, if that is known.
fn decide(
    view: &View,
    presented: &Presented,
    sighted: Option<&Arc<Entry>>,
    lease: &LeaseHandle,
    now: Timestamp,
) -> Result<Principal, (Refusal, Option<CredentialId>)> {
    let refuse = |denial| Refusal::BadCredential(denial);
    // A hash that nobody has registers nothing: guessing fills no memory.
    let known = || view.entry(&presented.hash).ok_or((refuse(Denial::Unknown), None));
    let entry = sighted.cloned().map_or_else(known, Ok)?;
    // Register, then read. The other half of the contract is in `View::apply`: commit, then cut.
    if !lease.rest_on(&entry) {
        return Err((Refusal::Unavailable, None));
    }
    let owner = entry.account.user.as_ref().map(|user| user.username.as_str());
    let outcome = match (entry.judge(now), owner, presented.username.as_ref().map(|name| name.as_str())) {
        (Err(denial), _, _) => Err(refuse(denial)),
        (Ok(_), Some(owner), Some(told)) if owner != told => Err(refuse(Denial::WrongUsername)),
        (Ok(_), _, _) => Ok(()),
    };
    match outcome {
        Ok(()) => Ok(Principal { entry, lease: lease.clone() }),
        Err(refusal) => {
            if let Refusal::BadCredential(denial) = &refusal {
                tracing::debug!(credential = %entry.id, %denial, "refused");
            }
            lease.forget();
            Err((refusal, Some(entry.id)))
        }
    }
}
