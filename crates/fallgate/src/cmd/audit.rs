//! `fallgate audit …`

use std::time::Duration;

use fallgate_domain::audit::{Action, Event};
use fallgate_store::EventFilter;

use crate::cli::Audit;
use crate::config::Environment;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::place::Place;
use crate::{cmd, output};

const HEADING: [&str; 7] = ["SEQ", "AT", "ACTION", "ACTOR", "TARGET", "IP", "DETAIL"];
/// How many old events `tail` begins with.
const TAIL: u32 = 10;
/// How often `tail` looks for new ones, on a home folder and at a gate.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(verb: Audit, place: Place, environment: &Environment) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Audit::List { user, action, limit, before, format } => {
            let filter = EventFilter { before, limit, user, action, ..EventFilter::default() };
            runtime.block_on(list(place, filter, format.json))
        }
        Audit::Tail { json } => runtime.block_on(tail(place, json)),
        Audit::Verify => runtime.block_on(verify(place, environment)),
    }
}

async fn list(place: Place, filter: EventFilter, json: bool) -> Result<(), Failure> {
    let unknown =
        filter.action.clone().filter(|action| Action::ALL.iter().all(|known| known.name() != action));
    let page = Desk::open(place, false).await?.events(filter).await?;
    // A gate of another version may know more than this one.
    if let (Some(action), true) = (unknown, page.events.is_empty()) {
        let known: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        let shown: String = action.chars().take(64).collect();
        return Err(Failure::usage(format_args!(
            "there is no action {shown:?}; there are: {}",
            known.join(", ")
        )));
    }
    if json {
        return output::data(&output::json(&page)?);
    }
    if page.events.is_empty() {
        output::say("There are no such events.");
        return Ok(());
    }
    output::data(&output::table(&HEADING, &page.events.iter().map(cells).collect::<Vec<_>>()))
}

async fn tail(place: Place, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let pause = if matches!(desk, Desk::Home(_)) { LOOK_EVERY } else { ASK_EVERY };
    let last = EventFilter { limit: TAIL, ..EventFilter::default() };
    let mut events = desk.events(last).await?.events;
    events.reverse();
    let mut seen = 0;
    let mut columns = output::Columns::default();
    loop {
        let rows: Vec<_> = events.iter().map(cells).collect();
        columns.widen(&rows);
        for event in events {
            seen = event.seq;
            let line = if json { serde_json::to_string(&event)? } else { columns.line(&cells(&event)) };
            if !output::more_data(&format!("{line}\n"))? {
                return Ok(());
            }
        }
        tokio::time::sleep(pause).await;
        events = desk.events_after(seen).await?;
    }
}

async fn verify(place: Place, environment: &Environment) -> Result<(), Failure> {
    let trail = Desk::open(place, false).await?.verify_trail(environment).await?;
    let since = trail.since.map(|at| format!(" since the checkpoint of {}", output::to_the_second(at)));
    let (count, since) = (trail.events, since.unwrap_or_default());
    output::data(&format!("{count} event{}, an unbroken chain{since}\n", if count == 1 { "" } else { "s" }))
}

fn cells(event: &Event) -> Vec<String> {
    let detail = event.detail.iter().map(|(name, value)| format!("{name}={value}"));
    vec![
        event.seq.to_string(),
        output::to_the_second(event.at),
        event.action.clone(),
        event.actor.clone(),
        event.target.clone(),
        event.ip.clone().unwrap_or_else(|| "—".to_owned()),
        detail.collect::<Vec<_>>().join(" "),
    ]
}
