//! What is cut now, as every decision sees it.

use std::collections::HashMap;
use std::sync::Arc;

use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::credential::{CredentialKind, is_expired};
use fallgate_domain::cut::CutReason;
use fallgate_domain::id::{CutId, UserId};
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Role;
use fallgate_store::{CutOn, CutRow};

use crate::entry::{Entry, Parent};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The cuts, also those whose time is over. Every account has them, so that whatever rests on one is judged by them.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// Whether there are any. As long as there are none, a decision looks no further.
    any: AtomicBool,
    known: Mutex<Known>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Known {
    /// Oldest first, for each thing.
    on: HashMap<CutOn, Vec<StandingCut>>,
    ids: HashMap<CutId, CutOn>,
}

/// A cut that stops something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandingCut {
    pub(crate) id: CutId,
    pub(crate) reason: Option<CutReason>,
    expires_at: Option<Timestamp>,
    /// This process alone keeps to it: the store could not be told.
    unwritten: bool,
}

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// With which credential, and with which role its owner has now; none for what needs nobody.
    pub(crate) entry: Option<(&'a Entry, Option<Role>)>,
    /// For which route.
    pub(crate) route: Option<&'a RouteName>,
    /// Whether it is what an admin's sign-in may do while everything is cut.
    pub(crate) mends: bool,
}

impl Cuts {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { any: AtomicBool::new(false), known: Mutex::new(Known::default()), clock }
    }

    /// The cut that stops this now, if one does.
    pub(crate) fn stopping(&self, asked: Asked<'_>) -> Option<StandingCut> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let now = self.clock.now();
        let known = self.known.lock();
        let spared = asked.mends && asked.entry.is_some_and(|(entry, role)| is_admins_sign_in(entry, role));
        let everything = || if spared { None } else { known.first(&CutOn::Everything, now) };
        let caller = || asked.entry.and_then(|(entry, _)| known.on_caller(entry, now));
        let route = || asked.route.and_then(|name| known.first(&CutOn::Route(name.clone()), now));
        everything().or_else(caller).or_else(route).cloned()
    }

    /// The cut that keeps a user from signing in now, if one does.
    pub(crate) fn on_sign_in(&self, user: UserId, role: Role) -> Option<StandingCut> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let now = self.clock.now();
        let known = self.known.lock();
        // Somebody has to be able to come and lift it.
        let everything = known.first(&CutOn::Everything, now).filter(|_| role != Role::Admin);
        everything.or_else(|| known.first(&CutOn::User(user), now)).cloned()
    }

    /// Takes in a cut. Call it before whatever it ends is asked to look again.
    pub(crate) fn take(&self, row: CutRow) {
        self.insert(row, false);
    }

    /// The same with one that could not be written down. It goes once one on the same thing could.
    pub(crate) fn take_unwritten(&self, row: CutRow) {
        self.insert(row, true);
    }

    fn insert(&self, row: CutRow, unwritten: bool) {
        let CutRow { id, on, reason, expires_at } = row;
        let mut known = self.known.lock();
        known.forget(id);
        if !unwritten {
            known.forget_unwritten(&on);
        }
        let cuts = known.on.entry(on.clone()).or_default();
        cuts.push(StandingCut { id, reason, expires_at, unwritten });
        known.ids.insert(id, on);
        self.any.store(true, Ordering::Release);
    }

    /// Takes one out that does not stand any more.
    pub(crate) fn forget(&self, id: CutId) {
        let mut known = self.known.lock();
        known.forget(id);
        self.any.store(!known.ids.is_empty(), Ordering::Release);
    }
}

impl Known {
    fn first(&self, on: &CutOn, now: Timestamp) -> Option<&StandingCut> {
        self.on.get(on)?.iter().find(|cut| !is_expired(cut.expires_at, now))
    }

    /// On the owner, on the credential, or on something that it hangs on.
    fn on_caller(&self, entry: &Entry, now: Timestamp) -> Option<&StandingCut> {
        let owner = entry.account.user.as_ref();
        let on_owner = owner.and_then(|user| self.first(&CutOn::User(user.id), now));
        on_owner.or_else(|| {
            let mut link = Some(entry);
            while let Some(entry) = link {
                if let Some(cut) = self.first(&CutOn::Credential(entry.id), now) {
                    return Some(cut);
                }
                link = match &entry.parent {
                    Parent::Entry(parent) => Some(parent),
                    Parent::None | Parent::Gone => None,
                };
            }
            None
        })
    }

    fn forget_unwritten(&mut self, on: &CutOn) {
        let unwritten = self.on.get(on).into_iter().flatten().filter(|cut| cut.unwritten);
        let ids: Vec<_> = unwritten.map(|cut| cut.id).collect();
        for id in ids {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: CutId) {
        let Some(on) = self.ids.remove(&id) else { return };
        if let Some(cuts) = self.on.get_mut(&on) {
            cuts.retain(|cut| cut.id != id);
            if cuts.is_empty() {
                self.on.remove(&on);
            }
        }
    }
}

fn is_admins_sign_in(entry: &Entry, role: Option<Role>) -> bool {
    entry.kind == CredentialKind::Login && role == Some(Role::Admin)
}
