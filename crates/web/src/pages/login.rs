//! Signing in and out in a browser.

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use fallgate_authority::{
    CameByHttps, Challenge, EnterError, EnterOrder, Newcomer, Passerby, PeerAddress, Refusal, SignInError,
    SignInOrder, SigningOut, is_navigation,
};
use fallgate_domain::return_to::ReturnTo;
use fallgate_domain::token::PlainToken;
use fallgate_relay::{CONTENT_POLICY, Settings};
use http::{HeaderMap, HeaderValue, header};

use super::form::FormBody;
use super::wanted::Wanted;
use super::{page, see_other};
use crate::app::{App, AskedHost};
use crate::cookie;
use crate::error::{WebError, mark, status_of};

/// The longest username that is written into the page again. What is longer is nobody's, and may be a passphrase.
const LONGEST_NAME: usize = 32;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    /// The host of the route that the visitor came from.
    going_to: Option<&'a str>,
    trouble: Option<String>,
    username: &'a str,
    back: &'a ReturnTo,
    challenge: Option<Challenge>,
}

/// `GET /login`: whoever is signed in already goes on, everybody else is asked. With `fresh=1` they are asked too, since
/// some acts need a sign-in that is not old.
pub(crate) async fn show(
    passerby: Passerby,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    if app.verifier.needs_setup().await? {
        return Err(WebError::Refused(Refusal::SetupNeeded));
    }
    let settings = app.settings.now();
    let query = query.unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let wanted = Wanted::read(&settings, pairs);
    let fresh = pairs.into_iter().any(|(name, value)| name == "fresh" && value == "1");
    if let Some(caller) = passerby.held().filter(|_| !fresh) {
        let give = |order: &EnterOrder<'_>| app.verifier.enter_code(caller, order);
        return see_other(&onward(&settings, &wanted, give)?);
    }
    let mut response = LoginPage::new(&wanted).draw()?;
    if passerby.brings_stale() {
        // What the page is shown in place of is gone (requirement R20).
        response.headers_mut().extend(cookie::clear(passerby.https));
    }
    Ok(response)
}

/// `POST /login`
pub(crate) async fn sign_in(
    newcomer: Newcomer,
    State(app): State<App>,
    headers: HeaderMap,
    form: FormBody,
) -> Result<Response, WebError> {
    let settings = app.settings.now();
    let wanted = Wanted::read(&settings, form.fields());
    let (username, passphrase) = (form.text("username")?, form.text("passphrase")?);
    let order = SignInOrder { username: username.clone(), passphrase, device_name: None };
    let login = match app.verifier.sign_in(order, &newcomer).await {
        Ok(login) => login,
        // Who is led to the setup instead is not shown the form again.
        Err(error) if is_navigation(&headers) && !matches!(error, SignInError::SetupNeeded) => {
            return LoginPage::new(&wanted).again(&username, error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let give = |order: &EnterOrder<'_>| app.verifier.enter_code_of_new(&login, order);
    let onward = match onward(&settings, &wanted, give) {
        Ok(onward) => onward,
        // Signed in they are all the same; why they cannot go on is told there.
        Err(_) => wanted.login_page(),
    };
    Ok((cookie::set(&login, newcomer.https), see_other(&onward)?).into_response())
}

/// `POST /logout`, and `POST /.fallgate/logout` on any host: ends the sign-in wherever it was brought over to.
pub(crate) async fn sign_out(
    caller: SigningOut,
    State(app): State<App>,
    AskedHost(host): AskedHost,
    Extension(peer): Extension<PeerAddress>,
    Extension(came): Extension<CameByHttps>,
) -> Result<Response, WebError> {
    app.verifier.sign_out(&caller, peer.0).await?;
    let settings = app.settings.now();
    let elsewhere = settings.route_of(&host).map(|_| settings.origin.as_str());
    let location = format!("{}/login", elsewhere.unwrap_or_default());
    Ok((cookie::clear(came.0), see_other(&location)?).into_response())
}

/// Where whoever is signed in goes on to. To a route's host they bring a code, if they were sent from there; else they
/// will be.
fn onward(
    settings: &Settings,
    wanted: &Wanted,
    give: impl FnOnce(&EnterOrder<'_>) -> Result<PlainToken, EnterError>,
) -> Result<String, EnterError> {
    let Some(origin) = wanted.back.origin() else { return Ok(wanted.back.target().to_owned()) };
    match (settings.route_at(origin), wanted.challenge) {
        (Some((host, route)), Some(challenge)) => {
            let target = wanted.back.target();
            let code = give(&EnterOrder { route: &route.policy, host, challenge, target })?;
            Ok(format!("{origin}/.fallgate/enter?code={}", code.expose()))
        }
        _ => Ok(wanted.back.location()),
    }
}

impl<'a> LoginPage<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self {
            going_to: wanted.back.origin().and_then(|origin| origin.split_once("://")).map(|(_, host)| host),
            trouble: None,
            username: "",
            back: &wanted.back,
            challenge: wanted.challenge,
        }
    }

    /// The same page once more, with what went wrong.
    fn again(self, username: &'a str, error: WebError) -> Result<Response, WebError> {
        let username = if username.len() <= LONGEST_NAME { username } else { "" };
        let retry_after = error.retry_after();
        let problem = error.problem();
        let status = status_of(&problem);
        let mut response = Self { trouble: Some(problem.detail), username, ..self }.draw()?;
        mark(&mut response, status, retry_after);
        Ok(response)
    }

    fn draw(self) -> Result<Response, WebError> {
        let mut response = page(&self)?;
        // Browsers hold where a form leads on to the policy too.
        if let Some(origin) = self.back.origin() {
            let policy = format!("{CONTENT_POLICY} {origin}");
            let policy = HeaderValue::from_str(&policy).map_err(|_| WebError::Unavailable)?;
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Ok(response)
    }
}
