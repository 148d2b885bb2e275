//! A form whose answer shows a secret is carried out once: whoever loads the answer again sends the form again, and must
//! neither make another of what it makes nor see the secret once more.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use askama::Template;
use axum::response::{IntoResponse, Response};
use fallgate_authority::Principal;
use fallgate_domain::hex;
use fallgate_domain::id::CredentialId;
use http::StatusCode;
use parking_lot::Mutex;

use super::form::FormBody;
use super::frame::Frame;
use crate::app::App;
use crate::error::WebError;

/// The name of the field.
const FIELD: &str = "once";
/// How many forms are remembered. The oldest is forgotten first; a browser asks before it sends it again.
const MOST: usize = 10_000;

/// By which a form is known, drawn for each that is shown.
#[derive(Debug)]
pub(crate) struct FormKey(String);

impl FormKey {
    pub(crate) fn draw(app: &App) -> Result<Self, WebError> {
        let bytes = app.verifier.fresh_bytes::<16>().map_err(|_| WebError::Unavailable)?;
        Ok(Self(hex::encode(&bytes)))
    }
}

impl fmt::Display for FormKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The forms that were carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentForms(Arc<Mutex<Sent>>);

#[derive(Debug, Default)]
struct Sent {
    keys: HashSet<Sending>,
    /// Oldest first.
    order: VecDeque<Sending>,
}

/// Who sent a form, and which.
type Sending = (CredentialId, String);

/// A form that is being carried out. Dropped before it is done, it can be sent again.
#[derive(Debug)]
pub(crate) struct Claim {
    forms: SentForms,
    sending: Option<Sending>,
}

impl SentForms {
    /// Takes a form to carry it out; `None`: that was done before.
    pub(crate) fn claim(&self, caller: &Principal, form: &FormBody) -> Result<Option<Claim>, WebError> {
        let key = form.text(FIELD)?;
        if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WebError::BadRequest(format!("The field {FIELD} is not as the form had it.")));
        }
        let sending = (caller.credential(), key.to_string());
        let mut sent = self.0.lock();
        if !sent.keys.insert(sending.clone()) {
            return Ok(None);
        }
        sent.order.push_back(sending.clone());
        if sent.order.len() > MOST
            && let Some(oldest) = sent.order.pop_front()
        {
            sent.keys.remove(&oldest);
        }
        drop(sent);
        Ok(Some(Claim { forms: self.clone(), sending: Some(sending) }))
    }
}

impl Claim {
    /// It is carried out.
    pub(crate) fn done(mut self) {
        self.sending = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(sending) = self.sending.take() {
            let mut sent = self.forms.0.lock();
            sent.keys.remove(&sending);
            sent.order.retain(|other| *other != sending);
        }
    }
}

/// What is shown to whoever sends a form again.
#[derive(Template)]
#[template(path = "sent-already.html")]
pub(crate) struct SentAlready {
    pub(crate) frame: Frame,
    /// What was made, in a sentence.
    pub(crate) says: &'static str,
    pub(crate) back: &'static str,
    pub(crate) back_says: &'static str,
    pub(crate) again: &'static str,
    pub(crate) again_says: &'static str,
}

impl SentAlready {
    pub(crate) fn show(&self) -> Result<Response, WebError> {
        Ok((StatusCode::CONFLICT, self.frame.show(self)?).into_response())
    }
}
