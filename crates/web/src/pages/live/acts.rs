//! Closing, cutting and lifting from a page. Each is asked about first; then it is done, and the page says what came of it.

use askama::Template;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::{CloseLive, ManageCuts};
use fallgate_authority::{CloseOutcome, CutError, CutOrder, PeerAddress, Permit, Principal};
use fallgate_domain::cut::CutTarget;
use fallgate_domain::id::{CutId, StreamId};
use fallgate_domain::lifetime::Lifetime;
use http::StatusCode;

use super::encoded;
use super::rows::in_words;
use crate::api::cuts::known_target;
use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::Ask;
use crate::pages::form::FormBody;
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::Notice;
use crate::pages::see_other;

/// How long a cut may be asked to stand.
const LASTS: [(&str, &str); 5] = [
    ("never", "until it is lifted"),
    ("15m", "15 minutes"),
    ("1h", "an hour"),
    ("1d", "a day"),
    ("7d", "a week"),
];

#[derive(Template)]
#[template(path = "cut.html")]
struct CutPage<'a> {
    frame: Frame,
    /// What the button says.
    verb: &'static str,
    heading: String,
    lines: Vec<String>,
    target: String,
    back: &'static str,
    all: bool,
    /// Whether a word has to be typed first.
    typed: Option<&'a str>,
    reason: &'a str,
    lasts: &'a str,
    wrong: Option<Wrong>,
}

/// What is wrong with the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Reason,
    Lasts,
    Typed,
}

/// The page that somebody came from: everybody's streams, or their own.
fn back(query: Option<&str>, caller: &Principal) -> (bool, &'static str) {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let all = caller.is_admin() && pairs.any(|(name, value)| name == "all" && value == "1");
    (all, if all { "/admin/live" } else { "/live" })
}

/// `GET /live/streams/{id}/close`
pub(crate) async fn ask_close(
    permit: Permit<CloseLive>,
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let (all, back) = back(query.as_deref(), permit.principal());
    let stream = id.parse::<StreamId>().ok().and_then(|id| app.verifier.closable(&permit, id));
    let Some(stream) = stream else { return Notice::ClosedBefore.at(back, None) };
    let rows = super::rows_of(vec![stream], all, &app.verifier).await?;
    let about = rows.rows.first().map(|row| row.about.clone()).unwrap_or_default();
    let ask = Ask {
        frame: Frame::of(&app, permit.principal(), Place::Live)?,
        verb: "Cut this connection",
        heading: format!("Cut the {about}?"),
        lines: vec!["It is closed at once. Whoever had it may open another: cut the credential or the user to prevent that.".to_owned()],
        action: format!("/live/streams/{id}/close{}", if all { "?all=1" } else { "" }),
        back,
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}

/// `POST /live/streams/{id}/close`
pub(crate) async fn close(
    permit: Permit<CloseLive>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let (_, back) = back(query.as_deref(), permit.principal());
    let Ok(id) = id.parse() else { return Notice::ClosedBefore.at(back, None) };
    match app.verifier.close_live(&permit, id, peer.0).await? {
        CloseOutcome::Closed => Notice::Closed.at(back, None),
        CloseOutcome::Unknown => Notice::ClosedBefore.at(back, None),
    }
}

/// `GET /live/cut?target=…`
pub(crate) async fn ask_cut(
    permit: Permit<ManageCuts>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let asked = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
    };
    let target = read_target(&asked("target").unwrap_or_default())?;
    known_target(&permit, &target, &app.settings)?;
    let page = CutPage::about(&app, &permit, &target, Some(&query)).await?;
    // Whoever had to sign in before it was cut finds what they had typed.
    let (reason, lasts) = (asked("reason").unwrap_or_default(), asked("lasts").unwrap_or("never".into()));
    let page = CutPage { reason: &reason, lasts: &lasts, ..page };
    page.frame.show(&page)
}

/// `POST /live/cut`
pub(crate) async fn cut(
    permit: Permit<ManageCuts>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    RawQuery(query): RawQuery,
    form: FormBody,
) -> Result<Response, WebError> {
    let target = read_target(&form.text("target")?)?;
    known_target(&permit, &target, &app.settings)?;
    let (reason, lasts) = (form.text("reason")?, form.text("lasts")?);
    let order =
        match read_order(&target, &reason, &lasts, form.text("typed").ok().as_deref().map(String::as_str)) {
            Ok(order) => order,
            Err(wrong) => {
                let page = CutPage::about(&app, &permit, &target, query.as_deref()).await?;
                return CutPage { reason: &reason, lasts: &lasts, wrong: Some(wrong), ..page }.again();
            }
        };
    let placed = app.verifier.cut(&permit, order, peer.0).await?;
    Notice::cut(back(query.as_deref(), permit.principal()).1, placed.closed, placed.took)
}

/// `GET /live/cuts/{id}/lift`
pub(crate) async fn ask_lift(
    permit: Permit<ManageCuts>,
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let (all, back) = back(query.as_deref(), permit.principal());
    let cuts = app.verifier.cuts(&permit).await?;
    let Some(cut) = cuts.into_iter().find(|cut| cut.id.to_string() == id) else {
        return Notice::LiftedBefore.at(back, None);
    };
    if app.verifier.must_sign_in_to_lift(&permit).await? {
        return sign_in_anew(cut.id, all);
    }
    let ask = Ask {
        frame: Frame::of(&app, permit.principal(), Place::Live)?,
        verb: "Lift the cut",
        heading: format!("Lift the cut on {}?", in_words(&cut.target)),
        lines: vec!["What was not revoked meanwhile works again as before.".to_owned()],
        action: lift_address(cut.id, all),
        back,
        typed: None,
        fields: Vec::new(),
        cuts: false,
    };
    ask.show()
}

