//! The cookie that carries a sign-in. Nothing else of a `Cookie` field is looked at.

use fallgate_domain::token::{PlainToken, TokenKind};
use http::{HeaderMap, header};

use crate::presented::Presented;
use crate::refusal::{Denial, Refusal};

/// What the cookie is called. The prefix makes browsers hold it to https, one host and `Path=/`.
pub const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-fallgate" } else { "fallgate" }
}

impl Presented {
    /// Reads the one cookie of our name, if there is any. Two of them are refused: one may have been set by somebody
    /// who wants to be taken for the other (requirement R19). So is one that cannot be read, and whatever is no
    /// sign-in. `https`: whether the request came by it.
    pub fn from_cookies(headers: &HeaderMap, https: bool) -> Result<Option<Self>, Refusal> {
        let name = cookie_name(https).as_bytes();
        let pairs =
            headers.get_all(header::COOKIE).iter().flat_map(|field| field.as_bytes().split(|b| *b == b';'));
        let mut own = pairs.map(<[u8]>::trim_ascii).filter_map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (found, value) = pair.split_at(end);
            // Blanks around the name are no part of it, as where our cookies are taken out on the way to an upstream.
            (found.trim_ascii() == name).then_some(value)
        });
        let Some(value) = own.next() else { return Ok(None) };
        let malformed = Refusal::BadCredential(Denial::Malformed);
        if own.next().is_some() {
            return Err(malformed);
        }
        let secret = value.strip_prefix(b"=").unwrap_or_default();
        match PlainToken::parse(TokenKind::Login, secret) {
            Ok(token) => Ok(Some(Self { hash: token.hash(), username: None })),
            Err(_) => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
