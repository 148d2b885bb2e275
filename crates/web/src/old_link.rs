//! Old addresses of llmux, which had a token in them: a page that is opened with `?token=sas_…` is opened again without
//! it. The token goes into no answer and no log.

use std::fmt::Write;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fallgate_authority::{CameByHttps, LinkVisitor, PeerAddress, brings_credential, is_navigation};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use zeroize::Zeroizing;

use crate::app::App;
use crate::cookie;

const TOKEN: &str = "token=";
/// What every token of llmux begins with. No other is taken from an address.
const OLD: &str = "sas_";
/// Under these there are no pages.
const NO_PAGES: [&str; 5] = [".fallgate", ".well-known", "api", "health", "static"];

/// A page's address with an old token in it.
struct OldLink {
    secret: Zeroizing<String>,
    /// The same address without it.
    clean: String,
}

/// Takes old tokens out of addresses: whoever is nobody yet and has a good one is signed in by it; everybody else is
/// asked to sign in.
pub(crate) async fn follow(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(link) = OldLink::of(&request) else { return next.run(request).await };
    let https = request.extensions().get::<CameByHttps>().is_some_and(|came| came.0);
    let signed_in = if brings_credential(request.headers(), https) {
        None
    } else {
        let ip = request.extensions().get::<PeerAddress>().and_then(|peer| peer.0);
        let user_agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
        let visitor = LinkVisitor { ip, user_agent };
        app.verifier.sign_in_by_link(link.secret.as_bytes(), visitor).await.unwrap_or_else(|error| {
            tracing::error!(%error, "nobody can be signed in by an old address");
            None
        })
    };
    match signed_in {
        Some(login) => {
            (cookie::keep(&login.credential, &login.secret, https), to(&link.clean)).into_response()
        }
        None => to(&format!("/login?returnTo={}", encoded(&link.clean))).into_response(),
    }
}

impl OldLink {
    fn of(request: &Request) -> Option<Self> {
        let opened = *request.method() == Method::GET && is_navigation(request.headers());
        if opened { Self::read(request.uri()) } else { None }
    }

    fn read(uri: &Uri) -> Option<Self> {
        let path = uri.path();
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        // What does not stay on this origin is no address of ours.
        if NO_PAGES.contains(&first) || !path.starts_with('/') || path.starts_with("//") {
            return None;
        }
        let is_old = |pair: &str| pair.strip_prefix(TOKEN).is_some_and(|value| value.starts_with(OLD));
        let (old, kept): (Vec<_>, Vec<_>) = uri.query()?.split('&').partition(|pair| is_old(pair));
        let first = old.first()?.strip_prefix(TOKEN)?;
        // Two are one too many to tell which is meant; then none is good.
        let secret = if old.len() == 1 { first } else { "" };
        let kept = kept.join("&");
        let mark = if kept.is_empty() { "" } else { "?" };
        Some(Self { secret: Zeroizing::new(secret.to_owned()), clean: format!("{path}{mark}{kept}") })
    }
}

fn to(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // The address that is left has a secret in it: nobody else is told where the visitor came from.
    let referrer = (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location), referrer]).into_response()
}

/// As one value of a query (RFC 3986): all but unreserved characters and slashes is escaped.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Option<(String, String)> {
        OldLink::read(&uri.parse().unwrap()).map(|link| (link.secret.to_string(), link.clean))
    }

    #[test]
    fn an_old_token_is_taken_out_of_a_pages_address_and_the_rest_stays() {
        for (uri, secret, clean) in [
            ("/?token=sas_x", "sas_x", "/"),
            ("/s/1?token=sas_x.y", "sas_x.y", "/s/1"),
            ("/?a=b&token=sas_x&c=%2F", "sas_x", "/?a=b&c=%2F"),
            ("/?token=sas_x&token=fgt_y", "sas_x", "/?token=fgt_y"),
            ("/?token=sas_x&token=sas_y", "", "/"),
            ("/apidocs?token=sas_", "sas_", "/apidocs"),
        ] {
            assert_eq!(read(uri), Some((secret.to_owned(), clean.to_owned())), "{uri}");
        }
    }

    #[test]
    fn no_other_address_and_no_other_token_is_touched() {
        for uri in [
            "/",
            "/?token=",
            "/?token=fgt_x",
            "/?token=fgl_x",
            "/?xtoken=sas_x",
            "/?TOKEN=sas_x",
            "/?access_token=sas_x",
            "/?token=SAS_x",
            "/?token=%73as_x",
            "/sas_x",
            "/api?token=sas_x",
            "/api/whoami?token=sas_x",
            "/health?token=sas_x",
            "//evil.example/?token=sas_x",
        ] {
            assert_eq!(read(uri), None, "{uri}");
        }
    }

    #[test]
    fn an_address_is_one_value_of_a_query() {
        assert_eq!(encoded("/s/1?a=b&c=%2F#\u{e9}"), "/s/1%3Fa%3Db%26c%3D%252F%23%C3%A9");
    }
}
