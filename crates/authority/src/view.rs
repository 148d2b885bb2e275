//! What the store says of credentials and their owners, in memory. A view proves that it is current before each use
//! (see [`crate::fresh`]); nothing here has a time to live. What changed is taken in by `apply`.

mod apply;

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering, fence};
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Clock;
use fallgate_domain::id::{AgentId, CredentialId, CutId, UserId};
use fallgate_domain::token::TokenHash;
use fallgate_store::{CutOn, Revision};

pub(crate) use self::apply::Orphans;
use crate::agent_entry::AgentEntry;
use crate::closing::{Closing, Closings};
use crate::cuts::Cuts;
use crate::entry::{Account, Entry, Parent};
use crate::workers::Workers;

/// An entry under the hash of its secret: the key lies in the entry, once.
#[derive(Debug)]
struct ByHash(Arc<Entry>);

/// An entry under its id.
#[derive(Debug)]
struct ById(Arc<Entry>);

macro_rules! keyed {
    ($name:ident, $key:ty, $field:ident) => {
        impl Borrow<$key> for $name {
            fn borrow(&self) -> &$key {
                &self.0.$field
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.$field.hash(state);
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.$field == other.0.$field
            }
        }

        impl Eq for $name {}
    };
}

keyed!(ByHash, Option<TokenHash>, hash);
keyed!(ById, CredentialId, id);

/// A token's hash is as good as random already.
#[derive(Debug, Default)]
struct TakeFirstBytes(u64);

