//! Pages for people: drawn here, shown by any browser, with nothing of anybody else's in them. Scripts help; nothing but
//! lists that follow what happens needs them.

pub(crate) mod account;
pub(crate) mod agents;
mod ask;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod device;
pub(crate) mod enter;
mod follow;
mod form;
mod frame;
pub(crate) mod home;
pub(crate) mod live;
pub(crate) mod login;
mod moment;
mod notice;
mod offer;
pub(crate) mod once;
pub(crate) mod pair;
pub(crate) mod pairing;
pub(crate) mod problem;
mod qr;
mod resume;
pub(crate) mod routes;
pub(crate) mod setup;
pub(crate) mod tokens;
mod trail_check;
pub(crate) mod users;
mod wanted;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use fallgate_relay::PAGE_FIELDS;
use http::{HeaderName, HeaderValue, StatusCode, header};

pub(crate) use self::follow::Followers;
pub(crate) use self::trail_check::TrailCheck;
use crate::error::WebError;

/// A drawn page, with what keeps browsers from doing more with it than show it.
pub(crate) fn page(template: &impl Template) -> Result<Response, WebError> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be drawn");
        WebError::Unavailable
    })?;
    let mut response = Html(html).into_response();
    hold_to_page(&mut response);
    Ok(response)
}

/// The same for what a page asks for.
fn hold_to_page(response: &mut Response) {
    for (name, value) in PAGE_FIELDS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// Sends the browser on. Where it came from is told to nobody: there may be a code in the address.
pub(crate) fn see_other(location: &str) -> Result<Response, WebError> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| WebError::BadRequest("There is no such address to go on to.".to_owned()))?;
    let referrer = (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), referrer]).into_response())
}
