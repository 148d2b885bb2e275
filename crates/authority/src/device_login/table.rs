//! The devices that ask: in memory, by hashes, and no more of them than fit.

use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::token::TokenHash;
use fallgate_domain::user_code::UserCode;
use parking_lot::Mutex;

use super::DeviceLoginError;
use crate::network::Site;
use crate::throttle::Throttle;

/// How long a code is good.
pub(super) const LIFE: Duration = Duration::from_mins(10);
/// How long it is remembered what became of one, so that whoever comes late is told why.
const KEPT: Duration = Duration::from_mins(10);
/// How long a device waits between two looks; so much longer from each look on that comes too soon; and at most.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
const SLOWER: Duration = Duration::from_secs(5);
const SLOWEST: Duration = Duration::from_mins(1);
/// How many are remembered in all.
const MOST: usize = 4_096;
/// What one network may ask for, which codes it may look up, and how often it may hold what is none: so many times at once,
/// then once every so often. No success gives any of it back.
const ASKS: (u32, Duration) = (10, Duration::from_secs(20));
const GUESSES: (u32, Duration) = (20, Duration::from_secs(6));
const WRONG: (u32, Duration) = (60, Duration::from_secs(2));

#[derive(Debug)]
pub(crate) struct DeviceLogins {
    table: Mutex<Vec<Asking>>,
    pub(super) asks: Throttle,
    pub(super) guesses: Throttle,
    pub(super) wrong: Throttle,
}

/// A device, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// Of its device code.
    pub(super) hash: TokenHash,
    pub(super) user_code: UserCode,
    pub(super) client: String,
    pub(super) device: String,
    pub(super) ip: Option<IpAddr>,
    pub(super) site: Site,
    pub(super) since: Timestamp,
    /// When it ends by itself; once it has ended, when it ended.
    pub(super) until: Timestamp,
    pub(super) interval: Duration,
    pub(super) looked_at: Option<Timestamp>,
    pub(super) standing: Standing,
}

/// One that somebody approves, while that is being written down.
pub(super) struct Taken<'a> {
    devices: &'a DeviceLogins,
    hash: TokenHash,
    now: Timestamp,
}

impl Taken<'_> {
    /// What came of it.
    pub(super) fn settle(self, standing: Standing) -> Result<(), DeviceLoginError> {
        self.devices.settle(&self.hash, standing, self.now)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // One that was settled is not taken any more, and stays as it is.
        let _ = self.devices.settle(&self.hash, Standing::Waiting, self.now);
    }
}

/// Where a device stands.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    Waiting,
    /// Somebody approves it, and that is being written down. To the device it waits.
    Taken,
    Approved(Approval),
    Refused,
    /// Its time was over.
    Late,
    /// It is signed in.
    Done,
}

/// Who stands for a device.
#[derive(Debug, Clone)]
pub(super) struct Approval {
    pub(super) owner: UserId,
    /// The sign-in by which they said so.
    pub(super) by: CredentialId,
}

impl Default for DeviceLogins {
    fn default() -> Self {
        let throttle = |(burst, every)| Throttle::new(burst, every);
        Self {
            table: Mutex::default(),
            asks: throttle(ASKS),
            guesses: throttle(GUESSES),
            wrong: throttle(WRONG),
        }
    }
}

impl Asking {
    const fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Refused | Standing::Late | Standing::Done)
    }

    fn end(&mut self, standing: Standing, now: Timestamp) {
        self.standing = standing;
        self.until = now;
    }

    const fn expect_waiting(&self) -> Result<(), DeviceLoginError> {
        match self.standing {
            Standing::Waiting => Ok(()),
            Standing::Late => Err(DeviceLoginError::Late),
            Standing::Taken | Standing::Approved(_) | Standing::Refused | Standing::Done => {
                Err(DeviceLoginError::Answered)
            }
        }
    }
}

impl DeviceLogins {
    /// Takes in a device. `false`: another shows that code, which happens; draw again.
    pub(super) fn start(&self, asking: Asking, now: Timestamp) -> bool {
        self.at(now, |table| {
            if table.iter().any(|other| other.user_code == asking.user_code) {
                return false;
            }
            if table.len() >= MOST {
                make_room(table);
            }
            table.push(asking);
            true
        })
    }

    /// The device that shows this code and waits.
    pub(super) fn find(&self, code: UserCode, now: Timestamp) -> Result<Asking, DeviceLoginError> {
        self.at(now, |table| {
            let found = table.iter().find(|asking| asking.user_code == code);
            let found = found.ok_or(DeviceLoginError::Unknown)?;
            found.expect_waiting()?;
            Ok(found.clone())
        })
    }

    /// Approves it or refuses it, if nobody else has.
    pub(super) fn answer(
        &self,
        hash: &TokenHash,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), DeviceLoginError> {
        self.edit(hash, now, |asking| {
            asking.expect_waiting()?;
            asking.standing = standing;
            if asking.is_over() {
                asking.until = now;
            }
            Ok(())
        })
    }

