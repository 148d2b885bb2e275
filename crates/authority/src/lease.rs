//! Leases: what an exchange or a live connection holds as long as it may go on.
//!
//! A lease rests on one account. Whatever changes there pokes it, and it judges its credential anew with the very
//! function that let it in. The order that makes this sound, kept here and in [`crate::view::View::apply`]:
//!
//! * who comes in *registers, then reads* the credential's state;
//! * who ends something *commits, then cuts*: makes the state visible, then pokes what is registered.
//!
//! Whichever comes second sees the other. `tests/model.rs` tries every interleaving.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::live::StreamKind;
use fallgate_domain::scope::{Scope, Scopes};

use crate::entry::{Account, Entry};
use crate::live::{Holder, Listing, Live, NewListing};
use crate::permit::RoutePolicy;
use crate::refusal::{Denial, Refusal};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// A lease looks again at least this often, whatever it was told (requirement R51).
const SECOND_LINE: Duration = Duration::from_secs(30);

/// A body that flows for longer than this is listed among what is live (30-gate).
const LISTED_AFTER: Duration = Duration::from_secs(5);

/// The right to go on, held by whoever owns the socket. Let go of when dropped.
#[derive(Debug)]
pub struct Lease {
    state: Arc<LeaseState>,
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    /// Only its holder looks at this: the lock is never waited for.
    flow: parking_lot::Mutex<Flow>,
}

/// What flows under a lease.
#[derive(Debug, Default)]
enum Flow {
    /// Nothing that lasts.
    #[default]
    Nothing,
    /// A body, for so short a time that it is not listed yet.
    Young {
        kind: StreamKind,
        since: Timestamp,
        ip: Option<IpAddr>,
    },
    Listed(Arc<Listing>),
}

/// What a door gets of a [`Lease`], so that the verifier can bind it to the caller.
#[derive(Debug, Clone)]
pub struct LeaseHandle(Arc<LeaseState>);

/// Why a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The credential does not stand any more.
    Credential(Denial),
    /// It stands, but what was permitted is not any more: the owner's role or the route's list has changed.
    Narrowed,
    /// Everything stands, and somebody closed this one stream.
    Closed {
        /// Who.
        by: String,
    },
}

/// Close code of a WebSocket for a credential that ended (30-gate).
const CODE_ENDED: u16 = 4401;
/// The same for what somebody closed.
const CODE_CUT: u16 = 4403;

impl Ended {
    /// A short reason, for a WebSocket's close frame.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Credential(Denial::Revoked) => "token revoked".into(),
            Self::Credential(Denial::Expired) => "token expired".into(),
            Self::Credential(Denial::ParentEnded) => "the token's parent ended".into(),
            Self::Credential(Denial::OwnerDisabled) => "user disabled".into(),
            Self::Credential(Denial::OwnerGone) => "user deleted".into(),
            Self::Credential(_) => "credential no longer valid".into(),
            Self::Narrowed => "no longer permitted".into(),
            Self::Closed { by } => format!("closed by {by}").into(),
        }
    }

    /// The close code that goes with it.
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Credential(_) | Self::Narrowed => CODE_ENDED,
            Self::Closed { .. } => CODE_CUT,
        }
    }

    /// The same as a refusal, for a request that was not answered yet.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Credential(denial) => Refusal::BadCredential(*denial),
            Self::Narrowed => Refusal::NotAdmitted,
            Self::Closed { .. } => Refusal::Closed,
        }
    }
}

/// The shared half of a lease.
#[derive(Debug, Default)]
pub(crate) struct LeaseState {
    poked: AtomicBool,
    /// It rests on somebody else than when it was waited on: how long to wait is another question now.
    rebound: AtomicBool,
    waker: Mutex<Option<Waker>>,
    rests: Mutex<Rests>,
    /// How much came from the client and went to it, for whoever lists it. Written by the holder alone.
    bytes_in: StdAtomicU64,
    bytes_out: StdAtomicU64,
}

/// What a lease rests on.
#[derive(Debug, Default)]
struct Rests {
    /// Where it is registered, and its place there. Kept from one request to the next on a connection: the same
    /// caller coming again costs no lock that is shared.
    registered: Option<(Arc<Account>, usize)>,
    credential: Option<Arc<Entry>>,
    need: Need,
    /// The holder let go; nothing may rest on it any more.
    released: bool,
}

