//! What the store says of credentials and their owners, in memory. A view proves that it is current before each use
//! (see [`crate::fresh`]); nothing here has a time to live.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering, fence};
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Clock;
use fallgate_domain::id::{AgentId, CredentialId, CutId, UserId};
use fallgate_domain::token::TokenHash;
use fallgate_store::{AgentRow, Changes, CredentialRow, CutOn, Gone, Revision, Row, UserRow};

use crate::agent_entry::AgentEntry;
use crate::closing::{Closing, Closings};
use crate::cuts::Cuts;
use crate::entry::{Account, Entry, Parent};
use crate::sync::Ordering;
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

/// Children that came before their parents: ids of one millisecond sort by chance, and clocks are set back.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Vec<CredentialRow>);

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

    /// Takes in what changed, then asks the leases that it may concern to look again. One caller at a time.
    pub(crate) fn apply(&self, changes: &Changes) {
        self.generation.fetch_add(1, StdOrdering::AcqRel);
        let missing = if changes.whole { self.missing_from(&changes.rows) } else { Vec::new() };
        let gone = changes.gone.iter().chain(&missing);
        let mut touched: Vec<Arc<Account>> = gone.filter_map(|gone| self.drop_gone(gone)).collect();
        let mut children = Orphans::default();
        for row in &changes.rows {
            touched.extend(self.take(row, changes.revision, &mut children));
        }
        self.adopt(children, changes.revision);
        // After the rows, which are those that still stand: a lease may look between the two.
        for owner in &changes.revoked_all {
            touched.extend(self.end_tokens(*owner, changes.revision));
        }
        self.set_revision(changes.revision);
        self.generation.fetch_add(1, StdOrdering::AcqRel);
        for row in &changes.rows {
            if let Row::Cut(cut) = row {
                touched.extend(self.count_closing(cut.id, &cut.on));
            }
        }
        // Whose a revoked worker token is, or what a dropped key has signed, is written nowhere.
        if changes.rows.iter().any(|row| matches!(row, Row::RevokedWorker(_) | Row::Keys(_))) {
            touched.extend(self.accounts());
        }
        touched.sort_by_key(|account| Arc::as_ptr(account).addr());
        touched.dedup_by(|a, b| Arc::ptr_eq(a, b));
        // Commit, then cut: the state above is visible before any lease is asked to look again. The other half of
        // the contract is in `Verifier::verify`: register, then read.
        for account in touched {
            account.poke();
        }
    }

    /// Takes in one row; tells whose leases should look again. A child whose parent has not come yet waits among the
    /// orphans until [`View::adopt`].
    pub(crate) fn take(&self, row: &Row, read_at: Revision, orphans: &mut Orphans) -> Option<Arc<Account>> {
        match row {
            Row::User(row) => Some(self.take_user(row)),
            Row::Agent(row) => Some(self.take_agent(row)),
            Row::Cut(row) => {
                self.cuts.take(row.clone());
                None
            }
            Row::Credential(row) => self.take_credential(row, read_at, orphans),
            Row::RevokedWorker(family) => {
                self.workers.take_revoked(*family);
                None
            }
            Row::Keys(keys) => {
                self.workers.take_keys(keys);
                None
            }
        }
    }

    /// Takes in the children whose parents came after them. Those whose parents never came hang on nothing.
    pub(crate) fn adopt(&self, mut orphans: Orphans, read_at: Revision) {
        loop {
            let waiting = std::mem::take(&mut orphans.0);
            let before = waiting.len();
            for row in waiting {
                self.take_credential(&row, read_at, &mut orphans);
            }
            if orphans.0.len() == before {
                break;
            }
        }
        for row in orphans.0 {
            self.insert(&row, Parent::Gone, read_at);
        }
    }

    fn take_user(&self, row: &UserRow) -> Arc<Account> {
        let accounts = self.accounts.pin();
        let account = accounts.get_or_insert_with(row.id, || Arc::new(Account::of(row, self.cuts.clone())));
        account.update(row);
        account.clone()
    }

    fn take_agent(&self, row: &AgentRow) -> Arc<Account> {
        let agents = self.agents.pin();
        let agent =
            agents.get_or_insert_with(row.id, || Arc::new(AgentEntry::of(row, self.account_of(row.owner))));
        agent.update(row);
        self.agents_by_name.pin().insert(row.name.clone(), agent.clone());
        agent.account.clone()
    }

    /// The account of whoever owns something. One that is not there is gone, and so is what they own.
    fn account_of(&self, owner: UserId) -> Arc<Account> {
        self.account(owner).unwrap_or_else(|| {
            let nobody = Account::ownerless(self.cuts.clone());
            nobody.gone.store(true, Ordering::Release);
            Arc::new(nobody)
        })
    }

    fn take_credential(
        &self,
        row: &CredentialRow,
        read_at: Revision,
        orphans: &mut Orphans,
    ) -> Option<Arc<Account>> {
        let by_id = self.by_id.pin();
        if let Some(ById(entry)) = by_id.get(&row.id) {
            entry.update(row, read_at);
            return Some(entry.account.clone());
        }
        let parent = match row.parent {
            None => Parent::None,
            Some(parent) => {
                let Some(ById(parent)) = by_id.get(&parent) else {
                    orphans.0.push(row.clone());
                    return None;
                };
                Parent::Entry(parent.clone())
            }
        };
        self.insert(row, parent, read_at);
        // Nothing can rest on what nobody has seen before.
        None
    }

    fn insert(&self, row: &CredentialRow, parent: Parent, read_at: Revision) {
        let account = match row.owner {
            None => self.ownerless.clone(),
            Some(owner) => self.account_of(owner),
        };
        let entry = Arc::new(Entry::new(row, account, parent, read_at, self.login_idle));
        self.by_id.pin().insert(ById(entry.clone()));
        if row.hash.is_some() {
            self.by_hash.pin().insert(ByHash(entry));
        }
    }

    /// Ends all tokens of an owner, or of everybody, that were read before.
    fn end_tokens(&self, owner: Option<UserId>, at: Revision) -> Vec<Arc<Account>> {
        let accounts = self.accounts.pin();
        let whose: Vec<_> = match owner {
            Some(owner) => accounts.get(&owner).cloned().into_iter().collect(),
            None => self.accounts(),
        };
        for account in &whose {
            account.tokens_ended_at.store(at.0, Ordering::Release);
        }
        whose
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

    /// What is held here and has no row among all there are.
    fn missing_from(&self, rows: &[Row]) -> Vec<Gone> {
        let there: HashSet<Gone> = rows
            .iter()
            .filter_map(|row| match row {
                Row::User(user) => Some(Gone::User(user.id)),
                Row::Cut(cut) => Some(Gone::Cut(cut.id)),
                Row::Credential(credential) => Some(Gone::Credential(credential.id)),
                Row::Agent(agent) => Some(Gone::Agent(agent.id)),
                Row::RevokedWorker(family) => Some(Gone::RevokedWorker(*family)),
                // There always are some.
                Row::Keys(_) => None,
            })
            .collect();
        let mut held: Vec<_> = self.accounts.pin().keys().copied().map(Gone::User).collect();
        held.extend(self.cuts.written().into_iter().map(Gone::Cut));
        held.extend(self.agents.pin().keys().copied().map(Gone::Agent));
        held.extend(self.workers.revoked().into_iter().map(Gone::RevokedWorker));
        self.each(|entry| held.push(Gone::Credential(entry.id)));
        held.retain(|one| !there.contains(one));
        held
    }

    fn drop_gone(&self, gone: &Gone) -> Option<Arc<Account>> {
        match gone {
            Gone::Cut(id) => {
                self.cuts.forget(*id);
                None
            }
            Gone::RevokedWorker(family) => {
                self.workers.forget_revoked(*family);
                None
            }
            Gone::User(id) => {
                let accounts = self.accounts.pin();
                let account = accounts.get(id)?.clone();
                accounts.remove(id);
                account.gone.store(true, Ordering::Release);
                Some(account)
            }
            Gone::Agent(id) => {
                let agents = self.agents.pin();
                let agent = agents.get(id)?.clone();
                agents.remove(id);
                let by_name = self.agents_by_name.pin();
                if by_name.get(&agent.name).is_some_and(|named| named.id == *id) {
                    by_name.remove(&agent.name);
                }
                agent.end();
                Some(agent.account.clone())
            }
            Gone::Credential(id) => {
                let by_id = self.by_id.pin();
                let ById(entry) = by_id.get(id)?;
                let entry = entry.clone();
                by_id.remove(id);
                self.by_hash.pin().remove(&entry.hash);
                entry.end();
                Some(entry.account.clone())
            }
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use fallgate_domain::clock::{TestClock, Timestamp};
    use fallgate_domain::credential::CredentialKind;
    use fallgate_domain::scope::Scopes;
    use fallgate_domain::user::Role;

    use super::*;
    use crate::refusal::Denial;

    fn row(id: u8, parent: Option<u8>) -> CredentialRow {
        CredentialRow {
            id: CredentialId::from_bytes([id; 16]),
            kind: CredentialKind::Legacy,
            owner: None,
            parent: parent.map(|parent| CredentialId::from_bytes([parent; 16])),
            hash: Some(TokenHash::from_bytes([id; 32])),
            scopes: Scopes::none(),
            granted: false,
            expires_at: None,
            revoked: false,
            used_at: None,
        }
    }

    fn view_of(rows: Vec<CredentialRow>) -> View {
        let view = View::new(
            Duration::from_hours(1),
            Duration::ZERO,
            Arc::new(TestClock::at(Timestamp::from_millis(0))),
        );
        let rows = rows.into_iter().map(Row::Credential).collect();
        view.apply(&Changes {
            revision: Revision(1),
            rows,
            gone: Vec::new(),
            revoked_all: Vec::new(),
            whole: false,
        });
        view
    }

    fn judge(view: &View, id: u8) -> Result<Option<Role>, Denial> {
        view.entry(&TokenHash::from_bytes([id; 32])).ok_or(Denial::Unknown)?.judge(Timestamp::from_millis(0))
    }

    #[test]
    fn a_child_may_come_before_its_parent_and_grandparent() {
        let view = view_of(vec![row(3, Some(2)), row(2, Some(1)), row(1, None)]);
        for id in 1..=3 {
            assert_eq!(judge(&view, id), Ok(None), "{id}");
        }
    }

    #[test]
    fn what_hangs_on_nothing_falls_and_all_below_it() {
        let view = view_of(vec![row(3, Some(2)), row(2, Some(9))]);
        assert_eq!(judge(&view, 2), Err(Denial::ParentEnded));
        assert_eq!(judge(&view, 3), Err(Denial::ParentEnded));
    }

    #[test]
    fn what_has_no_row_among_all_there_are_is_no_more() {
        let view = view_of(vec![row(1, None), row(2, Some(1)), row(3, None)]);
        let (fallen, stays) = (view.entry_of(CredentialId::from_bytes([2; 16])).unwrap(), judge(&view, 3));
        let rows = vec![Row::Credential(row(3, None)), Row::Credential(row(4, Some(3)))];
        view.apply(&Changes {
            revision: Revision(20_000),
            rows,
            gone: Vec::new(),
            revoked_all: Vec::new(),
            whole: true,
        });
        assert_eq!((judge(&view, 1), judge(&view, 2)), (Err(Denial::Unknown), Err(Denial::Unknown)));
        assert!(fallen.judge(Timestamp::from_millis(0)).is_err(), "what rests on it looks there");
        assert_eq!((stays, judge(&view, 3), judge(&view, 4)), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(view.revision(), Revision(20_000));
    }

    #[test]
    fn a_credential_that_is_gone_falls_with_its_children() {
        let view = view_of(vec![row(1, None), row(2, Some(1))]);
        let gone = vec![Gone::Credential(CredentialId::from_bytes([1; 16]))];
        view.apply(&Changes {
            revision: Revision(2),
            rows: Vec::new(),
            gone,
            revoked_all: Vec::new(),
            whole: false,
        });
        assert_eq!(judge(&view, 1), Err(Denial::Unknown));
        assert_eq!(judge(&view, 2), Err(Denial::ParentEnded));
    }

    #[test]
    fn what_lies_idle_ends_and_whoever_uses_what_hangs_on_it_keeps_both() {
        let hours = |hours: u64| Timestamp::from_millis(0).plus(Duration::from_mins(60 * hours));
        let sign_in = |id, parent| CredentialRow { used_at: Some(hours(0)), ..row(id, parent) };
        let view = view_of(vec![sign_in(1, None), sign_in(2, Some(1)), row(3, Some(2)), sign_in(4, None)]);
        let entry = |id| view.entry(&TokenHash::from_bytes([id; 32])).unwrap();
        let almost = Timestamp::from_millis(hours(1).millis() - 1);
        for id in 1..=4 {
            assert_eq!(entry(id).judge(almost), Ok(None), "{id}");
        }
        entry(3).touch(almost);
        for id in 1..=3 {
            assert_eq!(entry(id).judge(hours(1)), Ok(None), "{id}");
        }
        assert_eq!(entry(4).judge(hours(1)), Err(Denial::Expired));
        assert_eq!(entry(4).deadline(), None, "by itself it would go on");
        assert_eq!(entry(3).judge(hours(2)), Err(Denial::ParentEnded));
    }

    #[test]
    fn r31_the_end_of_all_tokens_is_taken_in_at_once_and_spares_what_came_with_it_or_later() {
        let view = view_of(vec![row(1, None), row(2, Some(1)), row(3, None)]);
        // As the row of the one that was spared is, and that of one minted in between.
        let rows = vec![Row::Credential(row(3, None)), Row::Credential(row(4, None))];
        view.apply(&Changes {
            revision: Revision(5),
            rows,
            gone: Vec::new(),
            revoked_all: vec![None],
            whole: false,
        });
        assert_eq!(judge(&view, 1), Err(Denial::Revoked));
        assert_eq!(judge(&view, 2), Err(Denial::Revoked));
        assert_eq!((judge(&view, 3), judge(&view, 4)), (Ok(None), Ok(None)));
        let rows = vec![Row::Credential(row(5, None)), Row::Credential(row(6, Some(1)))];
        view.apply(&Changes {
            revision: Revision(6),
            rows,
            gone: Vec::new(),
            revoked_all: Vec::new(),
            whole: false,
        });
        assert_eq!(judge(&view, 5), Ok(None));
        assert_eq!(judge(&view, 6), Err(Denial::ParentEnded));
    }

    #[test]
    fn a_reader_never_sees_a_change_half_taken_in() {
        let view = view_of(vec![row(1, None)]);
        assert!(view.read(|_| ()).is_some());
        view.generation.fetch_add(1, StdOrdering::AcqRel);
        assert!(view.read(|_| ()).is_none(), "while a change is taken in");
        view.generation.fetch_add(1, StdOrdering::AcqRel);
        let changed_meanwhile = view.read(|view| view.generation.fetch_add(2, StdOrdering::AcqRel));
        assert!(changed_meanwhile.is_none());
    }
}
