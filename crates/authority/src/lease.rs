//! Leases: what an exchange or a live connection holds as long as it may go on.
//!
//! A lease rests on one account. Whatever changes there pokes it, and it judges its credential anew with the very
//! function that let it in. The order that makes this sound, kept here and in [`crate::view::View::apply`]:
//!
//! * who comes in *registers, then reads* the credential's state;
//! * who ends something *commits, then cuts*: makes the state visible, then pokes what is registered.
//!
//! Whichever comes second sees the other. `tests/model.rs` tries every interleaving.

mod ended;
mod need;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use tokio::time::Instant;

pub use self::ended::Ended;
pub(crate) use self::need::Need;
use crate::alarm::Alarm;
use crate::closing::{Closing, Leaving};
use crate::entry::{Account, Entry};
use crate::flow::Flow;
use crate::live::Live;
use crate::sync::{AtomicBool, AtomicI64, Mutex, Ordering};

/// A lease looks again at least this often, whatever it was told (requirement R51).
const SECOND_LINE: Duration = Duration::from_secs(30);

/// The right to go on, held by whoever owns the socket. Let go of when dropped.
#[derive(Debug)]
pub struct Lease {
    pub(crate) state: Arc<LeaseState>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Live>,
    /// Only its holder looks at this: the lock is never waited for.
    pub(crate) flow: parking_lot::Mutex<Flow>,
    /// When to look next. Kept from one exchange to the next, as is the lock's rule above.
    alarm: parking_lot::Mutex<Alarm>,
}

/// What a door gets of a [`Lease`], so that the verifier can bind it to the caller.
#[derive(Debug, Clone)]
pub struct LeaseHandle(Arc<LeaseState>);

/// On whose behalf a lease is held.
#[derive(Debug, Clone)]
pub struct LeaseHolder {
    /// The credential.
    pub credential: CredentialId,
    /// Its owner, if anybody owns it.
    pub username: Option<Username>,
    /// As which agent, if it is a worker token.
    pub agent: Option<AgentName>,
}

/// The shared half of a lease.
#[derive(Debug, Default)]
pub(crate) struct LeaseState {
    poked: AtomicBool,
    /// It rests on somebody else than when it was waited on: how long to wait is another question now.
    rebound: AtomicBool,
    /// Since when it counts how long what rests on a route lasts, in milliseconds; 0: it does not.
    lasts_since: AtomicI64,
    /// What is under way outlives its first answer.
    stream: AtomicBool,
    waker: Mutex<Option<Waker>>,
    rests: Mutex<Rests>,
    /// How much came from the client and went to it, for whoever lists it. Written by the holder alone.
    pub(crate) bytes_in: StdAtomicU64,
    pub(crate) bytes_out: StdAtomicU64,
}

/// What a lease rests on.
#[derive(Debug, Default)]
struct Rests {
    /// Where it is registered, and its place there. Kept from one request to the next on a connection: the same
    /// caller coming again costs no lock that is shared.
    registered: Option<(Arc<Account>, usize)>,
    credential: Option<Arc<Entry>>,
    /// Whoever it rested on and acts now, which nothing can end any more.
    acting: Option<Arc<Entry>>,
    need: Need,
    /// Counted by a cut that waits until the holder knows of it.
    leaving: Option<Leaving>,
    /// The holder let go; nothing may rest on it any more.
    released: bool,
}

impl Lease {
    pub(crate) fn new(clock: Arc<dyn Clock>, live: Arc<Live>) -> Self {
        let (flow, alarm) = (parking_lot::Mutex::default(), parking_lot::Mutex::default());
        Self { state: Arc::default(), clock, live, flow, alarm }
    }

    /// For the verifier and the doors.
    pub fn handle(&self) -> LeaseHandle {
        LeaseHandle(self.state.clone())
    }

    /// The exchange is over; the connection stays. Nothing can end it until the next caller is verified.
    pub fn settle(&self) {
        self.flows_no_more();
        *self.state.waker.lock() = None;
        self.state.lasts_since.store(0, Ordering::Release);
        self.state.stream.store(false, Ordering::Relaxed);
        let left = {
            let mut rests = self.state.rests.lock();
            rests.credential = None;
            rests.acting = None;
            rests.need = Need::Standing;
            rests.leaving.take()
        };
        drop(left);
    }

