//! Letting in a box without a browser (RFC 8628): whoever is signed in types the code that it shows, is told who asks, and
//! approves or refuses.

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use fallgate_authority::{DeviceAsking, DeviceLoginError, PeerAddress, SignedIn};
use fallgate_domain::scope::PlainScope;

use super::form::{FormBody, Troubles};
use super::frame::{Frame, Place};
use super::moment::Moment;
use super::notice::Notice;
use crate::app::App;
use crate::error::WebError;

/// Asks for the code.
#[derive(Template)]
#[template(path = "device.html")]
struct EntryPage {
    frame: Frame,
    typed: String,
    troubles: Troubles,
}

/// Tells who asks.
#[derive(Template)]
#[template(path = "device-confirm.html")]
struct ConfirmPage {
    frame: Frame,
    username: String,
    asking: DeviceAsking,
    from: String,
    since: Moment,
    scopes: Vec<PlainScope>,
}

/// `GET /device`: asks for the code; with one in the address, for a decision.
pub(crate) async fn show(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let typed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "user_code");
    let Some((_, typed)) = typed else {
        return EntryPage::draw(&app, &caller, &query, String::new(), Troubles::default());
    };
    match app.verifier.device_asking(&caller, &typed, peer.0) {
        Ok(asking) => ConfirmPage::draw(&app, &caller, asking),
        Err(error) => ask_again(&app, &caller, &typed, error),
    }
}

/// `POST /device`: `answer=approve` or `answer=refuse`.
pub(crate) async fn answer(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let user_code = form.text("user_code")?;
    let approve = match form.text("answer")?.as_str() {
        "approve" => true,
        "refuse" => false,
        _ => return Err(WebError::BadRequest("The answer is approve or refuse.".to_owned())),
    };
    match app.verifier.answer_device(&caller, &user_code, approve, peer.0).await {
        Ok(_) if approve => Notice::DeviceApproved.at("/account", None),
        Ok(_) => Notice::DeviceRefused.at("/device", None),
        Err(error) => ask_again(&app, &caller, &user_code, error),
    }
}

/// The code leads to nothing: the page says why, by the field.
fn ask_again(
    app: &App,
    caller: &SignedIn,
    typed: &str,
    error: DeviceLoginError,
) -> Result<Response, WebError> {
    // Whoever makes up a long one need not see it again.
    let typed = typed.chars().take(16).collect();
    let troubles = Troubles::of("user_code", error.into())?;
    EntryPage::draw(app, caller, "", typed, troubles)
}

impl EntryPage {
    fn draw(
        app: &App,
        caller: &SignedIn,
        query: &str,
        typed: String,
        troubles: Troubles,
    ) -> Result<Response, WebError> {
        let frame = Frame::of(app, caller.principal(), Place::Account)?.noticing(Some(query));
        let page = Self { frame, typed, troubles };
        Ok(page.troubles.mark(page.frame.show(&page)?))
    }
}

impl ConfirmPage {
    fn draw(app: &App, caller: &SignedIn, asking: DeviceAsking) -> Result<Response, WebError> {
        let may = caller.principal().scopes();
        let scopes = PlainScope::ALL.into_iter().filter(|scope| may.allow(&(*scope).into())).collect();
        let page = Self {
            frame: Frame::of(app, caller.principal(), Place::Account)?,
            username: caller.username().to_string(),
            from: asking.ip.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string()),
            since: Moment::of(asking.since, app.verifier.clock().now()),
            asking,
            scopes,
        };
        page.frame.show(&page)
    }
}
