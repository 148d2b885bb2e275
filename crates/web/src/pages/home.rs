//! `GET /`: who one is, and where one may go.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use fallgate_authority::{AnySignIn, Principal};
use fallgate_relay::{Entrance, Route, Settings};

use super::page;
use crate::app::App;
use crate::error::WebError;
use crate::view::role_name;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    name: String,
    username: String,
    role: String,
    routes: Vec<RouteLine>,
}

/// A route that one may use.
struct RouteLine {
    name: String,
    address: String,
    /// Whether a browser gets in there.
    opens: bool,
}

pub(crate) async fn home(caller: AnySignIn, State(app): State<App>) -> Result<Response, WebError> {
    let settings = app.settings.now();
    let principal = caller.principal();
    let username = principal.username().map_or_else(|| "—".to_owned(), ToString::to_string);
    page(&HomePage {
        name: principal.display_name().map_or_else(|| username.clone(), |name| name.to_string()),
        username,
        role: role_name(principal).to_owned(),
        routes: routes_for(&settings, principal),
    })
}

fn routes_for(settings: &Settings, caller: &Principal) -> Vec<RouteLine> {
    let routes = settings.routes.iter().filter(|route| caller.may_use(&route.policy).is_ok());
    routes.map(|route| RouteLine::of(settings, route)).collect()
}

impl RouteLine {
    fn of(settings: &Settings, route: &Route) -> Self {
        let address = match &route.entrance {
            Entrance::Host(host) => format!("{}/", settings.origin_of(host)),
            Entrance::Path { prefix, .. } => format!("{prefix}/"),
        };
        Self { name: route.policy.name.to_string(), address, opens: route.takes_cookies() }
    }
}
