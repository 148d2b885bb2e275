//! `GET /`: who one is, where one may go, and what asks for attention.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use fallgate_authority::actions::{ReadAllLive, ReadAudit, ReadIdentity, ReadLive};
use fallgate_authority::{AnySignIn, Principal};
use fallgate_domain::credential::CredentialKind;
use fallgate_relay::{Reach, Route, Settings};
use fallgate_store::{CredentialFilter, StoreError};

use super::audit::EventRow;
use super::frame::{Frame, Place};
use super::live::{LiveRow, rows_of};
use super::moment::Moment;
use super::routes::{Standing, address_of};
use crate::app::App;
use crate::error::WebError;

/// Tokens that end sooner are shown.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// How many rows each list has at most.
const FEW: usize = 5;
/// Among how many of the newest events refusals are looked for: not through a trail of a million.
const LOOKED_THROUGH: u32 = 200;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    role: String,
    routes: Vec<Tile>,
    own: Open,
    ending: Vec<EndingToken>,
    /// For an admin: all that is open, and the last refusals.
    all: Option<Open>,
    refusals: Option<Vec<EventRow>>,
}

/// A route that one may use.
struct Tile {
    name: String,
    address: String,
    /// Whether a browser gets in there.
    opens: bool,
    /// How its upstream stands, if it has one.
    state: Option<Standing>,
}

/// What is open: how much, and the newest of it.
#[derive(Default)]
struct Open {
    total: usize,
    newest: Vec<LiveRow>,
}

/// A token that ends soon.
struct EndingToken {
    name: String,
    hint: String,
    ends: Moment,
}

pub(crate) async fn home(caller: AnySignIn, State(app): State<App>) -> Result<Response, WebError> {
    let settings = app.settings.now();
    let principal = caller.principal();
    let page = HomePage {
        frame: Frame::of(&app, principal, Place::Home)?,
        role: principal.role_name().to_owned(),
        routes: tiles(&app, &settings, principal).await,
        own: own_live(&app, principal).await?,
        ending: ending_tokens(&app, principal).await?,
        all: all_live(&app, principal).await?,
        refusals: refusals(&app, principal).await?,
    };
    page.frame.show(&page)
}

async fn tiles(app: &App, settings: &Settings, caller: &Principal) -> Vec<Tile> {
    let usable = || settings.routes.iter().filter(|route| caller.may_use(&route.policy).is_ok());
    let reaches = app.reaches.of(usable()).await;
    usable().zip(reaches).map(|(route, reach)| Tile::of(settings, route, reach)).collect()
}

async fn own_live(app: &App, caller: &Principal) -> Result<Open, StoreError> {
    let Ok(permit) = caller.clone().permit::<ReadLive>() else { return Ok(Open::default()) };
    let rows = rows_of(app.verifier.own_live(&permit), false, &app.verifier).await?;
    Ok(Open { total: rows.total, newest: rows.rows.into_iter().take(FEW).collect() })
}

async fn all_live(app: &App, caller: &Principal) -> Result<Option<Open>, StoreError> {
    let Ok(permit) = caller.clone().permit::<ReadAllLive>() else { return Ok(None) };
    let rows = rows_of(app.verifier.all_live(&permit), true, &app.verifier).await?;
    Ok(Some(Open { total: rows.total, newest: rows.rows.into_iter().take(FEW).collect() }))
}

async fn ending_tokens(app: &App, caller: &Principal) -> Result<Vec<EndingToken>, StoreError> {
    let (Ok(_), Some(owner)) = (caller.clone().permit::<ReadIdentity>(), caller.user()) else {
        return Ok(Vec::new());
    };
    let now = app.verifier.clock().now();
    let kinds = vec![CredentialKind::Token];
    let filter = CredentialFilter { owner: Some(owner), kinds, with_ended: false, now };
    let listed = app.verifier.store().credentials(&filter).await?.into_iter().map(|listed| listed.credential);
    let ending = listed.filter_map(|token| Some((token.expires_at?, token)));
    let mut ending: Vec<_> = ending.filter(|(end, _)| *end <= now.plus(SOON)).collect();
    ending.sort_by_key(|(end, _)| *end);
    let rows = ending.into_iter().take(FEW).map(|(end, token)| EndingToken {
        name: token.name,
        hint: token.hint,
        ends: Moment::of(end, now),
    });
    Ok(rows.collect())
}

async fn refusals(app: &App, caller: &Principal) -> Result<Option<Vec<EventRow>>, StoreError> {
    if caller.clone().permit::<ReadAudit>().is_err() {
        return Ok(None);
    }
    let (events, now) =
        (app.verifier.store().events(None, LOOKED_THROUGH).await?, app.verifier.clock().now());
    let refused = events.iter().filter(|event| event.outcome == "refused");
    Ok(Some(refused.take(FEW).map(|event| EventRow::of(event, now)).collect()))
}

impl Tile {
    fn of(settings: &Settings, route: &Route, reach: Option<Reach>) -> Self {
        Self {
            name: route.policy.name.to_string(),
            address: address_of(settings, route),
            opens: route.takes_cookies(),
            // Why it is down is the operator's affair.
            state: reach.map(|reach| Standing { why: None, ..Standing::of(reach) }),
        }
    }
}
