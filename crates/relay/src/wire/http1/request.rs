//! The head of a request, as a client sends it.

use std::mem::MaybeUninit;

use fallgate_domain::host::Host;

use super::fields::{Fields, MOST_FIELDS};
use super::framing::{ConnectionOptions, told_body};
use super::scan::{Scan, Unscannable};
use super::{BodyKind, Field, FieldId, HeadLimits, Malformed, Progress, Span, Version};

/// The longest method.
const METHOD_LENGTH: usize = 32;

/// The head of a request. Use one for all requests of a connection: its allocation stays.
///
/// After [`RequestHead::parse`] has said [`Progress::Complete`], what the head says holds good until the next call of
/// `parse` or `clear`, and all [`Span`]s name parts of the buffer that was parsed.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    scan: Scan,
    length: usize,
    method: Span,
    is_head: bool,
    target: Span,
    version: Version,
    fields: Fields,
    host: Span,
    body: BodyKind,
    connection: ConnectionOptions,
    expects_continue: bool,
}

/// A head and the buffer that its parts lie in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadView<'b> {
    head: &'b RequestHead,
    buffer: &'b [u8],
}

impl fallgate_authority::Fields for HeadView<'_> {
    fn each<'a>(&'a self, name: &str, give: &mut dyn FnMut(&'a [u8])) {
        for field in self.head.fields() {
            if field.name.len() == name.len()
                && field.name.of(self.buffer).eq_ignore_ascii_case(name.as_bytes())
            {
                give(field.value.of(self.buffer));
            }
        }
    }
}

impl RequestHead {
    /// The head with what its parts lie in.
    pub(crate) fn view<'b>(&'b self, buffer: &'b [u8]) -> HeadView<'b> {
        HeadView { head: self, buffer }
    }

