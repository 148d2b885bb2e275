//! `fallgate import …`

use std::path::PathBuf;

use fallgate_authority::Policy;
use fallgate_domain::clock::{Clock, SystemClock, Timestamp};
use fallgate_store::{Imported, Taken};
use serde::Serialize;

use crate::cli::Import;
use crate::config::Environment;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::llmux::{self, Installation, Kind, Label};
use crate::{cmd, lifecycle, output};

/// What a route's `allow` list must have for the anonymous tokens; an empty list stands for all users, and nobody
/// else.
const ALLOW: &str = r#"allow = ["role:admin", "role:user", "kind:legacy"]"#;

pub(crate) fn run(
    verb: Import,
    home: &HomeFolder,
    environment: &Environment,
    policy: Policy,
) -> Result<(), Failure> {
    let Import::Llmux { state_dir, data_dir, dry_run, json } = verb;
    let [state, data] = environment.folders_of("llmux");
    let mut folders: Vec<PathBuf> = [state_dir.or(state), data_dir.or(data)].into_iter().flatten().collect();
    folders.dedup();
    if folders.is_empty() {
        return Err(Failure::failed("HOME is not set: name llmux' folders with --state-dir and --data-dir"));
    }
    // All of it is read before there is anything to take it in.
    let found = llmux::read(&folders, SystemClock.now())?;
    cmd::runtime()?.block_on(llmux(home, policy, found, dry_run, json))
}

async fn llmux(
    folder: &HomeFolder,
    policy: Policy,
    found: Installation,
    dry_run: bool,
    json: bool,
) -> Result<(), Failure> {
    let home = Home::make(folder)?;
    home.warnings().iter().for_each(output::warn);
    let registrar = cmd::open(&home, folder, policy).await?;
    let imported = registrar.import_llmux(found.import, dry_run, &lifecycle::actor()).await?;
    let report = Report::of(found.labels, &imported, found.skipped, dry_run);
    if json {
        output::data(&output::json(&report)?)?;
    } else if !report.items.is_empty() {
        output::data(&report.table())?;
    }
    output::say(report.summary());
    Ok(())
}

/// What an import did, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    /// Nothing was done: this is what would have been.
    dry_run: bool,
    /// How many of each were taken in now.
    taken: Counts,
    /// Everything that was found.
    items: Vec<Item>,
    /// What the anonymous tokens need in a route's config, when there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Counts {
    users: usize,
    tokens: usize,
    legacy_tokens: usize,
}

#[derive(Serialize)]
struct Item {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    username: Option<String>,
    expires_at: Option<Timestamp>,
    outcome: Outcome,
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Taken,
    /// By an import before.
    Before,
    Skipped,
}

impl Report {
    fn of(labels: Vec<Label>, imported: &Imported, skipped: Vec<(Label, String)>, dry_run: bool) -> Self {
        let (mut users, mut tokens) = (imported.users.iter(), imported.tokens.iter());
        let mut taken = Counts::default();
        let mut items = Vec::new();
        for label in labels {
            let (next, count) = match label.kind {
                Kind::User => (users.next(), &mut taken.users),
                Kind::Token => (tokens.next(), &mut taken.tokens),
                Kind::Legacy => (tokens.next(), &mut taken.legacy_tokens),
            };
            let (outcome, reason) = next.map_or((Outcome::Skipped, None), |taken| outcome(*taken));
            *count += usize::from(outcome == Outcome::Taken);
            items.push(Item::of(label, outcome, reason.map(str::to_owned)));
        }
        items.extend(skipped.into_iter().map(|(label, why)| Item::of(label, Outcome::Skipped, Some(why))));
        let has_legacy = items.iter().any(|item| item.kind == LEGACY && item.outcome != Outcome::Skipped);
        Self { dry_run, taken, items, allow: has_legacy.then_some(ALLOW) }
    }

    fn table(&self) -> String {
        let rows: Vec<_> = self.items.iter().map(|item| item.row(self.dry_run)).collect();
        output::table(&["TYPE", "NAME", "USER", "EXPIRES", "OUTCOME"], &rows)
    }

    fn summary(&self) -> String {
        let Counts { users, tokens, legacy_tokens } = &self.taken;
        let with = |outcome: Outcome| self.items.iter().filter(|item| item.outcome == outcome).count();
        let took = if self.dry_run { "Would take" } else { "Took" };
        let mut lines = vec![format!(
            "{took} {}, {} and {}; {} taken before, {} skipped",
            counted(*users, "user"),
            counted(*tokens, "token"),
            counted(*legacy_tokens, "anonymous token"),
            with(Outcome::Before),
            with(Outcome::Skipped)
        )];
        if let Some(allow) = self.allow {
            lines
                .push(format!("Anonymous tokens come in by routes that name them in the config:\n  {allow}"));
        }
        lines.join("\n")
    }
}

const LEGACY: &str = "legacy";

impl Item {
    fn of(label: Label, outcome: Outcome, reason: Option<String>) -> Self {
        let kind = match label.kind {
            Kind::User => "user",
            Kind::Token => "token",
            Kind::Legacy => LEGACY,
        };
        let Label { name, owner, expires_at, .. } = label;
        Self { kind, name, username: owner, expires_at, outcome, reason }
    }

    fn row(&self, dry_run: bool) -> Vec<String> {
        let none = || "—".to_owned();
        let outcome = match self.outcome {
            Outcome::Taken if dry_run => "would take",
            Outcome::Taken => "taken",
            Outcome::Before => "taken before",
            Outcome::Skipped => "skipped",
        };
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}"));
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            self.username.clone().unwrap_or_else(none),
            if self.kind == "user" { none() } else { output::or_never(self.expires_at) },
            format!("{outcome}{}", reason.unwrap_or_default()),
        ]
    }
}

fn outcome(taken: Taken) -> (Outcome, Option<&'static str>) {
    match taken {
        Taken::Now => (Outcome::Taken, None),
        Taken::Before => (Outcome::Before, None),
        Taken::EndedSince => (Outcome::Skipped, Some("it was taken before and has ended since")),
        Taken::UsernameTaken => (Outcome::Skipped, Some("there is another user of that name here")),
        Taken::AgentNamedSo => (Outcome::Skipped, Some("an agent is called so here")),
        Taken::OwnerMissing => (Outcome::Skipped, Some("its owner is not taken")),
        Taken::SecretTaken => (Outcome::Skipped, Some("another credential has its secret")),
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
