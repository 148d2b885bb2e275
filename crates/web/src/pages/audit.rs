//! `/admin/audit`: what was done, newest first; and whether the chain of it holds.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::ReadAudit;
use fallgate_authority::{Permit, Verifier};
use fallgate_domain::audit::{Action, Event};
use fallgate_domain::clock::Timestamp;
use fallgate_store::{EventFilter, StoreError};
use serde::Serialize;
use serde_json::{Value, json};

use super::follow::{Watched, follow};
use super::frame::{Frame, Place};
use super::moment::Moment;
use super::see_other;
use super::trail_check::Walk;
use crate::app::App;
use crate::error::WebError;
use crate::view::EventPage;

/// How many events a page has, and how many are sent at once to one that follows.
const PAGE: u32 = 100;
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    asked: Asked,
    rows: Vec<EventRow>,
    /// Where older ones are.
    older: Option<String>,
    /// Where the script hears of new ones; not on a page of old ones.
    events: Option<String>,
    chain: String,
    /// Whether the chain is broken.
    broken: bool,
    checkpoint: Option<Moment>,
}

/// Which events, as the form says it.
#[derive(Debug, Default, Clone)]
struct Asked {
    user: String,
    action: String,
    since: String,
    until: String,
    before: Option<u64>,
    after: Option<u64>,
}

/// An event. By default none, for the script to fill in.
#[derive(Debug, Default, Serialize)]
pub(super) struct EventRow {
    id: String,
    #[serde(rename = "at")]
    at_exact: String,
    #[serde(skip)]
    pub(super) at: Moment,
    pub(super) action: String,
    actor: String,
    pub(super) target: String,
    outcome: String,
    from: String,
    pub(super) detail: String,
}

/// `GET /admin/audit`
pub(crate) async fn show(
    permit: Permit<ReadAudit>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let asked = Asked::read(query.as_deref())?;
    let (store, now) = (app.verifier.store(), app.verifier.clock().now());
    let events = store.find_events(&asked.filter()?).await?;
    let EventPage { events, next, checkpoint } = EventPage::of(events, PAGE, store.audit_checkpoint().await?);
    let (chain, broken) = in_words(&app.trail_check.last(), now);
    let page = AuditPage {
        frame: Frame::of(&app, permit.principal(), Place::Audit)?.noticing(query.as_deref()),
        older: next.map(|before| asked.at("/admin/audit", Some(before))),
        events: asked.before.is_none().then(|| asked.at("/admin/audit/events", None)),
        rows: events.iter().map(|event| EventRow::of(event, now)).collect(),
        asked,
        chain,
        broken,
        checkpoint: checkpoint.map(|checkpoint| Moment::of(checkpoint.at, now)),
    };
    page.frame.show(&page)
}

/// `GET /admin/audit/events`: what is new since the event `after`.
pub(crate) async fn events(
    permit: Permit<ReadAudit>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let asked = Asked::read(query.as_deref())?;
    let filter = asked.filter()?;
    let after = match asked.after {
        Some(after) => after,
        None => app.verifier.store().events(None, 1).await?.first().map_or(0, |event| event.seq),
    };
    let caller = permit.principal().clone();
    let watch = Watch { _permit: permit, verifier: app.verifier.clone(), filter, after };
    follow(&app, &caller, watch)
}

/// `POST /admin/audit/verify`
pub(crate) async fn verify(permit: Permit<ReadAudit>, State(app): State<App>) -> Result<Response, WebError> {
    app.trail_check.walk(&app.verifier, permit).await;
    see_other("/admin/audit#chain")
}

struct Watch {
    _permit: Permit<ReadAudit>,
    verifier: Arc<Verifier>,
    filter: EventFilter,
    after: u64,
}

impl Watched for Watch {
    async fn look(&mut self) -> Result<Option<String>, StoreError> {
        let filter = EventFilter { after: Some(self.after), ..self.filter.clone() };
        let events = self.verifier.store().find_events(&filter).await?;
        let Some(newest) = events.first() else { return Ok(None) };
        self.after = newest.seq;
        let now = self.verifier.clock().now();
        // The script puts each on top of the one before.
        let rows: Vec<_> = events.iter().rev().map(|event| EventRow::of(event, now)).collect();
        Ok(Some(json!({ "adds": { "events": rows } }).to_string()))
    }
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, WebError> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let text = value.trim().to_owned();
            let number = || {
                let wrong = || WebError::BadRequest(format!("{name} is the number of an event."));
                text.parse::<u64>().map(Some).map_err(|_| wrong())
            };
            match &*name {
                "before" => asked.before = number()?,
                "after" => asked.after = number()?,
                "user" => asked.user = text,
                "action" => asked.action = text,
                "since" => asked.since = text,
                "until" => asked.until = text,
                _ => {}
            }
        }
        Ok(asked)
    }

    fn filter(&self) -> Result<EventFilter, WebError> {
        let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(EventFilter {
            before: self.before,
            after: self.after,
            limit: PAGE,
            user: said(&self.user),
            action: said(&self.action),
            since: day(&self.since)?,
            // The whole of that day.
            until: day(&self.until)?.map(|begin| begin.plus(DAY)),
        })
    }

    /// The address of the same events.
    fn at(&self, path: &str, before: Option<u64>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let texts =
            [("user", &self.user), ("action", &self.action), ("since", &self.since), ("until", &self.until)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            query.append_pair(name, text);
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    fn is_narrowed(&self) -> bool {
        [&self.user, &self.action, &self.since, &self.until].into_iter().any(|text| !text.is_empty())
    }
}

impl AuditPage {
    fn actions() -> impl Iterator<Item = &'static str> {
        Action::ALL.into_iter().map(Action::name)
    }

    /// For the script to fill in.
    fn no_row() -> EventRow {
        EventRow::default()
    }
}

/// The beginning of a day, in UTC.
fn day(text: &str) -> Result<Option<Timestamp>, WebError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| WebError::BadRequest("A day is written as 2026-12-31.".to_owned());
    Timestamp::parse(&format!("{text}T00:00:00Z")).map(Some).map_err(wrong)
}

impl EventRow {
    pub(super) fn of(event: &Event, now: Timestamp) -> Self {
        Self {
            id: event.seq.to_string(),
            at_exact: event.at.to_string(),
            at: Moment::of(event.at, now),
            action: event.action.clone(),
            actor: event.actor.clone(),
            target: event.target.clone(),
            outcome: event.outcome.clone(),
            from: event.ip.clone().unwrap_or_default(),
            detail: event.detail.iter().map(|(name, value)| told(name, value)).collect::<Vec<_>>().join(", "),
        }
    }
}

fn told(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{name}: {text}"),
        Value::Array(values) => {
            let texts =
                values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            format!("{name}: {}", texts.collect::<Vec<_>>().join(" "))
        }
        other => format!("{name}: {other}"),
    }
}

/// What the last walk found, and whether that is bad news.
fn in_words(walk: &Walk, now: Timestamp) -> (String, bool) {
    match walk {
        Walk::Never => ("It has not been verified since this gate was started.".to_owned(), false),
        Walk::Since(at) => {
            (format!("It is being verified; that began {}.", Moment::of(*at, now).relative), false)
        }
        Walk::Ended(at, Ok(trail)) => {
            let at = Moment::of(*at, now).relative;
            (format!("Every link fits: {} events, verified {at}.", trail.events), false)
        }
        Walk::Ended(at, Err(error)) => {
            let at = Moment::of(*at, now).relative;
            (format!("The trail cannot be relied on: {error}. That was found {at}."), true)
        }
    }
}