/// What was permitted, and must stay so.
#[derive(Debug, Default, Clone)]
pub(crate) enum Need {
    /// Only that the credential stands.
    #[default]
    Standing,
    Scope(Scope),
    Route(Arc<RoutePolicy>),
    /// One of the route's public paths, which needs nobody.
    Public(Arc<RoutePolicy>),
}

impl Need {
    /// Whether the credential, standing with `role`, satisfies this. What counts is always its scopes *and* what the
    /// owner's role allows now.
    pub(crate) fn check(
        &self,
        entry: &Entry,
        role: Option<fallgate_domain::user::Role>,
    ) -> Result<(), Refusal> {
        let allows = |scope: &Scope| {
            entry.scopes.allow(scope) && role.is_none_or(|role| Scopes::ceiling(role).allow(scope))
        };
        match self {
            Self::Standing => Ok(()),
            Self::Public(route) => Self::check_public(route),
            Self::Scope(scope) if allows(scope) => Ok(()),
            Self::Scope(scope) => Err(Refusal::Beyond(scope.clone())),
            Self::Route(route) if !allows(&route.scope) => Err(Refusal::Beyond(route.scope.clone())),
            Self::Route(route) => {
                let owner = entry.account.user.as_ref().zip(role).map(|(user, role)| (&user.username, role));
                let visitor = fallgate_domain::route::Visitor { owner, kind: entry.admitted_as() };
                if route.admits(visitor) { Ok(()) } else { Err(Refusal::NotAdmitted) }
            }
        }
    }

    /// Whether a public path of the route is still there.
    pub(crate) fn check_public(route: &RoutePolicy) -> Result<(), Refusal> {
        if route.now().is_some() { Ok(()) } else { Err(Refusal::NotAdmitted) }
    }
}

impl Lease {
    pub(crate) fn new(clock: Arc<dyn Clock>, live: Arc<Live>) -> Self {
        Self { state: Arc::default(), clock, live, flow: parking_lot::Mutex::default() }
    }

    /// For the verifier and the doors.
    pub fn handle(&self) -> LeaseHandle {
        LeaseHandle(self.state.clone())
    }

    /// The exchange is over; the connection stays. Nothing can end it until the next caller is verified.
    pub fn settle(&self) {
        self.flows_no_more();
        *self.state.waker.lock() = None;
        let mut rests = self.state.rests.lock();
        rests.credential = None;
        rests.need = Need::Standing;
    }

