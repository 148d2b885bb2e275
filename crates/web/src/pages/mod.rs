//! Pages for people: drawn here, shown by any browser, with nothing of anybody else's in them. Scripts help; nothing but
//! lists that follow what happens needs them.

mod ask;
pub(crate) mod assets;
pub(crate) mod enter;
mod form;
mod frame;
pub(crate) mod home;
pub(crate) mod login;
mod moment;
mod notice;
pub(crate) mod pair;
pub(crate) mod pairing;
pub(crate) mod problem;
mod qr;
pub(crate) mod setup;
mod wanted;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use fallgate_relay::PAGE_FIELDS;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::error::WebError;

/// A drawn page, with what keeps browsers from doing more with it than show it.
pub(crate) fn page(template: &impl Template) -> Result<Response, WebError> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be drawn");
        WebError::Unavailable
    })?;
    let mut response = Html(html).into_response();
    for (name, value) in PAGE_FIELDS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Sends the browser on. Where it came from is told to nobody: there may be a code in the address.
pub(crate) fn see_other(location: &str) -> Result<Response, WebError> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| WebError::BadRequest("There is no such address to go on to.".to_owned()))?;
    let referrer = (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), referrer]).into_response())
}
