//! The audit trail as a whole: checking it, and letting go of what is too old.

use std::collections::BTreeMap;

use fallgate_domain::audit::{Action, BrokenLink, Chain, Checkpoint, Event};
use fallgate_domain::clock::Timestamp;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::actions::ReadAudit;
use crate::keys::KeyError;
use crate::permit::Permit;
use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

/// How many events are read at once when all are, and how many are deleted in one transaction.
const BATCH: u32 = 1_000;

/// A trail in which every link fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeTrail {
    /// How many events it has, behind the checkpoint if there is one.
    pub events: u64,
    /// When the events before them were deleted.
    pub since: Option<Timestamp>,
}

/// Why a trail cannot be relied on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrailError {
    /// An event is missing, changed, or another one's.
    #[error(transparent)]
    Broken(#[from] BrokenLink),
    /// The key that signs now has not signed the checkpoint.
    #[error("the checkpoint after event {0} was not signed by a key of this store that still counts")]
    Forged(u64),
    /// It was not walked to its end: the process ends.
    #[error("the walk was given up")]
    Abandoned,
    /// The signature cannot be checked.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<fallgate_store::StoreError> for TrailError {
    fn from(error: fallgate_store::StoreError) -> Self {
        Self::Key(error.into())
    }
}

impl Registrar {
    /// Walks the whole trail, from the newest checkpoint on if there is one. Whether the key that signed it is ours is
    /// looked into if the root key is there: see [`Registrar::unlock`].
    pub async fn verify_trail(&self) -> Result<WholeTrail, TrailError> {
        'anew: loop {
            let checkpoint = self.good_checkpoint().await?;
            let mut chain = checkpoint.as_ref().map_or_else(Chain::default, Chain::behind);
            // From the very first event that is there: what stands before a checkpoint does not belong.
            let mut after = 0;
            loop {
                let events = self.store.events_after(after, BATCH).await?;
                if events.is_empty() {
                    // Whoever lets go of old events leaves the newest.
                    if let (Some(checkpoint), 0) = (&checkpoint, chain.followed()) {
                        return Err(BrokenLink::Missing(checkpoint.seq.saturating_add(1)).into());
                    }
                    let since = checkpoint.map(|checkpoint| checkpoint.at);
                    return Ok(WholeTrail { events: chain.followed(), since });
                }
                chain = match followed(chain, events).await? {
                    Ok(chain) => chain,
                    Err(broken) => {
                        // What was being read may have been deleted as too old meanwhile.
                        if self.store.audit_checkpoint().await? == checkpoint {
                            return Err(broken.into());
                        }
                        continue 'anew;
                    }
                };
                after = chain.last();
            }
        }
    }

    /// Deletes the audit events that are older than the policy keeps them, and leaves a signed checkpoint in their
    /// place. The newest event stays whatever its age: the next one is linked to it. Of a trail that is broken nothing
    /// is deleted. How many were.
    pub async fn trim_trail(&self) -> Result<u64, TrailError> {
        let Some(kept) = self.policy().audit_kept else { return Ok(0) };
        let now = self.clock.now();
        let is_old = |at: Timestamp| now.since(at) > kept;
        let mut deleted = 0;
        loop {
            let checkpoint = self.good_checkpoint().await?;
            let mut chain = checkpoint.as_ref().map_or_else(Chain::default, Chain::behind);
            let events = self.store.events_after(0, BATCH).await?;
            let mut last = None;
            // Each event that has another behind it.
            for (event, _) in
                events.iter().zip(events.iter().skip(1)).take_while(|(event, _)| is_old(event.at))
            {
                chain.follow(event)?;
                last = Some(event);
            }
            let Some(last) = last else { return Ok(deleted) };
            let text = Checkpoint::signed_text(last.seq, &last.hash, now);
            let (signing_key, signature) = self.sign(text.as_bytes()).await?;
            let checkpoint =
                Checkpoint { seq: last.seq, hash: last.hash.clone(), at: now, signing_key, signature };
            // Another process may have been faster.
            deleted += self.vault.trim_audit(checkpoint).await?.unwrap_or(0);
        }
    }

    async fn good_checkpoint(&self) -> Result<Option<Checkpoint>, TrailError> {
        let Some(checkpoint) = self.store.audit_checkpoint().await? else { return Ok(None) };
        let text = Checkpoint::signed_text(checkpoint.seq, &checkpoint.hash, checkpoint.at);
        let signed = self.is_signed(checkpoint.signing_key, text.as_bytes(), &checkpoint.signature).await?;
        if signed { Ok(Some(checkpoint)) } else { Err(TrailError::Forged(checkpoint.seq)) }
    }
}

/// The walk that has taken these too, unless one of them does not fit. Hashing is work: it is done on a thread that serves
/// nobody meanwhile, some at a time, so that whoever gives up the walk is not held up by it.
async fn followed(mut chain: Chain, events: Vec<Event>) -> Result<Result<Chain, BrokenLink>, TrailError> {
    let following = spawn_blocking(move || {
        events.iter().try_for_each(|event| chain.follow(event))?;
        Ok(chain)
    });
    following.await.map_err(|_| TrailError::Abandoned)
}

impl Verifier {
    /// Walks the whole trail: see [`Registrar::verify_trail`].
    pub async fn verify_trail(&self, _: &Permit<ReadAudit>) -> Result<WholeTrail, TrailError> {
        self.registrar.verify_trail().await
    }

    /// Writes down that a config that was read again counts, with what it changed; or, without that, that it was
    /// refused. What counts by then counts also if this cannot be written.
    pub async fn note_config(&self, actor: &Actor, changes: Option<BTreeMap<String, Value>>) {
        let action = if changes.is_some() { Action::ConfigReload } else { Action::ConfigRefused };
        let event = actor.event(self.clock().now(), action, "config".to_owned(), changes.unwrap_or_default());
        if let Err(error) = self.registrar.vault.record(vec![event]).await {
            tracing::warn!(%error, "could not write down that the config was read again");
        }
    }

    /// Deletes the audit events that are too old: see [`Registrar::trim_trail`]. To be called now and then.
    pub(crate) async fn trim_trail(&self) {
        match self.registrar.trim_trail().await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "audit events older than audit.keep were deleted"),
            Err(error) => {
                tracing::error!(%error, "no audit events are deleted; look at `fallgate audit verify`");
            }
        }
    }
}
