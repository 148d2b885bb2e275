//! The jobs that wait to be hashed: bounded, and fair to everybody who waits. Lanes take turns; who floods waits for
//! itself alone, and whoever comes new always has a chance (requirement R53).

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::hasher::HasherBusy;
use crate::network::{Network, Site};

/// How many jobs of strangers may wait. Each has one passphrase of at most 1 KiB; the 64 MiB that a hash takes are a
/// thread's.
pub(crate) const STRANGERS: usize = 64;
/// And how many of one site.
pub(crate) const OF_SITE: usize = STRANGERS / 4;
/// How many places are kept for whoever is known, however many strangers wait.
pub(crate) const KNOWN: usize = 16;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// For whom a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Whoever has shown already that they may ask for it. Takes turns with all strangers together.
    Known,
    /// A stranger, by their network. Sites take turns, and so do the networks of a site.
    Stranger(Network),
}

impl Lane {
    /// The lane of a stranger at that address.
    pub(crate) fn of(ip: Option<IpAddr>) -> Self {
        Self::Stranger(Network::of(ip))
    }
}

/// What waits.
#[derive(Default)]
pub(crate) struct Queue {
    known: VecDeque<Job>,
    strangers: Turns<Site, Turns<Network, VecDeque<Job>>>,
    /// Whether the last job was that of somebody known.
    last_was_known: bool,
    dice: Dice,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.strangers = Turns::default();
    }

    /// Lets a job wait. A full queue gives one up for it, if that is fair: it is dropped, and whoever waits for it
    /// hears so.
    pub(crate) fn push(&mut self, lane: Lane, job: Job) -> Result<(), HasherBusy> {
        match lane {
            Lane::Known if self.known.len() < KNOWN => self.known.push_back(job),
            Lane::Known => return Err(HasherBusy),
            Lane::Stranger(network) => {
                let site = network.site();
                self.make_room(site, network)?;
                self.strangers
                    .on_lane(site, |networks| networks.on_lane(network, |lane| lane.push_back(job)));
            }
        }
        Ok(())
    }

    fn make_room(&mut self, site: Site, network: Network) -> Result<(), HasherBusy> {
        let of_site = self.strangers.len_of(site);
        let given_up = if of_site < OF_SITE {
            if self.strangers.len() < STRANGERS {
                return Ok(());
            }
            self.strangers.give_up_for(site, &mut self.dice)
        } else {
            None
        };
        // A site that gets no more room makes it among its own networks.
        let among_own = || self.strangers.held(site)?.give_up_for(network, &mut self.dice);
        match given_up.or_else(among_own) {
            Some(job) => {
                drop(job);
                Ok(())
            }
            None => Err(HasherBusy),
        }
    }

    /// The next job.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        let known_first = !self.last_was_known;
        let known = if known_first { self.known.pop_front() } else { None };
        self.last_was_known = known.is_some();
        let job = known.or_else(|| self.strangers.next());
        if job.is_some() {
            return job;
        }
        // Nobody but them waits, though they were the last.
        self.last_was_known = true;
        self.known.pop_front()
    }
}

/// Picks where nobody shall foresee or bring about which.
#[derive(Default)]
struct Dice {
    keys: RandomState,
    thrown: u64,
}

impl Dice {
    /// A number below `sides`, which must not be 0.
    fn throw(&mut self, sides: usize) -> usize {
        self.thrown = self.thrown.wrapping_add(1);
        let sides = u64::try_from(sides).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.keys.hash_one(self.thrown) % sides).unwrap_or(0)
    }
}

/// What jobs wait in.
trait Waiting: Default {
    fn len(&self) -> usize;
    /// Takes out the job whose turn it is.
    fn next(&mut self) -> Option<Job>;
    /// Takes out the job that is missed least: the last one of the longest lane.
    fn give_up(&mut self, dice: &mut Dice) -> Option<Job>;
}

impl Waiting for VecDeque<Job> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn next(&mut self) -> Option<Job> {
        self.pop_front()
    }

    fn give_up(&mut self, _: &mut Dice) -> Option<Job> {
        self.pop_back()
    }
}

/// Lanes that take turns, none of them empty. The one in front is next.
struct Turns<K, T>(VecDeque<(K, T)>);

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Copy + PartialEq, T: Waiting> Turns<K, T> {
    fn len_of(&self, key: K) -> usize {
        self.0.iter().find(|(held, _)| *held == key).map_or(0, |(_, lane)| lane.len())
    }

    fn held(&mut self, key: K) -> Option<&mut T> {
        self.0.iter_mut().find(|(held, _)| *held == key).map(|(_, lane)| lane)
    }

    /// Does something to the lane of that key; a new one is the last in turn.
    fn on_lane(&mut self, key: K, act: impl FnOnce(&mut T)) {
        if let Some(lane) = self.held(key) {
            act(lane);
        } else {
            let mut lane = T::default();
            act(&mut lane);
            self.0.push_back((key, lane));
        }
    }

    /// Gives up a job for one of that key, if its lane is shorter all the same, or has none yet: of lanes of one job
    /// each any may lose it, so that as many lanes as there are places lock nobody out.
    fn give_up_for(&mut self, key: K, dice: &mut Dice) -> Option<Job> {
        let own = self.len_of(key);
        let longest = self.0.iter().map(|(_, lane)| lane.len()).max().unwrap_or(0);
        if own == 0 || longest > own + 1 { self.give_up(dice) } else { None }
    }
}

