//! Forward-auth: another proxy holds a client's request, and asks us whether it may go on.
//!
//! Each kind of proxy has an endpoint of its own, which reads the fields that this kind sets and no others: what a proxy
//! does not set itself, it passes on from its client (requirement R2). Decided is by the inline proxy's own decision
//! (requirement R3).

use std::sync::Arc;

use fallgate_authority::actions::UseRoute;
use fallgate_authority::{Fields, LeaseHandle, Occurs, Permit, Principal, occurs};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::problem::Problem;

use super::access::Line;
use super::connection::{After, Connection};
use super::decide::{Asking, Passage, Verdict, Way, decide};
use super::proxies::{Asker, UnreadableWord};
use super::refuse::Answer;
use super::route;
use super::settings::Settings;
use crate::gate::Gate;
use crate::wire::http1::{Malformed, check_method, check_target};
use crate::wire::hygiene::{Identity, other_cookies, write_field, write_identity};

/// The fields by which a kind of proxy tells of its client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Caddy's and Traefik's: `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri`.
    Forwarded,
    /// nginx's, by our snippet: `X-Original-Method`, `X-Original-URL`.
    Original,
}

/// What each family says of method, host and URI.
const FORWARDED: [&str; 3] = ["x-forwarded-method", "x-forwarded-host", "x-forwarded-uri"];
const ORIGINAL: [&str; 2] = ["x-original-method", "x-original-url"];
/// What yet other proxies say of them, which no endpoint of ours reads.
const OTHERS: [&str; 3] = ["x-original-uri", "x-original-host", "x-rewrite-url"];

