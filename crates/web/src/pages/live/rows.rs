//! The rows of the lists, as a template draws them and a script does.

use std::collections::HashMap;

use fallgate_authority::{LiveStream, Verifier};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::cut::{Cut, CutTarget};
use fallgate_domain::id::CredentialId;
use fallgate_domain::live::StreamKind;
use fallgate_store::StoreError;
use serde::Serialize;
use serde_json::json;

use super::encoded;
use crate::pages::moment::Moment;

/// How many streams a page shows at most.
const MOST: usize = 200;

/// What a page shows.
pub(super) struct Shown {
    pub(super) live: LiveRows,
    pub(super) cuts: Vec<CutRow>,
}

/// What is open, as far as a page shows it.
pub(crate) struct LiveRows {
    /// Newest first.
    pub(crate) rows: Vec<LiveRow>,
    /// How many there are, also those that are not shown.
    pub(crate) total: usize,
    /// How many pages are followed on; these streams are not among the rows, or each page would have itself in it.
    pub(crate) watching: usize,
}

/// A stream. By default none, for the script to fill in.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LiveRow {
    pub(super) id: String,
    pub(crate) who: String,
    /// What the credential is called; whose agent's it is, or its id, where it has no name.
    pub(crate) credential: String,
    /// The route.
    pub(crate) route: String,
    pub(crate) kind: &'static str,
    #[serde(rename = "since")]
    pub(super) since_exact: String,
    #[serde(skip)]
    pub(crate) since: Moment,
    pub(super) bytes_in: String,
    pub(super) bytes_out: String,
    pub(super) from: String,
    /// Where one closes it, and cuts whose it is; with what it is about, for who hears buttons and sees no row.
    pub(super) close: String,
    pub(super) cut_user: Option<String>,
    pub(super) cut_agent: Option<String>,
    pub(super) cut_credential: Option<String>,
    pub(super) about: String,
}

/// A cut that stands. By default none.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CutRow {
    pub(super) id: String,
    pub(super) target: String,
    pub(super) reason: String,
    pub(super) placed_by: String,
    #[serde(rename = "since")]
    pub(super) since_exact: String,
    #[serde(skip)]
    pub(super) since: Moment,
    /// Empty: it has no end.
    #[serde(rename = "until")]
    pub(super) until_exact: String,
    #[serde(skip)]
    pub(super) until: Moment,
    pub(super) lift: String,
}

impl Shown {
    pub(super) fn new(live: LiveRows, cuts: Vec<CutRow>) -> Self {
        Self { live, cuts }
    }

    /// How many streams, in words.
    pub(super) fn total(&self) -> String {
        self.live.total.to_string()
    }

    /// What is not shown, in words.
    pub(super) fn besides(&self) -> String {
        let hidden = self.live.total - self.live.rows.len();
        let hidden = if hidden > 0 {
            format!("The newest {MOST} are shown; {hidden} more are open. ")
        } else {
            String::new()
        };
        let watched = match self.live.watching {
            0 => String::new(),
            1 => "One page that follows along is not listed.".to_owned(),
            count => format!("{count} pages that follow along are not listed."),
        };
        (hidden + &watched).trim().to_owned()
    }

    /// For the script.
    pub(super) fn json(&self) -> String {
        json!({
            "lists": { "live": self.live.rows, "cuts": self.cuts },
            "says": { "total": self.total(), "besides": self.besides() },
        })
        .to_string()
    }
}

/// For the script to fill in.
pub(crate) fn no_stream() -> LiveRow {
    LiveRow::default()
}

/// The same.
pub(crate) fn no_cut() -> CutRow {
    CutRow::default()
}

/// These streams as rows. `all`: they may be anybody's.
pub(crate) async fn rows_of(
    mut streams: Vec<LiveStream>,
    all: bool,
    verifier: &Verifier,
) -> Result<LiveRows, StoreError> {
    let every = streams.len();
    streams.retain(|stream| !stream.is_followed_on());
    let total = streams.len();
    let newest: Vec<_> = streams.into_iter().rev().take(MOST).collect();
    let names = names_of(newest.iter().filter_map(|stream| stream.credential), verifier).await?;
    let now = verifier.clock().now();
    let rows = newest.iter().map(|stream| LiveRow::of(stream, &names, all, now)).collect();
    Ok(LiveRows { rows, total, watching: every - total })
}

/// What these cuts are, as rows; `all`: on the page that shows everybody's.
pub(super) async fn cut_rows(
    cuts: &[Cut],
    all: bool,
    verifier: &Verifier,
) -> Result<Vec<CutRow>, StoreError> {
    let cut = cuts.iter().filter_map(|cut| match cut.target {
        CutTarget::Credential(id) => Some(id),
        _ => None,
    });
    let (names, now) = (names_of(cut, verifier).await?, verifier.clock().now());
    Ok(cuts.iter().map(|cut| CutRow::of(cut, &names, all, now)).collect())
}

