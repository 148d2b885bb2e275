//! Worker tokens whose signature was checked, by the hash of their whole text: whatever it says is in the key
//! (requirement R45). Being in here lets nobody in; it spares a signature.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::token::TokenHash;
use fallgate_domain::worker::{Family, WorkerClaims};
use parking_lot::Mutex;

use crate::entry::Entry;

/// Tokens are shared out among so many parts, so that workers seldom wait for each other.
const PARTS: usize = 64;
/// How many a part keeps for sure: the last ones that were used. It never has more than twice as many.
const KEPT_IN_PART: usize = 128;

#[derive(Debug)]
pub(super) struct Sighted(Box<[Mutex<Part>]>);

/// When `young` is full it becomes `old`, and what is not used again until then is forgotten.
#[derive(Debug, Default)]
struct Part {
    young: HashMap<TokenHash, Arc<Entry>>,
    old: HashMap<TokenHash, Arc<Entry>>,
}

impl Default for Sighted {
    fn default() -> Self {
        Self((0..PARTS).map(|_| Mutex::default()).collect())
    }
}

impl Sighted {
    pub(super) fn of(&self, hash: &TokenHash) -> Option<Arc<Entry>> {
        let mut part = self.part(hash)?.lock();
        if let Some(entry) = part.young.get(hash) {
            return Some(entry.clone());
        }
        let entry = part.old.remove(hash)?;
        part.keep(*hash, entry.clone());
        Some(entry)
    }

    pub(super) fn keep(&self, hash: TokenHash, entry: Arc<Entry>, now: Timestamp) {
        let Some(part) = self.part(&hash) else { return };
        let mut part = part.lock();
        if part.young.len() >= KEPT_IN_PART {
            // What has ended makes room first.
            part.young.retain(|_, entry| entry.judge(now).is_ok());
        }
        part.keep(hash, entry);
    }

    /// What one of that family says, if any is here.
    pub(super) fn of_family(&self, family: Family) -> Option<Arc<WorkerClaims>> {
        self.0.iter().find_map(|part| {
            let part = part.lock();
            let mut claims =
                part.young.values().chain(part.old.values()).filter_map(|entry| entry.worker.as_ref());
            claims.find(|worker| worker.claims.family() == family).map(|worker| worker.claims.clone())
        })
    }

    fn part(&self, hash: &TokenHash) -> Option<&Mutex<Part>> {
        // The end of a hash; its beginning picks the place within a table.
        let [.., last] = hash.bytes();
        self.0.get(usize::from(*last) % PARTS)
    }
}

impl Part {
    fn keep(&mut self, hash: TokenHash, entry: Arc<Entry>) {
        if self.young.len() >= KEPT_IN_PART {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}
