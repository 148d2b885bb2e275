//! Pairing, on the device that is to be signed in: `GET /pair` takes the code, asks, waits, and goes on.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fallgate_authority::{
    Collected, Newcomer, Occurs, PairingError, PairingOffer, PairingStatus, Passerby, RedeemOrder, Redeemed,
    Refusal, is_navigation, only_cookie, pairing_cookie_name,
};
use fallgate_domain::credential::TokenName;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::form::FormBody;
use super::frame::Bare;
use super::see_other;
use crate::app::App;
use crate::cookie;
use crate::doors::Public;
use crate::error::{WebError, mark, status_of};

/// Where a device waits.
const WAIT: &str = "/pair/wait";

/// Takes a code: out of the address by a script, or pasted.
#[derive(Template)]
#[template(path = "pair.html")]
struct PairPage {
    frame: Bare,
    trouble: Option<String>,
}

/// Asks before anything is done.
#[derive(Template)]
#[template(path = "pair-confirm.html")]
struct ConfirmPage<'a> {
    frame: Bare,
    code: &'a str,
    offer: &'a PairingOffer,
    /// The host by which this gate goes.
    gate: &'a str,
    device: &'a str,
    /// As whom this browser is signed in until now.
    held: Option<Held>,
    trouble: Option<Trouble>,
}

/// Whose sign-in ends with it.
struct Held {
    username: String,
    display_name: String,
    is_same: bool,
}

/// What is wrong with one of the fields.
struct Trouble {
    field: &'static str,
    says: String,
}

#[derive(Template)]
#[template(path = "pair-wait.html")]
struct WaitPage {
    frame: Bare,
    number: u8,
    is_allowed: bool,
}

/// Why nothing comes of it.
#[derive(Template)]
#[template(path = "pair-over.html")]
struct OverPage {
    heading: &'static str,
    says: String,
    status: u16,
}

/// For the script that watches: where it stands.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    status: &'static str,
}

/// `GET /pair`
pub(crate) async fn show(_: Public, State(app): State<App>) -> Result<Response, WebError> {
    if app.verifier.needs_setup().await? {
        return Err(WebError::Refused(Refusal::SetupNeeded));
    }
    PairPage::draw(&app, None)
}

/// `POST /pair`: with a code alone it shows whom it is for; confirmed, it uses the code.
pub(crate) async fn submit(
    newcomer: Newcomer,
    State(app): State<App>,
    headers: HeaderMap,
    form: FormBody,
) -> Result<Response, WebError> {
    let paired = pair(&app, &newcomer, &form).await;
    paired.or_else(|error| told(&app, &headers, error))
}

/// `GET /pair/wait`
pub(crate) async fn wait(
    passerby: Passerby,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let claim = claim(&headers, passerby.https);
    let waiting = claim.and_then(|claim| app.verifier.pairing_wait(claim));
    match waiting {
        Some((PairingStatus::Asked, number)) => WaitPage::draw(&app, number, false),
        Some((PairingStatus::Allowed, number)) => WaitPage::draw(&app, number, true),
        Some((status, _)) => told(&app, &headers, Told::Pairing(over(status))),
        None => told(&app, &headers, Told::Pairing(PairingError::Unknown)),
    }
}

/// `POST /pair/wait`: signs in, if the other side has said so.
pub(crate) async fn collect(
    newcomer: Newcomer,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let claim = claim(&headers, newcomer.https).unwrap_or_default();
    match app.verifier.collect_pairing(claim, &newcomer).await {
        Ok(Collected::Waiting { .. }) => see_other(WAIT),
        Ok(Collected::SignedIn(sign_in)) => {
            let mut response = (cookie::set(&sign_in, newcomer.https), see_other("/")?).into_response();
            let [(name, forgotten)] = cookie::forget_claim(newcomer.https);
            response.headers_mut().append(name, forgotten);
            Ok(response)
        }
        Err(error) => told(&app, &headers, Told::Pairing(error)),
    }
}

/// `GET /pair/wait/status`
pub(crate) async fn status(
    passerby: Passerby,
    State(app): State<App>,
    headers: HeaderMap,
) -> axum::Json<Standing> {
    let claim = claim(&headers, passerby.https);
    let waiting = claim.and_then(|claim| app.verifier.pairing_wait(claim));
    axum::Json(Standing { status: waiting.map_or("unknown", |(status, _)| status.name()) })
}

/// Why a page of these was not shown.
enum Told {
    Pairing(PairingError),
    Other(WebError),
}

impl From<PairingError> for Told {
    fn from(error: PairingError) -> Self {
        Self::Pairing(error)
    }
}

impl From<WebError> for Told {
    fn from(error: WebError) -> Self {
        Self::Other(error)
    }
}

