//! The cookie of a sign-in, set and taken back. It is read in `authority`.

use std::time::Duration;

use fallgate_authority::{Claim, NewSignIn, cookie_name, pairing_cookie_name};
use fallgate_domain::credential::Credential;
use fallgate_domain::token::PlainToken;
use http::{HeaderValue, header};

/// Longer than a device waits, so that it is told what came of it.
const WAITS: Duration = Duration::from_mins(10);

/// A header field, for a handler's answer.
pub(crate) type SetCookie = [(header::HeaderName, HeaderValue); 1];

/// Has the browser keep the sign-in for as long as it may last at most.
pub(crate) fn set(sign_in: &NewSignIn, https: bool) -> SetCookie {
    keep(&sign_in.credential, &sign_in.secret, https)
}

/// The same for a sign-in that may have no owner.
pub(crate) fn keep(credential: &Credential, secret: &PlainToken, https: bool) -> SetCookie {
    let life = credential.expires_at.map_or(Duration::ZERO, |end| end.since(credential.created_at));
    cookie(secret.expose(), life, https)
}

/// Has the browser keep what it waits with to be let in.
pub(crate) fn keep_claim(claim: &Claim, https: bool) -> SetCookie {
    named(pairing_cookie_name(https), claim.secret.expose(), WAITS, https)
}

/// Has the browser forget that.
pub(crate) fn forget_claim(https: bool) -> SetCookie {
    named(pairing_cookie_name(https), "", Duration::ZERO, https)
}

/// Has the browser forget it.
pub(crate) fn clear(https: bool) -> SetCookie {
    cookie("", Duration::ZERO, https)
}

fn cookie(value: &str, life: Duration, https: bool) -> SetCookie {
    named(cookie_name(https), value, life, https)
}

fn named(name: &str, value: &str, life: Duration, https: bool) -> SetCookie {
    let secure = if https { "; Secure" } else { "" };
    let seconds = life.as_secs();
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // A token is ASCII by construction. Without the cookie nobody would be signed in, which does no harm.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    [(header::SET_COOKIE, value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r19_the_cookie_is_bound_to_its_host_and_to_https_where_there_is_https() {
        let life = Duration::from_hours(1);
        let told = |cookie: &SetCookie| cookie[0].1.to_str().unwrap().to_owned();
        let shown = cookie("fgl_x", life, true);
        assert_eq!(
            told(&shown),
            "__Host-fallgate=fgl_x; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(!format!("{shown:?}").contains("fgl_x"));
        assert_eq!(
            told(&cookie("fgl_x", life, false)),
            "fallgate=fgl_x; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
        );
        assert_eq!(told(&clear(true)), "__Host-fallgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
