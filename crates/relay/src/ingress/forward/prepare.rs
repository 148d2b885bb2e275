//! What of a request is sent: its head, written anew, and what is known of the rest.

use fallgate_authority::Principal;
use fallgate_domain::path::CanonicalPath;

use crate::ingress::connection::Connection;
use crate::ingress::decide::{Passage, Way, WayPath};
use crate::ingress::route::{Authorization, Route};
use crate::wire::http1::{BodyKind, FieldId, RequestHead, Version};
use crate::wire::hygiene::{self, Identity, Upward};

/// The protocol that a connection to any route may change to.
const WEBSOCKET: &str = "websocket";

/// A request, ready to go up.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of the one request, and none excludes another"
)]
pub(crate) struct Prepared {
    /// The head as the upstream will see it.
    pub(super) head: Vec<u8>,
    pub(super) body: BodyKind,
    /// The version that the client speaks.
    pub(super) client: Version,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    /// What it asks to change to, if the route has it.
    pub(super) upgrade: Option<Protocol>,
    /// It is a `HEAD`, whose answer has no body.
    pub(super) to_head: bool,
    /// Doing it twice is doing it once (RFC 9110, 9.2.2), and there is no body that could be half gone.
    pub(super) repeatable: bool,
}

/// A protocol that a connection may change to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    WebSocket,
    /// One that the route names, as the client spells it.
    Listed(String),
}

impl Protocol {
    /// What a request asks to change to, if that may be. A body would stand between it and the protocol, and nobody
    /// opens a WebSocket with anything but a `GET` (RFC 6455, 4.1).
    fn wanted(head: &RequestHead, buffer: &[u8], route: &Route) -> Option<Self> {
        let wanted = std::str::from_utf8(head.upgrade()?.of(buffer)).ok()?;
        if !head.body().is_empty() {
            return None;
        }
        if wanted.eq_ignore_ascii_case(WEBSOCKET) {
            return (head.method().of(buffer) == b"GET").then_some(Self::WebSocket);
        }
        let listed = route.upgrades.iter().any(|listed| wanted.eq_ignore_ascii_case(listed));
        listed.then(|| Self::Listed(wanted.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::WebSocket => WEBSOCKET,
            Self::Listed(name) => name,
        }
    }
}

/// Writes the head that goes up: cleaned, re-framed, with what we say of the caller.
pub(crate) fn prepare(connection: &Connection, way: &Way<'_>) -> Prepared {
    let (head, buffer) = (&connection.head, connection.client.input.filled());
    let route = &way.route;
    let stripped = match &way.path {
        WayPath::Canonical(path) => route.stripped_prefix().and_then(|prefix| path.strip_prefix(prefix)),
        WayPath::Raw(_) => None,
    };
    let path = match &way.path {
        WayPath::Canonical(path) => path.as_str(),
        WayPath::Raw(path) => path,
    };
    let caller = match &way.passage {
        Passage::Permitted(permit) if route.identity.headers => Some(permit.principal()),
        _ => None,
    };
    let display_name = caller.and_then(Principal::display_name);
    let identity = caller.map(|principal| Identity::of(principal, display_name.as_ref()));
    let upgrade = Protocol::wanted(head, buffer, route);
    let up = Upward {
        path: stripped.as_ref().map_or(path, CanonicalPath::as_str),
        query: way.query,
        host: route.upstream_host.as_deref(),
        client: connection.asker.ip,
        proto: if connection.asker.https { "https" } else { "http" },
        forwarded_host: head.host().of(buffer),
        prefix: stripped.is_some().then(|| route.stripped_prefix().map(CanonicalPath::as_str)).flatten(),
        strip_authorization: route.authorization == Authorization::Ours
            || head
                .field(FieldId::Authorization)
                .is_some_and(|value| connection.worker.gate.verifier.carries_ours(value.of(buffer))),
        identity,
        assertion: way.assertion.as_deref(),
        inject: &route.inject,
        body: head.body(),
        upgrade: upgrade.as_ref().map(Protocol::name),
    };
    let mut out = connection.worker.stock.take_head();
    out.reserve(head.len() + 256);
    hygiene::write_request(&mut out, head, buffer, &up);
    Prepared {
        head: out,
        body: head.body(),
        client: head.version(),
        // What a client sends early for another protocol is never taken for a request (requirement R65).
        keep_alive: head.keep_alive() && head.field(FieldId::Upgrade).is_none(),
        expects_continue: head.expects_continue(),
        to_head: head.is_head(),
        repeatable: head.body().is_empty() && upgrade.is_none() && is_idempotent(head.method().of(buffer)),
        upgrade,
    }
}

fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}
