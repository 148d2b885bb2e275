//! Cuts, and what they closed.

use std::time::Duration;

use fallgate_authority::{Closed, CutPlaced};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::cut::{Cut, CutReason, CutTarget};
use fallgate_domain::id::CutId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// A cut that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Cut)]
pub struct CutView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CutId,
    /// What is cut.
    #[schema(value_type = words::CutTarget)]
    pub target: CutTarget,
    /// Why, if that was said.
    #[schema(value_type = Option<words::CutReason>, required = true)]
    pub reason: Option<CutReason>,
    /// Who placed it.
    pub placed_by: String,
    /// Since when it stands.
    #[schema(value_type = words::Time)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Time>, required = true)]
    pub expires_at: Option<Timestamp>,
}

impl From<Cut> for CutView {
    fn from(cut: Cut) -> Self {
        let Cut { id, target, reason, placed_by, placer: _, created_at, expires_at } = cut;
        Self { id, target, reason, placed_by, created_at, expires_at }
    }
}

/// `GET /api/cuts`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CutList {
    /// Those that stand, oldest first.
    pub cuts: Vec<CutView>,
}

/// What a cut has done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = PlacedCut)]
pub struct PlacedCutView {
    /// Its public name.
    #[schema(value_type = words::Id)]
    pub id: CutId,
    /// What is cut.
    #[schema(value_type = words::CutTarget)]
    pub target: CutTarget,
    /// What it closed. A gate always tells; on a home folder it takes one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = ClosedView)]
    pub closed: Option<ClosedView>,
    /// How long that took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = u64)]
    pub took_ms: Option<u64>,
}

impl PlacedCutView {
    /// What a gate answers.
    pub fn of(placed: CutPlaced) -> Self {
        let CutPlaced { cut, closed, took } = placed;
        Self::new(cut, Some((closed.into(), took)))
    }

    /// A cut, and what a gate closed for it in which time, if one told.
    pub fn new(cut: Cut, closed: Option<(ClosedView, Duration)>) -> Self {
        let took_ms = closed.map(|(_, took)| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        Self { id: cut.id, target: cut.target, closed: closed.map(|(closed, _)| closed), took_ms }
    }
}

/// What was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Closed)]
pub struct ClosedView {
    /// What outlives its first answer: tunnels, event streams, long bodies.
    pub streams: u64,
    /// Requests under way.
    pub requests: u64,
}

impl From<Closed> for ClosedView {
    fn from(Closed { streams, requests }: Closed) -> Self {
        Self { streams, requests }
    }
}
