//! What a decision knows of one agent.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{AgentId, CredentialId};
use fallgate_store::AgentRow;
use parking_lot::Mutex;

use crate::entry::{Account, Entry};
use crate::refusal::Denial;
use crate::sync::{AtomicBool, Ordering};

/// An agent: one that somebody made, or the one that everybody has without making it. What can change is atomic, so
/// that a credential can hold on to it.
#[derive(Debug)]
pub(crate) struct AgentEntry {
    pub(crate) id: AgentId,
    pub(crate) name: AgentName,
    /// Its owner's: what rests on an agent rests there.
    pub(crate) account: Arc<Account>,
    disabled: AtomicBool,
    gone: AtomicBool,
    /// Refused by this process, though the store could not be told.
    halted: AtomicBool,
    seen: Mutex<Seen>,
}

/// What came by as an agent, as far as this process saw it.
#[derive(Debug, Default)]
struct Seen {
    last: Option<Timestamp>,
    tokens: HashMap<CredentialId, Weak<Entry>>,
}

impl AgentEntry {
    pub(crate) fn of(row: &AgentRow, account: Arc<Account>) -> Self {
        let agent = Self::bare(row.id, row.name.clone(), account);
        agent.update(row);
        agent
    }

    /// The agent that an account's user has without making one; `None` for the account that no user has. It ends with
    /// its owner alone.
    pub(crate) fn implicit(account: &Arc<Account>) -> Option<Self> {
        let user = account.user.as_ref()?;
        Some(Self::bare(AgentId::implicit(user.id), AgentName::from(&user.username), account.clone()))
    }

    fn bare(id: AgentId, name: AgentName, account: Arc<Account>) -> Self {
        Self {
            id,
            name,
            account,
            disabled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    /// Something came by as it.
    pub(crate) fn note(&self, entry: &Arc<Entry>, now: Timestamp) {
        let mut seen = self.seen.lock();
        seen.last = seen.last.max(Some(now));
        if !seen.tokens.contains_key(&entry.id) {
            seen.tokens.retain(|_, token| token.upgrade().is_some_and(|token| token.judge(now).is_ok()));
            seen.tokens.insert(entry.id, Arc::downgrade(entry));
        }
    }

    /// How many tokens came by that still stand, and when the last did, to about a minute.
    pub(crate) fn seen(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let (tokens, last) = {
            let seen = self.seen.lock();
            (seen.tokens.values().filter_map(Weak::upgrade).collect::<Vec<_>>(), seen.last)
        };
        (tokens.iter().filter(|token| token.judge(now).is_ok()).count(), last)
    }

    /// Whether anything may run as it now, as far as it is the agent's own affair: its owner is judged too.
    pub(crate) fn judge(&self) -> Result<(), Denial> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Denial::AgentGone);
        }
        if self.disabled.load(Ordering::Acquire) {
            return Err(Denial::AgentDisabled);
        }
        if self.halted.load(Ordering::Acquire) {
            return Err(Denial::Halted);
        }
        Ok(())
    }

    pub(crate) fn update(&self, row: &AgentRow) {
        self.disabled.store(row.disabled, Ordering::Release);
    }

    /// It was deleted.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Refuses its every token from now on in this process, whatever the store says; or does so no more.
    pub(crate) fn halt(&self, yes: bool) {
        self.halted.store(yes, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(feature = "model"))]
mod tests {
    use std::time::Duration;

    use fallgate_domain::clock::{TestClock, Timestamp};
    use fallgate_domain::credential::CredentialKind;
    use fallgate_domain::id::{CredentialId, CutId, UserId};
    use fallgate_domain::route::Admission;
    use fallgate_domain::scope::{PlainScope, Scopes};
    use fallgate_domain::user::Role;
    use fallgate_store::{Changes, CredentialRow, CutOn, CutRow, Gone, Revision, Row, UserRow};

    use super::*;
    use crate::entry::{Entry, Parent};
    use crate::lease::Need;
    use crate::permit::RoutePolicy;
    use crate::refusal::Refusal;
    use crate::view::View;

    const ALICE: UserId = UserId::from_bytes([1; 16]);
    const START: Timestamp = Timestamp::from_millis(0);

    fn alice(disabled: bool) -> Row {
        Row::User(UserRow {
            id: ALICE,
            username: "alice".parse().unwrap(),
            display_name: "Alice".parse().unwrap(),
            role: Role::User,
            disabled,
        })
    }

    fn crawler(id: u8, disabled: bool) -> Row {
        Row::Agent(AgentRow {
            id: AgentId::from_bytes([id; 16]),
            owner: ALICE,
            name: "crawler".parse().unwrap(),
            scopes: Scopes::none(),
            routes: Vec::new(),
            disabled,
        })
    }

    fn cut(id: u8, on: CutOn) -> Row {
        Row::Cut(CutRow { id: CutId::from_bytes([id; 16]), on, reason: None, expires_at: None })
    }

    fn take(view: &View, rows: Vec<Row>, gone: Vec<Gone>) {
        let revision = Revision(view.revision().0 + 1);
        view.apply(&Changes { revision, rows, gone, revoked_all: Vec::new(), whole: false });
    }

    fn house() -> View {
        let view = View::new(Duration::from_hours(1), Duration::ZERO, Arc::new(TestClock::at(START)));
        take(&view, vec![alice(false), crawler(2, false)], Vec::new());
        view
    }

