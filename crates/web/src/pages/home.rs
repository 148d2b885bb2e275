//! `GET /`: who one is, and where one may go.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use fallgate_authority::{AnySignIn, Principal};
use fallgate_relay::{Entrance, Route, Settings};

use super::frame::{Frame, Place};
use crate::app::App;
use crate::error::WebError;
use crate::view::role_name;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
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
    let page = HomePage {
        frame: Frame::of(&app, principal, Place::Home)?,
        role: role_name(principal).to_owned(),
        routes: routes_for(&settings, principal),
    };
    page.frame.show(&page)
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
