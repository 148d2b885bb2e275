//! The header names that mean something to the relay.

/// Which field a name is, if it is one that the relay treats in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldId {
    /// `Authorization`.
    Authorization,
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Content-Location`.
    ContentLocation,
    /// `Content-Type`.
    ContentType,
    /// `Cookie`.
    Cookie,
    /// `Date`.
    Date,
    /// `Expect`.
    Expect,
    /// `Host`.
    Host,
    /// `HTTP2-Settings`, which goes with an upgrade that is never made.
    Http2Settings,
    /// `Keep-Alive`.
    KeepAlive,
    /// `Location`.
    Location,
    /// A name that only we may set: identity, `X-Forwarded-*` and their kin (requirement R10).
    Namespace,
    /// `Origin`.
    Origin,
    /// One by which an answer commands its whole origin: what browsers reach it by, whom they report to, what of it they
    /// forget.
    OriginWide,
    /// `Proxy` and `Proxy-*`.
    Proxy,
    /// `Set-Cookie`.
    SetCookie,
    /// `TE`.
    Te,
    /// `Trailer`.
    Trailer,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`.
    Upgrade,
    /// `User-Agent`.
    UserAgent,
    /// Any other.
    Other,
}

impl FieldId {
    /// Whether it speaks of one connection only and never passes (RFC 9110, section 7.6.1; requirement R16). The
    /// framing fields are among them: framing is always written anew.
    pub(crate) const fn hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::Proxy
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// Which field this name is; case makes no difference.
pub(crate) fn classify(name: &[u8]) -> FieldId {
    let id = match name.len() {
        2 => known(name, &[("te", FieldId::Te)]),
        3 => known(name, &[("nel", FieldId::OriginWide)]),
        4 => known(name, &[("host", FieldId::Host), ("date", FieldId::Date)]),
        6 => known(
            name,
            &[("cookie", FieldId::Cookie), ("origin", FieldId::Origin), ("expect", FieldId::Expect)],
        ),
        7 => known(
            name,
            &[("upgrade", FieldId::Upgrade), ("trailer", FieldId::Trailer), ("alt-svc", FieldId::OriginWide)],
        ),
        8 => known(name, &[("location", FieldId::Location)]),
        10 => known(
            name,
            &[
                ("connection", FieldId::Connection),
                ("user-agent", FieldId::UserAgent),
                ("set-cookie", FieldId::SetCookie),
                ("keep-alive", FieldId::KeepAlive),
            ],
        ),
        12 => known(name, &[("content-type", FieldId::ContentType)]),
        13 => known(name, &[("authorization", FieldId::Authorization)]),
        14 => known(
            name,
            &[("content-length", FieldId::ContentLength), ("http2-settings", FieldId::Http2Settings)],
        ),
        9 => known(name, &[("expect-ct", FieldId::OriginWide), ("report-to", FieldId::OriginWide)]),
        15 => {
            known(name, &[("clear-site-data", FieldId::OriginWide), ("public-key-pins", FieldId::OriginWide)])
        }
        16 => known(name, &[("content-location", FieldId::ContentLocation)]),
        17 => known(name, &[("transfer-encoding", FieldId::TransferEncoding)]),
        19 => known(name, &[("reporting-endpoints", FieldId::OriginWide)]),
        22 => known(name, &[("service-worker-allowed", FieldId::OriginWide)]),
        25 => known(name, &[("strict-transport-security", FieldId::OriginWide)]),
        27 => known(name, &[("public-key-pins-report-only", FieldId::OriginWide)]),
        _ => None,
    };
    id.unwrap_or_else(|| by_prefix(name))
}

/// Whether an operator may have us put a field of this name into every request: one that speaks of the request, not of
/// the connection, of its framing, or of who is calling.
pub(crate) fn may_inject(name: &[u8]) -> bool {
    let passes = matches!(
        classify(name),
        FieldId::Authorization | FieldId::Cookie | FieldId::Origin | FieldId::UserAgent | FieldId::Other
    );
    super::is_token(name) && passes
}

/// What becomes of a field in a trailer section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailer {
    /// It may be passed on.
    Passes,
    /// Its name is one that only we set: it is taken out.
    Ours,
    /// It could be taken for framing, routing, authorisation or the like by whoever merges it into the head.
    Forbidden,
}

