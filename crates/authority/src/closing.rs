//! How much a cut closed, and when the last of it let go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fallgate_domain::id::CutId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Of how many cuts it is remembered what they closed.
const REMEMBERED: usize = 64;

/// What a cut closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// What outlived its first answer: tunnels, event streams, long bodies.
    pub streams: u64,
    /// Requests under way.
    pub requests: u64,
}

/// What one cut is closing.
#[derive(Debug)]
pub(crate) struct Closing {
    cut: CutId,
    streams: AtomicU64,
    requests: AtomicU64,
    /// How many have not let go yet.
    left: AtomicU64,
    all_gone: Notify,
}

/// One thing that a cut closes. Dropped when whoever holds it open has let go.
#[derive(Debug)]
pub(crate) struct Leaving(Arc<Closing>);

impl Closing {
    pub(crate) fn of(cut: CutId) -> Arc<Self> {
        Arc::new(Self {
            cut,
            streams: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            left: AtomicU64::new(0),
            all_gone: Notify::new(),
        })
    }

    /// Counts one more.
    pub(crate) fn count(self: &Arc<Self>, is_stream: bool) -> Leaving {
        let count = if is_stream { &self.streams } else { &self.requests };
        count.fetch_add(1, Ordering::Relaxed);
        self.left.fetch_add(1, Ordering::Relaxed);
        Leaving(self.clone())
    }

    pub(crate) fn closed(&self) -> Closed {
        Closed {
            streams: self.streams.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    /// Returns when all that was counted has let go. Counting must be over.
    pub(crate) async fn all_gone(&self) {
        // Made before the look: what is told in between is not missed.
        let told = self.all_gone.notified();
        if self.left.load(Ordering::Acquire) > 0 {
            told.await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_gone.notify_waiters();
        }
    }
}

/// What the last few cuts closed in this process.
#[derive(Debug, Default)]
pub(crate) struct Closings(Mutex<VecDeque<Arc<Closing>>>);

impl Closings {
    pub(crate) fn remember(&self, closing: Arc<Closing>) {
        let mut known = self.0.lock();
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(closing);
    }

    pub(crate) fn of(&self, cut: CutId) -> Option<Arc<Closing>> {
        self.0.lock().iter().find(|closing| closing.cut == cut).cloned()
    }
}
