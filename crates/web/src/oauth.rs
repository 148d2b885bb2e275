//! What is said under `/oauth/`, where clients expect OAuth's own words: forms in, and refusals as RFC 6749 has them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fallgate_domain::problem::Problem;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body;
use crate::error::WebError;

/// Whatever is here speaks so.
const UNDER: &str = "/oauth/";

/// Whether that path is one of these.
pub(crate) fn is_under(path: &str) -> bool {
    path.starts_with(UNDER)
}

/// A refusal in OAuth's words.
#[derive(Debug)]
pub(crate) enum OAuthError {
    /// That a grant is not to be had, by one of the registered names, and in a sentence.
    Grant(&'static str, String),
    /// What could be said at any door.
    Other(WebError),
}

impl<E: Into<WebError>> From<E> for OAuthError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        match self {
            Self::Grant(error, description) => {
                Refused { error, error_description: described(&description) }.answer(400)
            }
            // Put into OAuth's words by `in_its_words`.
            Self::Other(error) => error.into_response(),
        }
    }
}

/// A refusal (RFC 6749, section 5.2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub(crate) struct Refused {
    /// Its registered name, such as `invalid_request`.
    error: &'static str,
    /// What happened this time, and what to do.
    error_description: String,
}

impl Refused {
    fn of(problem: &Problem) -> Self {
        let error = match problem.status {
            401 => "invalid_token",
            403 => "insufficient_scope",
            429 | 503 => "temporarily_unavailable",
            500.. => "server_error",
            _ => "invalid_request",
        };
        Self { error, error_description: described(&problem.detail) }
    }

    fn answer(&self, status: u16) -> Response {
        let mut response = Response::new(Body::from(serde_json::to_vec(self).unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// In the characters that a description may have (RFC 6749, section 5.2).
fn described(text: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    text.chars().map(|c| if allowed(c) { c } else { '\'' }).collect()
}

/// Puts whatever a door under `/oauth/` refuses into OAuth's words: the same status and fields, another body.
pub(crate) async fn in_its_words(request: Request, next: Next) -> Response {
    let is_ours = is_under(request.uri().path());
    let mut response = next.run(request).await;
    if !is_ours {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    // What is sent as another media type is a bad request and nothing more, says RFC 6749.
    let status = if problem.status == 415 { 400 } else { problem.status };
    let mut said = Refused::of(&problem).answer(status);
    for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            said.headers_mut().insert(name, value.clone());
        }
    }
    said
}

/// What may be sent more than once (RFC 8693, section 2.1), and is a list.
const LISTS: [&str; 2] = ["audience", "resource"];

/// A form's body as `T`: each parameter once but for [`LISTS`], one without a value as if it were left out, and what is not
/// known passed over (RFC 6749, section 3.2). Refused in this order: too large 413, not called a form or not readable 400.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Parameters<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let is_form = body::is_called(&request, "application/x-www-form-urlencoded");
        let bytes = body::read(request, state).await?;
        if !is_form {
            return Err(WebError::NotForm);
        }
        let mut sent = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in form_urlencoded::parse(&bytes) {
            sent.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let mut members = Map::new();
        for (name, values) in sent {
            let value = member(&name, values)?;
            members.extend(value.map(|value| (name, value)));
        }
        serde_json::from_value(Value::Object(members)).map(Self).map_err(|error| {
            WebError::BadRequest(format!("The form is not as it must be: {}.", body::fault(&error)))
        })
    }
}

/// What a parameter says, if it says anything.
fn member(name: &str, mut values: Vec<String>) -> Result<Option<Value>, WebError> {
    let is_list = LISTS.contains(&name);
    if values.len() > 1 && !is_list {
        return Err(WebError::BadRequest("A parameter was sent twice.".to_owned()));
    }
    values.retain(|value| !value.is_empty());
    Ok(match values.pop() {
        Some(last) if is_list => {
            values.push(last);
            Some(values.into())
        }
        only => only.map(Value::String),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_character_that_it_may_not_have() {
        assert_eq!(described("a \"b\" \\ c\u{e4}\n"), "a 'b' ' c''");
    }
}