/// What these credentials are called.
async fn names_of(
    ids: impl Iterator<Item = CredentialId>,
    verifier: &Verifier,
) -> Result<HashMap<CredentialId, String>, StoreError> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let names = if ids.is_empty() { Vec::new() } else { verifier.store().credential_names(ids).await? };
    Ok(names.into_iter().collect())
}

impl LiveRow {
    fn of(stream: &LiveStream, names: &HashMap<CredentialId, String>, all: bool, now: Timestamp) -> Self {
        let all_too = if all { "&all=1" } else { "" };
        let cut = |target: CutTarget| format!("/live/cut?target={}{all_too}", encoded(&target.to_string()));
        let agent = stream.agent.as_ref();
        let unnamed = |id: CredentialId| {
            agent.map_or_else(|| id.to_string(), |agent| format!("worker token of {agent}"))
        };
        let credential = stream.credential.map(|id| names.get(&id).cloned().unwrap_or_else(|| unnamed(id)));
        let who = stream.username.as_ref().map_or_else(
            || if stream.credential.is_some() { "no user" } else { "anybody, on a public path" }.to_owned(),
            ToString::to_string,
        );
        let route = stream.route.as_ref().map_or_else(|| "Fallgate itself".to_owned(), ToString::to_string);
        let kind = kind(stream.kind);
        Self {
            id: stream.id.to_string(),
            about: match agent {
                Some(agent) => format!("{kind} to {route} of {who}, by the agent {agent}"),
                None => format!("{kind} to {route} of {who}"),
            },
            who,
            credential: credential.unwrap_or_else(|| "none".to_owned()),
            route,
            kind,
            since_exact: stream.since.to_string(),
            since: Moment::of(stream.since, now),
            bytes_in: bytes(stream.bytes_in),
            bytes_out: bytes(stream.bytes_out),
            from: stream.ip.map_or_else(|| "this machine".to_owned(), |ip| ip.to_string()),
            close: format!("/live/streams/{}/close{}", stream.id, if all { "?all=1" } else { "" }),
            cut_user: stream.username.clone().map(|name| cut(CutTarget::User(name))),
            cut_agent: agent.cloned().map(|name| cut(CutTarget::Agent(name))),
            // A worker token is revoked; what is cut is the agent, or what minted it.
            cut_credential: stream
                .credential
                .filter(|_| agent.is_none())
                .map(|id| cut(CutTarget::Credential(id))),
        }
    }
}

impl CutRow {
    fn of(cut: &Cut, names: &HashMap<CredentialId, String>, all: bool, now: Timestamp) -> Self {
        let name = match &cut.target {
            CutTarget::Credential(id) => names.get(id),
            _ => None,
        };
        Self {
            id: cut.id.to_string(),
            target: name
                .map_or_else(|| in_words(&cut.target), |name| format!("credential \u{201c}{name}\u{201d}")),
            reason: cut.reason.as_ref().map_or_else(|| "none given".to_owned(), ToString::to_string),
            placed_by: cut.placed_by.clone(),
            since_exact: cut.created_at.to_string(),
            since: Moment::of(cut.created_at, now),
            until_exact: cut.expires_at.map(|end| end.to_string()).unwrap_or_default(),
            until: cut.expires_at.map(|end| Moment::of(end, now)).unwrap_or_default(),
            lift: format!("/live/cuts/{}/lift{}", cut.id, if all { "?all=1" } else { "" }),
        }
    }
}

/// What is cut, as people say it.
pub(super) fn in_words(target: &CutTarget) -> String {
    match target {
        CutTarget::User(name) => format!("user {name}"),
        CutTarget::Credential(id) => format!("credential {id}"),
        CutTarget::Agent(name) => format!("agent {name}"),
        CutTarget::Route(name) => format!("route {name}"),
        CutTarget::Everything => "everything".to_owned(),
    }
}

const fn kind(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::WebSocket => "WebSocket",
        StreamKind::Tunnel => "Tunnel",
        StreamKind::Events => "Event stream",
        StreamKind::Download => "Download",
        StreamKind::Upload => "Upload",
    }
}

/// So many bytes, in the largest unit of which there is one.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)];
    let unit = UNITS.into_iter().find(|(_, size)| count >= *size);
    unit.map_or_else(
        || format!("{count} B"),
        |(unit, size)| format!("{:.1} {unit}", count as f64 / size as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_told_in_the_largest_unit_of_which_there_is_one() {
        for (count, told) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 kB"),
            (1_572_864, "1.5 MB"),
            (u64::MAX, "16777216.0 TB"),
        ] {
            assert_eq!(bytes(count), told);
        }
    }
}
