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
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::cut::CutNotice;
use fallgate_domain::id::{CredentialId, CutId};
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scope;
use fallgate_domain::user::{Role, Username};

use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::closing::{Closing, Leaving};
use crate::cuts::{Asked, StandingCut};
use crate::entry::{Account, Entry};
use crate::flow::Flow;
use crate::live::Live;
use crate::permit::RoutePolicy;
use crate::refusal::{Denial, Refusal};
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
    /// It has lasted as long as anything may on its route.
    TooOld,
    /// A later config has another route in the place of its own.
    RouteChanged,
    /// A cut stops it.
    Cut(CutNotice),
}

/// Close code of a WebSocket for a credential that ended (30-gate).
const CODE_ENDED: u16 = 4401;
/// The same for a cut, and for what somebody closed.
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
            Self::Credential(Denial::AgentDisabled) => "agent disabled".into(),
            Self::Credential(Denial::AgentGone) => "agent deleted".into(),
            Self::Credential(_) => "credential no longer valid".into(),
            Self::Narrowed => "no longer permitted".into(),
            // Not by whom: that is the house's own affair.
            Self::Closed { .. } => "closed by an operator".into(),
            Self::TooOld => "stream too old".into(),
            Self::RouteChanged => "the route has changed".into(),
            Self::Cut(CutNotice { reason: None, .. }) => "cut".into(),
            Self::Cut(CutNotice { reason: Some(reason), .. }) => format!("cut: {reason}").into(),
        }
    }

    /// The same for the audit trail, which names who did it.
    fn noted(&self) -> Cow<'static, str> {
        match self {
            Self::Closed { by } => format!("closed by {by}").into(),
            _ => self.reason(),
        }
    }

    /// The close code that goes with it.
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Credential(_) | Self::Narrowed | Self::TooOld | Self::RouteChanged => CODE_ENDED,
            Self::Cut(_) | Self::Closed { .. } => CODE_CUT,
        }
    }

    /// The same as a refusal, for a request that was not answered yet.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Credential(denial) => Refusal::BadCredential(*denial),
            Self::Narrowed => Refusal::NotAdmitted,
            Self::Closed { .. } => Refusal::Closed,
            Self::TooOld => Refusal::TooOld,
            Self::RouteChanged => Refusal::RouteChanged,
            Self::Cut(notice) => Refusal::Cut(notice.clone()),
        }
    }

    /// What a refusal of something that stood until now comes to.
    fn by(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Cut(notice) => Self::Cut(notice.clone()),
            Refusal::RouteChanged => Self::RouteChanged,
            _ => Self::Narrowed,
        }
    }
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

/// What was permitted, and must stay so.
#[derive(Debug, Default, Clone)]
pub(crate) enum Need {
    /// Only that the credential stands: who calls is known, and not yet what for.
    #[default]
    Standing,
    /// Nothing but that no cut stops it.
    Uncut,
    /// A scope. `mends`: an admin's sign-in may do it while everything is cut.
    Scope { scope: Scope, mends: bool },
    /// A route. `by_cookie`: it must also take cookies.
    Route { route: Arc<RoutePolicy>, by_cookie: bool },
    /// That this path of the route, relative to it, is public: it needs nobody.
    Public { route: Arc<RoutePolicy>, path: Arc<CanonicalPath<'static>> },
}

impl Need {
    /// Whether the credential, standing with `role`, satisfies this. What counts is always its scopes *and* what the
    /// owner's role allows now.
    pub(crate) fn check(&self, entry: &Entry, role: Option<Role>) -> Result<(), Refusal> {
        match self {
            Self::Standing | Self::Public { .. } => {}
            Self::Uncut | Self::Scope { .. } => entry.expect_audience(None)?,
            Self::Route { route, .. } => entry.expect_audience(Some(&route.name))?,
        }
        if let Some(cut) = self.cut(&entry.account, Some((entry, role))) {
            return Err(Refusal::Cut(cut.notice()));
        }
        let allows = |scope: &Scope| {
            entry.scopes.allow(scope) && role.is_none_or(|role| entry.ceiling(role).allow(scope))
        };
        match self {
            Self::Standing | Self::Uncut => Ok(()),
            Self::Public { route, path } => route.check_public(path),
            Self::Scope { scope, .. } if allows(scope) => Ok(()),
            Self::Scope { scope, .. } => Err(Refusal::Beyond(scope.clone())),
            Self::Route { route, .. } if !allows(&route.scope) => Err(Refusal::Beyond(route.scope.clone())),
            Self::Route { route, by_cookie } => {
                let owner = entry.account.user.as_ref().zip(role).map(|(user, role)| (&user.username, role));
                let agent = entry.agent.as_ref().map(|agent| &agent.name);
                let visitor = fallgate_domain::route::Visitor { owner, agent, kind: entry.admitted_as() };
                route.check(visitor, *by_cookie)
            }
        }
    }

    /// That this path, relative to the route, is public.
    pub(crate) fn public(route: &Arc<RoutePolicy>, path: &CanonicalPath<'_>) -> Self {
        Self::Public { route: route.clone(), path: Arc::new(path.clone().into_owned()) }
    }

    /// The same for whoever has no credential. `strangers`: where they hang.
    pub(crate) fn check_stranger(&self, strangers: &Account) -> Result<(), Refusal> {
        match (self.cut(strangers, None), self) {
            (Some(cut), _) => Err(Refusal::Cut(cut.notice())),
            (None, Self::Public { route, path }) => route.check_public(path),
            (None, _) => Err(Refusal::NoCredential),
        }
    }

    /// The route that it is for, if it is for one.
    fn route(&self) -> Option<&Arc<RoutePolicy>> {
        match self {
            Self::Route { route, .. } | Self::Public { route, .. } => Some(route),
            Self::Standing | Self::Uncut | Self::Scope { .. } => None,
        }
    }

    /// How long it may last at most, as the route has it now.
    fn most_age(&self) -> Option<Duration> {
        self.route()?.now().ok()?.terms.max_stream_age
    }

    /// The cut that stops this, if one does. Of whom it is only known who they are, nothing is stopped yet: what comes
    /// first in the order of refusals is told first.
    fn cut(&self, account: &Account, entry: Option<(&Entry, Option<Role>)>) -> Option<StandingCut> {
        let (route, mends): (Option<&RouteName>, bool) = match self {
            Self::Standing => return None,
            Self::Uncut => (None, false),
            Self::Scope { mends, .. } => (None, *mends),
            Self::Route { route, .. } | Self::Public { route, .. } => (Some(&route.name), false),
        };
        account.cuts.stopping(Asked { entry, route, mends })
    }
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

    /// Who it rests on, or did when they were let act: the credential, and its owner.
    pub fn caller(&self) -> Option<(CredentialId, Option<Username>)> {
        let rests = self.state.rests.lock();
        let entry = rests.credential.as_ref().or(rests.acting.as_ref())?;
        Some((entry.id, entry.account.user.as_ref().map(|user| user.username.clone())))
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