    /// Holds one that was taken until it is settled: it waits again if it never is.
    pub(super) fn taken(&self, hash: TokenHash, now: Timestamp) -> Taken<'_> {
        Taken { devices: self, hash, now }
    }

    fn settle(&self, hash: &TokenHash, standing: Standing, now: Timestamp) -> Result<(), DeviceLoginError> {
        self.edit(hash, now, |asking| match asking.standing {
            Standing::Taken => {
                asking.standing = standing;
                Ok(())
            }
            _ => Err(DeviceLoginError::Late),
        })
    }

    /// The device looks. Once it was approved it is told so this one time.
    pub(super) fn look(
        &self,
        hash: &TokenHash,
        client: &str,
        now: Timestamp,
    ) -> Result<(Asking, Approval), DeviceLoginError> {
        self.edit(hash, now, |asking| {
            if asking.client != client {
                return Err(DeviceLoginError::Unknown);
            }
            match &asking.standing {
                Standing::Waiting | Standing::Taken => Err(asking.look_while_waiting(now)),
                Standing::Approved(approval) => {
                    let approval = approval.clone();
                    asking.end(Standing::Done, now);
                    Ok((asking.clone(), approval))
                }
                Standing::Refused => Err(DeviceLoginError::Refused),
                Standing::Late => Err(DeviceLoginError::Late),
                Standing::Done => Err(DeviceLoginError::Unknown),
            }
        })
    }

    /// It was approved, and not signed in all the same.
    pub(super) fn fail(&self, hash: &TokenHash, now: Timestamp) {
        let _ = self.edit(hash, now, |asking| {
            asking.end(Standing::Refused, now);
            Ok(())
        });
    }

    fn edit<T>(
        &self,
        hash: &TokenHash,
        now: Timestamp,
        edit: impl FnOnce(&mut Asking) -> Result<T, DeviceLoginError>,
    ) -> Result<T, DeviceLoginError> {
        self.at(now, |table| {
            // Both are digests, of which nobody can choose how they begin (requirement R36).
            let asking = table.iter_mut().find(|asking| asking.hash == *hash);
            edit(asking.ok_or(DeviceLoginError::Unknown)?)
        })
    }

    /// The table as it is at `now`.
    fn at<T>(&self, now: Timestamp, look: impl FnOnce(&mut Vec<Asking>) -> T) -> T {
        let mut table = self.table.lock();
        for asking in table.iter_mut().filter(|asking| !asking.is_over() && now >= asking.until) {
            asking.standing = Standing::Late;
        }
        table.retain(|asking| !asking.is_over() || now < asking.until.plus(KEPT));
        look(&mut table)
    }
}

impl Asking {
    /// Nobody has answered yet; whoever looks too soon has to wait longer from here on (RFC 8628, section 3.5).
    fn look_while_waiting(&mut self, now: Timestamp) -> DeviceLoginError {
        let is_soon = self.looked_at.is_some_and(|before| now.since(before) < self.interval);
        self.looked_at = Some(now);
        if is_soon {
            self.interval = self.interval.saturating_add(SLOWER).min(SLOWEST);
            return DeviceLoginError::TooSoon;
        }
        DeviceLoginError::Pending
    }
}

