//! `GET /.fallgate/enter?code=…` on a route's host: a code becomes a cookie of that host.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use fallgate_authority::{EnterError, Entrant, Knock, Passerby, is_navigation};
use http::HeaderMap;

use super::problem::ProblemPage;
use super::see_other;
use crate::app::{App, AskedHost};
use crate::cookie;
use crate::error::WebError;

pub(crate) async fn enter(
    passerby: Passerby,
    State(app): State<App>,
    AskedHost(host): AskedHost,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let settings = app.settings.now();
    let route = settings.route_of(&host).ok_or_else(|| {
        WebError::NotFound("A sign-in is brought over to the host of a route; this is none.".to_owned())
    })?;
    let query = query.unwrap_or_default();
    let mut codes = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "code");
    let (Some((_, code)), None) = (codes.next(), codes.next()) else {
        return Err(WebError::BadRequest("The address needs one code.".to_owned()));
    };
    let knock = Knock::read(&headers, passerby.https);
    let entrant = Entrant {
        host: &host,
        route: &route.policy,
        knock: knock.as_ref(),
        held: passerby.held(),
        ip: passerby.ip,
        user_agent: passerby.user_agent.as_deref(),
    };
    match app.verifier.enter(code.as_bytes(), &entrant).await {
        Ok(entered) => {
            let cookie = cookie::keep(&entered.credential, &entered.secret, passerby.https);
            Ok((cookie, see_other(&entered.target)?).into_response())
        }
        Err(EnterError::Stale { target }) if is_navigation(&headers) => {
            let problem = WebError::from(EnterError::Stale { target: None }).problem();
            ProblemPage::again(&problem, target.as_deref().unwrap_or("/")).answer()
        }
        Err(error) => Err(error.into()),
    }
}
