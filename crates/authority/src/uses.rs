//! When, from where and how often credentials were used: noted on the way, written at most once a minute each and off
//! the request path (requirement R32).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::LastUse;
use fallgate_store::{NotedUse, StoreError};
use tokio::sync::mpsc;

use crate::entry::{Entry, Parent};
use crate::presented::RequestFacts;
use crate::sync::Ordering;
use crate::verifier::Verifier;

const AT_MOST_EVERY: i64 = 60_000;
const HELD_EVERY: Duration = Duration::from_mins(1);
/// Notes that wait to be written. When a flood fills it, notes are lost, not requests.
const WAITING: usize = 4_096;
const BATCH: usize = 512;
const GATHER_FOR: Duration = Duration::from_secs(1);
const USER_AGENT_CHARACTERS: usize = 256;

#[derive(Debug)]
pub(crate) struct UseQueue(mpsc::Sender<NotedUse>);

/// The notes that wait to be written.
#[derive(Debug)]
pub struct UseNotes(mpsc::Receiver<NotedUse>);

impl UseQueue {
    pub(crate) fn new() -> (Self, UseNotes) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), UseNotes(receiver))
    }

    pub(crate) fn note(&self, entry: &Arc<Entry>, facts: &RequestFacts<'_>, now: Timestamp) {
        entry.uses.fetch_add(1, Ordering::Relaxed);
        if self.put_down(entry, facts, now)
            && let Some(agent) = &entry.agent
        {
            agent.note(entry, now);
        }
        // Whoever uses it uses the sign-ins that it hangs on: a restart must not find those idle.
        let mut parent = &entry.parent;
        while let Parent::Entry(entry) = parent {
            if entry.can_lie_idle() {
                self.put_down(entry, facts, now);
            }
            parent = &entry.parent;
        }
    }

    /// At most once a minute; tells whether it is once more.
    fn put_down(&self, entry: &Entry, facts: &RequestFacts<'_>, now: Timestamp) -> bool {
        let last = entry.noted_at.load(Ordering::Relaxed);
        if now.millis().saturating_sub(last) < AT_MOST_EVERY
            || entry
                .noted_at
                .compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return false;
        }
        let last = LastUse {
            at: now,
            ip: facts.ip.map(|ip| ip.to_string()),
            user_agent: facts.user_agent.map(shown),
        };
        let times = entry.uses.swap(0, Ordering::Relaxed);
        let agent = entry.agent.as_ref().map(|agent| agent.id);
        let note = NotedUse { credential: entry.id, last: Some(last), times: times.into(), agent };
        if self.0.try_send(note).is_err() {
            // Full or closed: this one note is lost, as documented, but what it counted goes into the next.
            entry.uses.fetch_add(times, Ordering::Relaxed);
        }
        true
    }
}

/// What a client calls itself, as it may be kept and shown.
pub(crate) fn shown(user_agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_agent);
    text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARACTERS).collect()
}

impl Verifier {
    /// Writes down which sign-ins something is open by, each at most once a minute: a restart must not find them idle.
    pub async fn note_held(&self) -> Result<(), StoreError> {
        let now = self.clock().now();
        let mut held = self.view.held();
        held.retain(|entry| entry.is_unnoted(now, HELD_EVERY));
        for entry in &held {
            entry.noted_at.store(now.millis(), Ordering::Relaxed);
        }
        let held = held.iter().map(|entry| entry.id).collect();
        self.registrar.vault.note_held(held, now).await
    }
}

impl UseNotes {
    /// Writes notes down as they come, some at a time; after `stop` what is left, and returns.
    pub async fn run(mut self, verifier: &Verifier, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut batch = Vec::with_capacity(BATCH);
        let mut stopped = false;
        while !stopped {
            tokio::select! {
                biased;
                () = &mut stop => stopped = true,
                _ = self.0.recv_many(&mut batch, BATCH) => tokio::select! {
                    biased;
                    () = &mut stop => stopped = true,
                    () = tokio::time::sleep(GATHER_FOR) => {}
                },
            }
            while batch.len() < BATCH
                && let Ok(note) = self.0.try_recv()
            {
                batch.push(note);
            }
            verifier.write_uses(&batch).await;
            batch.clear();
        }
        while let Ok(note) = self.0.try_recv() {
            batch.push(note);
        }
        // What was counted since the last note of each.
        verifier.view.each(|entry| {
            let times = entry.uses.swap(0, Ordering::Relaxed);
            if times > 0 {
                batch.push(NotedUse { credential: entry.id, last: None, times: times.into(), agent: None });
            }
        });
        for batch in batch.chunks(BATCH) {
            verifier.write_uses(batch).await;
        }
    }
}

impl Verifier {
    async fn write_uses(&self, uses: &[NotedUse]) {
        if let Err(error) = self.registrar.vault.note_uses(uses).await {
            tracing::warn!(%error, "could not write down when credentials were last used");
        }
    }
}
