//! What a decision knows of one credential and of one account, and the one place where it is judged.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_domain::worker::{AllEnded, Family};
use fallgate_store::{CredentialRow, Revision, UserRow};
use slab::Slab;

use crate::agent_entry::AgentEntry;
use crate::cuts::Cuts;
use crate::lease::LeaseState;
use crate::refusal::{Denial, Refusal};
use crate::sync::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::workers::Worker;

/// No expiry, as an entry keeps it.
const NEVER: i64 = i64::MAX;

/// Worker tokens were never all ended: no token was made before that.
const NOT_YET: i64 = i64::MIN;

/// One credential, as lean as a million of them must be. What can change is atomic, so that an entry is never
/// replaced and a lease can hold on to it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: CredentialId,
    /// `None` where the secret cannot be looked up.
    pub(crate) hash: Option<TokenHash>,
    pub(crate) kind: CredentialKind,
    pub(crate) account: Arc<Account>,
    /// What runs with it, if it is no person's.
    pub(crate) agent: Option<Arc<AgentEntry>>,
    pub(crate) scopes: Scopes,
    /// Its owner was granted more with it than their role has.
    granted: bool,
    pub(crate) parent: Parent,
    ended: AtomicBool,
    /// Refused by this process, though the store could not be told.
    halted: AtomicBool,
    expires_at: AtomicI64,
    /// The revision at which its row was last read. What was said of all tokens at a later one holds for it too.
    read_at: AtomicU64,
    /// When its use was last put down for writing, in milliseconds.
    pub(crate) noted_at: AtomicI64,
    /// How often it was used since then.
    pub(crate) uses: AtomicU32,
    idle: Option<Box<Idle>>,
    /// What a worker token says: all else here is as it would be of any credential.
    pub(crate) worker: Option<Box<Worker>>,
}

/// How a sign-in ends by not being used.
#[derive(Debug)]
struct Idle {
    /// After so long, in milliseconds.
    after: i64,
    used_at: AtomicI64,
}

/// What an entry hangs on.
#[derive(Debug)]
pub(crate) enum Parent {
    None,
    Entry(Arc<Entry>),
    /// It names a parent that is no more; what hangs on nothing falls.
    Gone,
}

impl Parent {
    /// Whether there is or was one.
    pub(crate) const fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether it is that credential.
    pub(crate) fn is(&self, id: CredentialId) -> bool {
        matches!(self, Self::Entry(parent) if parent.id == id)
    }
}

/// A user's account, or the one that stands for credentials nobody owns. Leases hang here: whatever changes for an
/// account or one of its credentials, exactly its leases are asked to look again.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: Option<AccountUser>,
    disabled: AtomicBool,
    pub(crate) gone: AtomicBool,
    admin: AtomicBool,
    /// Refused by this process, though the store could not be told.
    halted: AtomicBool,
    /// The revision at which all its tokens were last found revoked: those that were read before have ended.
    pub(crate) tokens_ended_at: AtomicU64,
    /// Until when its worker tokens were all ended, in milliseconds, and the family that was spared then.
    workers_ended_at: AtomicI64,
    worker_spared: AtomicU64,
    /// Held by whoever changes these two.
    ending_workers: parking_lot::Mutex<()>,
    display_name: Mutex<Option<DisplayName>>,
    /// Those that there are, the same for all.
    pub(crate) cuts: Arc<Cuts>,
    pub(crate) leases: Mutex<Slab<Arc<LeaseState>>>,
    /// Others of which something hangs on a credential of this one's.
    told: parking_lot::Mutex<Vec<Weak<Account>>>,
}

/// The parts of a user that never change.
#[derive(Debug)]
pub(crate) struct AccountUser {
    pub(crate) id: UserId,
    pub(crate) username: Username,
}

