//! A refusal as a page: what went wrong, in words, and a way on.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fallgate_authority::is_navigation;
use fallgate_domain::problem::Problem;
use fallgate_relay::login_for_own;
use http::{Method, StatusCode, header};

use super::frame::Place;
use super::resume::SentForm;
use super::{page, see_other};
use crate::app::{App, AskedHost};
use crate::error::{WebError, status_of};

/// Under these there are no pages: whoever asks here wants no page.
pub(crate) const NO_PAGES: [&str; 5] = [".well-known", "api", "health", "oauth", "static"];

#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage<'a> {
    status: StatusCode,
    title: &'a str,
    detail: &'a str,
    link: &'a str,
    says: &'static str,
}

impl<'a> ProblemPage<'a> {
    /// With a way Home.
    fn new(problem: &'a Problem, home: &'a str) -> Self {
        let Problem { title, detail, .. } = problem;
        Self { status: status_of(problem), title, detail, link: home, says: Place::Home.says() }
    }

    /// With a way to where the visitor wanted to go.
    pub(crate) fn again(problem: &'a Problem, target: &'a str) -> Self {
        Self { says: "Try again", ..Self::new(problem, target) }
    }

    pub(crate) fn answer(&self) -> Result<Response, WebError> {
        let mut response = page(self)?;
        *response.status_mut() = self.status;
        Ok(response)
    }
}

/// Draws a refusal that no door has seen. `home` is that page's address, seen from where it is shown.
pub fn draw(problem: &Problem, home: &str) -> String {
    // Drawing into memory fails only when there is none.
    ProblemPage::new(problem, home).render().unwrap_or_default()
}

/// Answers browsers with pages where programs get problems, and has whoever is not signed in do so (requirement R24).
pub(crate) async fn for_browsers(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let first = path.split('/').nth(1).unwrap_or_default();
    if NO_PAGES.contains(&first) || !is_navigation(request.headers()) {
        return next.run(request).await;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let comes_back = matches!(*request.method(), Method::GET | Method::HEAD);
    let settings = app.settings.now();
    // Who says who they are, and is wrong, would come back saying the same.
    let says_who = request.headers().contains_key(header::AUTHORIZATION);
    let of_route = AskedHost::of(&request).is_some_and(|host| settings.route_of(&host).is_some());
    let (sent, request) = SentForm::of(request);
    let mut response = next.run(request).await;
    let could_sign_in = !of_route && !says_who;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let waits_for_setup = !of_route
        && response.status() == StatusCode::SERVICE_UNAVAILABLE
        && app.verifier.needs_setup().await.unwrap_or(false);
    let drawn = if waits_for_setup {
        see_other("/setup")
    } else if response.status() == StatusCode::UNAUTHORIZED && could_sign_in {
        let back = match sent {
            Some(form) => form.target().await,
            None if comes_back => target,
            None => "/".to_owned(),
        };
        see_other(&login_for_own(&back))
    } else {
        as_page(response, &problem, if of_route { &settings.origin } else { "/" })
    };
    drawn.unwrap_or_else(IntoResponse::into_response)
}

/// The same status and fields with a page as the body.
fn as_page(response: Response, problem: &Problem, home: &str) -> Result<Response, WebError> {
    let (mut parts, _) = response.into_parts();
    let (drawn, body) = ProblemPage::new(problem, home).answer()?.into_parts();
    for (name, value) in &drawn.headers {
        parts.headers.insert(name.clone(), value.clone());
    }
    Ok(Response::from_parts(parts, body))
}
