//! The head of a request on its way up.

use std::io::Write;
use std::net::IpAddr;

use fallgate_authority::Principal;
use fallgate_domain::secret::HiddenText;
use fallgate_domain::user::{DisplayName, Role, Username};

use super::{
    FieldId, cookies, folded_eq, named_by_connection, write_field, write_length, write_number,
    write_trailer_names,
};
use crate::wire::http1::{BodyKind, Field, RequestHead, list_items};

/// What goes up with a request besides what its client sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upward<'a> {
    /// The path for the upstream: canonical (or raw, where a route says so), a stripped prefix gone.
    pub(crate) path: &'a str,
    /// The query without its `?`, untouched.
    pub(crate) query: Option<&'a str>,
    /// The host to name to the upstream; `None` passes on the client's `Host` unchanged.
    pub(crate) host: Option<&'a str>,
    /// The client's address; `None` if it has none (a Unix socket), which is told as `unknown` (RFC 7239).
    pub(crate) client: Option<IpAddr>,
    /// The scheme that the client used: `http` or `https`.
    pub(crate) proto: &'a str,
    /// The `Host` that the client used, as it sent it.
    pub(crate) forwarded_host: &'a [u8],
    /// The prefix that was taken off the path.
    pub(crate) prefix: Option<&'a str>,
    /// Whether `Authorization` held our credential, or must not pass for another reason.
    pub(crate) strip_authorization: bool,
    /// Who it is, if the route tells its upstream so in plain headers.
    pub(crate) identity: Option<Identity<'a>>,
    /// The same, signed, if the route tells its upstream so.
    pub(crate) assertion: Option<&'a str>,
    /// The operator's own fields, each instead of the client's of that name.
    pub(crate) inject: &'a [(String, HiddenText)],
    /// How the body is framed on its way up.
    pub(crate) body: BodyKind,
    /// The protocol to change to, if that was asked for and the route has it.
    pub(crate) upgrade: Option<&'a str>,
}

/// Who makes the request, for an upstream that believes `Remote-*`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Identity<'a> {
    /// `Remote-User`: the username.
    pub(crate) user: &'a str,
    /// `Remote-Name`: the name to show.
    pub(crate) name: &'a str,
    /// `Remote-Groups`: the role.
    pub(crate) groups: &'a str,
    /// `Remote-Email`: empty where there is none.
    pub(crate) email: &'a str,
}

impl<'a> Identity<'a> {
    /// What is told of a caller, whoever asks for it: the inline proxy or, by forward-auth, another one.
    pub(crate) fn of(principal: &'a Principal, display_name: Option<&'a DisplayName>) -> Self {
        Self {
            user: principal.username().map_or("", Username::as_str),
            name: display_name.map_or("", DisplayName::as_str),
            groups: principal.role().map_or("", Role::name),
            email: "",
        }
    }
}

/// Writes the head of a request for the upstream: the client's end-to-end fields in their order, then ours
/// (requirements R10, R15, R16). Always HTTP/1.1.
pub(crate) fn write_request(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8], up: &Upward<'_>) {
    write_line(out, head.method().of(buffer), up);
    for field in head.fields() {
        write_client_field(out, field, head, buffer, up);
    }
    write_forwarded(out, up);
    if let Some(identity) = up.identity {
        write_identity(out, identity);
    }
    if let Some(assertion) = up.assertion {
        write_field(out, b"Fallgate-Assertion", assertion.as_bytes());
    }
    for (name, value) in up.inject {
        write_field(out, name.as_bytes(), value.expose().as_bytes());
    }
    write_framing(out, head, buffer, up.body);
    write_connection(out, head, buffer, up.upgrade);
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, method: &[u8], up: &Upward<'_>) {
    debug_assert!(
        up.path.bytes().chain(up.query.unwrap_or_default().bytes()).all(|byte| byte.is_ascii_graphic())
    );
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(up.path.as_bytes());
    if let Some(query) = up.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_client_field(out: &mut Vec<u8>, field: &Field, head: &RequestHead, buffer: &[u8], up: &Upward<'_>) {
    let (name, value) = (field.name.of(buffer), field.value.of(buffer));
    match field.id {
        FieldId::Namespace | FieldId::Expect => {}
        id if id.hop_by_hop() => {}
        // A client cannot name it away.
        FieldId::Host => write_field(out, name, up.host.map_or(value, str::as_bytes)),
        FieldId::Authorization if up.strip_authorization => {}
        _ if up.inject.iter().any(|(ours, _)| folded_eq(name, ours)) => {}
        _ if head.connection_names_fields() && named_by_connection(field, head.fields(), buffer) => {}
        FieldId::Cookie => cookies::write_cookie(out, name, value),
        _ => write_field(out, name, value),
    }
}

fn write_forwarded(out: &mut Vec<u8>, up: &Upward<'_>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    match up.client.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => {
            let [first, rest @ ..] = address.octets();
            write_number(out, first.into(), 1);
            for octet in rest {
                out.push(b'.');
                write_number(out, octet.into(), 1);
            }
        }
        // Writing to a `Vec` cannot fail.
        Some(IpAddr::V6(address)) => drop(write!(out, "{address}")),
        None => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(b"\r\n");
    write_field(out, b"X-Forwarded-Proto", up.proto.as_bytes());
    write_field(out, b"X-Forwarded-Host", up.forwarded_host);
    if let Some(prefix) = up.prefix {
        write_field(out, b"X-Forwarded-Prefix", prefix.as_bytes());
    }
}

/// Writes all that is told in plain fields; each is there, empty or not (requirement R11).
pub(crate) fn write_identity(out: &mut Vec<u8>, identity: Identity<'_>) {
    write_encoded(out, b"Remote-User", identity.user);
    write_encoded(out, b"Remote-Name", identity.name);
    write_encoded(out, b"Remote-Groups", identity.groups);
    write_encoded(out, b"Remote-Email", identity.email);
}

fn write_framing(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8], body: BodyKind) {
    match body {
        BodyKind::Length(length) => {
            write_length(out, length);
        }
        BodyKind::Chunked => {
            write_field(out, b"Transfer-Encoding", b"chunked");
            write_trailer_names(out, head.fields_of(FieldId::Trailer).map(|value| value.of(buffer)));
        }
        // No request ends with its connection.
        BodyKind::Empty | BodyKind::UntilClose => {}
    }
}

/// `Connection` and what it names: `TE` if the client takes trailers, and the protocol to change to.
fn write_connection(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8], upgrade: Option<&str>) {
    let takes_trailers = head
        .fields_of(FieldId::Te)
        .flat_map(|value| list_items(value.of(buffer)))
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if takes_trailers {
        write_field(out, b"TE", b"trailers");
    }
    if let Some(protocol) = upgrade {
        write_field(out, b"Upgrade", protocol.as_bytes());
    }
    match (takes_trailers, upgrade) {
        (true, Some(_)) => write_field(out, b"Connection", b"Upgrade, TE"),
        (true, None) => write_field(out, b"Connection", b"TE"),
        (false, Some(_)) => write_field(out, b"Connection", b"Upgrade"),
        (false, None) => {}
    }
}

/// Writes a field whose value may be any text: what is not printable ASCII, and `%`, is percent-encoded as UTF-8.
fn write_encoded(out: &mut Vec<u8>, name: &[u8], text: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
