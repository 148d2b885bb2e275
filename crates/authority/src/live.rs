//! What is open now and outlives its first answer: whose it is, since when, and how much went through.
//!
//! Nothing is decided by what stands here: what ends a stream is its lease, which is registered on its account from the
//! request on. A row comes later, when it is sure that the stream is one, and goes with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use fallgate_domain::agent::AgentName;
use fallgate_domain::audit::Action;
use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::cut::CutTarget;
use fallgate_domain::entropy::Entropy;
use fallgate_domain::id::{CredentialId, StreamId, UserId};
use fallgate_domain::live::StreamKind;
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use fallgate_store::StoreError;
use parking_lot::Mutex;
use serde_json::Value;

use crate::actions::{CloseLive, ManageCuts, ReadAllLive, ReadLive};
use crate::entry::{Entry, Parent};
use crate::halt::{Unwritten, or_halt};
use crate::lease::LeaseState;
use crate::permit::Permit;
use crate::principal::Principal;
use crate::registrar::Actor;
use crate::signin::NOBODY;
use crate::stream_log::StreamLog;
use crate::verifier::Verifier;

/// A stream that is open now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStream {
    /// Its name, as long as it is open.
    pub id: StreamId,
    /// What flows in it.
    pub kind: StreamKind,
    /// Whose credential it was opened with, if that is anybody's.
    pub username: Option<Username>,
    /// As which agent, if it was opened by one.
    pub agent: Option<AgentName>,
    /// Which credential that was; none on a public path.
    pub credential: Option<CredentialId>,
    /// To which route; none for our own doors.
    pub route: Option<RouteName>,
    /// Since when it flows.
    pub since: Timestamp,
    /// How much came from the client, in bytes of content.
    pub bytes_in: u64,
    /// How much went to the client.
    pub bytes_out: u64,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

impl LiveStream {
    /// Whether a page of our own follows on it what happens. People see such a page, and not what carries it.
    pub fn is_followed_on(&self) -> bool {
        self.route.is_none() && self.kind == StreamKind::Events
    }
}

/// What came of closing a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseOutcome {
    /// It is closed.
    Closed,
    /// There is none of that name that the caller may see.
    Unknown,
}

/// Why a stream was not closed, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// It is closed, and the trail does not tell of it.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Every stream that is listed.
#[derive(Debug)]
pub(crate) struct Live {
    /// Oldest first.
    rows: Mutex<BTreeMap<StreamId, Arc<Listing>>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) log: StreamLog,
}

/// One stream's row.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) id: StreamId,
    kind: Mutex<StreamKind>,
    holder: Holder,
    pub(crate) route: Option<RouteName>,
    pub(crate) since: Timestamp,
    pub(crate) ip: Option<IpAddr>,
    lease: Arc<LeaseState>,
    /// Whether the trail has an event of its opening; if not, it was only counted.
    pub(crate) told: bool,
    /// Who closes it.
    closed_by: OnceLock<String>,
    /// Why it ends, if not because both sides are done.
    reason: OnceLock<Cow<'static, str>>,
}

/// Whose a stream is.
#[derive(Debug)]
pub(crate) struct Holder {
    user: Option<(UserId, Username)>,
    agent: Option<AgentName>,
    pub(crate) credential: Option<CredentialId>,
    kind: Option<CredentialKind>,
}

impl Holder {
    pub(crate) fn of(entry: Option<&Entry>) -> Self {
        let user = entry.and_then(|entry| entry.account.user.as_ref());
        Self {
            user: user.map(|user| (user.id, user.username.clone())),
            agent: entry.and_then(|entry| entry.agent.as_ref()).map(|agent| agent.name.clone()),
            credential: entry.map(|entry| entry.id),
            kind: entry.map(|entry| entry.kind),
        }
    }

    /// As the audit trail names them.
    pub(crate) fn actor(&self) -> String {
        match (&self.user, self.credential, self.kind) {
            (Some((_, username)), ..) => username.to_string(),
            (None, _, Some(CredentialKind::Internal)) => Actor::Internal.name(),
            (None, Some(credential), _) => Actor::Holder { credential, ip: None }.name(),
            (None, None, _) => NOBODY.to_owned(),
        }
    }