async fn pair(app: &App, newcomer: &Newcomer, form: &FormBody) -> Result<Response, Told> {
    let code = form.text("code")?;
    let offer = app.verifier.pairing_offer(&code, newcomer).await?;
    let held = Held::of(newcomer, &offer);
    let name = form.optional("device_name");
    let shown = name.as_ref().map_or(offer.device.as_str(), |name| name.as_str());
    let ask = |trouble: Option<Trouble>, status| {
        let settings = app.settings.now();
        let gate = settings.origin.split_once("://").map_or("", |(_, host)| host);
        let held = Held::of(newcomer, &offer);
        let frame = Bare::draw(app)?;
        let page =
            ConfirmPage { frame, code: code.trim(), offer: &offer, gate, device: shown, held, trouble };
        let mut response = page.frame.show(&page)?;
        *response.status_mut() = status;
        Ok(response)
    };
    if form.optional("confirmed").is_none() {
        return ask(None, StatusCode::OK);
    }
    // Whoever has signed in or out since the question was asked is asked again.
    let leaving = held.filter(|held| !held.is_same).map(|held| held.username).unwrap_or_default();
    if form.optional("leaving").is_none_or(|told| *told != leaving) {
        return ask(None, StatusCode::CONFLICT);
    }
    let device_name = match shown.parse::<TokenName>() {
        Ok(name) => name,
        Err(invalid) => {
            let says = format!("The name is {invalid}.");
            return ask(Some(Trouble { field: "device_name", says }), StatusCode::BAD_REQUEST);
        }
    };
    let passphrase = form.optional("passphrase").filter(|_| offer.needs_passphrase);
    let order = RedeemOrder { code: code.clone(), device_name: Some(device_name), passphrase };
    match app.verifier.redeem_pairing(order, newcomer).await {
        Ok(Redeemed::SignedIn(sign_in)) => {
            Ok((cookie::set(&sign_in, newcomer.https), see_other("/")?).into_response())
        }
        Ok(Redeemed::Asked(claim)) => {
            Ok((cookie::keep_claim(&claim, newcomer.https), see_other(WAIT)?).into_response())
        }
        Err(error @ (PairingError::WrongPassphrase | PairingError::SignIn(_))) => {
            let error = WebError::from(error);
            let retry_after = error.retry_after();
            let problem = error.problem();
            let status = status_of(&problem);
            let mut response = ask(Some(Trouble { field: "passphrase", says: problem.detail }), status)?;
            mark(&mut response, status, retry_after);
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// A pairing that comes to nothing, as a page for a browser: each with its own heading and status.
fn told(app: &App, headers: &HeaderMap, error: impl Into<Told>) -> Result<Response, WebError> {
    let error = match error.into() {
        Told::Pairing(error) => error,
        Told::Other(error) => return Err(error),
    };
    let heading = match &error {
        PairingError::Unknown => None,
        PairingError::Late => Some("Too late"),
        PairingError::Used => Some("This code was used already"),
        PairingError::Worn => Some("Too many wrong tries"),
        PairingError::Refused => Some("The other side refused"),
        PairingError::Withdrawn => Some("This code was taken back"),
        PairingError::StarterEnded => Some("This code has ended"),
        _ => return Err(error.into()),
    };
    let is_unknown = heading.is_none();
    let error = WebError::from(error);
    if !is_navigation(headers) {
        return Err(error);
    }
    let problem = error.problem();
    let status = status_of(&problem);
    let mut response = if is_unknown {
        PairPage::draw(app, Some(problem.detail))?
    } else {
        let heading = heading.unwrap_or_default();
        super::page(&OverPage { heading, says: problem.detail, status: problem.status })?
    };
    *response.status_mut() = status;
    Ok(response)
}

/// What a device hears that waits for nothing any more.
const fn over(status: PairingStatus) -> PairingError {
    match status {
        PairingStatus::Refused => PairingError::Refused,
        PairingStatus::Late => PairingError::Late,
        PairingStatus::Worn => PairingError::Worn,
        PairingStatus::Withdrawn => PairingError::Withdrawn,
        PairingStatus::Waiting | PairingStatus::Asked | PairingStatus::Allowed | PairingStatus::Done => {
            PairingError::Used
        }
    }
}

/// What the device got when it used the code.
fn claim(headers: &HeaderMap, https: bool) -> Option<&[u8]> {
    match only_cookie(headers, pairing_cookie_name(https)) {
        Occurs::Once(claim) => Some(claim),
        Occurs::Never | Occurs::Often => None,
    }
}

impl Held {
    fn of(newcomer: &Newcomer, offer: &PairingOffer) -> Option<Self> {
        let held = newcomer.held()?;
        let username = held.username()?.to_string();
        let display_name = held.display_name().map_or_else(|| username.clone(), |name| name.to_string());
        Some(Self { is_same: username == offer.username.as_str(), username, display_name })
    }
}

impl PairPage {
    fn draw(app: &App, trouble: Option<String>) -> Result<Response, WebError> {
        let page = Self { frame: Bare::draw(app)?, trouble };
        page.frame.show(&page)
    }
}

impl WaitPage {
    fn draw(app: &App, number: u8, is_allowed: bool) -> Result<Response, WebError> {
        let page = Self { frame: Bare::draw(app)?, number, is_allowed };
        page.frame.show(&page)
    }
}

impl ConfirmPage<'_> {
    /// What is wrong with that field.
    fn trouble_at(&self, field: &str) -> Option<&str> {
        self.trouble.as_ref().filter(|trouble| trouble.field == field).map(|trouble| trouble.says.as_str())
    }

    /// Whom this browser is signed out as, if that is somebody else.
    fn leaving(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| !held.is_same)
    }

    fn stays(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_same)
    }
}