impl<K: Copy + PartialEq, T: Waiting> Waiting for Turns<K, T> {
    fn len(&self) -> usize {
        self.0.iter().map(|(_, lane)| lane.len()).sum()
    }

    fn next(&mut self) -> Option<Job> {
        let (key, mut lane) = self.0.pop_front()?;
        let job = lane.next();
        if lane.len() > 0 {
            self.0.push_back((key, lane));
        }
        job
    }

    fn give_up(&mut self, dice: &mut Dice) -> Option<Job> {
        let longest = self.0.iter().map(|(_, lane)| lane.len()).max()?;
        let lanes = self.0.iter().enumerate().filter(|(_, (_, lane))| lane.len() == longest);
        let places: Vec<_> = lanes.map(|(place, _)| place).collect();
        let place = *places.get(dice.throw(places.len()))?;
        let (_, lane) = self.0.get_mut(place)?;
        let job = lane.give_up(dice);
        if lane.len() == 0 {
            self.0.remove(place);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    /// A queue whose jobs tell their number when they are done.
    struct Numbered {
        queue: Queue,
        done: Sender<usize>,
        told: Receiver<usize>,
    }

    impl Numbered {
        fn new() -> Self {
            let (done, told) = mpsc::channel();
            Self { queue: Queue::default(), done, told }
        }

        fn push(&mut self, lane: Lane, number: usize) -> Result<(), HasherBusy> {
            let done = self.done.clone();
            self.queue.push(lane, Box::new(move || done.send(number).unwrap()))
        }

        /// All that waits, in turn.
        fn drain(&mut self) -> Vec<usize> {
            while let Some(job) = self.queue.pop() {
                job();
            }
            self.told.try_iter().collect()
        }
    }

    fn v4(number: usize) -> Lane {
        Lane::of(Some(Ipv4Addr::from_bits(0xc000_0200 + u32::try_from(number).unwrap()).into()))
    }

    /// One of the networks of one of the sites.
    fn v6(site: u16, network: u16) -> Lane {
        Lane::of(Some(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, 1).into()))
    }

    #[test]
    fn r53_as_many_networks_as_there_are_places_lock_nobody_out() {
        let mut heard = 0;
        for _ in 0..20 {
            let mut jobs = Numbered::new();
            for number in 0..STRANGERS {
                jobs.push(v4(number), number).unwrap();
            }
            assert_eq!(jobs.push(v4(0), 99), Err(HasherBusy), "it has one there already");
            jobs.push(v4(1_000), 1_000).unwrap();
            // And what it drives out is not always the same.
            jobs.push(v4(1_001), 1_001).unwrap();
            let done = jobs.drain();
            assert_eq!(done.len(), STRANGERS);
            heard += usize::from(done.contains(&0)) + usize::from(done.contains(&1_000));
        }
        assert!((20..=40).contains(&heard), "{heard}");
    }

    #[test]
    fn r53_one_site_has_the_places_of_one_however_many_networks_it_has() {
        let mut jobs = Numbered::new();
        for network in 0..10_000 {
            // The newest of its networks drive out the others.
            jobs.push(v6(1, network), 1).unwrap();
        }
        assert_eq!(jobs.queue.len(), OF_SITE);
        for number in 2..=16 {
            jobs.push(v6(number, 0), usize::from(number)).unwrap();
        }
        jobs.push(v4(0), 17).unwrap();
        assert_eq!(jobs.drain()[..17], (1..=17).collect::<Vec<_>>(), "sites take turns");
    }

    #[test]
    fn r53_the_networks_of_a_site_take_turns_and_the_longest_makes_room() {
        let mut jobs = Numbered::new();
        for _ in 0..OF_SITE {
            jobs.push(v6(1, 1), 1).unwrap();
        }
        assert_eq!(jobs.push(v6(1, 1), 1), Err(HasherBusy));
        jobs.push(v6(1, 2), 2).unwrap();
        assert_eq!(jobs.drain()[..3], [1, 2, 1]);
    }

    #[test]
    fn r53_strangers_take_no_place_of_those_who_are_known_and_every_other_turn_is_theirs() {
        let mut jobs = Numbered::new();
        for number in 0..10 * STRANGERS {
            let _ = jobs.push(v4(number), 0);
        }
        for _ in 0..KNOWN {
            jobs.push(Lane::Known, 1).unwrap();
        }
        assert_eq!(jobs.push(Lane::Known, 1), Err(HasherBusy));
        assert_eq!(jobs.queue.len(), STRANGERS + KNOWN, "bounded, whoever comes");
        let done = jobs.drain();
        assert_eq!(done[..6], [1, 0, 1, 0, 1, 0]);
        for _ in 0..3 {
            jobs.push(Lane::Known, 1).unwrap();
        }
        assert_eq!(jobs.drain(), [1, 1, 1]);
    }
}
