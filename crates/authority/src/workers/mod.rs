//! Worker tokens: signed, so that no row says that they are there. What is known here is what ends them: the families
//! that were revoked, the keys that verify. A signature is checked once for each token, everything else each time.

mod exchange;
mod inspect;
mod mint;
mod renew;
mod revoke;
mod sighted;
mod throttles;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::route::RouteName;
use fallgate_domain::worker::{self, Audience, Family, ReadWorker, WorkerClaims};
use fallgate_store::PublicKeys;

use crate::entry::{Entry, Parent};
use crate::keys::VerifyingKeys;
use crate::presented::Presented;
use crate::refusal::{Denial, Refusal};
use crate::verifier::Verifier;
use crate::view::View;

use self::sighted::Sighted;
pub(crate) use self::throttles::WorkerThrottles;

pub(crate) use exchange::ExchangeThrottle;
pub use exchange::{ExchangeError, ExchangeOrder, Subject};
pub use inspect::InspectedWorker;
pub use mint::{MintedWorker, WorkerError, WorkerOrder};
pub use revoke::{WorkerEnd, WorkerRevocation};

/// What ends worker tokens, and those that were seen.
#[derive(Debug)]
pub(crate) struct Workers {
    revoked: papaya::HashSet<Family>,
    /// Refused by this process, though the store could not be told.
    halted: papaya::HashSet<Family>,
    keys: ArcSwap<VerifyingKeys>,
    sighted: Sighted,
    /// By how much another's clock may differ.
    skew: Duration,
}

/// What an entry knows of a worker token.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) claims: Arc<WorkerClaims>,
    kid: Box<str>,
    house: Arc<Workers>,
}

impl Workers {
    pub(crate) fn new(skew: Duration) -> Self {
        Self {
            revoked: papaya::HashSet::new(),
            halted: papaya::HashSet::new(),
            keys: ArcSwap::default(),
            sighted: Sighted::default(),
            skew: skew.min(worker::MOST_SKEW),
        }
    }

    pub(crate) fn take_keys(&self, keys: &PublicKeys) {
        self.keys.store(Arc::new(VerifyingKeys::of(keys)));
    }

    pub(crate) fn take_revoked(&self, family: Family) {
        self.revoked.pin().insert(family);
    }

    /// Every family that is known to be revoked.
    pub(crate) fn revoked(&self) -> Vec<Family> {
        self.revoked.pin().iter().copied().collect()
    }

    /// All of it is dead by itself now.
    pub(crate) fn forget_revoked(&self, family: Family) {
        self.revoked.pin().remove(&family);
    }

    /// Refuses a family from now on in this process, whatever the store says.
    pub(crate) fn halt(&self, family: Family) {
        self.halted.pin().insert(family);
    }

    fn is_revoked(&self, family: Family) -> bool {
        self.revoked.pin().contains(&family)
            || (!self.halted.is_empty() && self.halted.pin().contains(&family))
    }
}

impl Worker {
    /// Whether what it alone says holds now. Its end, its owner and its lineage are the entry's matter.
    pub(crate) fn judge(&self, now: Timestamp) -> Result<(), Denial> {
        let latest = now.plus(self.house.skew);
        if !self.house.keys.load().verify_at(&self.kid, now) {
            return Err(Denial::NotOurs);
        }
        if self.claims.issued_at > latest || self.claims.not_before > latest {
            return Err(Denial::NotYet);
        }
        Ok(())
    }

    /// Whether one of its family was revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.house.is_revoked(self.claims.family())
    }

    /// Whether it may be used at our own doors (`None`), or on that route (requirement R41).
    pub(crate) fn expect_audience(&self, route: Option<&RouteName>) -> Result<(), Refusal> {
        let names = |audience: &Audience| match (audience, route) {
            (Audience::Gate, None) => true,
            (Audience::Route(named), Some(route)) => named == route,
            _ => false,
        };
        if self.claims.audience.iter().any(names) {
            Ok(())
        } else {
            Err(Refusal::BadCredential(Denial::WrongAudience))
        }
    }
}

impl View {
    /// The entry of a worker token whose signature was checked.
    fn of_worker(&self, claims: WorkerClaims, kid: &str) -> Result<Arc<Entry>, Denial> {
        let account = self.account(claims.owner_id).ok_or(Denial::OwnerGone)?;
        let agent = self.agent(claims.agent_id).ok_or(Denial::AgentGone)?;
        if !Arc::ptr_eq(&agent.account, &account) {
            return Err(Denial::AgentGone);
        }
        let parent = self.lineage(&claims);
        if let Parent::Entry(parent) = &parent {
            parent.account.tell(&account);
        }
        let ends_at = claims.expires_at.plus(self.workers.skew);
        let worker = Worker { claims: Arc::new(claims), kid: kid.into(), house: self.workers.clone() };
        Ok(Arc::new(Entry::of_worker(worker, agent, parent, ends_at)))
    }

    /// What it hangs on: just what it says, or nothing that stands.
    fn lineage(&self, claims: &WorkerClaims) -> Parent {
        let Some((nearest, above)) = claims.credentials().split_first() else { return Parent::None };
        let Some(parent) = self.entry_of(*nearest) else { return Parent::Gone };
        let mut link = parent.clone();
        for id in above {
            let Parent::Entry(next) = &link.parent else { return Parent::Gone };
            if next.id != *id {
                return Parent::Gone;
            }
            link = next.clone();
        }
        Parent::Entry(parent)
    }
}

impl Verifier {
    /// The entry of a presented worker token. One that was seen before costs a look into a table.
    pub(crate) fn sight(&self, presented: &Presented) -> Option<Result<Arc<Entry>, Denial>> {
        let text = presented.worker.as_ref()?;
        let workers = &self.view.workers;
        if let Some(entry) = workers.sighted.of(&presented.hash) {
            return Some(Ok(entry));
        }
        let sighted = self.first_sight(text);
        if let Ok(entry) = &sighted {
            workers.sighted.keep(presented.hash, entry.clone(), self.clock().now());
        }
        Some(sighted)
    }

    fn first_sight(&self, text: &[u8]) -> Result<Arc<Entry>, Denial> {
        let read = worker::read(text).map_err(|_| Denial::Malformed)?;
        let ReadWorker { claims, kid, signed, signature } = read;
        if !self.view.workers.keys.load().have_signed(&kid, signed, &signature, self.clock().now()) {
            return Err(Denial::NotOurs);
        }
        self.view.of_worker(claims, &kid)
    }
}
