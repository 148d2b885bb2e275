//! The one decision on a request, whatever brought it: the inline proxy over HTTP/1.1 or HTTP/2, or another proxy that
//! asks by forward-auth (requirement R3).
//!
//! In the order that leaks nothing (10-identity): Host 421, path 400, credential 401, foreign page 403, scope, list or
//! cut 403.

use std::sync::Arc;

use fallgate_authority::actions::UseRoute;
use fallgate_authority::{
    Fields, LeaseHandle, Occurs, Permit, Presented, Refusal, RequestFacts, Source, asks_for_upgrade,
    is_navigation, is_origin, occurs,
};
use fallgate_domain::host::Host;
use fallgate_domain::path::{CanonicalPath, split_target};
use fallgate_domain::problem::Problem;

use super::proxies::Asker;
use super::refuse::Answer;
use super::route::{Authorization, Destination, Entrance, Paths, Route};
use super::settings::{Settings, login_for_own};
use crate::gate::Gate;

/// A request, as far as it is decided on. Its framing is good already.
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a [u8],
    /// Whom it is for, as it was sent: the one `Host`, or `:authority`.
    pub(crate) host: &'a [u8],
    /// Path and query, as they were sent.
    pub(crate) target: &'a [u8],
    pub(crate) fields: &'a dyn Fields,
}

/// What becomes of a request.
pub(crate) enum Verdict<'a> {
    /// It is for our own doors, which ask for themselves who is calling.
    Own {
        path: CanonicalPath<'a>,
        query: Option<&'a str>,
    },
    /// It may go to a route's upstream.
    Go(Way<'a>),
    Refused(Answer),
}

/// Where a request may go, and on whose behalf.
pub(crate) struct Way<'a> {
    pub(crate) route: Arc<Route>,
    pub(crate) passage: Passage,
    /// A signed word on who is calling, if the route wants one and it is not a public path.
    pub(crate) assertion: Option<Arc<str>>,
    pub(crate) path: WayPath<'a>,
    /// Without its `?`, untouched.
    pub(crate) query: Option<&'a str>,
}

/// The path that was decided on, which is the one that goes up (requirement R4).
pub(crate) enum WayPath<'a> {
    Canonical(CanonicalPath<'a>),
    /// As it came: the route decides nothing by it.
    Raw(&'a str),
}

/// Proof that a request may go up.
#[derive(Debug)]
pub(crate) enum Passage {
    /// The path is open to anybody.
    Public,
    /// The caller may use the route.
    Permitted(Permit<UseRoute>),
}

/// Where a credential came from: a cookie comes along whoever has a browser ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Header,
    Cookie,
}

/// Decides. From a good verdict on, `lease` rests on what was decided, until it is settled or dropped.
pub(crate) async fn decide<'a>(
    gate: &Gate,
    settings: &Settings,
    asking: &Asking<'a>,
    asker: &Asker,
    lease: &LeaseHandle,
) -> Verdict<'a> {
    let Ok(host) = Host::parse_header(asking.host) else {
        return refused(Problem::new(400, "The Host cannot be read."), true);
    };
    let (raw_path, query) = match split_target(asking.target) {
        Ok(parts) => parts,
        Err(reason) => return refused(Problem::new(400, reason.to_string()), false),
    };
    if !settings.hosts.knows(&host) && !settings.routes.has_host(&host) && raw_path != b"/health" {
        let problem = Problem::new(
            421,
            "Fallgate does not serve this host. If it should, name it in server.public_url, server.hosts or a route.",
        );
        return refused(problem, false);
    }
    let (route, path) = match (CanonicalPath::parse(raw_path), settings.routes.raw(&host)) {
        (Ok(path), _) => match settings.routes.find(&host, &path) {
            Destination::Own => return Verdict::Own { path, query },
            Destination::Route(route) => (route, path_of(route, raw_path, path)),
        },
        (Err(_), Some(route)) => (route, std::str::from_utf8(raw_path).ok().map(WayPath::Raw)),
        (Err(reason), None) => return refused(Problem::new(400, reason.to_string()), false),
    };
    let Some(path) = path else {
        return refused(Problem::new(400, "The path cannot be read."), false);
    };
    let public = match &path {
        WayPath::Canonical(path) => route.public(path),
        WayPath::Raw(_) => None,
    };
    let passed = match public {
        Some(path) => gate.verifier.pass_public(&route.policy, &path, lease).await.map(|()| Passage::Public),
        None => permit(gate, settings, asking, asker, route, lease).await.map(Passage::Permitted),
    };
    let passed = match passed {
        Ok(passage) => assertion(gate, settings, route, &passage).await.map(|assertion| (passage, assertion)),
        Err(refusal) => Err(refusal),
    };
    match passed {
        Ok((passage, assertion)) => {
            lease.lasts_from(gate.verifier.clock().now());
            Verdict::Go(Way { route: route.clone(), passage, assertion, path, query })
        }
        Err(refusal) => Verdict::Refused(refuse(gate, settings, asking, asker, (route, &host), &refusal)),
    }
}

fn refused<'a>(problem: Problem, close: bool) -> Verdict<'a> {
    Verdict::Refused(Answer::from(problem).closing(close))
}

/// The form of the path that goes up.
fn path_of<'a>(route: &Route, raw: &'a [u8], canonical: CanonicalPath<'a>) -> Option<WayPath<'a>> {
    match route.paths {
        Paths::Canonical => Some(WayPath::Canonical(canonical)),
        Paths::Raw => std::str::from_utf8(raw).ok().map(WayPath::Raw),
    }
}

