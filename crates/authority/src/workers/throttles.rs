//! How often somebody who was let in may have something written down about worker tokens.

use std::time::Duration;

use fallgate_domain::id::UserId;
use fallgate_domain::worker::Family;

use crate::throttle::Throttle;

/// Ends of what nobody here has seen. Each is a row for a week.
const UNSEEN: (u32, Duration) = (60, Duration::from_secs(2));
/// Renewals, for which no scope is needed. Each is an event in the trail.
const RENEWALS: (u32, Duration) = (60, Duration::from_secs(1));

/// What limits it: a user, or a token with all its renewals, from wherever they come.
#[derive(Debug)]
pub(crate) struct WorkerThrottles {
    pub(super) unseen: Throttle<UserId>,
    pub(super) renewals: Throttle<Family>,
}

impl Default for WorkerThrottles {
    fn default() -> Self {
        Self { unseen: Throttle::new(UNSEEN.0, UNSEEN.1), renewals: Throttle::new(RENEWALS.0, RENEWALS.1) }
    }
}