impl Entry {
    /// `idle`: how long a sign-in may lie unused.
    pub(crate) fn new(
        row: &CredentialRow,
        account: Arc<Account>,
        parent: Parent,
        read_at: Revision,
        idle: Duration,
    ) -> Self {
        let after = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        let used_at = row.used_at.map(Timestamp::millis);
        let idle = used_at.map(|at| Box::new(Idle { after, used_at: AtomicI64::new(at) }));
        let expires_at = row.expires_at.map_or(NEVER, Timestamp::millis);
        Self {
            id: row.id,
            hash: row.hash,
            kind: row.kind,
            account,
            agent: None,
            scopes: row.scopes.clone(),
            granted: row.granted,
            parent,
            ended: AtomicBool::new(row.revoked),
            halted: AtomicBool::new(false),
            expires_at: AtomicI64::new(expires_at),
            read_at: AtomicU64::new(read_at.0),
            noted_at: AtomicI64::new(used_at.unwrap_or(0)),
            uses: AtomicU32::new(0),
            idle,
            worker: None,
        }
    }

    /// A worker token whose signature was checked. There is no row of it, and no other entry.
    pub(crate) fn of_worker(
        worker: Worker,
        agent: Arc<AgentEntry>,
        parent: Parent,
        ends_at: Timestamp,
    ) -> Self {
        let claims = &worker.claims;
        Self {
            id: claims.id,
            hash: None,
            kind: CredentialKind::Worker,
            account: agent.account.clone(),
            agent: Some(agent),
            scopes: claims.scopes.clone(),
            granted: false,
            parent,
            ended: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            expires_at: AtomicI64::new(ends_at.millis()),
            read_at: AtomicU64::new(0),
            noted_at: AtomicI64::new(0),
            uses: AtomicU32::new(0),
            idle: None,
            worker: Some(Box::new(worker)),
        }
    }

    /// What it may be used for at most by an owner of that role. A credential's own scopes count only within it, so a demoted
    /// admin's tokens shrink at once.
    pub(crate) fn ceiling(&self, role: Role) -> Scopes {
        if self.granted { Scopes::grantable(role) } else { Scopes::ceiling(role) }
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Refuses it from now on in this process, whatever the store says.
    pub(crate) fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// Whether somebody ended it, by itself, with all tokens of its owner, or with its owner.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.worker.as_ref().is_some_and(|worker| worker.is_revoked())
            || (self.worker.is_some() && self.account.has_ended_workers(self.id))
            || self.account.gone.load(Ordering::Acquire)
            || self.halted.load(Ordering::Acquire)
            || (self.is_token()
                && self.account.tokens_ended_at.load(Ordering::Acquire)
                    > self.read_at.load(Ordering::Acquire))
    }

    /// Whether this process let it in since then.
    pub(crate) fn used_since(&self, since: Timestamp) -> bool {
        self.noted_at.load(Ordering::Relaxed) >= since.millis()
    }

    /// Whether it is among what "all tokens" means.
    pub(crate) fn is_token(&self) -> bool {
        matches!(self.kind, CredentialKind::Token | CredentialKind::Legacy)
    }

    /// Is being used: neither it nor what it hangs on lies idle.
    pub(crate) fn touch(&self, now: Timestamp) {
        if let Some(idle) = &self.idle
            && idle.used_at.load(Ordering::Relaxed) < now.millis()
        {
            idle.used_at.fetch_max(now.millis(), Ordering::Relaxed);
        }
        if let Parent::Entry(parent) = &self.parent {
            parent.touch(now);
        }
    }

    /// Whether it was used since its use was last put down for writing, so long ago that it should be again.
    pub(crate) fn is_unnoted(&self, now: Timestamp, after: Duration) -> bool {
        let used_at = self.idle.as_ref().map_or(0, |idle| idle.used_at.load(Ordering::Relaxed));
        let noted_at = self.noted_at.load(Ordering::Relaxed);
        used_at > noted_at && now.since(Timestamp::from_millis(noted_at)) >= after
    }