    /// Reads the head at the front of `buffer`. After [`Progress::Partial`], call again with the same bytes and more
    /// behind them; those looked at already are not searched again. After [`Progress::Complete`] the next call starts
    /// a new head.
    ///
    /// Refused with the status to answer: 431 for a head beyond `limits`, 405 for CONNECT and TRACE, 417 for an
    /// expectation other than `100-continue`, 400 for everything else.
    pub(crate) fn parse(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Progress, Malformed> {
        if self.length != 0 {
            self.clear();
        }
        match buffer.first() {
            None => return Ok(Progress::Partial),
            Some(b'A'..=b'Z') => {}
            Some(b'\r' | b'\n') => return Err(Malformed::request("an empty line before the request")),
            Some(_) => return Err(Malformed::request("not an HTTP/1.1 request")),
        }
        let found = self.scan.find_end(buffer, *limits, 1 + limits.max_fields.min(MOST_FIELDS));
        let Some(length) = found.map_err(unscannable)? else {
            return Ok(Progress::Partial);
        };
        self.read(buffer.get(..length).unwrap_or_default())?;
        self.length = length;
        Ok(Progress::Complete)
    }

    /// Forgets everything, for the next request.
    pub(crate) fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// The length of the head with its empty line, in bytes: where the body starts.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The method as it was sent.
    pub(crate) fn method(&self) -> Span {
        self.method
    }

    /// Whether the method is HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// The request target: in origin form, visible ASCII without `#`. Its path is still to be canonicalised.
    pub(crate) fn target(&self) -> Span {
        self.target
    }

    /// The version that the client speaks.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// All fields in order.
    pub(crate) fn fields(&self) -> &[Field] {
        self.fields.list()
    }

    /// The value of the first field of this kind.
    pub(crate) fn field(&self, id: FieldId) -> Option<Span> {
        self.fields.first(id)
    }

    /// The values of all fields of this kind, in order.
    pub(crate) fn fields_of(&self, id: FieldId) -> impl Iterator<Item = Span> {
        self.fields.all(id)
    }

    /// How the end of the body is known.
    pub(crate) fn body(&self) -> BodyKind {
        self.body
    }

    /// Whether the client lets the connection stay open after this request.
    pub(crate) fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        }
    }

    /// Whether `Connection` names fields, which then end here, other than those that do so anyway.
    pub(crate) fn connection_names_fields(&self) -> bool {
        self.connection.named_fields > 0
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The value of `Host`: there is exactly one, and it is a host.
    pub(crate) fn host(&self) -> Span {
        self.host
    }

    /// The protocol that the client would change to: the value of the one `Upgrade` field, if `Connection` names it
    /// and the version is 1.1.
    pub(crate) fn upgrade(&self) -> Option<Span> {
        if !self.connection.upgrade || self.version != Version::Http11 {
            return None;
        }
        self.fields.only(FieldId::Upgrade).ok().flatten().filter(|value| !value.is_empty())
    }

    fn read(&mut self, head: &[u8]) -> Result<(), Malformed> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut room) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Malformed::request("a malformed head")),
            Err(error) => return Err(Malformed { status: 400, reason: grammar(error) }),
        }
        self.read_line(&request, head)?;
        self.fields.clear();
        for header in request.headers.iter() {
            if memchr::memchr(b'_', header.name.as_bytes()).is_some() {
                return Err(Malformed::request("a field name with an underscore"));
            }
            self.fields.push(header, head);
        }
        self.read_fields(head)
    }

    fn read_line(&mut self, request: &httparse::Request<'_, '_>, head: &[u8]) -> Result<(), Malformed> {
        let method = request.method.unwrap_or_default();
        check_method(method.as_bytes())?;
        self.is_head = method == "HEAD";
        let target = request.path.unwrap_or_default().as_bytes();
        check_target(target)?;
        self.method = Span::locate(method.as_bytes(), head);
        self.target = Span::locate(target, head);
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        Ok(())
    }

    fn read_fields(&mut self, head: &[u8]) -> Result<(), Malformed> {
        let host = self.fields.only(FieldId::Host).map_err(|_| Malformed::request("more than one Host"))?;
        self.host = host.ok_or(Malformed::request("no Host"))?;
        if Host::parse_header(self.host.of(head)).is_err() {
            return Err(Malformed::request("a malformed Host"));
        }
        self.body = told_body(&self.fields, head).map_err(Malformed::request)?;
        if self.body == BodyKind::Chunked && self.version == Version::Http10 {
            return Err(Malformed::request("Transfer-Encoding in HTTP/1.0"));
        }
        if self.fields.only(FieldId::Authorization).is_err() {
            return Err(Malformed::request("more than one Authorization"));
        }
        self.connection = ConnectionOptions::read(&self.fields, head).map_err(Malformed::request)?;
        self.expects_continue = false;
        if self.version == Version::Http11 {
            for expectation in self.fields.all(FieldId::Expect) {
                if !expectation.of(head).eq_ignore_ascii_case(b"100-continue") {
                    return Err(Malformed { status: 417, reason: "an expectation other than 100-continue" });
                }
                self.expects_continue = !self.body.is_empty();
            }
        }
        Ok(())
    }
}

/// Whether requests with this method are served, wherever it stands.
pub(crate) fn check_method(method: &[u8]) -> Result<(), Malformed> {
    let known = matches!(method.len(), 1..=METHOD_LENGTH);
    if !known || !method.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'-')) {
        return Err(Malformed::request("a malformed method"));
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Malformed { status: 405, reason: "the methods CONNECT and TRACE are not served" });
    }
    Ok(())
}

/// Whether it is a target that can be decided on, wherever it stands: origin form, visible ASCII, no fragment.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Malformed> {
    if target.first() != Some(&b'/') {
        return Err(Malformed::request("the request target is not in origin form"));
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(Malformed::request("the request target is not ASCII"));
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(Malformed::request("the request target has a fragment"));
    }
    Ok(())
}

fn unscannable(why: Unscannable) -> Malformed {
    match why {
        Unscannable::BareLf => Malformed::request("a line that does not end in CR LF"),
        Unscannable::TooLong => Malformed { status: 431, reason: "the head is too long" },
        Unscannable::TooManyLines => Malformed { status: 431, reason: "too many fields" },
    }
}

/// What `httparse` found wrong.
pub(super) fn grammar(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a malformed field name",
        httparse::Error::HeaderValue => "a malformed field value",
        httparse::Error::NewLine => "a malformed end of line",
        httparse::Error::Status => "a malformed status line",
        httparse::Error::Token => "a malformed request line",
        httparse::Error::TooManyHeaders => "too many fields",
        httparse::Error::Version => "a version other than HTTP/1.1 and HTTP/1.0",
    }
}

#[cfg(test)]
mod tests;
