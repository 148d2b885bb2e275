//! `/live` and `/admin/live`: what is open now, and what is cut. A script has the lists follow what happens.

mod acts;
mod rows;

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::{ManageCuts, ReadAllLive, ReadLive};
use fallgate_authority::{LiveStream, Permit, Principal, Verifier};
use fallgate_store::StoreError;

pub(crate) use self::acts::{ask_close, ask_cut, ask_lift, close, cut, lift};
use self::rows::{CutRow, Shown};
pub(super) use self::rows::{LiveRow, rows_of};
pub(crate) use self::rows::{no_cut, no_stream};
use super::follow::{Watched, follow};
use super::frame::{Frame, Place};
use crate::app::App;
use crate::error::WebError;

/// Whose streams a page shows.
enum Sight {
    /// The viewer's own.
    Own(Permit<ReadLive>),
    /// Everybody's, or one user's.
    All(Permit<ReadAllLive>, Option<String>),
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage<'a> {
    frame: Frame,
    shown: Shown,
    all: bool,
    /// Only this user's.
    user: &'a str,
    /// Where the script hears of what happens.
    events: String,
    may_cut: bool,
}

/// `GET /live`: one's own.
pub(crate) async fn own(
    permit: Permit<ReadLive>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    show(&app, &Sight::Own(permit), query.as_deref()).await
}

/// `GET /admin/live`: everybody's.
pub(crate) async fn all(
    permit: Permit<ReadAllLive>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let user = wanted_user(query.as_deref());
    show(&app, &Sight::All(permit, user), query.as_deref()).await
}

/// `GET /live/events`
pub(crate) async fn own_events(
    permit: Permit<ReadLive>,
    State(app): State<App>,
) -> Result<Response, WebError> {
    let caller = permit.principal().clone();
    follow(&app, &caller, Watch::new(&app, Sight::Own(permit)))
}

/// `GET /admin/live/events`
pub(crate) async fn all_events(
    permit: Permit<ReadAllLive>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let caller = permit.principal().clone();
    follow(&app, &caller, Watch::new(&app, Sight::All(permit, wanted_user(query.as_deref()))))
}

async fn show(app: &App, sight: &Sight, query: Option<&str>) -> Result<Response, WebError> {
    let (all, user) = match sight {
        Sight::Own(_) => (false, None),
        Sight::All(_, user) => (true, user.as_deref()),
    };
    let narrowed = user.map(|user| format!("?user={}", encoded(user))).unwrap_or_default();
    let viewer = sight.viewer();
    let page = LivePage {
        frame: Frame::of(app, viewer, Place::Live)?.noticing(query),
        shown: sight.look(&app.verifier).await?,
        all,
        user: user.unwrap_or_default(),
        events: if all { format!("/admin/live/events{narrowed}") } else { "/live/events".to_owned() },
        may_cut: viewer.clone().permit::<ManageCuts>().is_ok(),
    };
    page.frame.show(&page)
}

impl Sight {
    fn viewer(&self) -> &Principal {
        match self {
            Self::Own(permit) => permit.principal(),
            Self::All(permit, _) => permit.principal(),
        }
    }

    /// What is to be seen now.
    async fn look(&self, verifier: &Verifier) -> Result<Shown, StoreError> {
        let now = verifier.clock().now();
        let all = matches!(self, Self::All(..));
        let rows = rows_of(self.streams(verifier), all, verifier).await?;
        let cuts = verifier.cuts_beside_live(self.viewer()).await?;
        Ok(Shown::new(rows, cuts.iter().map(|cut| CutRow::of(cut, all, now)).collect()))
    }

    fn streams(&self, verifier: &Verifier) -> Vec<LiveStream> {
        match self {
            Self::Own(permit) => verifier.own_live(permit),
            Self::All(permit, user) => {
                let mut streams = verifier.all_live(permit);
                if let Some(user) = user {
                    streams
                        .retain(|stream| stream.username.as_ref().is_some_and(|name| name.as_str() == user));
                }
                streams
            }
        }
    }
}

/// What a page that follows is sent.
struct Watch {
    verifier: Arc<Verifier>,
    sight: Sight,
    sent: String,
}

impl Watch {
    fn new(app: &App, sight: Sight) -> Self {
        Self { verifier: app.verifier.clone(), sight, sent: String::new() }
    }
}

impl Watched for Watch {
    async fn look(&mut self) -> Result<Option<String>, StoreError> {
        let json = self.sight.look(&self.verifier).await?.json();
        if json == self.sent {
            return Ok(None);
        }
        self.sent.clone_from(&json);
        Ok(Some(json))
    }
}

fn wanted_user(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let user = pairs.find(|(name, _)| name == "user").map(|(_, value)| value.trim().to_owned());
    user.filter(|user| !user.is_empty())
}

/// For a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
