//! How often a passphrase may be tried: for one name from one network, and from one network for any name
//! (requirement R54). Names that nobody has are counted like all others. Bounded memory: a full table forgets whoever
//! has failed least, it locks nobody out.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use parking_lot::Mutex;

use crate::network::{Network, Site};
use crate::throttle::Throttled;

/// Failures of one pair that cost nothing.
const FREE: u32 = 5;
/// The pause after the last free one, in milliseconds. It doubles with each that follows.
const FIRST_PAUSE: i64 = 2_000;
const LONGEST_PAUSE: i64 = 15 * 60 * 1_000;
/// A pair that has not failed for so long begins anew.
const FORGOTTEN_AFTER: i64 = 24 * 60 * 60 * 1_000;
/// Failures of one network within [`WINDOW`], whatever the name.
const OF_NETWORK: usize = 30;
/// The same for all networks of a site that has many.
const OF_SITE: usize = 120;
const WINDOW: i64 = 10 * 60 * 1_000;
/// How many pairs are remembered, and how many networks, and sites.
const PAIRS: usize = 16_384;
const NETWORKS: usize = 4_096;

/// Counts the failures to sign in.
#[derive(Debug, Default)]
pub(crate) struct LoginThrottle {
    tables: Mutex<Tables>,
    /// Names are kept as numbers: of any length they take the same room, and people type passphrases where a name
    /// should be. Keyed, so that nobody can find two names of one number.
    names: RandomState,
}

/// Who tries: a name, from a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    name: u64,
    network: Network,
}

#[derive(Debug)]
struct Tables {
    pairs: HashMap<Pair, Failures>,
    networks: Windows<Network>,
    sites: Windows<Site>,
}

/// When the last failures were of each that is counted, oldest first.
#[derive(Debug)]
struct Windows<K> {
    /// So many are free.
    most: usize,
    times: HashMap<K, VecDeque<i64>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last: i64,
    again_at: i64,
}

impl LoginThrottle {
    /// The pair of that name, as it was typed, and that address. All spellings that could be meant for one username
    /// are one.
    pub(crate) fn pair(&self, name: &str, ip: Option<IpAddr>) -> Pair {
        let name = self.names.hash_one(name.trim().to_lowercase());
        Pair { name, network: Network::of(ip) }
    }

    /// Whether it may try now. Counts nothing.
    pub(crate) fn check(&self, pair: &Pair, now: Timestamp) -> Result<(), Throttled> {
        self.tables.lock().check(pair, now.millis())
    }

    /// Whether it may try now; asked again by whoever is about to look at the passphrase, since others of the pair may
    /// have failed meanwhile. Once there are pauses, one try takes the pause: of many at a time one is let through.
    pub(crate) fn begin(&self, pair: &Pair, now: Timestamp) -> Result<(), Throttled> {
        let mut tables = self.tables.lock();
        tables.check(pair, now.millis())?;
        if let Some(failures) = tables.pairs.get_mut(pair)
            && failures.count >= FREE
        {
            failures.last = now.millis();
            failures.again_at = now.millis().saturating_add(pause(failures.count));
        }
        Ok(())
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, pair: Pair, now: Timestamp) {
        let now = now.millis();
        let mut tables = self.tables.lock();
        tables.make_room(&pair, now);
        tables.networks.failed(pair.network, now);
        let site = pair.network.site();
        if site.has_many() {
            tables.sites.failed(site, now);
        }
        let failures = tables.pairs.entry(pair).or_default();
        if failures.are_past(now) {
            *failures = Failures::default();
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.again_at = now.saturating_add(pause(failures.count));
    }

    /// Forgets the failures of this pair, and of no other.
    pub(crate) fn succeeded(&self, pair: &Pair) {
        self.tables.lock().pairs.remove(pair);
    }
}

impl Tables {
    fn check(&self, pair: &Pair, now: i64) -> Result<(), Throttled> {
        let of_pair = self.pairs.get(pair).filter(|failures| !failures.are_past(now));
        let of_pair = of_pair.map_or(0, |failures| failures.again_at);
        let (of_network, of_site) =
            (self.networks.again_at(pair.network, now), self.sites.again_at(pair.network.site(), now));
        let left = of_pair.max(of_network).max(of_site).saturating_sub(now);
        match u64::try_from(left) {
            Ok(left) if left > 0 => Err(Throttled { retry_after: Duration::from_secs(left.div_ceil(1_000)) }),
            _ => Ok(()),
        }
    }

