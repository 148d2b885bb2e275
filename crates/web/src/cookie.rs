//! The cookie of a sign-in, set and taken back. It is read in `authority`.

use std::time::Duration;

use fallgate_authority::{NewSignIn, cookie_name};
use http::{HeaderValue, header};

/// A header field, for a handler's answer.
pub(crate) type SetCookie = [(header::HeaderName, HeaderValue); 1];

/// Has the browser keep the sign-in for as long as it may last at most.
pub(crate) fn set(sign_in: &NewSignIn, https: bool) -> SetCookie {
    let credential = &sign_in.credential;
    let life = credential.expires_at.map_or(Duration::ZERO, |end| end.since(credential.created_at));
    cookie(sign_in.secret.expose(), life, https)
}

/// Has the browser forget it.
pub(crate) fn clear(https: bool) -> SetCookie {
    cookie("", Duration::ZERO, https)
}

fn cookie(value: &str, life: Duration, https: bool) -> SetCookie {
    let (name, secure) = (cookie_name(https), if https { "; Secure" } else { "" });
    let seconds = life.as_secs();
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // A token is ASCII by construction. Without the cookie nobody would be signed in, which does no harm.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    [(header::SET_COOKIE, value)]
}
