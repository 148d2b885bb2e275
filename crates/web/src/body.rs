//! A request's body as JSON: bounded, typed, and refused in words that name what is wrong. And its query.

use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query, Request};
use http::header;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::WebError;

/// The longest body, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// A JSON body. Refused in this order: too large 413, not called JSON 415, not readable as `T` 400.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A secret in a body. Wiped when dropped; neither shown nor, when it is no text, repeated in the refusal.
pub(crate) struct SecretText(pub(crate) Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(Zeroizing::new(text))),
            _ => Err(de::Error::custom("a secret must be text")),
        }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let is_json = is_called(&request, "application/json");
        let body = read(request, state).await?;
        if !is_json {
            return Err(WebError::NotJson);
        }
        // A list would be taken for an object, its members by their place.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(WebError::BadRequest("The body must be a JSON object.".to_owned()));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            WebError::BadRequest(format!("The body is not as it must be: {}.", fault(&error)))
        })
    }
}

/// What a query asks, refused in the same words as a body.
pub(crate) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, WebError> {
    query.map(|Query(asked)| asked).map_err(|rejection| {
        let text = rejection.body_text();
        let fault = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        WebError::BadRequest(format!("The query is not as it must be: {fault}."))
    })
}

/// Whether the request says that its body is of that media type.
pub(crate) fn is_called(request: &Request, media_type: &str) -> bool {
    text(request, header::CONTENT_TYPE).is_some_and(|kind| {
        let essence = kind.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(media_type)
    })
}

/// A body that is not too long.
pub(crate) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, WebError> {
    let told = text(&request, header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if told.is_some_and(|length| length > LONGEST) {
        return Err(WebError::BodyTooLarge);
    }
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => WebError::BodyTooLarge,
        _ => WebError::BadRequest("The body broke off or broke the framing.".to_owned()),
    })
}

/// What is wrong, without the value that is: it may be a secret in the wrong place. A field's name stays.
pub(crate) fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let without_value = |what: &str| {
        let (value, expected) = text.strip_prefix(what)?.rsplit_once(", expected ")?;
        let kind = value.split(['"', '`']).next().unwrap_or_default().trim_end();
        Some(format!("{what}{kind}, expected {expected}"))
    };
    ["invalid type: ", "invalid value: ", "unknown variant"]
        .into_iter()
        .find_map(without_value)
        .unwrap_or_else(|| text.clone())
}

fn text(request: &Request, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use fallgate_domain::user::Role;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read for what is wrong with it")]
    struct Wanted {
        role: Option<Role>,
        count: Option<u32>,
        flag: Option<bool>,
    }

    #[test]
    fn r61_a_refusal_names_the_fault_and_the_field_but_never_the_value() {
        for (body, says) in [
            (r#"{"count":"hush"}"#, "invalid type: string, expected u32 at line 1 column 15"),
            (r#"{"count":"hush, expected \"hush"}"#, "invalid type: string, expected u32"),
            (r#"{"count":-4711}"#, "invalid value: integer, expected u32"),
            (r#"{"count":47.11}"#, "invalid type: floating point, expected u32"),
            (r#"{"flag":["hush"]}"#, "invalid type: sequence, expected a boolean"),
            (r#"{"role":"hush"}"#, "unknown variant, expected `admin` or `user`"),
            (r#"{"role":"hush`, expected `hush"}"#, "unknown variant, expected `admin` or `user`"),
            (r#"{"rule":"hush"}"#, "unknown field `rule`, expected one of `role`, `count`, `flag`"),
            (r#"{"count":hush}"#, "expected value"),
        ] {
            let error = serde_json::from_str::<Wanted>(body).unwrap_err();
            let told = fault(&error);
            assert!(told.starts_with(says), "{body}: {told}");
            assert!(!told.contains("hush") && !told.contains("47"), "{body}: {told}");
        }
    }
}
