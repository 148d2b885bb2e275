//! What `tests/model.rs` explores: one registration against one revocation, in every interleaving, on the real
//! [`Entry`], [`Account`](crate::entry::Account) and [`Lease`](crate::Lease).

use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::clock::{Clock, TestClock, Timestamp};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::entropy::TestEntropy;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Role;
use fallgate_store::{CredentialRow, Revision, UserRow};

use crate::entry::{Account, Entry, Parent};
use crate::lease::Lease;
use crate::live::Live;

/// One credential and its account.
#[derive(Debug, Clone)]
pub struct Subject {
    entry: Arc<Entry>,
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
            scopes: Scopes::none(),
            expires_at: None,
            revoked: false,
            used_at: None,
        };
        let entry = Arc::new(Entry::new(
            &row,
            Arc::new(Account::of(&user)),
            Parent::None,
            Revision(0),
            Duration::from_hours(1),
        ));
        let clock: Arc<dyn Clock> = Arc::new(TestClock::at(Timestamp::from_millis(0)));
        let live = Arc::new(Live::new(clock.clone(), Arc::new(TestEntropy::default())));
        Self { entry, clock, live }
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

    /// Whether nobody is let in and left alone: who was let in before the end has been told to look again, and
    /// finds the end when they do.
    pub fn is_sound(lease: &Lease, let_in: bool) -> bool {
        !let_in || (lease.was_poked() && lease.judge().is_some())
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self::new()
    }
}
