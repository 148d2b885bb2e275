//! When and from where credentials were last used: noted on the way, written at most once a minute each and off the
//! request path (requirement R32).

use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::LastUse;
use fallgate_domain::id::CredentialId;
use tokio::sync::mpsc;

use crate::presented::RequestFacts;
use crate::sync::Ordering;
use crate::verifier::Verifier;
use crate::view::Entry;

const AT_MOST_EVERY: i64 = 60_000;
/// Notes that wait to be written. When a flood fills it, notes are lost, not requests.
const WAITING: usize = 4_096;
const BATCH: usize = 512;
const GATHER_FOR: Duration = Duration::from_secs(1);
const USER_AGENT_CHARACTERS: usize = 256;

#[derive(Debug)]
pub(crate) struct UseQueue(mpsc::Sender<(CredentialId, LastUse)>);

/// The notes that wait to be written.
#[derive(Debug)]
pub struct UseNotes(mpsc::Receiver<(CredentialId, LastUse)>);

impl UseQueue {
    pub(crate) fn new() -> (Self, UseNotes) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), UseNotes(receiver))
    }

    pub(crate) fn note(&self, entry: &Entry, facts: &RequestFacts<'_>, now: Timestamp) {
        let last = entry.noted_at.load(Ordering::Relaxed);
        if now.millis().saturating_sub(last) < AT_MOST_EVERY
            || entry
                .noted_at
                .compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let user_agent = facts.user_agent.map(shown);
        let last_use = LastUse { at: now, ip: facts.ip.map(|ip| ip.to_string()), user_agent };
        // Full or closed: this one note is lost, as documented.
        let _ = self.0.try_send((entry.id, last_use));
    }
}

/// What a client calls itself, as it may be kept and shown.
pub(crate) fn shown(user_agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_agent);
    text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARACTERS).collect()
}

impl UseNotes {
    /// Writes notes down as they come, some at a time. Returns when the verifier is gone.
    pub async fn run(mut self, verifier: std::sync::Weak<Verifier>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.0.recv_many(&mut batch, BATCH).await > 0 {
            tokio::time::sleep(GATHER_FOR).await;
            while batch.len() < BATCH
                && let Ok(note) = self.0.try_recv()
            {
                batch.push(note);
            }
            let Some(verifier) = verifier.upgrade() else { return };
            if let Err(error) = verifier.write_uses(&batch).await {
                tracing::warn!(%error, "could not write down when credentials were last used");
            }
            batch.clear();
        }
    }
}