    /// Returns when what this rests on does not stand any more, and never before. Rests on nothing: never.
    pub async fn ended(&self) -> Ended {
        loop {
            if let Some(ended) = self.judge() {
                self.because(ended.reason());
                return ended;
            }
            let listed = self.list_if_old();
            let wait = [self.until_look(), listed].into_iter().flatten().min();
            let wait = wait.map_or(SECOND_LINE, |left| left.min(SECOND_LINE));
            let poked = std::future::poll_fn(|context| self.state.poll_poked(context));
            tokio::select! {
                () = poked => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Looks now: has it ended?
    pub fn judge(&self) -> Option<Ended> {
        if let Flow::Listed(listing) = &*self.flow.lock()
            && let Some(by) = listing.closed_by()
        {
            return Some(Ended::Closed { by: by.to_owned() });
        }
        let (entry, need, account) = {
            let rests = self.state.rests.lock();
            let account = rests.registered.as_ref().map(|(account, _)| account.clone());
            (rests.credential.clone(), rests.need.clone(), account)
        };
        let Some(entry) = entry else {
            let Need::Public(route) = need else { return None };
            return match account?.judge() {
                Err(denial) => Some(Ended::Credential(denial)),
                Ok(_) => Need::check_public(&route).is_err().then_some(Ended::Narrowed),
            };
        };
        let now = self.clock.now();
        match entry.judge(now) {
            Err(denial) => Some(Ended::Credential(denial)),
            Ok(role) => {
                // What is held open is in use.
                entry.touch(now);
                need.check(&entry, role).is_err().then_some(Ended::Narrowed)
            }
        }
    }

    /// How long it is sure that looking finds nothing that nobody told of.
    fn until_look(&self) -> Option<Duration> {
        let entry = self.state.rests.lock().credential.clone()?;
        let left = entry.deadline().map(|deadline| deadline.since(self.clock.now()));
        let wait = left.into_iter().chain(entry.touch_every()).min()?;
        Some(wait.max(Duration::from_millis(1)))
    }
}

/// What flows, for whoever looks at what is live. Each exchange begins with nothing.
impl Lease {
    /// Says what flows from now on. What has no end by its nature is listed at once; a body, once it has flowed for a
    /// while. To be called while what flows rests on its caller.
    pub fn flows(&self, kind: StreamKind, ip: Option<IpAddr>) {
        let mut flow = self.flow.lock();
        *flow = match std::mem::take(&mut *flow) {
            Flow::Listed(listing) => {
                listing.turn_into(kind);
                Flow::Listed(listing)
            }
            young => {
                let since = match young {
                    Flow::Young { since, .. } => since,
                    _ => self.clock.now(),
                };
                let young = Flow::Young { kind, since, ip };
                if kind.is_endless() { self.list(young) } else { young }
            }
        };
    }

    /// Says that the body of the request has come whole, and nothing else flows yet. What is listed stays so.
    pub fn flows_nothing(&self) {
        let mut flow = self.flow.lock();
        if matches!(*flow, Flow::Young { .. }) {
            *flow = Flow::Nothing;
        }
    }

    /// Says how much has come from the client and gone to it since the exchange began, in bytes of content.
    pub fn passed(&self, bytes_in: u64, bytes_out: u64) {
        self.state.bytes_in.store(bytes_in, StdOrdering::Relaxed);
        self.state.bytes_out.store(bytes_out, StdOrdering::Relaxed);
    }

    /// Says why what flows is about to end, if it is not because both sides are done. The first reason counts.
    pub fn because(&self, reason: impl Into<Cow<'static, str>>) {
        if let Flow::Listed(listing) = &*self.flow.lock() {
            listing.because(reason.into());
        }
    }

    /// Lists a body that flows for long enough; else tells how long to wait until it may do.
    fn list_if_old(&self) -> Option<Duration> {
        let mut flow = self.flow.lock();
        match &*flow {
            Flow::Listed(_) => None,
            Flow::Nothing => Some(LISTED_AFTER),
            Flow::Young { since, .. } => {
                let age = self.clock.now().since(*since);
                let left = LISTED_AFTER.saturating_sub(age);
                if !left.is_zero() {
                    return Some(left);
                }
                *flow = self.list(std::mem::take(&mut *flow));
                None
            }
        }
    }

    fn list(&self, young: Flow) -> Flow {
        let Flow::Young { kind, since, ip } = young else { return young };
        let (holder, route) = {
            let rests = self.state.rests.lock();
            let route = match &rests.need {
                Need::Route(route) | Need::Public(route) => Some(route.name.clone()),
                _ => None,
            };
            (Holder::of(rests.credential.as_deref()), route)
        };
        let lease = self.state.clone();
        let listed = self.live.list(NewListing { kind, holder, route, since, ip, lease });
        listed.map_or(Flow::Nothing, Flow::Listed)
    }

    fn flows_no_more(&self) {
        if let Flow::Listed(listing) = std::mem::take(&mut *self.flow.lock()) {
            self.live.strike(&listing);
            self.passed(0, 0);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.flows_no_more();
        let registered = {
            let mut rests = self.state.rests.lock();
            rests.released = true;
            rests.credential = None;
            rests.registered.take()
        };
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
    pub(crate) fn rest_on_route(&self, strangers: &Arc<Account>, route: &Arc<RoutePolicy>) -> bool {
        self.register(strangers, None, Need::Public(route.clone()))
    }

    fn register(&self, account: &Arc<Account>, credential: Option<Arc<Entry>>, need: Need) -> bool {
        let left = {
            let mut rests = self.0.rests.lock();
            if rests.released {
                return false;
            }
            rests.credential = credential;
            rests.need = need;
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

    /// Nothing rests on the caller any more: they were refused, or what they asked for is being done.
    pub(crate) fn forget(&self) {
        let mut rests = self.0.rests.lock();
        rests.credential = None;
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
    /// What [`Lease::passed`] said last.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.bytes_in.load(StdOrdering::Relaxed), self.bytes_out.load(StdOrdering::Relaxed))
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
