//! The cookie that carries a sign-in. Nothing else of a `Cookie` field is looked at.

use crate::fields::{Fields, Occurs};
use crate::presented::Presented;
use crate::refusal::{Denial, Refusal};
use fallgate_domain::token::{PlainToken, TokenKind};

/// What the cookie is called. The prefix makes browsers hold it to https, one host and `Path=/`.
pub const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-fallgate" } else { "fallgate" }
}

impl Presented {
    /// Reads the one cookie of our name, if there is any. Two of them are refused: one may have been set by somebody
    /// who wants to be taken for the other (requirement R19). So is one that cannot be read, and whatever is no
    /// sign-in. `https`: whether the request came by it.
    pub fn from_cookies(fields: &dyn Fields, https: bool) -> Result<Option<Self>, Refusal> {
        let malformed = Refusal::BadCredential(Denial::Malformed);
        let secret = match only_cookie(fields, cookie_name(https)) {
            Occurs::Never => return Ok(None),
            Occurs::Once(secret) => secret,
            Occurs::Often => return Err(malformed),
        };
        match PlainToken::parse(TokenKind::Login, secret) {
            Ok(token) => Ok(Some(Self { hash: token.hash(), worker: None, username: None })),
            Err(_) => Err(malformed),
        }
    }
}

/// The value of the cookie of that name, which must not be there twice. One without a `=` has an empty value.
pub fn only_cookie<'a>(fields: &'a dyn Fields, name: &str) -> Occurs<'a> {
    let mut found = Occurs::Never;
    fields.each("cookie", &mut |field| {
        for pair in field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (told, value) = pair.split_at(end);
            // Blanks around the name are no part of it, as where our cookies are taken out on the way to an upstream.
            if told.trim_ascii() == name.as_bytes() {
                let value = value.strip_prefix(b"=").unwrap_or_default();
                found = if found == Occurs::Never { Occurs::Once(value) } else { Occurs::Often };
            }
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;

    fn secret(kind: TokenKind) -> String {
        PlainToken::new(kind, &[9; 32]).expose().to_owned()
    }

    fn read(fields: &[&str], https: bool) -> Result<bool, Refusal> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Presented::from_cookies(&headers, https).map(|presented| presented.is_some())
    }

    #[test]
    fn r19_the_cookie_is_the_one_of_the_name_for_how_the_request_came() {
        let good = secret(TokenKind::Login);
        let (plain, host) = (format!("fallgate={good}"), format!("__Host-fallgate={good}"));
        let both = format!("a=b; {plain}; {host};c");
        for (fields, https, found) in [
            (&[plain.as_str()][..], false, true),
            (&[plain.as_str()], true, false),
            (&[host.as_str()], true, true),
            (&[host.as_str()], false, false),
            (&[both.as_str()], true, true),
            (&["theme=dark", plain.as_str(), ""], false, true),
            (&["Fallgate=x; FALLGATE=x; fallgate2=x; xfallgate=x; __host-fallgate=x"], true, false),
            (&[], false, false),
        ] {
            assert_eq!(read(fields, https), Ok(found), "{fields:?} {https}");
        }
    }

    #[test]
    fn r8_r19_two_of_the_name_and_what_cannot_be_read_are_refused() {
        let good = secret(TokenKind::Login);
        let pair = format!("fallgate={good}");
        let token = secret(TokenKind::Token);
        for fields in [
            &[format!("{pair}; {pair}")][..],
            &[pair.clone(), pair.clone()],
            &[format!("{pair}; fallgate=")],
            &[format!("fallgate; {pair}")],
            &["fallgate".to_owned()],
            &["fallgate=".to_owned()],
            &["fallgate=%%%".to_owned()],
            &["fallgate=%66gl_".to_owned()],
            &[format!("fallgate=\"{good}\"")],
            &[format!("fallgate= {good}")],
            &[format!("fallgate={good}=")],
            &[format!("fallgate={token}")],
            &[format!("fallgate={}", "x".repeat(10_000))],
            &["fallgate=\u{fc}\u{202e}".to_owned()],
        ] {
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            assert_eq!(read(&fields, false), Err(Refusal::BadCredential(Denial::Malformed)), "{fields:?}");
        }
    }
}