    /// Whether it ends by not being used.
    pub(crate) fn can_lie_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// Whoever goes on using it says so at least this often.
    pub(crate) fn touch_every(&self) -> Option<Duration> {
        let own = self.idle.as_ref().map(|idle| Duration::from_millis(idle.after.unsigned_abs() / 2));
        let parents = match &self.parent {
            Parent::Entry(parent) => parent.touch_every(),
            Parent::None | Parent::Gone => None,
        };
        own.into_iter().chain(parents).min()
    }

    /// When it ends by itself however it is used; also the end of whatever it hangs on, if that comes first.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let mut earliest = self.expires_at.load(Ordering::Acquire);
        let mut parent = &self.parent;
        while let Parent::Entry(entry) = parent {
            earliest = earliest.min(entry.expires_at.load(Ordering::Acquire));
            parent = &entry.parent;
        }
        (earliest != NEVER).then(|| Timestamp::from_millis(earliest))
    }

    /// The end of whatever it hangs on.
    pub(crate) fn parent_deadline(&self) -> Option<Timestamp> {
        match &self.parent {
            Parent::Entry(parent) => parent.deadline(),
            Parent::None | Parent::Gone => None,
        }
    }

    /// Whether it may be used at our own doors (`None`), or on that route: only a worker token says where.
    pub(crate) fn expect_audience(&self, route: Option<&RouteName>) -> Result<(), Refusal> {
        self.worker.as_ref().map_or(Ok(()), |worker| worker.expect_audience(route))
    }

    /// What a route's list takes it for: a sign-in by a token that nobody owns is no more than that token.
    pub(crate) fn admitted_as(&self) -> CredentialKind {
        match &self.parent {
            Parent::Entry(parent) if self.account.user.is_none() => parent.admitted_as(),
            _ => self.kind,
        }
    }

    /// Whether the credential stands at `now`, and with which role. The one place where that is decided: for each
    /// request, and again for each open connection when anything changed.
    pub(crate) fn judge(&self, now: Timestamp) -> Result<Option<Role>, Denial> {
        // First, since it says more: with the account all its credentials end too.
        let role = self.account.judge()?;
        if let Some(agent) = &self.agent {
            agent.judge()?;
        }
        if self.has_ended() {
            return Err(Denial::Revoked);
        }
        if self.has_expired(now) {
            return Err(Denial::Expired);
        }
        if let Some(worker) = &self.worker {
            worker.judge(now)?;
        }
        let mut parent = &self.parent;
        loop {
            match parent {
                Parent::None => break,
                Parent::Gone => return Err(Denial::ParentEnded),
                Parent::Entry(entry) => {
                    // What an admin minted for somebody else hangs on the admin's own account, too.
                    let is_foreign = !Arc::ptr_eq(&entry.account, &self.account);
                    if entry.has_ended()
                        || entry.has_expired(now)
                        || (is_foreign && entry.account.judge().is_err())
                    {
                        return Err(Denial::ParentEnded);
                    }
                    parent = &entry.parent;
                }
            }
        }
        Ok(role)
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        let lies_idle =
            |idle: &Idle| now.millis() >= idle.used_at.load(Ordering::Relaxed).saturating_add(idle.after);
        now.millis() >= self.expires_at.load(Ordering::Acquire) || self.idle.as_deref().is_some_and(lies_idle)
    }

    pub(crate) fn update(&self, row: &CredentialRow, read_at: Revision) {
        self.read_at.store(read_at.0, Ordering::Release);
        self.expires_at.store(row.expires_at.map_or(NEVER, Timestamp::millis), Ordering::Release);
        self.ended.store(row.revoked, Ordering::Release);
        if let Some((idle, used_at)) = self.idle.as_ref().zip(row.used_at) {
            idle.used_at.fetch_max(used_at.millis(), Ordering::Relaxed);
        }
    }
}

impl Account {
    pub(crate) fn of(row: &UserRow, cuts: Arc<Cuts>) -> Self {
        let account = Self::bare(Some(AccountUser { id: row.id, username: row.username.clone() }), cuts);
        account.update(row);
        account
    }

