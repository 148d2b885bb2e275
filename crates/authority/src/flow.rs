//! What flows under a lease, for whoever looks at what is live.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::live::StreamKind;

use crate::lease::Lease;
use crate::live::{Holder, Listing, NewListing};

/// A body that flows for longer than this is listed (30-gate).
const LISTED_AFTER: Duration = Duration::from_secs(5);

/// What flows under a lease.
#[derive(Debug, Default)]
pub(crate) enum Flow {
    /// Nothing that lasts.
    #[default]
    Nothing,
    /// A body, for so short a time that it is not listed yet.
    Young {
        kind: StreamKind,
        since: Timestamp,
        ip: Option<IpAddr>,
    },
    Listed(Arc<Listing>),
}

/// Each exchange begins with nothing.
impl Lease {
    /// Says what flows from now on. What has no end by its nature is listed at once; a body, once it has flowed for a
    /// while. To be called while what flows rests on its caller.
    pub fn flows(&self, kind: StreamKind, ip: Option<IpAddr>) {
        let mut flow = self.flow.lock();
        *flow = match std::mem::take(&mut *flow) {
            Flow::Listed(listing) => {
                listing.turn_into(kind);
                Flow::Listed(listing)
            }
            young => {
                let since = match young {
                    Flow::Young { since, .. } => since,
                    _ => self.clock.now(),
                };
                let young = Flow::Young { kind, since, ip };
                if kind.is_endless() { self.list(young) } else { young }
            }
        };
    }

    /// Says that the body of the request has come whole, and nothing else flows yet. What is listed stays so.
    pub fn flows_nothing(&self) {
        let mut flow = self.flow.lock();
        if matches!(*flow, Flow::Young { .. }) {
            *flow = Flow::Nothing;
        }
    }

    /// Says how much has come from the client and gone to it since the exchange began, in bytes of content.
    pub fn passed(&self, bytes_in: u64, bytes_out: u64) {
        self.came_in(bytes_in);
        self.went_out(bytes_out);
    }

    /// The same of what has come.
    pub fn came_in(&self, bytes: u64) {
        self.state.bytes_in.store(bytes, Ordering::Relaxed);
    }

    /// And of what has gone.
    pub fn went_out(&self, bytes: u64) {
        self.state.bytes_out.store(bytes, Ordering::Relaxed);
    }

    /// What was said of that: how much has come, and how much has gone.
    pub fn bytes(&self) -> (u64, u64) {
        self.state.passed()
    }

    /// Says why what flows is about to end, if it is not because both sides are done. The first reason counts.
    pub fn because(&self, reason: impl Into<Cow<'static, str>>) {
        if let Flow::Listed(listing) = &*self.flow.lock() {
            listing.because(reason.into());
        }
    }

    /// Lists a body that flows for long enough; else tells how long to wait until it may do.
    pub(crate) fn list_if_old(&self) -> Option<Duration> {
        let mut flow = self.flow.lock();
        match &*flow {
            Flow::Listed(_) => None,
            Flow::Nothing => Some(LISTED_AFTER),
            Flow::Young { since, .. } => {
                let age = self.clock.now().since(*since);
                let left = LISTED_AFTER.saturating_sub(age);
                if !left.is_zero() {
                    return Some(left);
                }
                *flow = self.list(std::mem::take(&mut *flow));
                None
            }
        }
    }

    fn list(&self, young: Flow) -> Flow {
        let Flow::Young { kind, since, ip } = young else { return young };
        let (entry, route) = self.state.become_stream();
        let (holder, lease) = (Holder::of(entry.as_deref()), self.state.clone());
        let listed = self.live.list(NewListing { kind, holder, route, since, ip, lease });
        listed.map_or(Flow::Nothing, Flow::Listed)
    }

    pub(crate) fn flows_no_more(&self) {
        if let Flow::Listed(listing) = std::mem::take(&mut *self.flow.lock()) {
            self.live.strike(&listing);
        }
        // After it, never before: its last counts are taken from here.
        self.passed(0, 0);
    }

    /// Who closes what is listed, if somebody does.
    pub(crate) fn closed_by(&self) -> Option<String> {
        match &*self.flow.lock() {
            Flow::Listed(listing) => listing.closed_by().map(str::to_owned),
            Flow::Nothing | Flow::Young { .. } => None,
        }
    }
}
