//! The doors that speak OAuth: forms there, and refusals by name back (RFC 6749, section 5.2).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, header};
use zeroize::Zeroizing;

use super::{Client, Fault, With};
use crate::failure::Failure;

/// Why a form did not do what it was to do.
#[derive(Debug)]
pub(crate) enum OAuthFault {
    /// The gate will not: by a registered name, and in its words as this side puts them.
    Refused(String, String),
    /// Anything else.
    Failed(Failure),
}

#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl OAuthFault {
    /// For where no refusal is expected to mean anything in particular.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Refused(name, words) if words.is_empty() => Failure::failed(name),
            Self::Refused(_, words) => Failure::failed(words),
            Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for OAuthFault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Client {
    /// Sends a form, with no credential but what is in it, and reads what came of it.
    pub(crate) fn send_form<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<T, OAuthFault> {
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(1024));
        let form = Zeroizing::new(form.extend_pairs(fields).finish());
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.origin().text()))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.exchange(request, Some(form.as_bytes()))?;
        if (200..300).contains(&answer.status) {
            return serde_json::from_slice(&answer.body).map_err(|_| self.stranger(&answer).into());
        }
        match serde_json::from_slice::<Told>(&answer.body) {
            Ok(Told { error, error_description }) => {
                Err(OAuthFault::Refused(error, super::fault::plain(&error_description)))
            }
            // What is before its doors speaks of problems, as elsewhere; an older gate knows no such door.
            Err(_) => Err(match self.refused(&answer, With::Nothing) {
                Fault::Refused(_, words) => Failure::failed(words).into(),
                Fault::Failed(failure) => failure.into(),
            }),
        }
    }
}
