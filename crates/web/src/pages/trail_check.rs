//! Walking the audit trail because somebody asks on a page: once at a time, and beside everything else.

use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::actions::ReadAudit;
use fallgate_authority::{Permit, Verifier, WholeTrail};
use fallgate_domain::clock::Timestamp;
use parking_lot::Mutex;
use tokio::time::timeout;

/// How long whoever asks waits for it. What takes longer is told when they look again.
const WAIT_FOR: Duration = Duration::from_secs(1);

/// The last walk.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrailCheck(Arc<Mutex<Walk>>);

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub(super) enum Walk {
    #[default]
    Never,
    /// It goes on, since then.
    Since(Timestamp),
    /// It ended then: every link fits, or why not.
    Ended(Timestamp, Result<WholeTrail, String>),
}

impl TrailCheck {
    /// How far the last walk has come.
    pub(super) fn last(&self) -> Walk {
        self.0.lock().clone()
    }

    /// Begins a walk unless there is one, and waits for it a little.
    pub(super) async fn walk(&self, verifier: &Arc<Verifier>, permit: Permit<ReadAudit>) {
        {
            let mut walk = self.0.lock();
            if matches!(*walk, Walk::Since(_)) {
                return;
            }
            *walk = Walk::Since(verifier.clock().now());
        }
        let (check, verifier) = (self.clone(), verifier.clone());
        // It goes on when nobody waits for it any more, and ends with the gate.
        let walking = tokio::spawn(async move {
            let found = verifier.verify_trail(&permit).await.map_err(|error| error.to_string());
            if let Err(error) = &found {
                tracing::error!("the audit trail cannot be relied on: {error}");
            }
            *check.0.lock() = Walk::Ended(verifier.clock().now(), found);
        });
        let _ = timeout(WAIT_FOR, walking).await;
    }
}
