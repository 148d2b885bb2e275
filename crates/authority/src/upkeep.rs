//! What the daemon does by itself now and then: purge what ended long ago, end tokens that nobody uses, write down what
//! was counted. In batches, so that nobody waits for it (requirement R35).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use fallgate_domain::audit::Action;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::Revocation;
use fallgate_store::{Accepted, StoreError};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_hours(24);

/// When the first round is made.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// How often what ended long ago is purged, in minutes.
const PURGE_EVERY: u64 = 5;
/// How often tokens that nobody uses are looked for, and audit events that are too old, in minutes.
const HOURLY: u64 = 60;

/// How long what has ended can still be looked up.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// How many credentials a purge takes in one transaction.
const PURGED_AT_ONCE: u32 = 500;
/// How many revisions back it can be told what moved: whoever has seen none of them reads everything. Gates look many
/// times a second, and so are never as far behind unless they were stopped.
const CHANGES_KEPT: u64 = 10_000;
/// How many rows of what moved are taken away at once.
const PRUNED_AT_ONCE: u32 = 1_000;
/// How many credentials are looked through at once for unused tokens.
const LOOKED_AT_ONCE: u32 = 1_000;
/// How many unused tokens are ended in one transaction.
const ENDED_AT_ONCE: usize = 100;
/// Between two batches, so that others come to write.
const PAUSE: Duration = Duration::from_millis(20);

impl Registrar {
    /// Takes away credentials that ended more than 30 days ago; tells how many.
    pub async fn sweep(&self, actor: &Actor) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut swept = 0;
        loop {
            let event = actor.event(now, Action::StoreSweep, "*".to_owned(), BTreeMap::new());
            match self.vault.purge(before(now, KEPT), PURGED_AT_ONCE, event).await? {
                0 => return Ok(swept),
                count => swept += count,
            }
            sleep(PAUSE).await;
        }
    }

    /// Forgets the ends of worker tokens that are dead by themselves; tells how many.
    pub async fn sweep_workers(&self) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            match self.vault.sweep_workers(self.clock.now(), PURGED_AT_ONCE).await? {
                0 => return Ok(swept),
                count => swept += count,
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes a restored database for the truth from now on, and ends every credential in it. Nobody else may have it
    /// open.
    pub async fn accept_restored(&self, actor: &Actor) -> Result<Accepted, StoreError> {
        let now = self.clock.now();
        let event = actor.event(now, Action::StoreRestore, "*".to_owned(), BTreeMap::new());
        let reason = Some("restored from a backup".to_owned());
        self.vault.accept_restored(Revocation { at: now, by: actor.mark(), reason }, event).await
    }
}

impl Verifier {
    /// Ends tokens that were not used for as long as the policy says (requirement R34).
    async fn end_unused(&self) -> Result<(), StoreError> {
        let (store, vault) = (&self.registrar.store, &self.registrar.vault);
        let Some(unused) = self.registrar.policy().token_unused else { return Ok(()) };
        let now = self.clock().now();
        let since = before(now, unused);
        let reason = format!("unused for {} days", unused.as_secs() / DAY.as_secs());
        let revocation = Revocation { at: now, by: Actor::Internal.mark(), reason: Some(reason.clone()) };
        let mut after = None;
        loop {
            let mut page = store.unused_tokens(since, now, after, LOOKED_AT_ONCE).await?;
            // A use that is not written down yet.
            page.tokens.retain(|id| !self.view.entry_of(*id).is_some_and(|entry| entry.used_since(since)));
            for tokens in page.tokens.chunks(ENDED_AT_ONCE) {
                let tokens = tokens.iter().map(|id| {
                    let detail = BTreeMap::from([("reason".to_owned(), Value::from(reason.clone()))]);
                    (*id, Actor::Internal.event(now, Action::TokenRevoke, id.to_string(), detail))
                });
                let revoked = vault.revoke_unused(tokens.collect(), since, revocation.clone()).await?;
                if let Some(first) = revoked.first() {
                    // One line for many: the trail and each token's own row name all.
                    tracing::warn!(tokens = revoked.len(), %first, %reason, "revoked tokens that nobody uses");
                }
                sleep(PAUSE).await;
            }
            if page.next.is_none() {
                return Ok(());
            }
            after = page.next;
        }
    }

    /// Keeps the house until `stop`, then writes down what was counted and returns.
    pub async fn keep_house(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut minutes = interval_at(tokio::time::Instant::now() + FIRST_AFTER, MINUTE);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for minute in 0_u64.. {
            // Whatever is under way can be left at any point: each batch is whole.
            let round = async {
                minutes.tick().await;
                self.write_refusals().await;
                self.write_counted_streams().await;
                if let Err(error) = self.note_held().await {
                    tracing::warn!(%error, "could not write down which sign-ins are in use");
                }
                if minute.is_multiple_of(PURGE_EVERY)
                    && let Err(error) = self.tidy(minute).await
                {
                    tracing::warn!(%error, "cannot keep the store tidy; trying again in five minutes");
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = round => {}
            }
        }
        self.write_refusals().await;
        if let Err(error) = self.registrar.vault.keep_revision().await {
            tracing::warn!(%error, "cannot write down how far the store has come");
        }
    }

    async fn tidy(&self, minute: u64) -> Result<(), StoreError> {
        self.registrar.vault.keep_revision().await?;
        if minute.is_multiple_of(HOURLY) {
            self.end_unused().await?;
            self.trim_trail().await;
        }
        let over = self.registrar.vault.sweep_cuts(before(self.clock().now(), KEPT)).await?;
        if over > 0 {
            tracing::info!(over, "took away cuts whose time was over more than 30 days ago");
        }
        let dead = self.registrar.sweep_workers().await?;
        if dead > 0 {
            tracing::info!(dead, "forgot the ends of worker tokens that are dead by themselves");
        }
        while self.registrar.vault.prune_changes(CHANGES_KEPT, PRUNED_AT_ONCE).await? > 0 {
            sleep(PAUSE).await;
        }
        let swept = self.registrar.sweep(&Actor::Internal).await?;
        if swept > 0 {
            tracing::info!(swept, "took away credentials that ended more than 30 days ago");
        }
        self.freshen().await
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(millis))
}