/// A question that is not asked as it must be.
#[derive(Debug, thiserror::Error)]
enum BadQuestion {
    #[error("The proxy did not send {0}, which this endpoint needs.")]
    Missing(&'static str),
    #[error("{0} is there twice.")]
    Doubled(&'static str),
    #[error("{0} is not for this endpoint: have the proxy delete it.")]
    Foreign(&'static str),
    #[error("X-Original-URL is not $scheme://$http_host$request_uri.")]
    NoUrl,
    #[error(transparent)]
    Unreadable(#[from] UnreadableWord),
    #[error("The client's request cannot be read: {0}.")]
    Malformed(#[from] Malformed),
}

/// A client's request, as its proxy tells of it.
struct Question<'a> {
    method: &'a [u8],
    host: &'a [u8],
    target: &'a [u8],
    asker: Asker,
}

/// A request that may go on.
pub(crate) struct Allowed {
    /// Nobody's, on a public path.
    permit: Option<Permit<UseRoute>>,
    told: route::Identity,
    /// The client's cookies, but for our own.
    cookies: Vec<u8>,
    /// Where the route wants one.
    assertion: Option<Arc<str>>,
}

impl Family {
    /// The family that is read at this target, if it is one of our endpoints.
    pub(crate) fn asked_at(target: &[u8]) -> Option<Self> {
        match target.split(|byte| *byte == b'?').next()? {
            b"/auth/caddy" | b"/auth/traefik" => Some(Self::Forwarded),
            b"/auth/nginx" => Some(Self::Original),
            _ => None,
        }
    }
}

impl<'a> Question<'a> {
    /// `peer` is a proxy that is trusted.
    fn read(
        family: Family,
        settings: &Settings,
        peer: Asker,
        fields: &'a dyn Fields,
    ) -> Result<Self, BadQuestion> {
        let foreign: &[&'static str] = match family {
            Family::Forwarded => &ORIGINAL,
            Family::Original => &FORWARDED,
        };
        let mut foreign = foreign.iter().chain(&OTHERS);
        if let Some(name) = foreign.find(|name| occurs(fields, name) != Occurs::Never) {
            return Err(BadQuestion::Foreign(name));
        }
        if names_a_host(fields) {
            return Err(BadQuestion::Foreign("forwarded"));
        }
        let proxies = &settings.trusted_proxies;
        let question = match family {
            Family::Forwarded => Self {
                method: once(fields, "x-forwarded-method")?,
                host: once(fields, "x-forwarded-host")?,
                target: once(fields, "x-forwarded-uri")?,
                asker: proxies.asker(peer, fields)?,
            },
            Family::Original => {
                let (https, host, target) =
                    parts(once(fields, "x-original-url")?).ok_or(BadQuestion::NoUrl)?;
                let asker = Asker { ip: proxies.client(peer.ip, fields)?, https };
                Self { method: once(fields, "x-original-method")?, host, target, asker }
            }
        };
        check_method(question.method)?;
        check_target(question.target)?;
        Ok(question)
    }
}

impl<'a> Question<'a> {
    /// What is asked about.
    fn asking(&self, fields: &'a dyn Fields) -> Asking<'a> {
        Asking { method: self.method, host: self.host, target: self.target, fields }
    }
}

impl BadQuestion {
    fn answer(self) -> Answer {
        match self {
            Self::Malformed(malformed) => Answer::from(malformed),
            bad => Problem::new(400, bad.to_string()).into(),
        }
    }
}

/// The value of a field that must be there once.
fn once<'a>(fields: &'a dyn Fields, name: &'static str) -> Result<&'a [u8], BadQuestion> {
    match occurs(fields, name) {
        Occurs::Once(value) => Ok(value),
        Occurs::Never => Err(BadQuestion::Missing(name)),
        Occurs::Often => Err(BadQuestion::Doubled(name)),
    }
}

/// Whether `Forwarded` (RFC 7239) names a host. What it says of addresses is nobody's business here.
fn names_a_host(fields: &dyn Fields) -> bool {
    let mut named = false;
    fields.each("forwarded", &mut |value| {
        named |= value.windows(5).any(|window| window.eq_ignore_ascii_case(b"host="));
    });
    named
}

/// Whether it is https, the authority, and the rest of a URL, byte for byte.
fn parts(url: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (https, rest) = match (url.strip_prefix(b"https://"), url.strip_prefix(b"http://")) {
        (Some(rest), _) => (true, rest),
        (None, rest) => (false, rest?),
    };
    let (host, target) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'/')?)?;
    Some((https, host, target))
}

/// Answers a proxy that is trusted.
pub(crate) async fn serve(connection: &mut Connection, settings: &Settings, family: Family) -> After {
    let worker = connection.worker.clone();
    let lease = connection.lease.handle();
    // How the proxy came tells nothing of its client.
    let peer = Asker { https: false, ..connection.direct };
    let (asker, answer) = {
        let fields = connection.head.view(connection.client.input.filled());
        match Question::read(family, settings, peer, &fields) {
            Ok(question) => {
                let asking = question.asking(&fields);
                connection.line = Line::begin(&worker.gate, settings, &asking, question.asker.ip);
                let answer = consider(&worker.gate, settings, &question, &fields, &lease).await;
                (question.asker, answer)
            }
            Err(bad) => {
                connection.line = Line::unread(&worker.gate, peer.ip);
                (peer, Err(bad.answer()))
            }
        }
    };
    connection.asker = asker;
    // Whatever becomes of the request is between its client and that proxy.
    connection.let_go();
    match answer {
        Ok(allowed) => {
            connection.answered = Some(200);
            let now = worker.gate.verifier.clock().now();
            connection.reply(|out, close| allowed.write(out, close, now)).await
        }
        Err(answer) if family == Family::Original => connection.refuse(&answer.in_fields()).await,
        Err(answer) => connection.refuse(&answer).await,
    }
}

async fn consider(
    gate: &Gate,
    settings: &Settings,
    question: &Question<'_>,
    fields: &dyn Fields,
    lease: &LeaseHandle,
) -> Result<Allowed, Answer> {
    match decide(gate, settings, &question.asking(fields), &question.asker, lease).await {
        Verdict::Go(Way { route, passage, assertion, .. }) => {
            let permit = match passage {
                Passage::Public => None,
                Passage::Permitted(permit) => Some(permit),
            };
            Ok(Allowed { permit, told: route.identity, cookies: other_cookies(fields), assertion })
        }
        Verdict::Own { .. } => {
            let detail = "No route of Fallgate's is there. What is Fallgate's own, such as /.fallgate/ on every host, \
                          is to be handed to it, not asked about.";
            Err(Problem::new(403, detail).into())
        }
        Verdict::Refused(answer) => Err(answer),
    }
}

impl Allowed {
    /// Every identity field is there, empty where nothing is told: a proxy that copies them overwrites what its client
    /// sent (requirement R11). So is `Cookie`: a proxy that cannot take one cookie out of several copies what is left.
    fn write(&self, out: &mut Vec<u8>, close: bool, now: Timestamp) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        let caller = self.permit.as_ref().map(Permit::principal).filter(|_| self.told.headers);
        let display_name = caller.and_then(Principal::display_name);
        let identity = caller.map(|principal| Identity::of(principal, display_name.as_ref()));
        write_identity(out, identity.unwrap_or_default());
        write_field(out, b"Fallgate-Assertion", self.assertion.as_deref().unwrap_or_default().as_bytes());
        write_field(out, b"Date", now.http_date().as_bytes());
        write_field(out, b"Cookie", &self.cookies);
        out.extend_from_slice(b"Content-Length: 0\r\nCache-Control: no-store\r\n");
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}
