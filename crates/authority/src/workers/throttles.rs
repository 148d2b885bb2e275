//! How often somebody who was let in may have something written down about worker tokens.

use std::time::Duration;

use fallgate_domain::worker::Family;

use crate::throttle::Throttle;

/// Renewals, for which no scope is needed. Each is an event in the trail.
const RENEWALS: (u32, Duration) = (60, Duration::from_secs(1));

/// What limits it: a token with all its renewals, from wherever they come.
#[derive(Debug)]
pub(crate) struct WorkerThrottles {
    pub(super) renewals: Throttle<Family>,
}

impl Default for WorkerThrottles {
    fn default() -> Self {
        Self { renewals: Throttle::new(RENEWALS.0, RENEWALS.1) }
    }
}