    /// Who it rests on, or did when they were let act.
    pub fn caller(&self) -> Option<LeaseHolder> {
        let rests = self.state.rests.lock();
        let entry = rests.credential.as_ref().or(rests.acting.as_ref())?;
        Some(LeaseHolder {
            credential: entry.id,
            username: entry.account.user.as_ref().map(|user| user.username.clone()),
            agent: entry.agent.as_ref().map(|agent| agent.name.clone()),
        })
    }

    /// Returns when what this rests on does not stand any more, and never before. Rests on nothing: never.
    pub async fn ended(&self) -> Ended {
        loop {
            if let Some(ended) = self.judge() {
                self.because(ended.noted());
                return ended;
            }
            let listed = self.list_if_old();
            let wait = [self.until_look(), listed].into_iter().flatten().min();
            let wait = wait.map_or(SECOND_LINE, |left| left.min(SECOND_LINE));
            let at = Instant::now() + wait;
            poll_fn(|context| match self.state.poll_poked(context) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => self.alarm.lock().poll_until(context, at),
            })
            .await;
        }
    }

    /// Looks now: has it ended? Whoever is told so lets go.
    pub fn judge(&self) -> Option<Ended> {
        let ended = self.look()?;
        let left = self.state.rests.lock().leaving.take();
        drop(left);
        Some(ended)
    }

    fn look(&self) -> Option<Ended> {
        if let Some(by) = self.closed_by() {
            return Some(Ended::Closed { by });
        }
        let (entry, need, account) = {
            let rests = self.state.rests.lock();
            let account = rests.registered.as_ref().map(|(account, _)| account.clone());
            (rests.credential.clone(), rests.need.clone(), account)
        };
        if self.state.ends_at(&need).is_some_and(|end| self.clock.now() >= end) {
            return Some(Ended::TooOld);
        }
        let Some(entry) = entry else {
            if !matches!(need, Need::Public { .. }) {
                return None;
            }
            let account = account?;
            return match account.judge() {
                Err(denial) => Some(Ended::Credential(denial)),
                Ok(_) => need.check_stranger(&account).err().as_ref().map(Ended::by),
            };
        };
        let now = self.clock.now();
        match entry.judge(now) {
            Err(denial) => Some(Ended::Credential(denial)),
            Ok(role) => {
                // What is held open is in use.
                entry.touch(now);
                need.check(&entry, role).err().as_ref().map(Ended::by)
            }
        }
    }

    /// How long it is sure that looking finds nothing that nobody told of.
    fn until_look(&self) -> Option<Duration> {
        let (entry, end) = {
            let rests = self.state.rests.lock();
            (rests.credential.clone(), self.state.ends_at(&rests.need))
        };
        let deadlines = end.into_iter().chain(entry.as_ref().and_then(|entry| entry.deadline()));
        let left = deadlines.map(|deadline| deadline.since(self.clock.now()));
        let wait = left.chain(entry.as_ref().and_then(|entry| entry.touch_every())).min()?;
        Some(wait.max(Duration::from_millis(1)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.flows_no_more();
        let (registered, left) = {
            let mut rests = self.state.rests.lock();
            rests.released = true;
            rests.credential = None;
            (rests.registered.take(), rests.leaving.take())
        };
        drop(left);
        unregister(registered);
    }
}

impl LeaseHandle {
    /// Registers on the credential's account, before anything of the credential's state is read. `false`: the
    /// connection has gone.
    #[must_use]
    pub(crate) fn rest_on(&self, entry: &Arc<Entry>) -> bool {
        self.register(&entry.account, Some(entry.clone()), Need::Standing)
    }

    /// The same for a request that needs nobody: it hangs with the account that stands for strangers.
    #[must_use]
    pub(crate) fn rest_on_route(&self, strangers: &Arc<Account>, need: Need) -> bool {
        self.register(strangers, None, need)
    }

    /// From now on counts how long the route lets anything last (requirement R51); call it once something rests on one.
    pub fn lasts_from(&self, now: Timestamp) {
        self.0.lasts_since.store(now.millis(), Ordering::Release);
        self.0.rebind();
    }

    fn register(&self, account: &Arc<Account>, credential: Option<Arc<Entry>>, need: Need) -> bool {
        let left = {
            let mut rests = self.0.rests.lock();
            if rests.released {
                return false;
            }
            rests.credential = credential;
            rests.acting = None;
            rests.need = need;
            self.0.lasts_since.store(0, Ordering::Release);
            self.0.stream.store(false, Ordering::Relaxed);
            self.0.rebind();
            match &rests.registered {
                Some((registered, _)) if Arc::ptr_eq(registered, account) => return true,
                _ => {}
            }
            let place = account.leases.lock().insert(self.0.clone());
            rests.registered.replace((account.clone(), place))
        };
        unregister(left);
        true
    }

    /// Nothing rests on the caller any more: they were refused.
    pub(crate) fn forget(&self) {
        let mut rests = self.0.rests.lock();
        rests.credential = None;
        rests.need = Need::Standing;
    }

    /// The same because what they asked for is being done.
    pub(crate) fn act(&self) {
        let mut rests = self.0.rests.lock();
        rests.acting = rests.credential.take();
        rests.need = Need::Standing;
    }

    pub(crate) fn need(&self, need: Need) {
        self.0.rests.lock().need = need;
    }
}

fn unregister(registered: Option<(Arc<Account>, usize)>) {
    if let Some((account, place)) = registered {
        account.leases.lock().try_remove(place);
    }
}

impl LeaseState {
    /// What is under way outlives its first answer. Whose it is, and for which route.
    pub(crate) fn become_stream(&self) -> (Option<Arc<Entry>>, Option<RouteName>) {
        self.stream.store(true, Ordering::Relaxed);
        let rests = self.rests.lock();
        let route = rests.need.route().map(|route| route.name.clone());
        (rests.credential.clone(), route)
    }

    /// What [`Lease::passed`] said last.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.bytes_in.load(StdOrdering::Relaxed), self.bytes_out.load(StdOrdering::Relaxed))
    }

    /// When it ends whatever it rests on.
    fn ends_at(&self, need: &Need) -> Option<Timestamp> {
        let since = self.lasts_since.load(Ordering::Acquire);
        (since != 0)
            .then(|| Timestamp::from_millis(since))
            .zip(need.most_age())
            .map(|(since, age)| since.plus(age))
    }

    /// Asks the holder to look again.
    pub(crate) fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has whoever waits ask anew how long.
    fn rebind(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            self.rebound.store(true, Ordering::Release);
            waker.wake();
        }
    }

    /// Counts what rests on it, if this very cut is what stops it and nothing did before.
    pub(crate) fn count_if_cut_by(&self, cut: CutId, closing: &Arc<Closing>) {
        let (entry, need, account) = {
            let rests = self.rests.lock();
            let account = rests.registered.as_ref().map(|(account, _)| account.clone());
            (rests.credential.clone(), rests.need.clone(), account)
        };
        let Some(account) = account else { return };
        // On what has ended already nothing is cut any more: whoever judges it next finds that first.
        let stopped_by = match &entry {
            Some(entry) => {
                let role = entry.account.role();
                need.cut(&account, Some((entry, role)))
            }
            None if matches!(need, Need::Public { .. }) => need.cut(&account, None),
            None => None,
        };
        if stopped_by.is_some_and(|stopped| stopped.id == cut) {
            let mut rests = self.rests.lock();
            if rests.leaving.is_none() && !rests.released {
                rests.leaving = Some(closing.count(self.stream.load(Ordering::Relaxed)));
            }
        }
    }

    /// What rests on it now.
    pub(crate) fn credential(&self) -> Option<Arc<Entry>> {
        self.rests.lock().credential.clone()
    }

    fn poll_poked(&self, context: &Context<'_>) -> Poll<()> {
        {
            let mut waker = self.waker.lock();
            if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
        }
        // After the waker is in place: a poke from now on wakes, and one before is seen here.
        let poked = self.poked.swap(false, Ordering::AcqRel);
        let rebound = self.rebound.swap(false, Ordering::AcqRel);
        if poked || rebound { Poll::Ready(()) } else { Poll::Pending }
    }

    #[cfg(feature = "model")]
    pub(crate) fn was_poked(&self) -> bool {
        self.poked.load(Ordering::Acquire)
    }
}

#[cfg(feature = "model")]
impl Lease {
    pub(crate) fn was_poked(&self) -> bool {
        self.state.was_poked()
    }
}
