//! Refusals, counted by reason and network, and written down once a minute: the trail says why a use was refused
//! (requirements R33, R38), and strangers cannot fill the disk.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use fallgate_domain::audit::{Action, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::CredentialId;
use parking_lot::Mutex;
use serde_json::Value;

use crate::network::Network;
use crate::refusal::Refusal;
use crate::verifier::Verifier;

/// How many pairs of reason and network get an event of their own in a minute. The rest is summed up by reason.
const MOST_PAIRS: usize = 256;
/// How many credentials an event names.
const MOST_NAMED: usize = 8;
/// Stands for all networks that did not find room.
const ELSEWHERE: &str = "elsewhere";

/// What was refused since it was last written down.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    pairs: HashMap<(&'static str, Network), Count>,
    elsewhere: BTreeMap<&'static str, Count>,
}

#[derive(Debug, Default)]
struct Count {
    times: u64,
    /// Those that we know, such as a revoked one, each once.
    credentials: Vec<CredentialId>,
}

impl RefusalCounts {
    fn count(&self, reason: &'static str, credential: Option<CredentialId>, ip: Option<IpAddr>) {
        let mut counts = self.0.lock();
        let pair = (reason, Network::of(ip));
        let has_room = counts.pairs.len() < MOST_PAIRS || counts.pairs.contains_key(&pair);
        let count = if has_room {
            counts.pairs.entry(pair).or_default()
        } else {
            counts.elsewhere.entry(reason).or_default()
        };
        count.times = count.times.saturating_add(1);
        if let Some(id) = credential
            && count.credentials.len() < MOST_NAMED
            && !count.credentials.contains(&id)
        {
            count.credentials.push(id);
        }
    }

    /// What was counted, as events; counting begins anew.
    fn take(&self, at: Timestamp) -> Vec<NewEvent> {
        let Counts { pairs, elsewhere } = std::mem::take(&mut *self.0.lock());
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

fn event(
    at: Timestamp,
    reason: &'static str,
    network: String,
    ip: Option<IpAddr>,
    count: &Count,
) -> NewEvent {
    let mut detail = BTreeMap::from([
        ("reason".to_owned(), Value::from(reason)),
        ("network".to_owned(), Value::from(network.clone())),
        ("count".to_owned(), Value::from(count.times)),
    ]);
    if !count.credentials.is_empty() {
        let ids: Vec<_> = count.credentials.iter().map(CredentialId::to_string).collect();
        detail.insert("credentials".to_owned(), Value::from(ids));
    }
    let credential = match count.credentials[..] {
        [only] => Some(only),
        _ => None,
    };
    NewEvent {
        at,
        action: Action::AccessRefused,
        actor: "internal".to_owned(),
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
            Refusal::NoSignIn => "no-sign-in",
            Refusal::CrossSite => "cross-site",
            Refusal::NoCredential | Refusal::SetupNeeded | Refusal::Unavailable => return,
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