    fn make_room(&mut self, pair: &Pair, now: i64) {
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(pair) {
            self.pairs.retain(|_, failures| !failures.are_past(now));
            if self.pairs.len() >= PAIRS {
                let least = self.pairs.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
                if let Some(least) = least.map(|(pair, _)| *pair) {
                    self.pairs.remove(&least);
                }
            }
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self { pairs: HashMap::new(), networks: Windows::new(OF_NETWORK), sites: Windows::new(OF_SITE) }
    }
}

impl Failures {
    /// Whether they count no more. What lies ahead was written down before the clock was set back, nobody knows when:
    /// it is forgotten, or it would count until the clock is there again.
    const fn are_past(&self, now: i64) -> bool {
        self.last > now || now.saturating_sub(self.last) >= FORGOTTEN_AFTER
    }
}

impl<K: Copy + Eq + Hash> Windows<K> {
    fn new(most: usize) -> Self {
        Self { most, times: HashMap::new() }
    }

    /// When the next try is free.
    fn again_at(&self, key: K, now: i64) -> i64 {
        match self.times.get(&key) {
            // Of a clock that was set back all is forgotten, as with pairs.
            Some(times) if times.len() >= self.most && times.back().is_some_and(|last| *last <= now) => {
                times.front().map_or(0, |oldest| oldest.saturating_add(WINDOW))
            }
            _ => 0,
        }
    }

    fn failed(&mut self, key: K, now: i64) {
        self.make_room(key, now);
        let times = self.times.entry(key).or_default();
        times.retain(|time| *time <= now);
        if times.len() >= self.most {
            times.pop_front();
        }
        times.push_back(now);
    }

