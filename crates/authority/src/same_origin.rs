//! Whether a request comes from one of our own pages, as the browser says (requirement R21). Scripts of other sites can
//! make a browser send our cookie; what the browser says of them they cannot change.

use http::request::Parts;

use crate::fields::{Fields, Occurs, occurs};
use crate::permit::CameByHttps;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A page of this very origin.
    Own,
    /// Somebody else's page, or one that hides what it is.
    Foreign,
    /// It does not say: no browser of these days, or no browser at all.
    Untold,
}

impl Source {
    /// Where a request for `host` (as it was sent, with its port) comes from. `https`: whether it came by it.
    pub fn of_fields(fields: &dyn Fields, https: bool, host: &[u8]) -> Self {
        let own = |same: bool| if same { Self::Own } else { Self::Foreign };
        match (occurs(fields, "sec-fetch-site"), occurs(fields, "origin")) {
            (Occurs::Once(site), Occurs::Never | Occurs::Once(_)) => own(site == b"same-origin"),
            (Occurs::Never, Occurs::Once(origin)) => own(is_origin(origin, https, host)),
            (Occurs::Never, Occurs::Never) => Self::Untold,
            _ => Self::Foreign,
        }
    }

    pub(crate) fn of(parts: &Parts) -> Self {
        let https = parts.extensions.get::<CameByHttps>().is_some_and(|came| came.0);
        let host = match occurs(&parts.headers, "host") {
            Occurs::Once(host) => host,
            // No origin is that of nowhere.
            Occurs::Never | Occurs::Often => b"",
        };
        Self::of_fields(&parts.headers, https, host)
    }
}

/// Whether `origin` (RFC 6454) is that of a request that came so and asked for `host`.
pub fn is_origin(origin: &[u8], https: bool, host: &[u8]) -> bool {
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
