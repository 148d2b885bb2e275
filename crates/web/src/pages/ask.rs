//! A page that asks before something is done, and says what will come of it. A script shows it as a dialog over the page
//! that leads to it.

use askama::Template;
use axum::response::Response;

use super::frame::Frame;
use super::notice::counted;
use crate::error::WebError;

/// What is asked.
#[derive(Template)]
#[template(path = "ask.html")]
pub(crate) struct Ask<'a> {
    pub(crate) frame: Frame,
    /// What the button says: "Revoke token".
    pub(crate) verb: &'a str,
    /// Names the target.
    pub(crate) heading: String,
    /// What will come of it.
    pub(crate) lines: Vec<String>,
    /// Where it is done, by `POST`.
    pub(crate) action: String,
    /// Where one came from.
    pub(crate) back: &'a str,
    /// A word that has to be typed first.
    pub(crate) typed: Option<&'a str>,
    /// What is sent along.
    pub(crate) fields: Vec<(&'a str, String)>,
    /// Whether somebody or something is cut off by it.
    pub(crate) cuts: bool,
}

impl Ask<'_> {
    pub(crate) fn show(&self) -> Result<Response, WebError> {
        self.frame.show(self)
    }
}

/// Somebody's text within a sentence of ours: it turns nothing around but itself.
pub(crate) fn named(text: &str) -> String {
    let turns = |letter: &char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = text.chars().filter(|letter| !turns(letter)).collect();
    format!("\u{2068}{text}\u{2069}")
}

/// What will be closed, right now.
pub(crate) fn will_cut(open: u64) -> String {
    match open {
        0 => "No open connection will be cut.".to_owned(),
        open => format!("{} will be cut.", counted(open, "open connection", "open connections")),
    }
}
