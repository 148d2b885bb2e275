//! How many sockets the process may have open. Connections never take the last open files: the store, the control
//! socket and the config need some, and a gate without them could not even be asked what is going on (requirement R67).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::seldom::Seldom;

/// For the store, the log, the control socket and its clients, the config, what names are looked up with.
const FOR_OTHERS: usize = 80;
/// For each worker's own runtime.
const FOR_A_WORKER: usize = 4;
/// What clients leave to upstreams at least, unless there is so little that it is a quarter.
const FOR_UPSTREAMS: usize = 64;
/// However few files there may be, so many connections are tried.
const FEWEST: usize = 16;
/// How often it is said at most that there is no room for an upstream.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The sockets of the process, to clients and to upstreams, counted over all workers.
#[derive(Debug)]
pub struct Files {
    most: usize,
    open: AtomicUsize,
    refused: Seldom,
}

/// One socket's place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct FilePlace(Arc<Files>);

impl Files {
    /// As many as the process's limit on open files leaves when everything else, so many workers among it, has its share.
    pub fn of_this_process(workers: usize) -> Self {
        let allowed = getrlimit(Resource::Nofile).current;
        let allowed = allowed.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        Self::leaving(allowed, FOR_OTHERS.saturating_add(workers.saturating_mul(FOR_A_WORKER)))
    }

    fn leaving(allowed: usize, others: usize) -> Self {
        let most = allowed.saturating_sub(others).max(FEWEST);
        Self { most, open: AtomicUsize::new(0), refused: Seldom::every(SAY_EVERY) }
    }

    /// The most clients that there can be.
    pub(crate) fn most_clients(&self) -> usize {
        self.most - FOR_UPSTREAMS.min(self.most / 4)
    }

    /// A place for a client's connection; `None`: there is no room.
    pub(crate) fn enter_client(self: &Arc<Self>) -> Option<FilePlace> {
        self.enter(self.most_clients())
    }

    /// A place for a connection to an upstream; `None`: there is no room, which the log is told now and then.
    pub(crate) fn enter_upstream(self: &Arc<Self>) -> Option<FilePlace> {
        let place = self.enter(self.most);
        if place.is_none()
            && let Some(times) = self.refused.now()
        {
            tracing::warn!(
                open = self.most,
                times,
                "no room for more connections to upstreams: raise the limit on open files (ulimit -n, or LimitNOFILE= in the systemd unit)"
            );
        }
        place
    }

    /// Whether so many are open that none should be kept for later.
    pub(crate) fn are_scarce(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.most / 4 * 3
    }

    fn enter(self: &Arc<Self>, most: usize) -> Option<FilePlace> {
        // One that has no place gives it back at once.
        let place = FilePlace(self.clone());
        (self.open.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for FilePlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r67_clients_leave_room_for_upstreams_and_both_for_everything_else() {
        for (allowed, others, clients, both) in [
            (1_024, 88, 872, 936),
            (128, 88, 30, 40),
            // So few that nothing is right.
            (64, 88, 12, 16),
        ] {
            let files = Arc::new(Files::leaving(allowed, others));
            assert_eq!(files.most_clients(), clients, "{allowed}");
            let mut open: Vec<_> = std::iter::from_fn(|| files.enter_client()).collect();
            assert_eq!(open.len(), clients, "{allowed}");
            open.extend(std::iter::from_fn(|| files.enter_upstream()));
            assert_eq!(open.len(), both, "{allowed}");
            assert!(files.are_scarce() && files.enter_client().is_none());
            drop(open);
            assert!(!files.are_scarce() && files.enter_client().is_some());
        }
    }
}
