//! Whether a request comes from one of our own pages, as the browser says (requirement R21). Scripts of other sites can
//! make a browser send our cookie; what the browser says of them they cannot change.

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use crate::permit::CameByHttps;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A page of this very origin.
    Own,
    /// Somebody else's page, or one that hides what it is.
    Foreign,
    /// It does not say: no browser of these days, or no browser at all.
    Untold,
}

impl Source {
    pub(crate) fn of(parts: &Parts) -> Self {
        let https = parts.extensions.get::<CameByHttps>().is_some_and(|came| came.0);
        let own = |same: bool| if same { Self::Own } else { Self::Foreign };
        match (only(&parts.headers, &SEC_FETCH_SITE), only(&parts.headers, &header::ORIGIN)) {
            (Ok(Some(site)), Ok(_)) => own(site == b"same-origin"),
            (Ok(None), Ok(Some(origin))) => match only(&parts.headers, &header::HOST) {
                Ok(Some(host)) => own(is_origin(origin, https, host)),
                _ => Self::Foreign,
            },
            (Ok(None), Ok(None)) => Self::Untold,
            _ => Self::Foreign,
        }
    }
}

/// The value of a field that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let value = values.next();
    if values.next().is_some() { Err(()) } else { Ok(value) }
}

/// Whether `origin` (RFC 6454) is that of a request that came so and asked for `host`.
fn is_origin(origin: &[u8], https: bool, host: &[u8]) -> bool {
    let (scheme, port): (&[u8], &[u8]) = if https { (b"https://", b":443") } else { (b"http://", b":80") };
    let bare = |authority: &[u8]| {
        let authority = authority.to_ascii_lowercase();
        authority.strip_suffix(port).map(<[u8]>::to_vec).unwrap_or(authority)
    };
    match origin.split_at_checked(scheme.len()) {
        Some((found, authority)) => {
            found.eq_ignore_ascii_case(scheme) && !authority.is_empty() && bare(authority) == bare(host)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn source(https: bool, fields: &[(&str, &str)]) -> Source {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(CameByHttps(https));
        Source::of(&parts)
    }

    #[test]
    fn r21_sec_fetch_site_decides_and_origin_where_there_is_none() {
        use Source::{Foreign, Own, Untold};
        let site = "sec-fetch-site";
        for (https, fields, wanted) in [
            (false, &[][..], Untold),
            (false, &[("host", "gate.example")], Untold),
            (false, &[(site, "same-origin")], Own),
            (false, &[(site, "same-origin"), ("origin", "https://gate.example")], Own),
            (
                false,
                &[(site, "same-site"), ("origin", "http://gate.example"), ("host", "gate.example")],
                Foreign,
            ),
            (false, &[(site, "cross-site")], Foreign),
            (false, &[(site, "none")], Foreign),
            (false, &[(site, "")], Foreign),
            (false, &[(site, "Same-Origin")], Foreign),
            (false, &[(site, "same-origin"), (site, "same-origin")], Foreign),
            (false, &[("origin", "http://gate.example"), ("host", "gate.example")], Own),
            (false, &[("origin", "HTTP://Gate.Example:80"), ("host", "gate.example")], Own),
            (false, &[("origin", "http://gate.example"), ("host", "gate.example:80")], Own),
            (false, &[("origin", "http://gate.example:7400"), ("host", "gate.example:7400")], Own),
            (false, &[("origin", "http://[::1]:7400"), ("host", "[::1]:7400")], Own),
            (true, &[("origin", "https://gate.example"), ("host", "gate.example:443")], Own),
            (true, &[("origin", "http://gate.example"), ("host", "gate.example")], Foreign),
            (false, &[("origin", "https://gate.example"), ("host", "gate.example")], Foreign),
            (false, &[("origin", "http://gate.example:7401"), ("host", "gate.example:7400")], Foreign),
            (false, &[("origin", "http://evil.example"), ("host", "gate.example")], Foreign),
            (false, &[("origin", "http://gate.example.evil.example"), ("host", "gate.example")], Foreign),
            (false, &[("origin", "http://gate.example@evil.example"), ("host", "gate.example")], Foreign),
            (false, &[("origin", "null"), ("host", "gate.example")], Foreign),
            (false, &[("origin", ""), ("host", "gate.example")], Foreign),
            (false, &[("origin", "http://"), ("host", "")], Foreign),
            (false, &[("origin", "http://gate.example")], Foreign),
            (
                false,
                &[("origin", "http://gate.example"), ("origin", "null"), ("host", "gate.example")],
                Foreign,
            ),
        ] {
            assert_eq!(source(https, fields), wanted, "{fields:?}");
        }
    }
}
