//! What the audit trail is told of streams: that they were opened, that they were closed, how much went through. Off the
//! request path, some at a time; and whoever opens them by the thousand fills neither memory nor disk, nor hides what
//! others do: past the first of a burst, theirs are counted.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use fallgate_domain::audit::{Action, NewEvent};
use fallgate_domain::clock::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::live::Listing;
use crate::verifier::Verifier;

/// How many streams of one holder get events of their own in a burst.
const BURST: u32 = 1_000;
/// How long it takes until there is room for one more.
const ONE_MORE_EVERY: Duration = Duration::from_secs(2);
/// How many holders are told apart. The rest are summed up together.
const MOST_HOLDERS: usize = 256;
/// Events that wait to be written. When the store is slow, what comes beyond them is counted.
const WAITING: usize = 8_192;
const BATCH: usize = 256;
const GATHER_FOR: Duration = Duration::from_millis(200);
/// Stands for all holders that did not find room.
const OTHERS: &str = "others";
/// What stands in an event for our own doors, where others have a route. No route is called so.
const OWN_DOORS: &str = "own doors";

/// Events about streams, before they are written.
#[derive(Debug, Default)]
pub(crate) struct StreamLog {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<NewEvent>,
    /// By actor.
    holders: HashMap<String, Quota>,
}

/// How much one holder may have written down.
#[derive(Debug)]
struct Quota {
    left: u32,
    since: Timestamp,
    /// What got no event of its own since the last time.
    opened: u64,
    closed: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Quota {
    fn new(now: Timestamp) -> Self {
        Self { left: BURST, since: now, opened: 0, closed: 0, bytes_in: 0, bytes_out: 0 }
    }

    /// Takes one, if there is one left.
    fn take(&mut self, now: Timestamp) -> bool {
        let more = now.since(self.since).as_millis() / ONE_MORE_EVERY.as_millis();
        if more > 0 {
            self.left = u32::try_from(more).unwrap_or(BURST).saturating_add(self.left).min(BURST);
            self.since = now;
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }

    fn has_counted(&self) -> bool {
        self.opened > 0 || self.closed > 0
    }
}

impl Waiting {
    fn quota(&mut self, actor: &str, now: Timestamp) -> &mut Quota {
        let known = self.holders.contains_key(actor) || self.holders.len() < MOST_HOLDERS;
        let name = if known { actor } else { OTHERS };
        self.holders.entry(name.to_owned()).or_insert_with(|| Quota::new(now))
    }
}

impl StreamLog {
    /// A stream is listed. Whether that gets an event of its own; then its end gets one too.
    pub(crate) fn opened(&self, listing: &Listing, now: Timestamp) -> bool {
        // Who looks at the trail does not write it.
        if listing.is_followed_on() {
            return false;
        }
        let actor = listing.holder().actor();
        let mut waiting = self.waiting.lock();
        let has_room = waiting.events.len() < WAITING;
        let quota = waiting.quota(&actor, now);
        if !(has_room && quota.take(now)) {
            quota.opened += 1;
            return false;
        }
        let event = event(Action::StreamOpen, actor, listing, now);
        waiting.events.push(event);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// It flows no more.
    pub(crate) fn closed(&self, listing: &Listing, now: Timestamp) {
        if listing.is_followed_on() {
            return;
        }
        let actor = listing.holder().actor();
        let (bytes_in, bytes_out) = listing.bytes();
        let mut waiting = self.waiting.lock();
        if !listing.told || waiting.events.len() >= 2 * WAITING {
            let quota = waiting.quota(&actor, now);
            quota.closed += 1;
            quota.bytes_in = quota.bytes_in.saturating_add(bytes_in);
            quota.bytes_out = quota.bytes_out.saturating_add(bytes_out);
            return;
        }
        let mut event = event(Action::StreamClose, actor, listing, now);
        let seconds = now.since(listing.since).as_secs();
        event.detail.extend([
            ("bytes_in".to_owned(), bytes_in.into()),
            ("bytes_out".to_owned(), bytes_out.into()),
            ("seconds".to_owned(), seconds.into()),
            ("reason".to_owned(), listing.reason().into()),
        ]);
        waiting.events.push(event);
        drop(waiting);
        self.more.notify_one();
    }

    fn take(&self) -> Vec<NewEvent> {
        let mut waiting = self.waiting.lock();
        let count = waiting.events.len().min(BATCH);
        waiting.events.drain(..count).collect()
    }

    /// What was only counted, as events; counting begins anew.
    fn take_counted(&self, now: Timestamp) -> Vec<NewEvent> {
        let mut events = Vec::new();
        let mut waiting = self.waiting.lock();
        for (actor, quota) in &mut waiting.holders {
            let summed = |action, detail: &[(&str, u64)]| NewEvent {
                at: now,
                action,
                actor: actor.clone(),
                credential: None,
                target: "*".to_owned(),
                ip: None,
                detail: detail.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
                author: None,
            };
            if quota.opened > 0 {
                events.push(summed(Action::StreamOpen, &[("count", quota.opened)]));
            }
            if quota.closed > 0 {
                let (bytes_in, bytes_out) = (quota.bytes_in, quota.bytes_out);
                let detail = [("count", quota.closed), ("bytes_in", bytes_in), ("bytes_out", bytes_out)];
                events.push(summed(Action::StreamClose, &detail));
            }
            (quota.opened, quota.closed, quota.bytes_in, quota.bytes_out) = (0, 0, 0, 0);
        }
        // Whoever has all their room again is forgotten.
        let full = ONE_MORE_EVERY.saturating_mul(BURST);
        waiting.holders.retain(|_, quota| quota.has_counted() || now.since(quota.since) < full);
        events.sort_by(|a, b| a.actor.cmp(&b.actor));
        events
    }
}

fn event(action: Action, actor: String, listing: &Listing, at: Timestamp) -> NewEvent {
    let mut detail = BTreeMap::from([
        ("stream".to_owned(), Value::from(listing.id.to_string())),
        ("kind".to_owned(), Value::from(listing.kind().name())),
    ]);
    detail.extend(listing.holder().agent_told());
    NewEvent {
        at,
        action,
        actor,
        credential: listing.holder().credential,
        target: listing.route.as_ref().map_or_else(|| OWN_DOORS.to_owned(), ToString::to_string),
        ip: listing.ip.map(|ip| ip.to_string()),
        detail,
        author: None,
    }
}

impl Verifier {
    /// Writes down what is opened and closed, some at a time; after `stop` what is left, and returns.
    pub async fn note_streams(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut stopped = false;
        while !stopped {
            let gathered = async {
                self.live.log.more.notified().await;
                sleep(GATHER_FOR).await;
            };
            tokio::select! {
                biased;
                () = &mut stop => stopped = true,
                () = gathered => {}
            }
            loop {
                let events = self.live.log.take();
                if events.is_empty() {
                    break;
                }
                self.write_stream_events(events).await;
            }
        }
        self.write_counted_streams().await;
    }

    /// Writes down how many streams got no events of their own since the last time.
    pub(crate) async fn write_counted_streams(&self) {
        self.write_stream_events(self.live.log.take_counted(self.clock().now())).await;
    }

    async fn write_stream_events(&self, events: Vec<NewEvent>) {
        let count = events.len();
        if let Err(error) = self.registrar.vault.record(events).await {
            tracing::warn!(%error, events = count, "could not write down which streams were opened and closed; that much is lost");
        }
    }
}