    /// What an event says of the agent that holds it, if one does.
    pub(crate) fn agent_told(&self) -> Option<(String, Value)> {
        self.agent.as_ref().map(|agent| ("agent".to_owned(), Value::from(agent.as_str())))
    }

    /// Whether the caller is them: the same user, or the same credential if nobody owns it.
    fn is(&self, caller: &Principal) -> bool {
        match (&self.user, caller.user()) {
            (Some((id, _)), Some(user)) => *id == user,
            (None, None) => self.credential == Some(caller.credential()),
            _ => false,
        }
    }
}

impl Listing {
    pub(crate) fn kind(&self) -> StreamKind {
        *self.kind.lock()
    }

    /// As [`LiveStream::is_followed_on`].
    pub(crate) fn is_followed_on(&self) -> bool {
        self.route.is_none() && self.kind() == StreamKind::Events
    }

    /// Something else flows in it from now on.
    pub(crate) fn turn_into(&self, kind: StreamKind) {
        *self.kind.lock() = kind;
    }

    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// How much came in and went out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.lease.passed()
    }

    /// Who closes it, if somebody does.
    pub(crate) fn closed_by(&self) -> Option<&str> {
        self.closed_by.get().map(String::as_str)
    }

    /// Remembers why it ends. The first reason counts.
    pub(crate) fn because(&self, reason: Cow<'static, str>) {
        let _ = self.reason.set(reason);
    }

    /// Why it ended.
    pub(crate) fn reason(&self) -> &str {
        self.reason.get().map_or("done", |reason| reason)
    }

    fn close(&self, by: &str) {
        // Before the poke, never after it: the holder looks once.
        let _ = self.closed_by.set(by.to_owned());
        self.lease.poke();
    }

    fn row(&self) -> LiveStream {
        let (bytes_in, bytes_out) = self.bytes();
        LiveStream {
            id: self.id,
            kind: self.kind(),
            username: self.holder.user.as_ref().map(|(_, username)| username.clone()),
            agent: self.holder.agent.clone(),
            credential: self.holder.credential,
            route: self.route.clone(),
            since: self.since,
            bytes_in,
            bytes_out,
            ip: self.ip,
        }
    }
}

/// What is to be listed.
pub(crate) struct NewListing {
    pub(crate) kind: StreamKind,
    pub(crate) holder: Holder,
    pub(crate) route: Option<RouteName>,
    pub(crate) since: Timestamp,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) lease: Arc<LeaseState>,
}

impl Live {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { rows: Mutex::default(), clock, entropy, log: StreamLog::default() }
    }

    /// Lists a stream. `None` where the system gives no random bytes to name it by: it flows all the same, under its
    /// lease.
    pub(crate) fn list(&self, new: NewListing) -> Option<Arc<Listing>> {
        let now = self.clock.now();
        let id = StreamId::new(now, &*self.entropy)
            .inspect_err(|error| tracing::error!(%error, "a stream is not listed"))
            .ok()?;
        let NewListing { kind, holder, route, since, ip, lease } = new;
        let mut listing = Listing {
            id,
            kind: Mutex::new(kind),
            holder,
            route,
            since,
            ip,
            lease,
            told: false,
            closed_by: OnceLock::new(),
            reason: OnceLock::new(),
        };
        listing.told = self.log.opened(&listing, now);
        let listing = Arc::new(listing);
        self.rows.lock().insert(id, listing.clone());
        Some(listing)
    }

    /// It flows no more. Its counters must not have begun anew.
    pub(crate) fn strike(&self, listing: &Listing) {
        self.rows.lock().remove(&listing.id);
        self.log.closed(listing, self.clock.now());
    }

    /// One that nobody closes already.
    fn find(&self, id: StreamId) -> Option<Arc<Listing>> {
        self.rows.lock().get(&id).filter(|listing| listing.closed_by().is_none()).cloned()
    }

    /// The credential of each, of those that have one.
    pub(crate) fn credentials(&self) -> Vec<Arc<Entry>> {
        let listings: Vec<_> = self.rows.lock().values().cloned().collect();
        listings.into_iter().filter_map(|listing| listing.lease.credential()).collect()
    }

    /// Those that `which` picks, and that nobody closes already. The rows are held meanwhile, so that none of them ends and begins anew under our eyes.
    fn rows(&self, which: impl Fn(&Holder) -> bool) -> Vec<LiveStream> {
        let rows = self.rows.lock();
        let open = rows.values().filter(|listing| which(&listing.holder) && listing.closed_by().is_none());
        open.map(|listing| listing.row()).collect()
    }
}

