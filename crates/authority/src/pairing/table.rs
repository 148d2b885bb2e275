//! The pairings that there are: in memory alone, so that a restart leaves nothing behind, and no more than so many.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::id::{CredentialId, PairingId, UserId};
use fallgate_domain::pairing::{CodeName, PairingCode};
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::Username;
use parking_lot::Mutex;

use super::{PairingError, PairingStatus};
use crate::entry::Entry;
use crate::throttle::Throttle;

/// How long a code is good, and then how long a device that used it waits to be let in.
pub(super) const LIFE: Duration = Duration::from_mins(2);
/// How long it is remembered what became of one, so that whoever comes late is told why.
const KEPT: Duration = Duration::from_mins(10);
/// So many wrong tries end a code.
pub(super) const MOST_TRIES: u8 = 5;
/// How many codes of one sign-in wait at most, and how many pairings are remembered in all. The oldest makes room.
const MOST_OF_ONE: usize = 4;
const MOST: usize = 1_024;
/// What one network may try: so many times at once, then once every so often.
const TRIES: (u32, Duration) = (20, Duration::from_secs(3));

#[derive(Debug)]
pub(crate) struct Pairings {
    table: Mutex<Vec<Pairing>>,
    pub(super) throttle: Throttle,
}

/// One code, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Pairing {
    pub(super) id: PairingId,
    /// Whom a device will be signed in as.
    pub(super) owner: UserId,
    pub(super) username: Username,
    pub(super) starter: Starter,
    pub(super) name: CodeName,
    pub(super) hash: TokenHash,
    pub(super) tries: u8,
    pub(super) status: PairingStatus,
    /// When this status ends by itself; once it has ended, when it ended.
    pub(super) until: Timestamp,
    pub(super) asker: Option<Asker>,
}

/// Who made a code.
#[derive(Debug, Clone)]
pub(super) enum Starter {
    /// Somebody by a sign-in of theirs, which lets the device in.
    SignIn(Arc<Entry>),
    /// Somebody with access to the home folder, who lets it in.
    Operator,
    /// The gate itself as it started. Nobody is there to ask, so the device shows the passphrase.
    Gate,
}

/// The device that used a code.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// Of the secret by which it is known; none when it does not wait.
    pub(super) claim: Option<TokenHash>,
    pub(super) device: String,
    pub(super) ip: Option<IpAddr>,
    /// Shown on both sides.
    pub(super) number: u8,
}

impl Default for Pairings {
    fn default() -> Self {
        Self { table: Mutex::default(), throttle: Throttle::new(TRIES.0, TRIES.1) }
    }
}

impl Pairing {
    fn is_over(&self) -> bool {
        use PairingStatus::{Allowed, Asked, Waiting};
        !matches!(self.status, Waiting | Asked | Allowed)
    }

    /// The sign-in that made it, on whose authority a device is let in: it must stand to the last.
    pub(super) fn credential(&self) -> Option<CredentialId> {
        match &self.starter {
            Starter::SignIn(entry) => Some(entry.id),
            Starter::Operator | Starter::Gate => None,
        }
    }

    fn become_so(&mut self, status: PairingStatus, now: Timestamp) {
        self.status = status;
        self.until = if self.is_over() { now } else { now.plus(LIFE) };
    }

    /// Why no device may be let in by it any more; `is_code`: it was found by its code, which is good once.
    fn expect(&self, wanted: PairingStatus, is_code: bool) -> Result<(), PairingError> {
        match self.status {
            status if status == wanted => Ok(()),
            _ if is_code && self.asker.is_some() => Err(PairingError::Used),
            PairingStatus::Late => Err(PairingError::Late),
            PairingStatus::Worn => Err(PairingError::Worn),
            PairingStatus::Refused => Err(PairingError::Refused),
            PairingStatus::Withdrawn => Err(PairingError::Withdrawn),
            PairingStatus::Waiting | PairingStatus::Asked | PairingStatus::Allowed | PairingStatus::Done => {
                Err(PairingError::Used)
            }
        }
    }
}