/// Whether a field of this name may be a trailer (RFC 9110, section 6.5.1).
pub(crate) fn trailer(name: &[u8]) -> Trailer {
    const FORBIDDEN: [&str; 34] = [
        "accept",
        "accept-ranges",
        "age",
        "allow",
        "authentication-info",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-security-policy",
        "content-type",
        "expires",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "pragma",
        "range",
        "referer",
        "refresh",
        "retry-after",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-user",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "vary",
        "warning",
        "www-authenticate",
    ];
    match classify(name) {
        FieldId::Namespace => Trailer::Ours,
        FieldId::Other if FORBIDDEN.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes())) => {
            Trailer::Forbidden
        }
        FieldId::Other => Trailer::Passes,
        _ => Trailer::Forbidden,
    }
}

fn known(name: &[u8], candidates: &[(&str, FieldId)]) -> Option<FieldId> {
    let first = name.first()?.to_ascii_lowercase();
    let mut alike = candidates.iter().filter(|(text, _)| text.as_bytes().first() == Some(&first));
    alike.find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|&(_, id)| id)
}

/// The names that are told by how they begin. For these whatever is neither letter nor digit is `-`: many servers make
/// `-`, `_` and `.` one.
fn by_prefix(name: &[u8]) -> FieldId {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| folded_eq(start, prefix));
    let ours = match name.first() {
        Some(b'r' | b'R') => starts("remote-"),
        Some(b'x' | b'X') => {
            starts("x-forwarded-")
                || starts("x-original-")
                || folded_eq(name, "x-real-ip")
                || folded_eq(name, "x-rewrite-url")
        }
        Some(b'f' | b'F') => starts("fallgate-") || folded_eq(name, "forwarded"),
        // `Proxy` alone becomes `HTTP_PROXY` in a CGI program, which may then send its own requests there.
        Some(b'p' | b'P') if starts("proxy-") || folded_eq(name, "proxy") => return FieldId::Proxy,
        _ => false,
    };
    if ours { FieldId::Namespace } else { FieldId::Other }
}

/// Whether a server might take the one name for the other.
pub(crate) fn folded_eq(name: &[u8], text: &str) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == text.len()
        && name.iter().zip(text.bytes()).all(|(one, other)| folded(*one) == folded(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_whatever_their_case() {
        for (name, id) in [
            ("Host", FieldId::Host),
            ("HOST", FieldId::Host),
            ("te", FieldId::Te),
            ("Content-Length", FieldId::ContentLength),
            ("tRANSFER-eNCODING", FieldId::TransferEncoding),
            ("Proxy-Connection", FieldId::Proxy),
            ("proxy-x", FieldId::Proxy),
            ("Proxy", FieldId::Proxy),
            ("proxy.authorization", FieldId::Proxy),
            ("proxies", FieldId::Other),
            ("HTTP2-Settings", FieldId::Http2Settings),
            ("Service-Worker-Allowed", FieldId::OriginWide),
            ("STRICT-Transport-Security", FieldId::OriginWide),
            ("Nel", FieldId::OriginWide),
            ("Hosts", FieldId::Other),
            ("x-host", FieldId::Other),
            ("", FieldId::Other),
        ] {
            assert_eq!(classify(name.as_bytes()), id, "{name}");
        }
    }

    #[test]
    fn r10_our_namespace_takes_an_underscore_for_a_hyphen() {
        for name in [
            "Remote-User",
            "REMOTE_USER",
            "remote_",
            "X_Forwarded-For",
            "x-forwarded_proto",
            "X_REAL_IP",
            "Forwarded",
            "x_original_url",
            "X_Rewrite-Url",
            "Fallgate_Token",
            "remote-user_",
            "Remote.User",
            "x.forwarded~for",
            "FALLGATE!assertion",
        ] {
            assert_eq!(classify(name.as_bytes()), FieldId::Namespace, "{name}");
        }
    }

    #[test]
    fn r10_r16_what_is_ours_or_the_connections_cannot_be_injected() {
        for name in ["authorization", "Cookie", "x-api-key", "origin", "user-agent", "proxied"] {
            assert!(may_inject(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "a b",
            "x_y",
            "x:y",
            "r\u{e9}",
            "host",
            "Content-Length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "http2-settings",
            "proxy",
            "Proxy-Authorization",
            "expect",
            "remote-user",
            "remote.user",
            "x-forwarded-for",
            "Forwarded",
            "x-real-ip",
            "fallgate-token",
            "fallgate-assertion",
        ] {
            assert!(!may_inject(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn every_name_has_its_own_bit() {
        // `Fields` keeps one bit of 64 for each.
        assert!((FieldId::Other as u32) < 64);
    }
}
