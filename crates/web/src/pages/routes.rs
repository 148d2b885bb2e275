//! `/admin/routes`: the routes as the config has them, and how their upstreams stand.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use fallgate_authority::Permit;
use fallgate_authority::actions::ReadRoutes;
use fallgate_relay::{Authorization, Entrance, Paths, Reach, Route, Settings};

use super::frame::{Frame, Place};
use super::moment::Moment;
use crate::app::App;
use crate::error::WebError;

#[derive(Template)]
#[template(path = "routes.html")]
struct RoutesPage {
    frame: Frame,
    routes: Vec<RouteCard>,
    /// A config that was read again and refused: when, and why.
    refused: Option<(Moment, String)>,
}

/// A route, as an operator looks at it.
struct RouteCard {
    name: String,
    address: String,
    /// Where requests go; `None` for forward-auth.
    upstream: Option<String>,
    state: Option<Standing>,
    facts: Vec<(&'static str, String)>,
    same_origin: bool,
}

/// How an upstream stands.
pub(super) struct Standing {
    /// The badge's class.
    pub(super) class: &'static str,
    pub(super) says: &'static str,
    /// Why, where that is known.
    pub(super) why: Option<String>,
}

impl Standing {
    pub(super) fn of(reach: Reach) -> Self {
        match reach {
            Reach::Up => Self { class: "good", says: "up", why: None },
            Reach::Down(why) => Self { class: "warn", says: "down", why: Some(why) },
            Reach::Waiting => Self { class: "", says: "no answer yet", why: None },
        }
    }
}

/// `GET /admin/routes`
pub(crate) async fn show(permit: Permit<ReadRoutes>, State(app): State<App>) -> Result<Response, WebError> {
    let (settings, now) = (app.settings.now(), app.verifier.clock().now());
    let reaches = app.reaches.of(settings.routes.iter()).await;
    let refused = app.settings.refused();
    let cards =
        settings.routes.iter().zip(reaches).map(|(route, reach)| RouteCard::of(&settings, route, reach));
    let page = RoutesPage {
        frame: Frame::of(&app, permit.principal(), Place::Routes)?,
        routes: cards.collect(),
        refused: refused.map(|refused| (Moment::of(refused.at, now), refused.reason.clone())),
    };
    page.frame.show(&page)
}

/// Where people find a route.
pub(super) fn address_of(settings: &Settings, route: &Route) -> String {
    match &route.entrance {
        Entrance::Host(host) => format!("{}/", settings.origin_of(host)),
        Entrance::Path { prefix, .. } => format!("{prefix}/"),
    }
}

impl RouteCard {
    fn of(settings: &Settings, route: &Route, reach: Option<Reach>) -> Self {
        Self {
            name: route.policy.name.to_string(),
            address: address_of(settings, route),
            upstream: route.upstream.as_ref().map(|upstream| upstream.origin.clone()),
            state: reach.map(Standing::of),
            facts: facts(route),
            same_origin: route.same_origin(),
        }
    }
}

/// What else is to be known of it, each with what it is about.
fn facts(route: &Route) -> Vec<(&'static str, String)> {
    let terms = &route.policy.terms;
    let allow = &route.policy.admission.allow;
    let allow = if allow.is_empty() { "every user".to_owned() } else { listed(allow) };
    let mut facts = vec![
        ("Who may use it", allow),
        (
            "Signed in by cookie",
            if route.takes_cookies() { "yes" } else { "no; programs with a token only" }.to_owned(),
        ),
        ("Told of the caller", identity(route).to_owned()),
        (
            "Authorization field",
            match route.authorization {
                Authorization::Ours => "ours; it goes no further",
                Authorization::Pass => "the upstream's own; it is passed on",
            }
            .to_owned(),
        ),
        (
            "Open to anybody",
            if terms.public.is_empty() { "nothing".to_owned() } else { listed(&terms.public) },
        ),
    ];
    if !route.inject.is_empty() {
        let names: Vec<_> = route.inject.iter().map(|(name, _)| name.clone()).collect();
        facts.push(("Fields put in by the gate", names.join(", ")));
    }
    if route.paths == Paths::Raw {
        facts.push(("Paths", "as they come, byte for byte".to_owned()));
    }
    if let Some(age) = terms.max_stream_age {
        facts.push(("Streams last at most", fallgate_domain::lifetime::written(age)));
    }
    facts
}

fn identity(route: &Route) -> &'static str {
    match (route.identity.headers, route.identity.assertion, &route.upstream) {
        (_, _, None) => "Remote-User, Remote-Name, Remote-Groups and Remote-Email, by the other proxy",
        (true, true, _) => {
            "Remote-User, Remote-Name, Remote-Groups, Remote-Email, and a signed Fallgate-Assertion"
        }
        (true, false, _) => "Remote-User, Remote-Name, Remote-Groups, Remote-Email",
        (false, true, _) => "a signed Fallgate-Assertion",
        (false, false, _) => "nothing",
    }
}

fn listed<T: ToString>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