impl Pairings {
    /// Takes in a code. `false`: another has that name, which happens; draw again.
    pub(super) fn start(&self, pairing: Pairing, now: Timestamp) -> bool {
        self.at(now, |table| {
            if table.iter().any(|other| other.name == pairing.name) {
                return false;
            }
            let own = |other: &Pairing| {
                let waits = other.status == PairingStatus::Waiting;
                waits && other.credential().is_some() && other.credential() == pairing.credential()
            };
            if table.iter().filter(|other| own(other)).count() >= MOST_OF_ONE
                && let Some(oldest) = table.iter_mut().find(|other| own(other))
            {
                oldest.become_so(PairingStatus::Withdrawn, now);
            }
            if table.len() >= MOST {
                let over = table.iter().position(Pairing::is_over).unwrap_or(0);
                table.remove(over);
            }
            table.push(pairing);
            true
        })
    }

    /// The pairing of that code, if no device has used it yet. A wrong code that names it is counted against it.
    pub(super) fn by_code(&self, code: &PairingCode, now: Timestamp) -> Result<Pairing, PairingError> {
        self.at(now, |table| {
            let named = table.iter_mut().find(|pairing| pairing.name == code.name());
            let pairing = named.ok_or(PairingError::Unknown)?;
            // Both are digests, of which nobody can choose how they begin (requirement R36).
            if pairing.hash != code.hash() {
                if pairing.status == PairingStatus::Waiting {
                    count_try(pairing, now);
                }
                let worn = pairing.status == PairingStatus::Worn;
                return Err(if worn { PairingError::Worn } else { PairingError::Unknown });
            }
            pairing.expect(PairingStatus::Waiting, true)?;
            Ok(pairing.clone())
        })
    }

    /// Counts a try at the passphrase before it is looked at: whoever hangs up has tried.
    pub(super) fn begin_try(&self, id: PairingId, now: Timestamp) -> Result<(), PairingError> {
        self.edit(id, now, |pairing| {
            pairing.expect(PairingStatus::Waiting, true)?;
            if pairing.tries >= MOST_TRIES {
                return Err(PairingError::Worn);
            }
            pairing.tries += 1;
            Ok(())
        })
    }

    /// The passphrase could not be looked at after all.
    pub(super) fn forget_try(&self, id: PairingId, now: Timestamp) {
        let _ = self.edit(id, now, |pairing| {
            pairing.tries = pairing.tries.saturating_sub(1);
            Ok(())
        });
    }

    /// It was wrong. Tells whether that was the last try.
    pub(super) fn failed_try(&self, id: PairingId, now: Timestamp) -> PairingError {
        let worn = self.edit(id, now, |pairing| {
            if pairing.tries >= MOST_TRIES && !pairing.is_over() {
                pairing.become_so(PairingStatus::Worn, now);
            }
            pairing.expect(PairingStatus::Waiting, true)
        });
        worn.err().unwrap_or(PairingError::WrongPassphrase)
    }

    /// A device uses the code: from here on it is good for nothing else. Tells until when the device may wait.
    pub(super) fn ask(
        &self,
        id: PairingId,
        asker: Asker,
        status: PairingStatus,
        now: Timestamp,
    ) -> Result<Timestamp, PairingError> {
        self.edit(id, now, |pairing| {
            pairing.expect(PairingStatus::Waiting, true)?;
            pairing.asker = Some(asker);
            pairing.become_so(status, now);
            Ok(pairing.until)
        })
    }

    /// The pairing whose device has this secret.
    pub(super) fn by_claim(&self, claim: &TokenHash, now: Timestamp) -> Option<Pairing> {
        let held = |pairing: &&Pairing| {
            pairing.asker.as_ref().is_some_and(|asker| asker.claim.as_ref() == Some(claim))
        };
        self.at(now, |table| table.iter().find(held).cloned())
    }

