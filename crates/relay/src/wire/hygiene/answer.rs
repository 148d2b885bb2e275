//! The head of an answer on its way down.

use super::{
    FieldId, cookies, named_by_connection, write_field, write_length, write_number, write_trailer_names,
};
use crate::wire::http1::{AnswerHead, BodyKind, Field, Version};

/// To whom an answer goes, and what becomes of it on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Downward<'a> {
    /// The version that the client speaks.
    pub(crate) client: Version,
    /// Whether the connection to the client is closed after this answer.
    pub(crate) close: bool,
    /// Whether the answer is shown on the origin of our own pages.
    pub(crate) own_origin: bool,
    /// How addresses of the upstream become addresses of the route.
    pub(crate) rewrite: Option<Rewrite<'a>>,
}

/// How `Location` and `Content-Location` are rewritten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rewrite<'a> {
    /// The upstream's own scheme and authority, as in `http://127.0.0.1:3030`.
    pub(crate) upstream_origin: &'a str,
    /// The `Host` that it was told.
    pub(crate) told: Told<'a>,
    /// The prefix that was taken off on the way up, without a slash at its end.
    pub(crate) prefix: Option<&'a str>,
}

/// What an upstream takes for its own host.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told<'a> {
    /// The one that the client used: an address at it is the client's own already, but for the prefix.
    Public(&'a [u8]),
    /// One that the route sets, which means nothing to the client.
    Internal(&'a str),
}

/// Writes the head of an answer for the client, and says how its body is to be framed: with [`BodyKind::Chunked`] in
/// chunks, with [`BodyKind::UntilClose`] by closing the connection, of which the head then speaks too.
pub(crate) fn write_answer(
    out: &mut Vec<u8>,
    head: &AnswerHead,
    buffer: &[u8],
    down: &Downward<'_>,
) -> BodyKind {
    write_line(out, head, buffer);
    for field in head.fields() {
        write_upstream_field(out, field, head, buffer, down);
    }
    let body = match (head.body(), down.client) {
        (BodyKind::Chunked | BodyKind::UntilClose, Version::Http11) => BodyKind::Chunked,
        (BodyKind::Chunked | BodyKind::UntilClose, Version::Http10) => BodyKind::UntilClose,
        (framed, _) => framed,
    };
    write_framing(out, head, buffer, body, down.client);
    if down.close || body == BodyKind::UntilClose {
        write_field(out, b"Connection", b"close");
    } else if down.client == Version::Http10 {
        write_field(out, b"Connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
    body
}

/// Writes the head of a 101 for the client: the change to the protocol that the upstream named.
pub(crate) fn write_switching(out: &mut Vec<u8>, head: &AnswerHead, buffer: &[u8], down: &Downward<'_>) {
    write_line(out, head, buffer);
    for field in head.fields() {
        write_upstream_field(out, field, head, buffer, down);
    }
    if let Some(protocol) = head.upgrade() {
        write_field(out, b"Upgrade", protocol.of(buffer));
    }
    write_field(out, b"Connection", b"Upgrade");
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, head: &AnswerHead, buffer: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(out, head.status().into(), 3);
    out.push(b' ');
    let reason = head.reason().of(buffer);
    if reason.iter().all(|&byte| matches!(byte, b' '..=b'~')) {
        out.extend_from_slice(reason);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_upstream_field(
    out: &mut Vec<u8>,
    field: &Field,
    head: &AnswerHead,
    buffer: &[u8],
    down: &Downward<'_>,
) {
    let (name, value) = (field.name.of(buffer), field.value.of(buffer));
    match field.id {
        id if id.hop_by_hop() => {}
        FieldId::SetCookie if cookies::sets_own(value) => {}
        FieldId::OriginWide if down.own_origin => {}
        _ if head.connection_names_fields() && named_by_connection(field, head.fields(), buffer) => {}
        FieldId::Location | FieldId::ContentLocation => write_location(out, name, value, down.rewrite),
        _ => write_field(out, name, value),
    }
}

fn write_framing(out: &mut Vec<u8>, head: &AnswerHead, buffer: &[u8], body: BodyKind, client: Version) {
    match body {
        BodyKind::Length(length) => {
            write_length(out, length);
        }
        BodyKind::Chunked => {
            write_field(out, b"Transfer-Encoding", b"chunked");
            write_trailer_names(out, head.fields_of(FieldId::Trailer).map(|value| value.of(buffer)));
        }
        // An answer to HEAD and a 304 tell what a GET would have got; where there can be no body, nothing is told.
        BodyKind::Empty if matches!(head.status(), 100..=199 | 204) => {}
        BodyKind::Empty => match head.told_body() {
            BodyKind::Length(length) => {
                write_length(out, length);
            }
            BodyKind::Chunked if client == Version::Http11 => {
                write_field(out, b"Transfer-Encoding", b"chunked");
            }
            _ => {}
        },
        BodyKind::UntilClose => {}
    }
}

fn write_location(out: &mut Vec<u8>, name: &[u8], value: &[u8], rewrite: Option<Rewrite<'_>>) {
    match rewrite.and_then(|rewrite| rewritten(value, rewrite)) {
        Some((origin, prefix, rest)) => {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            for part in [origin, prefix.as_bytes(), rest] {
                out.extend_from_slice(part);
            }
            out.extend_from_slice(b"\r\n");
        }
        None => write_field(out, name, value),
    }
}

/// The parts of an address of the route, if this one is the upstream's: origin, prefix, and the rest from the path on.
/// Without an origin it names the one that was asked. An address that has the prefix already comes from an upstream that
/// knows it, and needs it no second time.
fn rewritten<'a>(value: &'a [u8], rewrite: Rewrite<'a>) -> Option<(&'a [u8], &'a str, &'a [u8])> {
    let prefix = rewrite.prefix.unwrap_or_default();
    if let Some(rest) = below_upstream(value, rewrite) {
        let rest = match rest {
            [] => b"/",
            rest => rest,
        };
        let slash = if rest.first() == Some(&b'/') { "" } else { "/" };
        let prefix = if prefix.is_empty() { slash } else { prefix };
        let prefix = if has_prefix(rest, prefix) { "" } else { prefix };
        // Alone, `//name` and `/\name` would name another host.
        let elsewhere = prefix.is_empty() && matches!(rest, [b'/', b'/' | b'\\', ..]);
        return (!elsewhere).then_some((&[], prefix, rest));
    }
    let (origin, path) = match rewrite.told {
        Told::Public(host) => split_at_host(value, host).unwrap_or((&[], value)),
        Told::Internal(_) => (&[][..], value),
    };
    let local = path.first() == Some(&b'/') && (!origin.is_empty() || path.get(1) != Some(&b'/'));
    (local && !prefix.is_empty() && !has_prefix(path, prefix)).then_some((origin, prefix, path))
}

/// What follows the upstream's origin, as the config writes it or as the upstream was told.
fn below_upstream<'a>(value: &'a [u8], rewrite: Rewrite<'_>) -> Option<&'a [u8]> {
    if let Some(rest) = below_origin(value, rewrite.upstream_origin.as_bytes()) {
        return Some(rest);
    }
    match rewrite.told {
        Told::Public(_) => None,
        Told::Internal(host) => split_at_host(value, host.as_bytes()).map(|(_, rest)| rest),
    }
}

/// Origin and rest of an absolute address at this host.
fn split_at_host<'a>(value: &'a [u8], host: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let starts =
        |scheme: &&[u8]| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = schemes.into_iter().find(starts)?;
    let rest = below_origin(value.get(scheme.len()..)?, host)?;
    value.split_at_checked(value.len() - rest.len())
}

/// What follows the origin in an absolute address; `None` if its origin is another.
fn below_origin<'a>(value: &'a [u8], origin: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(origin.len())?;
    let ends = matches!(rest.first(), None | Some(b'/' | b'?' | b'#'));
    (ends && start.eq_ignore_ascii_case(origin)).then_some(rest)
}

/// Whether a path begins with these whole segments.
fn has_prefix(path: &[u8], prefix: &str) -> bool {
    path.strip_prefix(prefix.as_bytes())
        .is_some_and(|rest| !prefix.is_empty() && matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
}

#[cfg(test)]
mod tests;
