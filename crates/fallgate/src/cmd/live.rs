//! `fallgate live`

use std::time::Duration;

use fallgate_web::view::{LiveList, LiveView};

use crate::cli::Format;
use crate::client::{Client, Fault};
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::output;
use crate::place::Place;

const HEADING: [&str; 10] =
    ["ID", "KIND", "USER", "AGENT", "CREDENTIAL", "ROUTE", "SINCE", "IN", "OUT", "FROM"];
const WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(format: &Format, place: Place) -> Result<(), Failure> {
    let list: LiveList = match place {
        Place::Home(here) => control::ask(&here.folder, &Request::Live {}, WITHIN)?,
        Place::Server(server) => Client::new(server)?.get("/api/live").map_err(Fault::into_failure)?,
    };
    if format.json {
        return output::data(&output::json(&list)?);
    }
    if list.live.is_empty() {
        output::say("Nothing is open.");
        return Ok(());
    }
    output::data(&output::table(&HEADING, &list.live.iter().map(cells).collect::<Vec<_>>()))
}

fn cells(stream: &LiveView) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "—".to_owned());
    vec![
        stream.id.to_string(),
        stream.kind.name().to_owned(),
        or_dash(stream.username.as_ref().map(ToString::to_string)),
        or_dash(stream.agent.as_ref().map(ToString::to_string)),
        or_dash(stream.credential.as_ref().map(ToString::to_string)),
        or_dash(stream.route.as_ref().map(ToString::to_string)),
        output::to_the_second(stream.since),
        output::amount(stream.bytes_in),
        output::amount(stream.bytes_out),
        or_dash(stream.ip.map(|ip| ip.to_string())),
    ]
}
