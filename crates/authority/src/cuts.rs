//! What is cut now, as every decision sees it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::credential::{CredentialKind, is_expired};
use fallgate_domain::cut::{CutNotice, CutReason};
use fallgate_domain::id::{CutId, UserId};
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Role;
use fallgate_store::{CutOn, CutRow};

use crate::entry::{Entry, Parent};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The cuts, also some whose time is over. Every account has them, so that whatever rests on one is judged by them.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// Whether there are any. As long as there are none, a decision looks no further.
    any: AtomicBool,
    /// As of the last change; whoever decides waits for nobody.
    known: ArcSwap<Known>,
    /// Held while they change.
    changing: Mutex<()>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    /// Oldest first, for each thing.
    on: HashMap<CutOn, Vec<StandingCut>>,
    ids: HashMap<CutId, CutOn>,
    /// When the last of them ends; none: one has no end.
    last_end: Option<Timestamp>,
}

/// A cut that stops something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandingCut {
    pub(crate) id: CutId,
    reason: Option<CutReason>,
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
        Self { any: AtomicBool::new(false), known: ArcSwap::default(), changing: Mutex::new(()), clock }
    }

    /// Those that there are, if any may stand now.
    fn standing(&self) -> Option<(Guard<Arc<Known>>, Timestamp)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let (known, now) = (self.known.load(), self.clock.now());
        if is_expired(known.last_end, now) {
            self.change(|known| known.forget_expired(now));
            return None;
        }
        Some((known, now))
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let changing = self.changing.lock();
        let mut known = Known::clone(&self.known.load());
        change(&mut known);
        known.last_end = known.last_end();
        let any = !known.ids.is_empty();
        self.known.store(Arc::new(known));
        self.any.store(any, Ordering::Release);
        drop(changing);
    }

    /// The cut that stops this now, if one does.
    pub(crate) fn stopping(&self, asked: Asked<'_>) -> Option<StandingCut> {
        let (known, now) = self.standing()?;
        let spared = asked.mends && asked.entry.is_some_and(|(entry, role)| is_admins_sign_in(entry, role));
        let everything = || if spared { None } else { known.first(&CutOn::Everything, now) };
        let caller = || asked.entry.and_then(|(entry, _)| known.on_caller(entry, now));
        let route = || asked.route.and_then(|name| known.first(&CutOn::Route(name.clone()), now));
        everything().or_else(caller).or_else(route).cloned()
    }

    /// The cut that keeps a user from signing in now, if one does.
    pub(crate) fn on_sign_in(&self, user: UserId, role: Role) -> Option<StandingCut> {
        let (known, now) = self.standing()?;
        // Somebody has to be able to come and lift it.
        let everything = known.first(&CutOn::Everything, now).filter(|_| role != Role::Admin);
        everything.or_else(|| known.first(&CutOn::User(user), now)).cloned()
    }

    /// Whether a cut on just that stands now.
    pub(crate) fn is_on(&self, on: &CutOn) -> bool {
        self.standing().is_some_and(|(known, now)| known.first(on, now).is_some())
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
        self.change(|known| {
            known.forget(id);
            if !unwritten {
                known.forget_unwritten(&on);
            }
            let cuts = known.on.entry(on.clone()).or_default();
            cuts.push(StandingCut { id, reason, expires_at, unwritten });
            known.ids.insert(id, on);
        });
    }

    /// Those that the store has, or had.
    pub(crate) fn written(&self) -> Vec<CutId> {
        let known = self.known.load();
        known.on.values().flatten().filter(|cut| !cut.unwritten).map(|cut| cut.id).collect()
    }

    /// Takes one out that does not stand any more.
    pub(crate) fn forget(&self, id: CutId) {
        self.change(|known| known.forget(id));
    }
}

impl StandingCut {
    /// What whoever it stops is told.
    pub(crate) fn notice(&self) -> CutNotice {
        CutNotice { reason: self.reason.clone(), until: self.expires_at }
    }
}

impl Known {
    fn first(&self, on: &CutOn, now: Timestamp) -> Option<&StandingCut> {
        self.on.get(on)?.iter().find(|cut| !is_expired(cut.expires_at, now))
    }

    /// On the owner, on the agent, on the credential, or on something that it hangs on.
    fn on_caller(&self, entry: &Entry, now: Timestamp) -> Option<&StandingCut> {
        let owner = entry.account.user.as_ref();
        let on_owner = owner.and_then(|user| self.first(&CutOn::User(user.id), now));
        let on_agent = || entry.agent.as_ref().and_then(|agent| self.first(&CutOn::Agent(agent.id), now));
        on_owner.or_else(on_agent).or_else(|| {
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

    fn last_end(&self) -> Option<Timestamp> {
        let ends: Option<Vec<_>> = self.on.values().flatten().map(|cut| cut.expires_at).collect();
        ends?.into_iter().max()
    }

    fn forget_expired(&mut self, now: Timestamp) {
        let over = self.on.values().flatten().filter(|cut| is_expired(cut.expires_at, now));
        let ids: Vec<_> = over.map(|cut| cut.id).collect();
        for id in ids {
            self.forget(id);
        }
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
