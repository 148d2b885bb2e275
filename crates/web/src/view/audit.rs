//! The audit trail, as the API shows it.

use fallgate_domain::audit::{Checkpoint, Event};
use fallgate_domain::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// `GET /api/audit`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Newest first.
    #[schema(value_type = Vec<words::Event>)]
    pub events: Vec<Event>,
    /// What to ask for with `before` to go on; none after the last page.
    #[schema(required = true)]
    pub next: Option<u64>,
    /// What stands in the place of the events that were deleted as too old, if any were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointView>,
}

impl EventPage {
    /// A page that was asked for with at most `limit` events, of a trail that begins behind this checkpoint.
    pub fn of(events: Vec<Event>, limit: u32, checkpoint: Option<Checkpoint>) -> Self {
        let full = u32::try_from(events.len()).is_ok_and(|count| count == limit);
        let begin = checkpoint.as_ref().map_or(1, |checkpoint| checkpoint.seq.saturating_add(1));
        let last = events.last().map(|event| event.seq);
        let checkpoint = checkpoint.map(|Checkpoint { seq, hash, at, .. }| CheckpointView { seq, hash, at });
        Self { next: last.filter(|seq| full && *seq > begin), events, checkpoint }
    }
}

/// Where the trail begins after events were deleted as too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Checkpoint)]
pub struct CheckpointView {
    /// The place of the last deleted event.
    pub seq: u64,
    /// Its hash, which the next one names.
    pub hash: String,
    /// When they were deleted.
    #[schema(value_type = words::Time)]
    pub at: Timestamp,
}
