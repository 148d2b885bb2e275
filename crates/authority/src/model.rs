//! What `tests/model.rs` explores: one registration against one revocation or cut, in every interleaving, on the real
//! [`Entry`], [`Account`](crate::entry::Account), [`Cuts`](crate::cuts::Cuts) and [`Lease`](crate::Lease).

use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::clock::{Clock, TestClock, Timestamp};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::entropy::TestEntropy;
use fallgate_domain::id::{CredentialId, CutId, UserId};
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::Admission;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::Role;
use fallgate_store::{CredentialRow, CutOn, CutRow, Revision, UserRow};

use crate::cuts::Cuts;
use crate::entry::{Account, Entry, Parent};
use crate::lease::{Lease, Need};
use crate::live::Live;
use crate::permit::{RoutePolicy, Terms};

/// One credential and its account, a route, and where strangers hang.
#[derive(Debug, Clone)]
pub struct Subject {
    entry: Arc<Entry>,
    strangers: Arc<Account>,
    route: Arc<RoutePolicy>,
    cuts: Arc<Cuts>,
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
}

impl Subject {
    /// A good one.
    pub fn new() -> Self {
        let user = UserRow {
            id: UserId::from_bytes([1; 16]),
            username: "alice".parse().unwrap_or_else(|_| unreachable!("a constant")),
            display_name: "Alice".parse().unwrap_or_else(|_| unreachable!("a constant")),
            role: Role::User,
            disabled: false,
        };
        let row = CredentialRow {
            id: CredentialId::from_bytes([2; 16]),
            kind: CredentialKind::Token,
            owner: Some(user.id),
            parent: None,
            hash: None,
            scopes: Scopes::plain([PlainScope::RoutesUse]),
            expires_at: None,
            revoked: false,
            used_at: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(TestClock::at(Timestamp::from_millis(0)));
        let cuts = Arc::new(Cuts::new(clock.clone()));
        let entry = Arc::new(Entry::new(
            &row,
            Arc::new(Account::of(&user, cuts.clone())),
            Parent::None,
            Revision(0),
            Duration::from_hours(1),
        ));
        let strangers = Arc::new(Account::ownerless(cuts.clone()));
        let name = "llmux".parse().unwrap_or_else(|_| unreachable!("a constant"));
        let route = Arc::new(
            RoutePolicy::new(name, Admission::default())
                .on(Terms { public: vec![open()], ..Terms::default() }),
        );
        let live = Arc::new(Live::new(clock.clone(), Arc::new(TestEntropy::default())));
        Self { entry, strangers, route, cuts, clock, live }
    }

    /// Lets a caller in as the verifier does: register, then read. Tells whether they were let in.
    pub fn enter(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let registered = lease.handle().rest_on(&self.entry);
        let stands = self.entry.judge(self.clock.now()).is_ok();
        (lease, registered && stands)
    }

    /// The same with the two steps swapped, to show that the model notices.
    pub fn enter_in_the_wrong_order(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let stands = self.entry.judge(self.clock.now()).is_ok();
        let registered = lease.handle().rest_on(&self.entry);
        (lease, registered && stands)
    }

    /// Ends the credential as the view does: commit, then cut.
    pub fn revoke(&self) {
        self.entry.end();
        self.entry.account.poke();
    }

    /// The same with the two steps swapped.
    pub fn revoke_in_the_wrong_order(&self) {
        self.entry.account.poke();
        self.entry.end();
    }

    /// Lets a caller use the route as the verifier does: register, then read.
    pub fn use_route(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let registered = lease.handle().rest_on(&self.entry);
        let stands = self.entry.judge(self.clock.now()).is_ok();
        let need = Need::Route { route: self.route.clone(), by_cookie: false };
        lease.handle().need(need.clone());
        (lease, registered && stands && need.check(&self.entry, self.entry.account.role()).is_ok())
    }

    /// The same with the two steps swapped.
    pub fn use_route_in_the_wrong_order(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let need = Need::Route { route: self.route.clone(), by_cookie: false };
        let permitted = need.check(&self.entry, self.entry.account.role()).is_ok();
        let registered = lease.handle().rest_on(&self.entry);
        lease.handle().need(need);
        (lease, registered && permitted)
    }

    /// Lets a stranger pass to a public path of the route.
    pub fn pass_public(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let need = self.public();
        let registered = lease.handle().rest_on_route(&self.strangers, need.clone());
        (lease, registered && need.check_stranger(&self.strangers).is_ok())
    }

    /// The same with the two steps swapped.
    pub fn pass_public_in_the_wrong_order(&self) -> (Lease, bool) {
        let lease = Lease::new(self.clock.clone(), self.live.clone());
        let need = self.public();
        let passed = need.check_stranger(&self.strangers).is_ok();
        let registered = lease.handle().rest_on_route(&self.strangers, need);
        (lease, registered && passed)
    }

    /// Cuts the credential's owner as the view does: commit, then cut.
    pub fn cut_user(&self) {
        if let Some(user) = &self.entry.account.user {
            self.cuts.take(cut_on(CutOn::User(user.id)));
        }
        self.entry.account.poke();
    }

    /// The same with the two steps swapped.
    pub fn cut_user_in_the_wrong_order(&self) {
        self.entry.account.poke();
        if let Some(user) = &self.entry.account.user {
            self.cuts.take(cut_on(CutOn::User(user.id)));
        }
    }

    /// Cuts the route, for callers and strangers.
    pub fn cut_route(&self) {
        self.cuts.take(cut_on(CutOn::Route(self.route.name.clone())));
        self.poke_all();
    }

    /// The same with the two steps swapped.
    pub fn cut_route_in_the_wrong_order(&self) {
        self.poke_all();
        self.cuts.take(cut_on(CutOn::Route(self.route.name.clone())));
    }

    /// Cuts everything.
    pub fn cut_everything(&self) {
        self.cuts.take(cut_on(CutOn::Everything));
        self.poke_all();
    }

    fn public(&self) -> Need {
        Need::public(&self.route, &open())
    }

    fn poke_all(&self) {
        self.entry.account.poke();
        self.strangers.poke();
    }

    /// Whether nobody is let in and left alone: who was let in before the end has been told to look again, and
    /// finds the end when they do.
    pub fn is_sound(lease: &Lease, let_in: bool) -> bool {
        !let_in || (lease.was_poked() && lease.judge().is_some())
    }
}

fn open() -> CanonicalPath<'static> {
    CanonicalPath::parse(b"/open").unwrap_or_else(|_| unreachable!("a constant"))
}

fn cut_on(on: CutOn) -> CutRow {
    CutRow { id: CutId::from_bytes([3; 16]), on, reason: None, expires_at: None }
}

impl Default for Subject {
    fn default() -> Self {
        Self::new()
    }
}
