//! A page that asks before something is done, and says what will come of it. A script shows it as a dialog over the page
//! that leads to it.

use askama::Template;
use axum::response::Response;

use super::frame::Frame;
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