    pub(crate) fn ownerless(cuts: Arc<Cuts>) -> Self {
        Self::bare(None, cuts)
    }

    fn bare(user: Option<AccountUser>, cuts: Arc<Cuts>) -> Self {
        Self {
            user,
            disabled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            admin: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            tokens_ended_at: AtomicU64::new(0),
            workers_ended_at: AtomicI64::new(NOT_YET),
            worker_spared: AtomicU64::new(0),
            ending_workers: parking_lot::Mutex::default(),
            display_name: Mutex::new(None),
            cuts,
            leases: Mutex::new(Slab::new()),
            told: parking_lot::Mutex::default(),
        }
    }

    /// Has the leases of another account look again whenever its own do.
    pub(crate) fn tell(self: &Arc<Self>, other: &Arc<Self>) {
        if Arc::ptr_eq(self, other) {
            return;
        }
        let mut told = self.told.lock();
        told.retain(|known| known.strong_count() > 0);
        if !told.iter().any(|known| Weak::as_ptr(known) == Arc::as_ptr(other)) {
            told.push(Arc::downgrade(other));
        }
    }

    /// What its user may do at most, now; `None` for the account that no user has.
    pub(crate) fn role(&self) -> Option<Role> {
        let role = if self.admin.load(Ordering::Acquire) { Role::Admin } else { Role::User };
        self.user.is_some().then_some(role)
    }

    pub(crate) fn display_name(&self) -> Option<DisplayName> {
        self.display_name.lock().clone()
    }

    /// Asks every lease that rests on this account to look again. Call it after the change is in the view, never
    /// before: a lease that looked in between would find nothing new.
    pub(crate) fn poke(&self) {
        self.poke_own();
        let told = self.told.lock().clone();
        for other in told.iter().filter_map(Weak::upgrade) {
            other.poke_own();
        }
    }

    fn poke_own(&self) {
        for (_, lease) in self.leases.lock().iter() {
            lease.poke();
        }
    }

    /// Refuses all its credentials from now on in this process, whatever the store says; or does so no more.
    pub(crate) fn halt(&self, yes: bool) {
        self.halted.store(yes, Ordering::Release);
    }

    /// Whether anything may rest on it now, and with which role.
    pub(crate) fn judge(&self) -> Result<Option<Role>, Denial> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Denial::OwnerGone);
        }
        if self.disabled.load(Ordering::Acquire) {
            return Err(Denial::OwnerDisabled);
        }
        if self.halted.load(Ordering::Acquire) {
            return Err(Denial::Halted);
        }
        Ok(self.role())
    }

    /// Ends all worker tokens that were made until then, but a family.
    pub(crate) fn end_workers(&self, all: AllEnded) {
        let _one = self.ending_workers.lock();
        if self.workers_ended_at.load(Ordering::Acquire) <= all.at.millis() {
            let spared = all.spared.map_or(0, |family| u64::from_be_bytes(family.bytes()));
            // First, so that nobody finds the one that is spared ended.
            self.worker_spared.store(spared, Ordering::Release);
            self.workers_ended_at.store(all.at.millis(), Ordering::Release);
        }
    }

    /// Whether the worker token of this id is among those that were all ended.
    fn has_ended_workers(&self, id: CredentialId) -> bool {
        let at = self.workers_ended_at.load(Ordering::Acquire);
        let spared = self.worker_spared.load(Ordering::Acquire);
        at != NOT_YET
            && AllEnded {
                at: Timestamp::from_millis(at),
                spared: Some(Family::from_bytes(spared.to_be_bytes())),
            }
            .ends(id)
    }

    pub(crate) fn update(&self, row: &UserRow) {
        row.workers_ended.into_iter().for_each(|all| self.end_workers(all));
        self.disabled.store(row.disabled, Ordering::Release);
        self.admin.store(row.role == Role::Admin, Ordering::Release);
        *self.display_name.lock() = Some(row.display_name.clone());
    }
}
