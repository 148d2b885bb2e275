//! Refusals, counted by reason and network, and written down once a minute: the trail says why a use was refused
//! (requirements R33, R38), and strangers cannot fill the disk. So are failures to sign in, past the first few.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use fallgate_domain::audit::{Action, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use fallgate_domain::user::Username;
use parking_lot::Mutex;
use serde_json::Value;

use crate::network::Network;
use crate::refusal::Refusal;
use crate::signin::NOBODY;
use crate::verifier::Verifier;

/// How many pairs of reason and network get an event of their own in a minute. The rest is summed up by reason.
const MOST_PAIRS: usize = 256;
/// How many failures to sign in get an event of their own in a minute.
const MOST_SINGLE: u32 = 20;
/// How many credentials or users an event names.
const MOST_NAMED: usize = 8;
/// Stands for all networks that did not find room.
const ELSEWHERE: &str = "elsewhere";

/// What was refused since it was last written down.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    pairs: HashMap<(Reason, Network), Count>,
    elsewhere: BTreeMap<Reason, Count>,
    /// How many failures to sign in got an event of their own.
    singles: u32,
}

/// What was refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Reason {
    Access(&'static str),
    SignIn(&'static str),
}

#[derive(Debug, Default)]
struct Count {
    times: u64,
    /// Those that we know, such as a revoked one, each once.
    credentials: Vec<CredentialId>,
    /// The same of users.
    users: Vec<Username>,
}

/// Keeps one more, if there is room and it is not there.
fn note<T: PartialEq>(known: &mut Vec<T>, one: Option<T>) {
    known.extend(one.filter(|one| known.len() < MOST_NAMED && !known.contains(one)));
}

impl RefusalCounts {
    fn count(&self, reason: &'static str, credential: Option<CredentialId>, ip: Option<IpAddr>) {
        self.0.lock().count(Reason::Access(reason), ip, |count| note(&mut count.credentials, credential));
    }

    /// Counts a failure to sign in that gets no event of its own.
    pub(crate) fn count_sign_in(&self, reason: &'static str, user: Option<Username>, ip: Option<IpAddr>) {
        self.0.lock().count(Reason::SignIn(reason), ip, |count| note(&mut count.users, user));
    }

    /// Whether a failure to sign in may get an event of its own; if so, it takes one.
    pub(crate) fn take_single(&self) -> bool {
        let mut counts = self.0.lock();
        let may = counts.singles < MOST_SINGLE;
        counts.singles += u32::from(may);
        may
    }
}

impl Counts {
    fn count(&mut self, reason: Reason, ip: Option<IpAddr>, name: impl FnOnce(&mut Count)) {
        let counts = self;
        let pair = (reason, Network::of(ip));
        let has_room = counts.pairs.len() < MOST_PAIRS || counts.pairs.contains_key(&pair);
        let count = if has_room {
            counts.pairs.entry(pair).or_default()
        } else {
            counts.elsewhere.entry(reason).or_default()
        };
        count.times = count.times.saturating_add(1);
        name(count);
    }
}

impl RefusalCounts {
    /// What was counted, as events; counting begins anew.
    fn take(&self, at: Timestamp) -> Vec<NewEvent> {
        let Counts { pairs, elsewhere, .. } = std::mem::take(&mut *self.0.lock());
        let pairs = pairs.into_iter().map(|((reason, network), count)| {
            let (name, ip) = (network.to_string(), network.address());
            event(at, reason, name, ip, &count)
        });
        let elsewhere = elsewhere
            .into_iter()
            .map(|(reason, count)| event(at, reason, ELSEWHERE.to_owned(), None, &count));
        let mut events: Vec<_> = pairs.chain(elsewhere).collect();
        events.sort_by(|a, b| a.target.cmp(&b.target));
        events
    }
}

fn event(at: Timestamp, reason: Reason, network: String, ip: Option<IpAddr>, count: &Count) -> NewEvent {
    let (action, actor, reason) = match reason {
        Reason::Access(reason) => (Action::AccessRefused, "internal", reason),
        Reason::SignIn(reason) => (Action::LoginFailed, NOBODY, reason),
    };
    let mut detail = BTreeMap::from([
        ("reason".to_owned(), Value::from(reason)),
        ("network".to_owned(), Value::from(network.clone())),
        ("count".to_owned(), Value::from(count.times)),
    ]);
    if !count.credentials.is_empty() {
        let ids: Vec<_> = count.credentials.iter().map(CredentialId::to_string).collect();
        detail.insert("credentials".to_owned(), Value::from(ids));
    }
    if !count.users.is_empty() {
        let names: Vec<_> = count.users.iter().map(Username::to_string).collect();
        detail.insert("users".to_owned(), Value::from(names));
    }
    let credential = match count.credentials[..] {
        [only] => Some(only),
        _ => None,
    };
    NewEvent {
        at,
        action,
        actor: actor.to_owned(),
        credential,
        target: network,
        ip: ip.map(|ip| ip.to_string()),
        detail,
        author: None,
    }
}

impl Verifier {
    /// Counts a refusal that [`Verifier::verify`] did not give itself: a credential that could not be read, or one that
    /// stands and does not reach so far. Who brings none, and what is refused because the store cannot be asked, is not
    /// counted.
    pub fn count_refusal(&self, refusal: &Refusal, credential: Option<CredentialId>, ip: Option<IpAddr>) {
        let reason = match refusal {
            Refusal::BadCredential(denial) => denial.name(),
            Refusal::Beyond(_) => "beyond-scope",
            Refusal::NotAdmitted => "not-admitted",
            Refusal::Cut(_) => "cut",
            Refusal::NoSignIn => "no-sign-in",
            Refusal::CrossSite => "cross-site",
            Refusal::NoCredential
            | Refusal::Closed
            | Refusal::TooOld
            | Refusal::RouteChanged
            | Refusal::SetupNeeded
            | Refusal::Unavailable => return,
        };
        self.refusals.count(reason, credential, ip);
    }

    /// Writes down what was refused since the last time.
    pub(crate) async fn write_refusals(&self) {
        let events = self.refusals.take(self.clock().now());
        let count = events.len();
        if let Err(error) = self.registrar.vault.record(events).await {
            tracing::warn!(%error, events = count, "could not write down what was refused; that much is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> CredentialId {
        CredentialId::from_bytes([number; 16])
    }

    #[test]
    fn r38_refusals_are_told_apart_by_reason_and_network_and_counted() {
        let counts = RefusalCounts::default();
        let ip = |text: &str| Some(text.parse().unwrap());
        for _ in 0..3 {
            counts.count("revoked", Some(id(1)), ip("192.0.2.1"));
        }
        counts.count("expired", Some(id(1)), ip("192.0.2.1"));
        counts.count("expired", Some(id(2)), ip("192.0.2.1"));
        counts.count("unknown", None, ip("2001:db8::1"));
        counts.count("unknown", None, ip("2001:db8::2"));
        counts.count("unknown", None, None);
        let mut told: Vec<_> = counts
            .take(Timestamp::from_millis(0))
            .into_iter()
            .map(|event| {
                let detail = |name: &str| event.detail.get(name).cloned().unwrap_or_default();
                (detail("reason"), event.target.clone(), detail("count"), event.credential, event.ip)
            })
            .collect();
        told.sort_by_key(|told| format!("{told:?}"));
        let local = || Some("192.0.2.1".to_owned());
        assert_eq!(
            told,
            [
                ("expired".into(), "192.0.2.1".to_owned(), 2.into(), None, local()),
                ("revoked".into(), "192.0.2.1".to_owned(), 3.into(), Some(id(1)), local()),
                ("unknown".into(), "2001:db8::/64".to_owned(), 2.into(), None, None),
                ("unknown".into(), "no address".to_owned(), 1.into(), None, None),
            ]
        );
        assert_eq!(counts.take(Timestamp::from_millis(0)).len(), 0, "each is written once");
    }

    #[test]
    fn strangers_from_everywhere_make_no_more_than_so_many_events_and_every_refusal_is_counted() {
        let counts = RefusalCounts::default();
        for number in 0..10_000_u32 {
            counts.count("unknown", None, Some(std::net::Ipv4Addr::from_bits(number).into()));
        }
        counts.count("revoked", Some(id(7)), Some("198.51.100.1".parse().unwrap()));
        let events = counts.take(Timestamp::from_millis(0));
        assert_eq!(events.len(), MOST_PAIRS + 2);
        let total: u64 = events.iter().map(|event| event.detail["count"].as_u64().unwrap()).sum();
        assert_eq!(total, 10_001);
        let known = events.iter().find(|event| event.credential == Some(id(7))).unwrap();
        assert_eq!(known.target, ELSEWHERE);
    }

    #[test]
    fn past_a_few_events_failures_to_sign_in_are_summed_up_until_the_next_minute() {
        let counts = RefusalCounts::default();
        assert_eq!((0..100).filter(|_| counts.take_single()).count(), 20);
        let ip = Some("192.0.2.1".parse().unwrap());
        for name in ["ada", "bob", "ada"] {
            counts.count_sign_in("wrong-passphrase", Some(name.parse().unwrap()), ip);
        }
        counts.count_sign_in("unknown-user", None, ip);
        counts.count("unknown-user", None, ip);
        let events = counts.take(Timestamp::from_millis(0));
        assert_eq!(events.len(), 3);
        let summed = events.iter().find(|event| event.detail["reason"] == "wrong-passphrase").unwrap();
        assert_eq!((summed.action, summed.actor.as_str()), (Action::LoginFailed, NOBODY));
        assert_eq!((&summed.detail["count"], summed.ip.as_deref()), (&3.into(), Some("192.0.2.1")));
        assert_eq!(summed.detail["users"], serde_json::json!(["ada", "bob"]));
        assert!(counts.take_single(), "another minute");
    }

    #[test]
    fn an_event_names_only_so_many_credentials() {
        let counts = RefusalCounts::default();
        for number in 0..100 {
            counts.count("revoked", Some(id(number)), None);
        }
        let events = counts.take(Timestamp::from_millis(0));
        assert_eq!(events[0].detail["credentials"].as_array().unwrap().len(), MOST_NAMED);
        assert_eq!(events[0].credential, None);
    }
}