    /// Has it pass from one status to another, and fails if it is in neither of them but another.
    pub(super) fn pass(
        &self,
        id: PairingId,
        from: PairingStatus,
        to: PairingStatus,
        now: Timestamp,
    ) -> Result<(), PairingError> {
        self.edit(id, now, |pairing| {
            pairing.expect(from, false)?;
            pairing.become_so(to, now);
            Ok(())
        })
    }

    /// Nobody comes in by it any more, unless somebody has.
    pub(super) fn withdraw(&self, id: PairingId, now: Timestamp) {
        let _ = self.edit(id, now, |pairing| {
            if !pairing.is_over() {
                pairing.become_so(PairingStatus::Withdrawn, now);
            }
            Ok(())
        });
    }

    /// The same of all by which somebody would sign in another device as this user.
    pub(super) fn withdraw_all_of(&self, owner: UserId, now: Timestamp) {
        self.at(now, |table| {
            for pairing in table.iter_mut().filter(|pairing| pairing.owner == owner && !pairing.is_over()) {
                pairing.become_so(PairingStatus::Withdrawn, now);
            }
        });
    }

    /// The pairing of that id, whatever became of it.
    pub(super) fn find(&self, id: PairingId, now: Timestamp) -> Option<Pairing> {
        self.at(now, |table| table.iter().find(|pairing| pairing.id == id).cloned())
    }

    fn edit<T>(
        &self,
        id: PairingId,
        now: Timestamp,
        edit: impl FnOnce(&mut Pairing) -> Result<T, PairingError>,
    ) -> Result<T, PairingError> {
        self.at(now, |table| {
            let pairing = table.iter_mut().find(|pairing| pairing.id == id);
            edit(pairing.ok_or(PairingError::Unknown)?)
        })
    }

    /// The table as it is at `now`.
    fn at<T>(&self, now: Timestamp, look: impl FnOnce(&mut Vec<Pairing>) -> T) -> T {
        let mut table = self.table.lock();
        for pairing in table.iter_mut().filter(|pairing| !pairing.is_over() && now >= pairing.until) {
            pairing.status = PairingStatus::Late;
        }
        table.retain(|pairing| !pairing.is_over() || now < pairing.until.plus(KEPT));
        look(&mut table)
    }
}

