//! `fallgate audit …`

use std::time::Duration;

use fallgate_authority::TrailError;
use fallgate_domain::audit::Event;
use fallgate_store::EventFilter;
use fallgate_web::view::EventPage;

use crate::cli::Audit;
use crate::config::Environment;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::{cmd, output, root_key};

const HEADING: [&str; 7] = ["SEQ", "AT", "ACTION", "ACTOR", "TARGET", "IP", "DETAIL"];
/// How many old events `tail` begins with.
const TAIL: u32 = 10;
/// How often `tail` looks for new ones.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many events are read at once when all are.
const PAGE: u32 = 1_000;

pub(crate) fn run(verb: Audit, home: &HomeFolder, environment: &Environment) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Audit::List { user, action, limit, before, format } => {
            let filter = EventFilter { before, limit, user, action };
            runtime.block_on(list(home, filter, format.json))
        }
        Audit::Tail { json } => runtime.block_on(tail(home, json)),
        Audit::Verify => runtime.block_on(verify(home, environment)),
    }
}

async fn list(home: &HomeFolder, filter: EventFilter, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let events = registrar.store().find_events(&filter).await?;
    if json {
        return output::data(&output::json(&EventPage::of(events, filter.limit))?);
    }
    if events.is_empty() {
        output::say("There are no such events.");
        return Ok(());
    }
    output::data(&output::table(&HEADING, &events.iter().map(cells).collect::<Vec<_>>()))
}

async fn tail(home: &HomeFolder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let store = registrar.store();
    let mut events = store.events(None, TAIL).await?;
    events.reverse();
    let mut seen = 0;
    loop {
        for event in events {
            seen = event.seq;
            let line = if json { serde_json::to_string(&event)? } else { cells(&event).join("  ") };
            if !output::more_data(&format!("{line}\n"))? {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        events = store.events_after(seen, PAGE).await?;
    }
}

async fn verify(folder: &HomeFolder, environment: &Environment) -> Result<(), Failure> {
    let home = Home::existing(folder)?;
    home.warnings().iter().for_each(output::warn);
    let registrar = cmd::open(&home).await?;
    let is_pruned = registrar.store().audit_checkpoint().await?.is_some();
    if is_pruned && let Err(failure) = root_key::unlock_kept(&registrar, &home, environment).await {
        output::warn(format_args!(
            "without the root key, the signing key in the store is taken for Fallgate's own: {failure}"
        ));
    }
    let trail = registrar.verify_trail().await.map_err(|error| match error {
        TrailError::Broken(_) | TrailError::Forged(_) => Failure::failed(format_args!(
            "{error}: the trail is not what Fallgate wrote; compare it with a backup"
        )),
        error => error.into(),
    })?;
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
