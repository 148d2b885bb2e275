//! Pairing, on the side that makes the code: shows it, and lets the device in or not.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use fallgate_authority::{PairingError, PairingNow, PairingSide, PairingStatus, PeerAddress, SignedIn};
use fallgate_domain::id::PairingId;
use fallgate_domain::origin::Origin;
use zeroize::Zeroizing;

use super::form::FormBody;
use super::frame::{Frame, Place};
use super::moment::Moment;
use super::{qr, see_other};
use crate::api::pairings::read_id;
use crate::app::App;
use crate::error::WebError;
use crate::view::pairing_link;

/// Shows a code, this once.
#[derive(Template)]
#[template(path = "pairing-new.html")]
struct NewPage {
    frame: Frame,
    id: PairingId,
    link: Zeroizing<String>,
    /// None where no phone could find the gate.
    picture: Option<Zeroizing<String>>,
    until: Moment,
}

/// What has become of it.
#[derive(Template)]
#[template(path = "pairing.html")]
struct PairingPage {
    frame: Frame,
    pairing: PairingNow,
    /// As people read it.
    device: String,
    from: String,
}

/// `GET /pair/new`: each time another code. The ones before go by themselves.
pub(crate) async fn start(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
) -> Result<Response, WebError> {
    let started = app.verifier.start_pairing(&caller, peer.0).await?;
    let settings = app.settings.now();
    let link = pairing_link(&started, &settings.reached_at);
    let is_near = Origin::parse(&settings.reached_at).is_ok_and(|origin| origin.is_loopback());
    let picture = if is_near { None } else { Some(qr::svg(&link)?) };
    let until = Moment::of(started.until, app.verifier.clock().now());
    let frame = Frame::of(&app, caller.principal(), Place::Tokens)?;
    let page = NewPage { frame, id: started.id, link, picture, until };
    page.frame.show(&page)
}

/// `GET /pair/new/{id}`
pub(crate) async fn show(
    caller: SignedIn,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let pairing = app.verifier.pairing(PairingSide::SignIn(&caller, None), read_id(&id)?)?;
    let device = pairing.device.clone().unwrap_or_default();
    let from = pairing.ip.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
    let page =
        PairingPage { frame: Frame::of(&app, caller.principal(), Place::Tokens)?, pairing, device, from };
    page.frame.show(&page)
}

/// `POST /pair/new/{id}`: `answer=allow` or `answer=refuse`.
pub(crate) async fn answer(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    form: FormBody,
) -> Result<Response, WebError> {
    let allow = match form.text("answer")?.as_str() {
        "allow" => true,
        "refuse" => false,
        _ => return Err(WebError::BadRequest("The answer is allow or refuse.".to_owned())),
    };
    let id = read_id(&id)?;
    match app.verifier.answer_pairing(PairingSide::SignIn(&caller, peer.0), id, allow).await {
        // What it has come to meanwhile is on the page.
        Ok(_)
        | Err(
            PairingError::Late
            | PairingError::Used
            | PairingError::Refused
            | PairingError::Withdrawn
            | PairingError::NobodyAsks,
        ) => see_other(&format!("/pair/new/{id}")),
        Err(error) => Err(error.into()),
    }
}

impl PairingPage {
    const fn status(&self) -> PairingStatus {
        self.pairing.status
    }

    /// Whether something is still to come, so that the page is worth watching.
    const fn goes_on(&self) -> bool {
        matches!(self.pairing.status, PairingStatus::Waiting | PairingStatus::Asked | PairingStatus::Allowed)
    }

    /// Two digits; none as long as no device asks.
    fn number(&self) -> String {
        self.pairing.number.map(|number| number.to_string()).unwrap_or_default()
    }
}
