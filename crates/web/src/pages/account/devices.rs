//! One's own signed-in devices: listed, signed out.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use fallgate_authority::{Ending, PeerAddress, RevokeOutcome, SignedIn, readable_user_agent};
use fallgate_domain::clock::Timestamp;
use fallgate_store::Listed;

use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::{Ask, named, will_cut};
use crate::pages::form::FormBody;
use crate::pages::frame::{Frame, Place};
use crate::pages::moment::Moment;
use crate::pages::notice::{Notice, counted};
use crate::view::LoginView;

const HOME: &str = "/account";

/// A signed-in device in the list.
pub(super) struct Device {
    pub(super) id: String,
    pub(super) name: String,
    /// What it says of itself, as it came; and for people to read, unless its name says the same.
    pub(super) user_agent: Option<(String, Option<String>)>,
    pub(super) since: Moment,
    pub(super) last_use: Option<(Moment, Option<String>)>,
    pub(super) ends: Option<Moment>,
    /// Whether it is the one that asks.
    pub(super) is_this: bool,
}

impl Device {
    /// The caller's, this one first, then as they were used last.
    pub(super) async fn all(app: &App, caller: &SignedIn) -> Result<Vec<Self>, WebError> {
        let now = app.verifier.clock().now();
        let current = caller.principal().credential();
        let view = |listed: Listed| LoginView::of(listed.credential, current);
        let mut views: Vec<_> = app.verifier.logins(caller).await?.into_iter().map(view).collect();
        views.sort_by_key(|view| {
            std::cmp::Reverse((view.current, view.last_used_at.unwrap_or(view.created_at)))
        });
        Ok(views.into_iter().map(|view| Self::of(view, now)).collect())
    }

    fn of(view: LoginView, now: Timestamp) -> Self {
        let readable = |said: &str| Some(readable_user_agent(said)).filter(|text| *text != view.name);
        Self {
            id: view.id.to_string(),
            user_agent: view.user_agent.map(|said| {
                let readable = readable(&said);
                (said, readable)
            }),
            name: view.name,
            since: Moment::of(view.created_at, now),
            last_use: view.last_used_at.map(|at| (Moment::of(at, now), view.last_used_ip)),
            ends: view.expires_at.map(|end| Moment::of(end, now)),
            is_this: view.current,
        }
    }
}

pub(crate) async fn ask_sign_out(
    caller: SignedIn,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let logins = app.verifier.logins(&caller).await?;
    let login = logins.into_iter().find(|listed| listed.credential.id.to_string() == id);
    let login = login.ok_or_else(unknown)?.credential;
    let mut lines = vec![
        will_cut(app.verifier.open_under(Ending::Credential(login.id))),
        "Whoever uses it has to sign in again. Tokens stay.".to_owned(),
    ];
    if login.id == caller.principal().credential() {
        lines.insert(0, "This is the device that you are using.".to_owned());
    }
    let ask = Ask {
        frame: Frame::of(&app, caller.principal(), Place::Account)?,
        verb: "Sign out device",
        heading: format!("Sign out {}?", named(&login.name)),
        lines,
        action: format!("/account/devices/{}/sign-out", login.id),
        back: HOME,
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}

pub(crate) async fn sign_out(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let id = id.parse().map_err(|_| unknown())?;
    let open = app.verifier.open_under(Ending::Credential(id));
    match app.verifier.end_login(&caller, id, peer.0).await? {
        RevokeOutcome::Revoked | RevokeOutcome::AlreadyRevoked => {
            Notice::DeviceSignedOut.at(HOME, Some(open))
        }
        RevokeOutcome::Unknown | RevokeOutcome::NotYours => Err(unknown()),
    }
}

pub(crate) async fn ask_sign_out_others(
    caller: SignedIn,
    State(app): State<App>,
) -> Result<Response, WebError> {
    let others = app.verifier.logins(&caller).await?.len().saturating_sub(1);
    let others = u64::try_from(others).unwrap_or(u64::MAX);
    let ending = Ending::Logins(caller.id(), Some(caller.principal().credential()));
    let ask = Ask {
        frame: Frame::of(&app, caller.principal(), Place::Account)?,
        verb: "Sign out everywhere else",
        heading: "Sign out everywhere else?".to_owned(),
        lines: vec![
            format!(
                "{} signed out; this one stays.",
                counted(others, "other device is", "other devices are")
            ),
            will_cut(app.verifier.open_under(ending)),
            "Tokens stay: they are revoked under Tokens.".to_owned(),
        ],
        action: "/account/devices/sign-out".to_owned(),
        back: HOME,
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}

pub(crate) async fn sign_out_others(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let ended = app.verifier.end_other_logins(&caller, peer.0).await?;
    Notice::DevicesSignedOut.at(HOME, Some(ended))
}

fn unknown() -> WebError {
    WebError::NotFound("You have no such sign-in.".to_owned())
}
