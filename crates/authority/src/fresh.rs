//! Proving that the view is current: before each decision, and every few milliseconds when nobody asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fallgate_store::StoreError;

use crate::verifier::Verifier;

/// How often the store is looked at when no request comes in. What another process ends is cut within 100 ms.
const WATCH_EVERY: Duration = Duration::from_millis(25);
/// In ticks: how often the database's file is looked at too.
const LOOK_AT_FILE_EVERY: u64 = 20;

impl Verifier {
    /// Takes in what changed since the last look, and cuts what those changes end. Some tens of nanoseconds when nothing
    /// did. An error means that nothing may be decided.
    pub async fn freshen(&self) -> Result<(), StoreError> {
        // Once its file was seen to be gone or another's, nothing is decided until it is found good again.
        if self.lost.load(Ordering::Acquire) {
            self.store().ping().await?;
        }
        let newest = self.registrar.vault.revision().await?;
        if newest == self.view.revision() { Ok(()) } else { self.catch_up().await }
    }

    /// The same after an act of one's own, which is durable already: that the store cannot be read now is the next
    /// request's trouble, which is refused, and no failure of the act.
    pub(crate) async fn freshen_after_act(&self) {
        if let Err(error) = self.freshen().await {
            tracing::error!(%error, "an act is written down but not yet seen; refusing every credential until it is");
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.applying.lock().await;
        let known = self.view.revision();
        let newest = self.registrar.vault.revision().await?;
        if newest == known {
            return Ok(());
        }
        if newest < known {
            return Err(StoreError::Unavailable {
                database: "of this home folder".to_owned(),
                reason: "its revision went back, so it was replaced under the daemon; restart the daemon"
                    .to_owned(),
            });
        }
        let changes = self.registrar.vault.changes_since(known).await?;
        self.view.apply(&changes);
        Ok(())
    }

    /// Looks at the store again and again, so that revocations by other processes cut live connections with no
    /// request coming in. Never returns.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(WATCH_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut failing, mut cut) = (false, false);
        let (mut followed, mut locked_out) = (self.view.revision(), false);
        for tick in 0_u64.. {
            ticks.tick().await;
            // A database file that was replaced shows no new revision: only a look at the file itself tells.
            if tick % LOOK_AT_FILE_EVERY == 0 {
                let pinged = self.store().ping().await;
                self.lost.store(pinged.is_err(), Ordering::Release);
            }
            let fresh = self.freshen().await;
            // Another thread may not have noticed: from now on each decision looks at the store first.
            if fresh.is_err() {
                self.lost.store(true, Ordering::Release);
            }
            if !cut && fresh.as_ref().is_err_and(is_lost) {
                cut = true;
                self.halt_all();
            }
            match fresh {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the store can be read again");
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(%error, "cannot read the store; refusing every credential until it can be read");
                }
                Ok(()) | Err(_) => {}
            }
            let newest = self.view.revision();
            if newest != followed {
                followed = newest;
                let lost = self.follow_keys().await.err();
                if let (Some(error), false) = (&lost, locked_out) {
                    tracing::error!(%error, "the root key opens nothing in the store any more; restart the daemon");
                }
                locked_out = lost.is_some();
            }
        }
    }
}

/// For good: what is open rests on something that nobody can look at again.
fn is_lost(error: &StoreError) -> bool {
    matches!(error, StoreError::Replaced { .. } | StoreError::WentBack { .. })
}