/// Finds out who is calling, and whether they may use the route.
async fn permit(
    gate: &Gate,
    settings: &Settings,
    asking: &Asking<'_>,
    asker: &Asker,
    route: &Route,
    lease: &LeaseHandle,
) -> Result<Permit<UseRoute>, Refusal> {
    let user_agent = match occurs(asking.fields, "user-agent") {
        Occurs::Once(value) => Some(value),
        Occurs::Never | Occurs::Often => None,
    };
    let facts = RequestFacts { ip: asker.ip, user_agent };
    let (presented, carrier) = presented(asking.fields, asker.https, route)
        .inspect_err(|refusal| gate.verifier.count_refusal(refusal, None, facts.ip))?;
    let principal = gate.verifier.verify(&presented, &facts, lease).await?;
    let credential = Some(principal.credential());
    let counted = |refusal: &Refusal| gate.verifier.count_refusal(refusal, credential, facts.ip);
    if carrier == Carrier::Cookie {
        asked_by_own_page(settings, asking, asker).inspect_err(counted)?;
    }
    let permit = match carrier {
        Carrier::Header => principal.permit_route(&route.policy),
        Carrier::Cookie => principal.permit_route_by_cookie(&route.policy),
    };
    permit.inspect_err(counted)
}

async fn assertion(
    gate: &Gate,
    settings: &Settings,
    route: &Route,
    passage: &Passage,
) -> Result<Option<Arc<str>>, Refusal> {
    match passage {
        Passage::Permitted(permit) if route.identity.assertion => {
            gate.verifier.assertion(permit, &settings.origin).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// The one credential that counts. An explicit one beats the cookie, good or bad; whether a cookie counts at all is the
/// route's to say.
fn presented(fields: &dyn Fields, https: bool, route: &Route) -> Result<(Presented, Carrier), Refusal> {
    match (explicit(fields, route), route.authorization) {
        (Occurs::Once(value), Authorization::Ours) => {
            return Ok((Presented::from_authorization(Some(value))?, Carrier::Header));
        }
        (Occurs::Once(value), Authorization::Pass) => {
            return Ok((Presented::from_token_field(value)?, Carrier::Header));
        }
        (Occurs::Often, _) => {
            return Err(Refusal::BadCredential(fallgate_authority::Denial::Malformed));
        }
        (Occurs::Never, _) => {}
    }
    let cookie = if route.takes_cookies() { Presented::from_cookies(fields, https)? } else { None };
    cookie.map(|presented| (presented, Carrier::Cookie)).ok_or(Refusal::NoCredential)
}

/// The credential that the client put there on purpose.
fn explicit<'a>(fields: &'a dyn Fields, route: &Route) -> Occurs<'a> {
    match route.authorization {
        Authorization::Ours => occurs(fields, "authorization"),
        Authorization::Pass => occurs(fields, "fallgate-token"),
    }
}

/// A cookie comes along whoever has the browser ask: what changes something, or opens a WebSocket, must be asked for by
/// a page of the very origin it is for (requirements R21, R22).
fn asked_by_own_page(settings: &Settings, asking: &Asking<'_>, asker: &Asker) -> Result<(), Refusal> {
    let own = if asks_for_upgrade(asking.fields) {
        // Browsers always name the page in `Origin` here, and some say nothing else of it.
        match occurs(asking.fields, "origin") {
            Occurs::Once(origin) => {
                is_origin(origin, asker.https, asking.host)
                    || origin.eq_ignore_ascii_case(settings.origin.as_bytes())
            }
            Occurs::Never | Occurs::Often => false,
        }
    } else {
        matches!(asking.method, b"GET" | b"HEAD" | b"OPTIONS")
            || Source::of_fields(asking.fields, asker.https, asking.host) == Source::Own
    };
    if own { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// What the client is told: a browser that could come in by signing in is sent to do so (requirement R24).
fn refuse(
    gate: &Gate,
    settings: &Settings,
    asking: &Asking<'_>,
    asker: &Asker,
    (route, host): (&Route, &Host<'_>),
    refusal: &Refusal,
) -> Answer {
    // Who says who they are, and is wrong, would come back saying the same.
    let could_sign_in = matches!(refusal, Refusal::NoCredential | Refusal::BadCredential(_))
        && route.takes_cookies()
        && explicit(asking.fields, route) == Occurs::Never
        && matches!(asking.method, b"GET" | b"HEAD")
        && is_navigation(asking.fields);
    if !could_sign_in {
        return Answer::from(refusal);
    }
    // Scheme, host and port come from the config, never from a header (requirement R18).
    let target = String::from_utf8_lossy(asking.target);
    match &route.entrance {
        Entrance::Path { .. } => Answer::see_other(login_for_own(&target)),
        // Whoever comes back from there is to be the one who was sent.
        Entrance::Host(_) => match gate.verifier.knock(asking.fields, asker.https) {
            Ok(knock) => {
                let login = settings
                    .login_for(host, &target, knock.challenge(), |text| gate.verifier.has_internal(text));
                Answer::see_other(login).keeping(knock)
            }
            Err(error) => {
                tracing::error!(%error, "nobody can be sent to sign in");
                Answer::from(&Refusal::Unavailable)
            }
        },
    }
}
