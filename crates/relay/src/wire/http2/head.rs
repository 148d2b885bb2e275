//! Heads of HTTP/2 as heads of HTTP/1.1, and back.

use std::borrow::Cow;
use std::io::Write;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};

use crate::wire::http1::{AnswerHead, FieldId, Malformed, RequestHead};
use crate::wire::hygiene::{classify, write_field};

/// How a body from HTTP/2 is framed when it is written down as one of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framed {
    /// There is none.
    Empty,
    /// As it comes; its length was announced.
    Plain,
    /// In chunks, trailers behind them.
    Chunks,
}

/// Writes a request down as HTTP/1.1, for the parser that judges them all. What HTTP/1.1 could not say is refused here.
/// `ends`: no body follows.
pub(crate) fn to_http1(parts: &Parts, ends: bool) -> Result<(Vec<u8>, Framed), Malformed> {
    if matches!(parts.method.as_str(), "CONNECT" | "TRACE") {
        return Err(Malformed { status: 405, reason: "the methods CONNECT and TRACE are not served" });
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Malformed::request("a scheme other than http and https"));
    }
    let mut out = Vec::with_capacity(512);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let _ = write!(out, "{} {target} HTTP/1.1\r\n", parts.method);
    write_field(&mut out, b"host", authority(parts)?);
    write_fields(&mut out, &parts.headers)?;
    write_cookies(&mut out, &parts.headers);
    let framed = write_framing(&mut out, &parts.headers, ends);
    out.extend_from_slice(b"\r\n");
    Ok((out, framed))
}

/// Whom a request is for. `Host` may say it in place of `:authority`, and beside it only the same.
fn authority(parts: &Parts) -> Result<&[u8], Malformed> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Malformed::request("more than one Host"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if authority != host => {
            Err(Malformed::request("Host is not what :authority says"))
        }
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Malformed::request("no Host")),
    }
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) -> Result<(), Malformed> {
    for (name, value) in fields {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if value.trim_ascii().len() != value.len() {
            return Err(Malformed::request("a field value with blanks around it"));
        }
        match classify(name) {
            // RFC 9113, section 8.2.2. `h2` knows some of them.
            FieldId::Connection | FieldId::KeepAlive | FieldId::TransferEncoding | FieldId::Upgrade => {
                return Err(Malformed::request("a field that speaks of a connection, in HTTP/2"));
            }
            FieldId::Host | FieldId::Cookie => {}
            _ => write_field(out, name, value),
        }
    }
    Ok(())
}

/// One `Cookie`, whatever crumbs it came in (RFC 9113, section 8.2.3).
fn write_cookies(out: &mut Vec<u8>, fields: &HeaderMap) {
    let mut separator = &b"cookie: "[..];
    for crumb in fields.get_all(header::COOKIE) {
        out.extend_from_slice(separator);
        out.extend_from_slice(crumb.as_bytes());
        separator = b"; ";
    }
    if separator == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

/// A length that was announced is among the fields already. Trailers need chunks, and who announces them wants them to
/// arrive.
fn write_framing(out: &mut Vec<u8>, fields: &HeaderMap, ends: bool) -> Framed {
    if ends {
        return Framed::Empty;
    }
    if fields.contains_key(header::CONTENT_LENGTH) {
        return Framed::Plain;
    }
    write_field(out, b"transfer-encoding", b"chunked");
    Framed::Chunks
}

/// Writes an upstream's answer down as HTTP/1.1. `ends`: no body follows; `to_head`: nor could one.
pub(super) fn answer_to_http1(parts: &http::response::Parts, ends: bool, to_head: bool) -> (Vec<u8>, Framed) {
    let mut out = Vec::with_capacity(512);
    let _ = write!(out, "HTTP/1.1 {:03} \r\n", parts.status.as_u16());
    for (name, value) in &parts.headers {
        write_field(&mut out, name.as_str().as_bytes(), value.as_bytes());
    }
    let framed = if to_head || matches!(parts.status.as_u16(), 204 | 304) {
        Framed::Empty
    } else {
        let framed = write_framing(&mut out, &parts.headers, ends);
        if framed == Framed::Empty && !parts.headers.contains_key(header::CONTENT_LENGTH) {
            write_field(&mut out, b"content-length", b"0");
        }
        framed
    };
    out.extend_from_slice(b"\r\n");
    (out, framed)
}

/// The head of a request for HTTP/2: without what speaks of a connection. `None`: HTTP/2 has no way to say it.
pub(super) fn request(head: &RequestHead, buffer: &[u8], scheme: &str) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(head.method().of(buffer)).ok()?;
    let uri = Uri::builder().scheme(scheme).authority(head.host().of(buffer));
    *request.uri_mut() = uri.path_and_query(encoded(head.target().of(buffer)).as_ref()).build().ok()?;
    for field in head.fields() {
        let value = field.value.of(buffer);
        let passes = match field.id {
            FieldId::Host => false,
            FieldId::ContentLength | FieldId::Trailer => true,
            // The one thing that it may say here, and does (RFC 9113, section 8.2.2).
            FieldId::Te => value.eq_ignore_ascii_case(b"trailers"),
            id => !id.hop_by_hop(),
        };
        if passes {
            let (name, value) = pair(field.name.of(buffer), value)?;
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}

/// The target with what no URI may have in it (RFC 3986, section 2) encoded: some clients send it plain, and `http` has no
/// way to say it so.
fn encoded(target: &[u8]) -> Cow<'_, [u8]> {
    const PLAIN: &[u8] = b"\"<>`";
    if !target.iter().any(|byte| PLAIN.contains(byte)) {
        return Cow::Borrowed(target);
    }
    let mut out = Vec::with_capacity(target.len() + 16);
    for byte in target {
        if PLAIN.contains(byte) {
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(*byte);
        }
    }
    Cow::Owned(out)
}

/// The head of an answer for HTTP/2: without what speaks of a connection, and without a reason phrase. `lengthless`:
/// also without a length.
pub(super) fn answer(head: &AnswerHead, buffer: &[u8], lengthless: bool) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).ok()?;
    for field in head.fields() {
        let passes = match field.id {
            FieldId::ContentLength => !lengthless,
            FieldId::Trailer => true,
            id => !id.hop_by_hop(),
        };
        if passes {
            let (name, value) = pair(field.name.of(buffer), field.value.of(buffer))?;
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

pub(super) fn pair(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// Trailers of HTTP/2 as lines of HTTP/1.1; whoever reads the chunks judges them.
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}
