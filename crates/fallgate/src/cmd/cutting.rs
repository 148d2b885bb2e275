//! `fallgate cut`, `fallgate cuts` and `fallgate lift`

use fallgate_authority::CutOrder;
use fallgate_domain::cut::CutTarget;
use fallgate_domain::id::CutId;
use fallgate_domain::lifetime::Lifetime;
use fallgate_web::view::{ClosedView, CutView, PlacedCutView};

use crate::cli::{Cut, Lift};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::place::Place;
use crate::{cmd, output};

pub(crate) fn cut(cut: Cut, place: Place) -> Result<(), Failure> {
    let Cut { target, reason, lasting, format } = cut;
    let lifetime = lasting.map_or(Lifetime::Never, Lifetime::For);
    cmd::runtime()?.block_on(place_cut(place, CutOrder { target, reason, lifetime }, format.json))
}

pub(crate) fn cuts(json: bool, place: Place) -> Result<(), Failure> {
    cmd::runtime()?.block_on(list(place, json))
}

pub(crate) fn lift(lift: &Lift, place: Place) -> Result<(), Failure> {
    let id = parse_id(&lift.id)?;
    cmd::runtime()?.block_on(lift_cut(place, id, lift.format.json))
}

async fn place_cut(place: Place, order: CutOrder, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    if let CutTarget::Route(name) = &order.target
        && !desk.knows_routes()
    {
        output::warn(format_args!(
            "no config was found, so whether there is a route {name} is not known here"
        ));
    }
    let placed = desk.cut(order).await?;
    let lift = desk.command(format_args!("lift {}", placed.id));
    output::say(format_args!("Cut {}{}. To lift it: {lift}", placed.target, closed_in_words(&placed)));
    output::data(&if json { output::json(&placed)? } else { format!("{}\n", placed.id) })
}

/// What a running gate has closed, if one told.
fn closed_in_words(placed: &PlacedCutView) -> String {
    let Some((ClosedView { streams, requests }, took)) = placed.closed.zip(placed.took_ms) else {
        return String::new();
    };
    let (streams, requests) = (output::counted(streams, "stream"), output::counted(requests, "request"));
    format!("; closed {streams} and {requests} in {took} ms")
}

async fn list(place: Place, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let list = desk.cuts().await?;
    if json {
        return output::data(&output::json(&list)?);
    }
    if list.cuts.is_empty() {
        output::say("Nothing is cut.");
        return Ok(());
    }
    let rows: Vec<_> = list.cuts.iter().map(row).collect();
    output::data(&output::table(&["ID", "TARGET", "REASON", "BY", "SINCE", "UNTIL"], &rows))
}

fn row(cut: &CutView) -> Vec<String> {
    vec![
        cut.id.to_string(),
        cut.target.to_string(),
        cut.reason.as_ref().map_or_else(|| "—".to_owned(), ToString::to_string),
        cut.placed_by.clone(),
        output::to_the_second(cut.created_at),
        cut.expires_at.map_or_else(|| "it is lifted".to_owned(), output::to_the_second),
    ]
}

async fn lift_cut(place: Place, id: CutId, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let cut = desk.lift(id).await?;
    // It is lifted whether or not the others can be seen.
    let others = desk.cuts().await.map(|list| list.cuts).unwrap_or_default();
    match others.iter().find(|other| other.target == cut.target) {
        None => output::say(format_args!(
            "Lifted the cut on {}: what was not revoked meanwhile works again",
            cut.target
        )),
        Some(other) => output::say(format_args!(
            "Lifted this cut on {}; another on it still stands. To lift that: {}",
            cut.target,
            desk.command(format_args!("lift {}", other.id))
        )),
    }
    if json { output::data(&output::json(&cut)?) } else { Ok(()) }
}

fn parse_id(text: &str) -> Result<CutId, Failure> {
    text.parse().map_err(|invalid| {
        let shown: String = text.chars().take(64).collect();
        Failure::usage(format_args!("{shown:?} is {invalid}; `fallgate cuts` shows them"))
    })
}