impl Verifier {
    /// What is open now, oldest first: the caller's own; for an admin, everything. A credential that nobody owns sees
    /// what it opened itself.
    pub fn live(&self, permit: &Permit<ReadLive>) -> Vec<LiveStream> {
        let caller = permit.principal();
        self.live.rows(|holder| caller.is_admin() || holder.is(caller))
    }

    /// What the caller themselves has open, whatever else they may see.
    pub fn own_live(&self, permit: &Permit<ReadLive>) -> Vec<LiveStream> {
        self.live.rows(|holder| holder.is(permit.principal()))
    }

    /// Everything that is open.
    pub fn all_live(&self, _: &Permit<ReadAllLive>) -> Vec<LiveStream> {
        self.live.rows(|_| true)
    }

    /// One stream that the caller may close.
    pub fn closable(&self, permit: &Permit<CloseLive>, id: StreamId) -> Option<LiveStream> {
        let caller = permit.principal();
        let listing = self.live.find(id)?;
        (caller.is_admin() || listing.holder.is(caller)).then(|| listing.row())
    }

    /// How many of the listed streams a cut on that would close now, as far as the caller may know.
    pub fn would_close(&self, permit: &Permit<ManageCuts>, target: &CutTarget) -> usize {
        let caller = permit.principal();
        let rows = self.live.rows(|holder| caller.is_admin() || holder.is(caller));
        rows.iter().filter(|stream| !stream.is_followed_on() && self.is_on(stream, target)).count()
    }

    fn is_on(&self, stream: &LiveStream, target: &CutTarget) -> bool {
        match target {
            CutTarget::User(name) => stream.username.as_ref() == Some(name),
            CutTarget::Route(name) => stream.route.as_ref() == Some(name),
            CutTarget::Everything => true,
            CutTarget::Agent(name) => stream.agent.as_ref() == Some(name),
            CutTarget::Credential(id) => {
                let mut entry = stream.credential.and_then(|id| self.view.entry_of(id));
                while let Some(one) = entry {
                    if one.id == *id {
                        return true;
                    }
                    entry = match &one.parent {
                        Parent::Entry(parent) => Some(parent.clone()),
                        Parent::None | Parent::Gone => None,
                    };
                }
                false
            }
        }
    }

    /// The same for whoever has access to the home folder.
    pub fn live_for_operator(&self) -> Vec<LiveStream> {
        self.live.rows(|_| true)
    }

    /// Closes one stream, of the caller's own or, for an admin, anybody's.
    pub async fn close_live(
        &self,
        permit: &Permit<CloseLive>,
        id: StreamId,
        ip: Option<IpAddr>,
    ) -> Result<CloseOutcome, CloseError> {
        let caller = permit.principal();
        let Some(listing) = self.live.find(id) else { return Ok(CloseOutcome::Unknown) };
        let own = listing.holder.is(caller);
        let Some(actor) = Actor::of(permit, ip).filter(|_| own || caller.is_admin()) else {
            return Ok(CloseOutcome::Unknown);
        };
        let actor = if own { actor } else { actor.for_others() };
        let mut detail = BTreeMap::from([
            ("kind".to_owned(), Value::from(listing.kind().name())),
            ("owner".to_owned(), Value::from(listing.holder.actor())),
            ("route".to_owned(), Value::from(listing.route.as_ref().map(ToString::to_string))),
        ]);
        detail.extend(listing.holder.agent_told());
        let event = actor.event(self.clock().now(), Action::LiveClose, id.to_string(), detail);
        let recorded = self.registrar.vault.record(vec![event]).await;
        or_halt::<_, CloseError>(recorded, |error| {
            listing.close(&actor.name());
            tracing::error!(%error, stream = %id, "cannot write down that a stream was closed; it is closed all the same");
            Unwritten
        })?;
        listing.close(&actor.name());
        Ok(CloseOutcome::Closed)
    }
}