/// `POST /live/cuts/{id}/lift`
pub(crate) async fn lift(
    permit: Permit<ManageCuts>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let (all, back) = back(query.as_deref(), permit.principal());
    let Ok(id) = id.parse() else { return Notice::LiftedBefore.at(back, None) };
    match app.verifier.lift(&permit, id, peer.0).await {
        Ok(_) => Notice::Lifted.at(back, None),
        Err(CutError::Unknown(_)) => Notice::LiftedBefore.at(back, None),
        Err(CutError::Stale) => sign_in_anew(id, all),
        Err(error) => Err(error.into()),
    }
}

fn lift_address(id: CutId, all: bool) -> String {
    format!("/live/cuts/{id}/lift{}", if all { "?all=1" } else { "" })
}

/// Has somebody sign in once more, and brings them back to where they can lift it.
fn sign_in_anew(id: CutId, all: bool) -> Result<Response, WebError> {
    see_other(&format!("/login?fresh=1&returnTo={}", encoded(&lift_address(id, all))))
}

fn read_target(text: &str) -> Result<CutTarget, WebError> {
    text.parse().map_err(|error| WebError::BadRequest(format!("The address is wrong: {error}.")))
}

fn read_order(target: &CutTarget, reason: &str, lasts: &str, typed: Option<&str>) -> Result<CutOrder, Wrong> {
    if word_for(target).is_some_and(|word| typed.map(str::trim) != Some(word)) {
        return Err(Wrong::Typed);
    }
    let reason = match reason.trim() {
        "" => None,
        reason => Some(reason.parse().map_err(|_| Wrong::Reason)?),
    };
    let lifetime: Lifetime = lasts.parse().map_err(|_| Wrong::Lasts)?;
    Ok(CutOrder { target: target.clone(), reason, lifetime })
}

/// What has to be typed before that is cut.
fn word_for(target: &CutTarget) -> Option<&'static str> {
    matches!(target, CutTarget::Everything).then_some("everything")
}

const fn verb(target: &CutTarget) -> &'static str {
    match target {
        CutTarget::User(_) => "Cut user",
        CutTarget::Credential(_) => "Cut credential",
        CutTarget::Agent(_) => "Cut agent",
        CutTarget::Route(_) => "Cut route",
        CutTarget::Everything => "Cut everything",
    }
}

/// What is to be cut, a credential by its name. The caller may cut it, and so may know that.
async fn named(app: &App, target: &CutTarget) -> Result<String, WebError> {
    let CutTarget::Credential(id) = target else { return Ok(in_words(target)) };
    let names = app.verifier.store().credential_names(vec![*id]).await?;
    let name = names.into_iter().next();
    Ok(name.map_or_else(|| in_words(target), |(_, name)| format!("the credential \u{201c}{name}\u{201d}")))
}

/// What will come of it.
fn lines(app: &App, permit: &Permit<ManageCuts>, target: &CutTarget) -> Vec<String> {
    let caller = permit.principal();
    let mut lines = vec![match app.verifier.would_close(permit, target) {
        0 => "Nothing of it is open now.".to_owned(),
        1 => "1 open connection is cut, at once.".to_owned(),
        count => format!("{count} open connections are cut, at once."),
    }];
    let mut say = |line: &str| lines.push(line.to_owned());
    say("What is cut stays shut out until the cut is lifted or its time is over. Nothing is deleted.");
    let own = match target {
        CutTarget::User(name) => caller.username() == Some(name),
        CutTarget::Credential(id) => caller.credential() == *id,
        _ => false,
    };
    if own {
        say("That is you: you are shut out by it yourself, and somebody else has to lift it.");
    }
    if *target == CutTarget::Everything {
        say(
            "Every route is shut, its public paths too, and everybody is shut out. Only admins who sign in can still \
             come to this page, to lift it.",
        );
    }
    lines
}

impl CutPage<'_> {
    async fn about(
        app: &App,
        permit: &Permit<ManageCuts>,
        target: &CutTarget,
        query: Option<&str>,
    ) -> Result<Self, WebError> {
        app.verifier.expect_may_cut(permit, target)?;
        let caller = permit.principal();
        let (all, back) = back(query, caller);
        Ok(Self {
            frame: Frame::of(app, caller, Place::Live)?,
            verb: verb(target),
            heading: format!("Cut {}?", named(app, target).await?),
            lines: lines(app, permit, target),
            target: target.to_string(),
            back,
            all,
            typed: word_for(target),
            reason: "",
            lasts: "never",
            wrong: None,
        })
    }

    fn lasts() -> impl Iterator<Item = (&'static str, &'static str)> {
        LASTS.into_iter()
    }

    fn wrong_reason(&self) -> bool {
        self.wrong == Some(Wrong::Reason)
    }

    fn wrong_lasts(&self) -> bool {
        self.wrong == Some(Wrong::Lasts)
    }

    fn wrong_typed(&self) -> bool {
        self.wrong == Some(Wrong::Typed)
    }

    /// The page once more, with what is wrong.
    fn again(&self) -> Result<Response, WebError> {
        let mut response = self.frame.show(self)?;
        *response.status_mut() = StatusCode::BAD_REQUEST;
        Ok(response)
    }
}