/// What is over goes first; else the oldest of whichever site has most, so that nobody is pushed out by a crowd that they
/// are no part of: a site has as many networks as there are places here, and more.
fn make_room(table: &mut Vec<Asking>) {
    let over = table.iter().position(Asking::is_over);
    let oldest_of_most = || {
        let mut counts = std::collections::HashMap::<Site, usize>::new();
        for asking in table.iter() {
            *counts.entry(asking.site).or_default() += 1;
        }
        let (site, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        table.iter().position(|asking| asking.site == site)
    };
    if let Some(place) = over.or_else(oldest_of_most) {
        table.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;

    use super::*;
    use crate::network::Network;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
    }

    fn hash(number: u32) -> TokenHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        TokenHash::from_bytes(bytes)
    }

    fn code(number: u32) -> UserCode {
        UserCode::new(u64::from(number).to_be_bytes())
    }

    fn asking(number: u32, ip: &str) -> Asking {
        let ip = Some(ip.parse().unwrap());
        Asking {
            hash: hash(number),
            user_code: code(number),
            client: "cli".to_owned(),
            device: "box".to_owned(),
            ip,
            site: Network::of(ip).site(),
            since: at(0),
            until: at(0).plus(LIFE),
            interval: INTERVAL,
            looked_at: None,
            standing: Standing::Waiting,
        }
    }

    fn started() -> DeviceLogins {
        let devices = DeviceLogins::default();
        assert!(devices.start(asking(1, "192.0.2.1"), at(0)));
        devices
    }

    fn approval() -> Standing {
        let entropy = TestEntropy::default();
        Standing::Approved(Approval {
            owner: UserId::new(at(0), &entropy).unwrap(),
            by: CredentialId::new(at(0), &entropy).unwrap(),
        })
    }

    #[test]
    fn r62_a_code_is_good_for_ten_minutes_to_the_second_and_then_it_is_said_why() {
        let devices = started();
        assert!(devices.find(code(1), at(599)).is_ok());
        assert!(matches!(devices.find(code(1), at(600)), Err(DeviceLoginError::Late)));
        assert!(matches!(devices.answer(&hash(1), approval(), at(600)), Err(DeviceLoginError::Late)));
        assert!(matches!(devices.look(&hash(1), "cli", at(1_199)), Err(DeviceLoginError::Late)));
        assert!(matches!(devices.look(&hash(1), "cli", at(1_200)), Err(DeviceLoginError::Unknown)));
        // Approved and not collected ends as well.
        let devices = started();
        devices.answer(&hash(1), approval(), at(599)).unwrap();
        assert!(matches!(devices.look(&hash(1), "cli", at(600)), Err(DeviceLoginError::Late)));
    }

    #[test]
    fn r62_a_code_whose_approval_broke_off_waits_again_and_one_that_was_settled_stays() {
        let devices = started();
        devices.answer(&hash(1), Standing::Taken, at(1)).unwrap();
        drop(devices.taken(hash(1), at(1)));
        devices.answer(&hash(1), Standing::Taken, at(1)).unwrap();
        devices.taken(hash(1), at(1)).settle(approval()).unwrap();
        assert!(devices.look(&hash(1), "cli", at(1)).is_ok());
    }

    #[test]
    fn r62_a_code_is_answered_once_and_good_once() {
        for (first, is_yes) in [(approval(), true), (Standing::Refused, false)] {
            let devices = started();
            devices.answer(&hash(1), first, at(1)).unwrap();
            for second in [approval(), Standing::Refused] {
                let again = devices.answer(&hash(1), second, at(1));
                assert!(matches!(again, Err(DeviceLoginError::Answered)));
            }
            assert!(matches!(devices.find(code(1), at(1)), Err(DeviceLoginError::Answered)));
            assert!(matches!(devices.look(&hash(1), "another", at(1)), Err(DeviceLoginError::Unknown)));
            let looked = devices.look(&hash(1), "cli", at(1));
            if is_yes {
                assert_eq!(looked.unwrap().0.device, "box");
                assert!(matches!(devices.look(&hash(1), "cli", at(1)), Err(DeviceLoginError::Unknown)));
            } else {
                assert!(matches!(looked, Err(DeviceLoginError::Refused)));
            }
        }
    }

    #[test]
    fn r62_whoever_looks_too_often_has_to_wait_longer_each_time() {
        let devices = started();
        let look = |seconds| devices.look(&hash(1), "cli", at(seconds)).unwrap_err();
        assert!(matches!(look(0), DeviceLoginError::Pending));
        assert!(matches!(look(2), DeviceLoginError::Pending));
        assert!(matches!(look(3), DeviceLoginError::TooSoon));
        assert!(matches!(look(9), DeviceLoginError::TooSoon), "seven seconds from now on");
        assert!(matches!(look(21), DeviceLoginError::Pending), "and now twelve");
        // What was approved is had at once.
        devices.answer(&hash(1), approval(), at(21)).unwrap();
        assert!(devices.look(&hash(1), "cli", at(21)).is_ok());
    }

    #[test]
    fn r62_a_full_table_pushes_out_what_is_over_and_then_the_crowd() {
        let devices = DeviceLogins::default();
        assert!(devices.start(asking(0, "192.0.2.1"), at(0)));
        let most = u32::try_from(MOST).unwrap();
        for number in 1..most {
            assert!(devices.start(asking(number, "192.0.2.2"), at(0)));
        }
        assert!(!devices.start(asking(1, "192.0.2.3"), at(0)), "a code that is shown already");
        devices.answer(&hash(7), Standing::Refused, at(1)).unwrap();
        assert!(devices.start(asking(most, "192.0.2.3"), at(1)));
        assert!(matches!(devices.find(code(7), at(1)), Err(DeviceLoginError::Unknown)));
        assert!(devices.find(code(1), at(1)).is_ok());
        assert!(devices.start(asking(most + 1, "192.0.2.3"), at(1)));
        assert!(matches!(devices.find(code(1), at(1)), Err(DeviceLoginError::Unknown)));
        assert!(devices.find(code(0), at(1)).is_ok(), "a bystander was pushed out");
        assert_eq!(devices.table.lock().len(), MOST);
    }

    #[test]
    fn r54_whoever_has_a_network_for_each_place_in_the_table_pushes_nobody_out() {
        let devices = DeviceLogins::default();
        for number in 0..2 {
            assert!(devices.start(asking(number, "192.0.2.1"), at(0)));
        }
        for number in 2..u32::try_from(MOST).unwrap() + 4 {
            assert!(devices.start(asking(number, &format!("2001:db8:0:{number:x}::1")), at(1)));
        }
        for number in 0..2 {
            assert!(devices.find(code(number), at(1)).is_ok(), "{number} was pushed out");
        }
    }
}