    fn make_room(&mut self, key: K, now: i64) {
        if self.times.len() < NETWORKS || self.times.contains_key(&key) {
            return;
        }
        let newest = |times: &VecDeque<i64>| times.back().copied().unwrap_or(0);
        self.times.retain(|_, times| (0..WINDOW).contains(&now.saturating_sub(newest(times))));
        if self.times.len() >= NETWORKS {
            let least = self.times.iter().min_by_key(|(_, times)| (times.len(), newest(times)));
            if let Some(least) = least.map(|(key, _)| *key) {
                self.times.remove(&least);
            }
        }
    }
}

/// How long to wait after so many failures, in milliseconds.
fn pause(failures: u32) -> i64 {
    match failures.checked_sub(FREE) {
        None => 0,
        Some(beyond) => FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wait(throttle: &LoginThrottle, pair: &Pair, now: Timestamp) -> u64 {
        throttle.check(pair, now).map_or_else(|throttled| throttled.retry_after.as_secs(), |()| 0)
    }

    #[test]
    fn r54_five_failures_are_free_and_then_pauses_double_up_to_a_quarter_of_an_hour() {
        let throttle = LoginThrottle::default();
        let pair = throttle.pair("ada", Some(ip("192.0.2.1")));
        for _ in 0..4 {
            throttle.begin(&pair, at(0)).unwrap();
            throttle.failed(pair, at(0));
            assert_eq!(wait(&throttle, &pair, at(0)), 0);
        }
        let mut now = 0;
        for pause in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            throttle.begin(&pair, at(now)).unwrap();
            throttle.failed(pair, at(now));
            assert_eq!(wait(&throttle, &pair, at(now)), pause);
            assert_eq!(wait(&throttle, &pair, at(now + 1)), pause - 1);
            now += i64::try_from(pause).unwrap();
        }
        throttle.succeeded(&pair);
        throttle.failed(pair, at(now));
        assert_eq!(wait(&throttle, &pair, at(now)), 0, "it begins anew");
    }

    #[test]
    fn r54_of_many_tries_at_a_time_one_is_let_through_for_each_pause() {
        let throttle = LoginThrottle::default();
        let pair = throttle.pair("ada", None);
        (0..5).for_each(|_| throttle.failed(pair, at(0)));
        assert!(throttle.begin(&pair, at(1)).is_err());
        let let_through = (0..100).filter(|_| throttle.begin(&pair, at(2)).is_ok()).count();
        assert_eq!(let_through, 1);
    }

    #[test]
    fn r54_what_means_one_name_and_one_network_shares_a_counter_and_nothing_else_does() {
        let throttle = LoginThrottle::default();
        let spellings = [
            ("ada", "192.0.2.1"),
            (" Ada ", "192.0.2.1"),
            ("ADA", "::ffff:192.0.2.1"),
            ("ada", "192.0.2.1"),
            ("ada\t", "::ffff:192.0.2.1"),
        ];
        for (name, from) in spellings {
            throttle.failed(throttle.pair(name, Some(ip(from))), at(0));
        }
        assert_eq!(wait(&throttle, &throttle.pair("ada", Some(ip("192.0.2.1"))), at(0)), 2);
        for (name, from) in [("bob", "192.0.2.1"), ("ada", "192.0.2.2"), ("ada-", "192.0.2.1")] {
            assert_eq!(wait(&throttle, &throttle.pair(name, Some(ip(from))), at(0)), 0, "{name} from {from}");
        }
        let v6 = |from| throttle.pair("ada", Some(ip(from)));
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff:1"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
    }

    #[test]
    fn r54_a_network_fails_thirty_times_in_ten_minutes_whatever_the_names() {
        let throttle = LoginThrottle::default();
        let pair = |number: i64| throttle.pair(&format!("name-{number}"), Some(ip("192.0.2.1")));
        for number in 0..30 {
            throttle.begin(&pair(number), at(number)).unwrap();
            throttle.failed(pair(number), at(number));
        }
        assert_eq!(wait(&throttle, &pair(99), at(30)), 570);
        assert_eq!(wait(&throttle, &throttle.pair("ada", Some(ip("192.0.2.2"))), at(30)), 0);
        // Its own success clears a pair; the network goes on waiting.
        throttle.succeeded(&pair(0));
        assert_eq!(wait(&throttle, &pair(0), at(599)), 1);
        assert_eq!(wait(&throttle, &pair(0), at(600)), 0);
        throttle.failed(pair(0), at(600));
        assert_eq!(wait(&throttle, &pair(0), at(600)), 1);
    }

    #[test]
    fn r54_a_full_table_locks_nobody_out_and_forgets_those_who_failed_least() {
        let throttle = LoginThrottle::default();
        let stubborn = throttle.pair("ada", Some(ip("192.0.2.1")));
        (0..9).for_each(|_| throttle.failed(stubborn, at(0)));
        for number in 0..2 * u32::try_from(PAIRS).unwrap() {
            let from = Some(std::net::Ipv4Addr::from_bits(number).into());
            let pair = throttle.pair("bob", from);
            assert!(throttle.begin(&pair, at(1)).is_ok(), "{number}");
            throttle.failed(pair, at(1));
        }
        assert_eq!(wait(&throttle, &stubborn, at(1)), 31);
        let tables = throttle.tables.lock();
        assert_eq!((tables.pairs.len(), tables.networks.times.len()), (PAIRS, NETWORKS));
    }

    #[test]
    fn r54_a_site_with_many_networks_fails_a_hundred_and_twenty_times() {
        let throttle = LoginThrottle::default();
        let pair = |number: u32| {
            let network = 0x2001_0db8_0001_0000_u64 + u64::from(number);
            let ip = std::net::Ipv6Addr::from_bits(u128::from(network) << 64);
            throttle.pair(&format!("name-{number}"), Some(ip.into()))
        };
        for number in 0..120 {
            throttle.begin(&pair(number), at(0)).unwrap();
            throttle.failed(pair(number), at(0));
        }
        assert_eq!(wait(&throttle, &pair(999), at(1)), 599);
        assert_eq!(wait(&throttle, &pair(0x1_0000), at(1)), 0, "the next site");
        for number in 0..2 * u32::try_from(NETWORKS).unwrap() {
            throttle.failed(pair(number << 16), at(2));
        }
        assert_eq!(throttle.tables.lock().sites.times.len(), NETWORKS);
    }

    #[test]
    fn r54_a_clock_that_was_ahead_and_is_set_back_locks_nobody_out() {
        let throttle = LoginThrottle::default();
        let pair = throttle.pair("ada", Some(ip("192.0.2.1")));
        let year = 365 * 24 * 60 * 60;
        (0..40).for_each(|_| throttle.failed(pair, at(year)));
        assert!(wait(&throttle, &pair, at(year)) > 0);
        assert_eq!(wait(&throttle, &pair, at(0)), 0);
        for _ in 0..4 {
            throttle.failed(pair, at(0));
        }
        assert_eq!(wait(&throttle, &pair, at(0)), 0, "it begins anew");
        throttle.failed(pair, at(0));
        assert_eq!(wait(&throttle, &pair, at(0)), 2);
    }
}
