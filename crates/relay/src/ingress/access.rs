//! What is noted of each request for the access log: who asked for what, and what came of it. No query, header or
//! secret is ever part of it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use fallgate_authority::{Lease, LeaseHolder};
use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::host::Host;
use fallgate_domain::id::CredentialId;
use fallgate_domain::path::{CanonicalPath, split_target};
use fallgate_domain::route::RouteName;
use fallgate_domain::secret;
use fallgate_domain::user::Username;

use super::decide::Asking;
use super::route::Destination;
use super::settings::Settings;
use crate::gate::Gate;

/// How many notes may wait to be written. When a flood fills that, notes are lost, not requests.
const WAITING: usize = 8_192;
/// The longest method that is noted, and the longest path, in characters.
const METHOD: usize = 32;
const PATH: usize = 2_048;

/// One request, when it is over.
#[derive(Debug)]
pub struct AccessNote {
    /// When it came.
    pub at: Timestamp,
    /// With which credential, if with one that stood.
    pub credential: Option<CredentialId>,
    /// Whose that is.
    pub username: Option<Username>,
    /// As which agent, if it is a worker token.
    pub agent: Option<AgentName>,
    /// Which route it was for; none for our own doors, or if that cannot be told.
    pub route: Option<RouteName>,
    /// Its method; none, as with the path, of what could not be read.
    pub method: Option<String>,
    /// The path as it was decided on, without the query.
    pub path: Option<String>,
    /// What it was answered; none: nothing.
    pub status: Option<u16>,
    /// How much of content came from the client.
    pub bytes_in: u64,
    /// And went to it.
    pub bytes_out: u64,
    /// How long it took, to its very end.
    pub took: Duration,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

/// Takes notes, for somebody who writes them down.
#[derive(Debug)]
pub struct AccessLog {
    notes: SyncSender<Box<AccessNote>>,
    lost: Arc<AtomicU64>,
}

/// What is to be written down.
#[derive(Debug)]
pub struct AccessNotes {
    /// In the order in which requests ended. Closed when the gate is gone.
    pub notes: Receiver<Box<AccessNote>>,
    /// How many found no room since somebody last looked.
    pub lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// A log, and what comes out of it.
    pub fn new() -> (Self, AccessNotes) {
        let (sender, notes) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        (Self { notes: sender, lost: lost.clone() }, AccessNotes { notes, lost })
    }

    /// Never waits.
    fn note(&self, note: Box<AccessNote>) {
        if self.notes.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A request under way, as it will be noted.
#[derive(Debug)]
pub(crate) struct Line {
    note: Box<AccessNote>,
    begun: Instant,
}

impl Line {
    /// Of a request that is about to be decided on; `None` when nobody wants to know.
    pub(crate) fn begin(
        gate: &Gate,
        settings: &Settings,
        asking: &Asking<'_>,
        ip: Option<IpAddr>,
    ) -> Option<Self> {
        let mut line = Self::unread(gate, ip)?;
        line.note.method = Some(shown(&without_secrets(&String::from_utf8_lossy(asking.method)), METHOD));
        let raw = split_target(asking.target).ok().map(|(path, _)| path);
        let host = Host::parse_header(asking.host).ok();
        let canonical = raw.and_then(|raw| CanonicalPath::parse(raw).ok());
        let (route, path) = match (&canonical, &host) {
            (Some(path), Some(host)) => match settings.routes.find(host, path) {
                Destination::Route(route) => (Some(route), Some(path.as_str())),
                Destination::Own => (None, Some(path.as_str())),
            },
            (Some(path), None) => (None, Some(path.as_str())),
            // Such a path is only ever let through where it goes up as it came.
            (None, Some(host)) => match settings.routes.raw(host) {
                Some(route) => (Some(route), raw.and_then(|raw| std::str::from_utf8(raw).ok())),
                None => (None, None),
            },
            (None, None) => (None, None),
        };
        line.note.route = route.map(|route| route.policy.name.clone());
        line.note.path = path.map(|path| shown(&without_secrets(path), PATH));
        Some(line)
    }

    /// The same of one that cannot be read.
    pub(crate) fn unread(gate: &Gate, ip: Option<IpAddr>) -> Option<Self> {
        gate.access.as_ref()?;
        let note = AccessNote {
            at: gate.verifier.clock().now(),
            credential: None,
            username: None,
            agent: None,
            route: None,
            method: None,
            path: None,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            took: Duration::ZERO,
            ip,
        };
        Some(Self { note: Box::new(note), begun: Instant::now() })
    }

    /// Takes down who holds the lease and how much went through, before both are forgotten.
    pub(crate) fn observe(&mut self, lease: &Lease) {
        if let Some(LeaseHolder { credential, username, agent }) = lease.caller() {
            self.note.credential = Some(credential);
            (self.note.username, self.note.agent) = (username, agent);
        }
        let (bytes_in, bytes_out) = lease.bytes();
        self.note.bytes_in = self.note.bytes_in.max(bytes_in);
        self.note.bytes_out = self.note.bytes_out.max(bytes_out);
    }

    /// So much of content was sent that no lease knows of.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.note.bytes_out = self.note.bytes_out.saturating_add(bytes);
    }

    /// The request is over.
    pub(crate) fn end(mut self, gate: &Gate, status: Option<u16>) {
        self.note.status = status;
        self.note.took = self.begun.elapsed();
        if let Some(log) = &gate.access {
            log.note(self.note);
        }
    }
}

/// What people paste where it does not belong is not written down: of a path, each segment in which one of our secrets
/// may stand.
fn without_secrets(path: &str) -> Cow<'_, str> {
    if !secret::is_within(path) {
        return path.into();
    }
    let segments = path.split('/').map(|segment| if secret::is_within(segment) { "…" } else { segment });
    segments.collect::<Vec<_>>().join("/").into()
}

/// The first characters of a text.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