    /// A credential that runs as the agent of that name, or as nobody's.
    fn running_as(view: &View, name: Option<&str>) -> Entry {
        let row = CredentialRow {
            id: CredentialId::from_bytes([9; 16]),
            kind: CredentialKind::Worker,
            owner: Some(ALICE),
            parent: None,
            hash: None,
            scopes: Scopes::plain([PlainScope::RoutesUse]),
            expires_at: None,
            revoked: false,
            used_at: None,
        };
        let account = view.account(ALICE).unwrap();
        let mut entry = Entry::new(&row, account, Parent::None, Revision(0), Duration::ZERO);
        entry.agent = name.map(|name| view.agent_named(&name.parse().unwrap()).unwrap());
        entry
    }

    fn may(entry: &Entry, allow: &str) -> Result<(), Refusal> {
        let admission = Admission { allow: vec![allow.parse().unwrap()] };
        let route = Arc::new(RoutePolicy::new("llmux".parse().unwrap(), admission));
        Need::Route { route, by_cookie: false }.check(entry, Some(Role::User))
    }

    #[test]
    fn an_agent_ends_whatever_runs_as_it_and_nothing_else() {
        let view = house();
        let (worker, own) = (running_as(&view, Some("crawler")), running_as(&view, Some("alice")));
        let by_id = view.agent(AgentId::from_bytes([2; 16])).unwrap();
        assert!(Arc::ptr_eq(worker.agent.as_ref().unwrap(), &by_id), "by id and by name it is the same");
        let judged = |entry: &Entry| entry.judge(START).map(drop);
        assert_eq!((judged(&worker), judged(&own)), (Ok(()), Ok(())));

        take(&view, vec![crawler(2, true)], Vec::new());
        assert_eq!((judged(&worker), judged(&own)), (Err(Denial::AgentDisabled), Ok(())));
        take(&view, vec![crawler(2, false)], Vec::new());
        assert_eq!(judged(&worker), Ok(()));
        take(&view, vec![alice(true)], Vec::new());
        assert_eq!(judged(&worker), Err(Denial::OwnerDisabled));
        take(&view, vec![alice(false)], Vec::new());
        // Made anew before anybody looked.
        take(&view, vec![crawler(3, false)], vec![Gone::Agent(AgentId::from_bytes([2; 16]))]);
        assert_eq!((judged(&worker), judged(&own)), (Err(Denial::AgentGone), Ok(())));
        assert_eq!(judged(&running_as(&view, Some("crawler"))), Ok(()));
        take(&view, Vec::new(), vec![Gone::Agent(AgentId::from_bytes([3; 16]))]);
        assert!(view.agent_named(&"crawler".parse().unwrap()).is_none());
    }

    #[test]
    fn an_agent_that_is_not_among_all_there_are_is_gone() {
        let view = house();
        let worker = running_as(&view, Some("crawler"));
        let whole = |rows, revision| Changes {
            revision: Revision(revision),
            rows,
            gone: Vec::new(),
            revoked_all: Vec::new(),
            whole: true,
        };
        view.apply(&whole(vec![alice(false), crawler(2, false)], 2));
        assert_eq!(worker.judge(START).map(drop), Ok(()));
        view.apply(&whole(vec![alice(false)], 3));
        assert_eq!(worker.judge(START).map(drop), Err(Denial::AgentGone));
    }

    #[test]
    fn of_what_came_by_only_what_stands_is_counted() {
        let view = house();
        let agent = view.agent_named(&"crawler".parse().unwrap()).unwrap();
        assert_eq!(agent.seen(START), (0, None));
        let worker = Arc::new(running_as(&view, Some("crawler")));
        let later = START.plus(Duration::from_mins(1));
        agent.note(&worker, later);
        agent.note(&worker, START);
        assert_eq!(agent.seen(later), (1, Some(later)), "one token, and never seen earlier than before");
        worker.end();
        assert_eq!(agent.seen(later), (0, Some(later)));
        drop(worker);
        agent.note(&Arc::new(running_as(&view, Some("crawler"))), later);
        assert_eq!(agent.seen(later), (0, Some(later)), "what nobody holds any more is not known to stand");
    }

    #[test]
    fn a_cut_on_an_agent_stops_what_runs_as_it_and_leaves_its_owner_alone() {
        let view = house();
        let implicit = AgentId::implicit(ALICE);
        for (id, name, other) in
            [(AgentId::from_bytes([2; 16]), "crawler", "alice"), (implicit, "alice", "crawler")]
        {
            take(&view, vec![cut(7, CutOn::Agent(id))], Vec::new());
            let stopped = |name| Need::Uncut.check(&running_as(&view, name), Some(Role::User));
            assert!(matches!(stopped(Some(name)), Err(Refusal::Cut(_))), "{name}");
            assert_eq!((stopped(Some(other)), stopped(None)), (Ok(()), Ok(())), "{other}");
            take(&view, Vec::new(), vec![Gone::Cut(CutId::from_bytes([7; 16]))]);
            assert_eq!(stopped(Some(name)), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_route_that_names_an_agent_admits_it_and_not_its_owner() {
        let view = house();
        let (worker, herself) = (running_as(&view, Some("crawler")), running_as(&view, None));
        assert_eq!((may(&worker, "agent:crawler"), may(&worker, "user:alice")), (Ok(()), Ok(())));
        assert_eq!(may(&worker, "agent:alice"), Err(Refusal::NotAdmitted));
        assert_eq!(may(&herself, "agent:crawler"), Err(Refusal::NotAdmitted));
        assert_eq!(may(&running_as(&view, Some("alice")), "agent:alice"), Ok(()));
    }
}