fn count_try(pairing: &mut Pairing, now: Timestamp) {
    pairing.tries += 1;
    if pairing.tries >= MOST_TRIES {
        pairing.become_so(PairingStatus::Worn, now);
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::{self, Entropy, TestEntropy};
    use fallgate_domain::pairing::CODE_RANDOM;
    use zeroize::Zeroizing;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
    }

    fn drawn(entropy: &dyn Entropy) -> PairingCode {
        PairingCode::new(&Zeroizing::new(entropy::bytes::<CODE_RANDOM>(entropy).unwrap()))
    }

    fn pairing(code: &PairingCode, entropy: &dyn Entropy) -> Pairing {
        Pairing {
            id: PairingId::new(at(0), entropy).unwrap(),
            owner: UserId::new(at(0), entropy).unwrap(),
            username: "ada".parse().unwrap(),
            starter: Starter::Operator,
            name: code.name(),
            hash: code.hash(),
            tries: 0,
            status: PairingStatus::Waiting,
            until: at(0).plus(LIFE),
            asker: None,
        }
    }

    fn started() -> (Pairings, PairingCode, PairingId) {
        let entropy = TestEntropy::default();
        let (pairings, code) = (Pairings::default(), drawn(&entropy));
        let pairing = pairing(&code, &entropy);
        let id = pairing.id;
        assert!(pairings.start(pairing, at(0)));
        (pairings, code, id)
    }

    fn asker(number: u8) -> Asker {
        Asker { claim: Some(TokenHash::from_bytes([number; 32])), device: "x".to_owned(), ip: None, number }
    }

    /// The same with another last digit.
    fn other(code: &PairingCode) -> PairingCode {
        let mut text = code.expose().to_owned();
        let last = text.pop();
        text.push(if last == Some('0') { '1' } else { '0' });
        PairingCode::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_code_is_good_for_two_minutes_to_the_second_and_then_it_is_said_why() {
        let (pairings, code, _) = started();
        assert!(pairings.by_code(&code, at(119)).is_ok());
        assert!(matches!(pairings.by_code(&code, at(120)), Err(PairingError::Late)));
        assert!(matches!(pairings.by_code(&code, at(719)), Err(PairingError::Late)));
        assert!(matches!(pairings.by_code(&code, at(720)), Err(PairingError::Unknown)), "kept for ever");
    }

    #[test]
    fn five_wrong_tries_end_a_code_and_no_other() {
        let (pairings, code, _) = started();
        let entropy = TestEntropy::default();
        entropy.fill(&mut [0; 320]).unwrap();
        let bystander = drawn(&entropy);
        assert!(pairings.start(pairing(&bystander, &entropy), at(0)));
        for _ in 1..MOST_TRIES {
            assert!(matches!(pairings.by_code(&other(&code), at(1)), Err(PairingError::Unknown)));
        }
        assert!(pairings.by_code(&code, at(1)).is_ok());
        assert!(matches!(pairings.by_code(&other(&code), at(1)), Err(PairingError::Worn)));
        assert!(matches!(pairings.by_code(&code, at(1)), Err(PairingError::Worn)));
        assert!(pairings.by_code(&bystander, at(1)).is_ok());
    }

    #[test]
    fn five_wrong_passphrases_end_it_as_well_and_who_hangs_up_has_tried() {
        let (pairings, code, id) = started();
        for _ in 1..MOST_TRIES {
            pairings.begin_try(id, at(1)).unwrap();
            assert!(matches!(pairings.failed_try(id, at(1)), PairingError::WrongPassphrase));
        }
        pairings.begin_try(id, at(1)).unwrap();
        assert!(matches!(pairings.begin_try(id, at(1)), Err(PairingError::Worn)));
        pairings.forget_try(id, at(1));
        pairings.begin_try(id, at(1)).unwrap();
        assert!(matches!(pairings.failed_try(id, at(1)), PairingError::Worn));
        assert!(matches!(pairings.by_code(&code, at(1)), Err(PairingError::Worn)));
    }

    #[test]
    fn a_code_is_good_once_and_a_device_waits_two_minutes() {
        let (pairings, code, id) = started();
        pairings.ask(id, asker(1), PairingStatus::Asked, at(100)).unwrap();
        assert!(matches!(pairings.ask(id, asker(2), PairingStatus::Asked, at(100)), Err(PairingError::Used)));
        assert!(matches!(pairings.by_code(&code, at(100)), Err(PairingError::Used)));
        let claimed = |now| pairings.by_claim(&TokenHash::from_bytes([1; 32]), now).unwrap();
        assert_eq!(claimed(at(219)).status, PairingStatus::Asked);
        assert_eq!(claimed(at(220)).status, PairingStatus::Late);
        assert!(pairings.by_claim(&TokenHash::from_bytes([2; 32]), at(100)).is_none());
        let allowed = pairings.pass(id, PairingStatus::Asked, PairingStatus::Allowed, at(220));
        assert!(matches!(allowed, Err(PairingError::Late)));
        assert!(matches!(pairings.by_code(&code, at(221)), Err(PairingError::Used)));
    }

    #[test]
    fn only_so_many_are_remembered_and_what_is_over_goes_first() {
        let entropy = TestEntropy::default();
        let pairings = Pairings::default();
        let codes: Vec<_> = (0..=MOST)
            .map(|number| {
                let code = drawn(&entropy);
                let pairing = pairing(&code, &entropy);
                let id = pairing.id;
                assert!(pairings.start(pairing, at(0)));
                if number == 1 {
                    pairings.withdraw(id, at(0));
                }
                code
            })
            .collect();
        assert_eq!(pairings.table.lock().len(), MOST);
        assert!(pairings.by_code(&codes[0], at(0)).is_ok());
        assert!(matches!(pairings.by_code(&codes[1], at(0)), Err(PairingError::Unknown)));
        assert!(pairings.by_code(&codes[MOST], at(0)).is_ok());
    }
}
