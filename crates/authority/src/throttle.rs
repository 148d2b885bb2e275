//! How often one network may try something, or whoever else is counted. Bounded memory: a full table forgets, it locks
//! nobody out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use parking_lot::Mutex;

use crate::network::Network;

/// How many of them are remembered.
const NETWORKS: usize = 4_096;

/// So many tries at once, then one every so often.
#[derive(Debug)]
pub(crate) struct Throttle<Who = Network> {
    burst: u32,
    /// Milliseconds.
    every: i64,
    /// When each one's account will be even again: one number says it all (the generic cell rate algorithm).
    even_at: Mutex<HashMap<Who, i64>>,
}

/// Too many tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tries: try again in {}", seconds(self.retry_after))]
pub struct Throttled {
    /// When to try again, in whole seconds.
    pub retry_after: Duration,
}

/// Whole seconds, in words.
pub(crate) fn seconds(wait: Duration) -> String {
    match wait.as_secs() {
        1 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

impl Throttle {
    /// Counts a try from `ip`, or refuses it uncounted.
    pub(crate) fn count(&self, ip: Option<IpAddr>, now: Timestamp) -> Result<(), Throttled> {
        self.count_for(Network::of(ip), now)
    }
}

impl<Who: Copy + Eq + Hash> Throttle<Who> {
    /// `burst` tries at once, then one for each `every`.
    pub(crate) fn new(burst: u32, every: Duration) -> Self {
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        Self { burst, every, even_at: Mutex::default() }
    }

    /// Counts a try of theirs, or refuses it uncounted.
    pub(crate) fn count_for(&self, who: Who, now: Timestamp) -> Result<(), Throttled> {
        let now = now.millis();
        let mut even_at = self.even_at.lock();
        let room = self.every.saturating_mul(i64::from(self.burst.saturating_sub(1)));
        // Nobody can be further ahead: the clock was set back, and what was counted before is forgotten.
        let furthest = room.saturating_add(self.every);
        let ahead = even_at.get(&who).map_or(0, |at| at.saturating_sub(now).max(0));
        let ahead = if ahead > furthest { 0 } else { ahead };
        if ahead > room {
            let millis = u64::try_from(ahead - room).unwrap_or(0);
            return Err(Throttled { retry_after: Duration::from_secs(millis.div_ceil(1_000).max(1)) });
        }
        if even_at.len() >= NETWORKS && !even_at.contains_key(&who) {
            even_at.retain(|_, at| *at > now && *at <= now.saturating_add(furthest));
            // All have tried lately: whoever is nearest to even loses least by being forgotten.
            let nearest = even_at.iter().min_by_key(|(_, at)| **at).map(|(who, _)| *who);
            if even_at.len() >= NETWORKS
                && let Some(nearest) = nearest
            {
                even_at.remove(&nearest);
            }
        }
        even_at.insert(who, now.saturating_add(ahead).saturating_add(self.every));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn r37_a_burst_is_free_and_then_there_is_one_try_for_each_pause() {
        let throttle = Throttle::new(3, Duration::from_secs(2));
        let ip = Some("192.0.2.1".parse().unwrap());
        for _ in 0..3 {
            throttle.count(ip, at(0)).unwrap();
        }
        let refused = throttle.count(ip, at(0)).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(2));
        assert_eq!(throttle.count(ip, at(1_000)).unwrap_err().retry_after, Duration::from_secs(1));
        throttle.count(ip, at(2_000)).unwrap();
        assert!(throttle.count(ip, at(2_000)).is_err());
        // After a quiet while the whole burst is there again.
        for _ in 0..3 {
            throttle.count(ip, at(100_000)).unwrap();
        }
        assert!(throttle.count(ip, at(100_000)).is_err());
    }

    #[test]
    fn r37_networks_are_counted_apart_and_one_network_as_one() {
        let throttle = Throttle::new(1, Duration::from_secs(2));
        let try_from = |ip: &str| throttle.count(Some(ip.parse().unwrap()), at(0)).is_ok();
        assert!(try_from("192.0.2.1") && !try_from("192.0.2.1") && try_from("192.0.2.2"));
        assert!(!try_from("::ffff:192.0.2.1"), "the same address, mapped");
        assert!(try_from("2001:db8::1") && !try_from("2001:db8::2:3") && try_from("2001:db8:0:1::1"));
        assert!(throttle.count(None, at(0)).is_ok() && throttle.count(None, at(0)).is_err());
    }

    #[test]
    fn whoever_waits_a_second_waits_one() {
        let told = |seconds| Throttled { retry_after: Duration::from_secs(seconds) }.to_string();
        assert_eq!(told(1), "too many tries: try again in 1 second");
        assert_eq!(told(30), "too many tries: try again in 30 seconds");
    }

    #[test]
    fn r37_a_clock_that_was_ahead_and_is_set_back_locks_nobody_out() {
        let throttle = Throttle::new(2, Duration::from_secs(2));
        let year = 365 * 24 * 60 * 60 * 1_000;
        while throttle.count(None, at(year)).is_ok() {}
        assert!(throttle.count(None, at(0)).is_ok() && throttle.count(None, at(0)).is_ok());
        assert!(throttle.count(None, at(0)).is_err(), "it begins anew");
    }

    #[test]
    fn r37_a_full_table_forgets_and_locks_nobody_out() {
        let throttle = Throttle::new(1, Duration::from_secs(2));
        for number in 0..2 * u32::try_from(NETWORKS).unwrap() {
            throttle.count(Some(std::net::Ipv4Addr::from_bits(number).into()), at(0)).unwrap();
        }
        assert_eq!(throttle.even_at.lock().len(), NETWORKS);
    }
}