impl Hasher for TakeFirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// Lengths and discriminants, which are the same for every key.
    fn write_usize(&mut self, _: usize) {}

    fn write_isize(&mut self, _: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Everything the verifier knows, at one revision of the store.
#[derive(Debug)]
pub(crate) struct View {
    by_hash: papaya::HashSet<ByHash, BuildHasherDefault<TakeFirstBytes>>,
    by_id: papaya::HashSet<ById>,
    accounts: papaya::HashMap<UserId, Arc<Account>>,
    /// Those that somebody made.
    agents: papaya::HashMap<AgentId, Arc<AgentEntry>>,
    agents_by_name: papaya::HashMap<AgentName, Arc<AgentEntry>>,
    ownerless: Arc<Account>,
    /// Where what needs nobody hangs: requests for public paths.
    strangers: Arc<Account>,
    pub(crate) cuts: Arc<Cuts>,
    /// What the last of them closed.
    pub(crate) closings: Closings,
    pub(crate) workers: Arc<Workers>,
    login_idle: Duration,
    revision: StdAtomicU64,
    /// Odd while a change is being taken in. A reader that sees it odd, or changed when it is done, reads again: so
    /// no decision mixes two revisions, and readers take no lock.
    generation: StdAtomicU64,
}

impl View {
    /// `login_idle`: how long a sign-in may lie unused. `skew`: by how much another's clock may differ.
    pub(crate) fn new(login_idle: Duration, skew: Duration, clock: Arc<dyn Clock>) -> Self {
        let cuts = Arc::new(Cuts::new(clock));
        Self {
            by_hash: papaya::HashSet::with_hasher(BuildHasherDefault::default()),
            by_id: papaya::HashSet::new(),
            accounts: papaya::HashMap::new(),
            agents: papaya::HashMap::new(),
            agents_by_name: papaya::HashMap::new(),
            ownerless: Arc::new(Account::ownerless(cuts.clone())),
            strangers: Arc::new(Account::ownerless(cuts.clone())),
            cuts,
            closings: Closings::default(),
            workers: Arc::new(Workers::new(skew)),
            login_idle,
            revision: StdAtomicU64::new(0),
            generation: StdAtomicU64::new(0),
        }
    }

    /// Makes room for so many credentials, so that the tables do not grow step by step while they come.
    pub(crate) fn reserve(&self, credentials: usize) {
        self.by_hash.pin().reserve(credentials);
        self.by_id.pin().reserve(credentials);
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(StdOrdering::Acquire))
    }

    pub(crate) fn set_revision(&self, revision: Revision) {
        self.revision.store(revision.0, StdOrdering::Release);
    }

    /// What ends by lying idle and has something open that rests on it, or on what hangs on it.
    pub(crate) fn held(&self) -> Vec<Arc<Entry>> {
        let mut held = Vec::new();
        for account in self.accounts.pin().values() {
            let leases = account.leases.lock();
            for (_, lease) in leases.iter() {
                let mut link = lease.credential();
                while let Some(entry) = link {
                    link = match &entry.parent {
                        Parent::Entry(parent) => Some(parent.clone()),
                        Parent::None | Parent::Gone => None,
                    };
                    if entry.can_lie_idle() {
                        held.push(entry);
                    }
                }
            }
        }
        held
    }

    pub(crate) fn has_users(&self) -> bool {
        !self.accounts.is_empty()
    }

    pub(crate) fn entry(&self, hash: &TokenHash) -> Option<Arc<Entry>> {
        self.by_hash.pin().get(&Some(*hash)).map(|found| found.0.clone())
    }

    /// Reads something that must belong to one revision. `None`: a change is being taken in; wait for it and ask
    /// again.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Self) -> T) -> Option<T> {
        let before = self.generation.load(StdOrdering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let value = read(self);
        fence(StdOrdering::Acquire);
        (self.generation.load(StdOrdering::Relaxed) == before).then_some(value)
    }

    /// The credential of that id.
    pub(crate) fn entry_of(&self, id: CredentialId) -> Option<Arc<Entry>> {
        self.by_id.pin().get(&id).map(|found| found.0.clone())
    }

    /// The account of that user.
    pub(crate) fn account(&self, id: UserId) -> Option<Arc<Account>> {
        self.accounts.pin().get(&id).cloned()
    }

    /// The agent of that id: one that somebody made, or the one that somebody has without making it.
    pub(crate) fn agent(&self, id: AgentId) -> Option<Arc<AgentEntry>> {
        let made = self.agents.pin().get(&id).cloned();
        made.or_else(|| AgentEntry::implicit(&self.account(UserId::from_bytes(id.bytes()))?).map(Arc::new))
    }

    /// The agent of that name, likewise.
    pub(crate) fn agent_named(&self, name: &AgentName) -> Option<Arc<AgentEntry>> {
        let made = self.agents_by_name.pin().get(name).cloned();
        made.or_else(|| {
            let is_theirs = |account: &&Arc<Account>| {
                account.user.as_ref().is_some_and(|user| user.username.as_str() == name.as_str())
            };
            let accounts = self.accounts();
            accounts.iter().find(is_theirs).and_then(AgentEntry::implicit).map(Arc::new)
        })
    }

    /// Every account, and the one that stands for credentials nobody owns.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        let beside = [self.ownerless.clone(), self.strangers.clone()];
        self.accounts.pin().values().cloned().chain(beside).collect()
    }

    /// The account that stands for whoever needs no credential.
    pub(crate) fn strangers(&self) -> &Arc<Account> {
        &self.strangers
    }

    /// Asks every lease to look again. Call it after what changed can be seen, never before.
    pub(crate) fn poke_all(&self) {
        for account in self.accounts() {
            account.poke();
        }
    }

    /// Counts what a cut closes that was taken in already, and remembers it; tells whose leases should look again.
    pub(crate) fn count_closing(&self, cut: CutId, on: &CutOn) -> Vec<Arc<Account>> {
        let concerned = match on {
            CutOn::User(id) => self.account(*id).into_iter().collect(),
            // What hangs on it has the same owner.
            CutOn::Credential(id) => {
                self.entry_of(*id).map(|entry| entry.account.clone()).into_iter().collect()
            }
            CutOn::Agent(id) => self.agent(*id).map(|agent| agent.account.clone()).into_iter().collect(),
            CutOn::Route(_) | CutOn::Everything => self.accounts(),
        };
        let closing = Closing::of(cut);
        for account in &concerned {
            // Not while the list is locked: whoever registers holds the other lock first.
            let leases: Vec<_> = account.leases.lock().iter().map(|(_, lease)| lease.clone()).collect();
            for lease in leases {
                lease.count_if_cut_by(cut, &closing);
            }
        }
        self.closings.remember(closing);
        concerned
    }

    /// Walks through every credential.
    pub(crate) fn each(&self, mut give: impl FnMut(&Arc<Entry>)) {
        self.by_id.pin().iter().for_each(|ById(entry)| give(entry));
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests;
