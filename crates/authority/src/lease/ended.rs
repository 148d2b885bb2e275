//! Why a lease ended, and how whoever held it is told.

use std::borrow::Cow;

use fallgate_domain::cut::CutNotice;

use crate::refusal::{Denial, Refusal};

/// Why a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The credential does not stand any more.
    Credential(Denial),
    /// It stands, but what was permitted is not any more: the owner's role or the route's list has changed.
    Narrowed,
    /// Everything stands, and somebody closed this one stream.
    Closed {
        /// Who.
        by: String,
    },
    /// It has lasted as long as anything may on its route.
    TooOld,
    /// A later config has another route in the place of its own.
    RouteChanged,
    /// A cut stops it.
    Cut(CutNotice),
}

/// Close code of a WebSocket for a credential that ended (30-gate).
const CODE_ENDED: u16 = 4401;

/// The same for a cut, and for what somebody closed.
const CODE_CUT: u16 = 4403;

impl Ended {
    /// A short reason, for a WebSocket's close frame.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Credential(Denial::Revoked) => "token revoked".into(),
            Self::Credential(Denial::Expired) => "token expired".into(),
            Self::Credential(Denial::ParentEnded) => "the token's parent ended".into(),
            Self::Credential(Denial::OwnerDisabled) => "user disabled".into(),
            Self::Credential(Denial::OwnerGone) => "user deleted".into(),
            Self::Credential(Denial::AgentDisabled) => "agent disabled".into(),
            Self::Credential(Denial::AgentGone) => "agent deleted".into(),
            Self::Credential(_) => "credential no longer valid".into(),
            Self::Narrowed => "no longer permitted".into(),
            // Not by whom: that is the house's own affair.
            Self::Closed { .. } => "closed by an operator".into(),
            Self::TooOld => "stream too old".into(),
            Self::RouteChanged => "the route has changed".into(),
            Self::Cut(CutNotice { reason: None, .. }) => "cut".into(),
            Self::Cut(CutNotice { reason: Some(reason), .. }) => format!("cut: {reason}").into(),
        }
    }

    /// The same for the audit trail, which names who did it.
    pub(super) fn noted(&self) -> Cow<'static, str> {
        match self {
            Self::Closed { by } => format!("closed by {by}").into(),
            _ => self.reason(),
        }
    }

    /// The close code that goes with it.
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Credential(_) | Self::Narrowed | Self::TooOld | Self::RouteChanged => CODE_ENDED,
            Self::Cut(_) | Self::Closed { .. } => CODE_CUT,
        }
    }

    /// The same as a refusal, for a request that was not answered yet.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Credential(denial) => Refusal::BadCredential(*denial),
            Self::Narrowed => Refusal::NotAdmitted,
            Self::Closed { .. } => Refusal::Closed,
            Self::TooOld => Refusal::TooOld,
            Self::RouteChanged => Refusal::RouteChanged,
            Self::Cut(notice) => Refusal::Cut(notice.clone()),
        }
    }

    /// What a refusal of something that stood until now comes to.
    pub(super) fn by(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Cut(notice) => Self::Cut(notice.clone()),
            Refusal::RouteChanged => Self::RouteChanged,
            _ => Self::Narrowed,
        }
    }
}
