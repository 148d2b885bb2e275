//! The head of an answer, as an upstream sends it.

use std::mem::MaybeUninit;

use super::fields::{Fields, MOST_FIELDS};
use super::framing::{ConnectionOptions, told_body};
use super::request::grammar;
use super::scan::{Scan, Unscannable};
use super::{BodyKind, Field, FieldId, HeadLimits, Malformed, Progress, Span, Version};

/// The head of an answer. As with requests, one serves a whole connection, and its [`Span`]s name parts of the buffer
/// that was parsed.
#[derive(Debug, Default)]
pub(crate) struct AnswerHead {
    scan: Scan,
    length: usize,
    status: u16,
    reason: Span,
    version: Version,
    fields: Fields,
    body: BodyKind,
    told: BodyKind,
    connection: ConnectionOptions,
}

impl AnswerHead {
    /// Reads the head at the front of `buffer`, incrementally as [`super::RequestHead::parse`] does. `to_head`: it
    /// answers a HEAD request. Whatever is wrong is the upstream's fault, a 502.
    pub(crate) fn parse(
        &mut self,
        buffer: &[u8],
        limits: &HeadLimits,
        to_head: bool,
    ) -> Result<Progress, Malformed> {
        if self.length != 0 {
            self.clear();
        }
        match buffer.first() {
            None => return Ok(Progress::Partial),
            Some(b'H') => {}
            Some(_) => return Err(Malformed::answer("not an HTTP/1.1 answer")),
        }
        let found = self.scan.find_end(buffer, *limits, 1 + limits.max_fields.min(MOST_FIELDS));
        let Some(length) = found.map_err(unscannable)? else {
            return Ok(Progress::Partial);
        };
        self.read(buffer.get(..length).unwrap_or_default(), to_head)?;
        self.length = length;
        Ok(Progress::Complete)
    }

    /// Forgets everything, for the next answer.
    pub(crate) fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// The length of the head with its empty line, in bytes: where the body starts.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The status code, from 100 to 999.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether it is an interim answer (1xx): but for 101, another answer follows it.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The reason phrase, perhaps empty.
    pub(crate) fn reason(&self) -> Span {
        self.reason
    }

    /// All fields in order.
    pub(crate) fn fields(&self) -> &[Field] {
        self.fields.list()
    }

    /// The values of all fields of this kind, in order.
    pub(crate) fn fields_of(&self, id: FieldId) -> impl Iterator<Item = Span> {
        self.fields.all(id)
    }

    /// How the end of the body is known (RFC 9112, section 6.3).
    pub(crate) fn body(&self) -> BodyKind {
        self.body
    }

    /// What the framing fields say, also where there is no body to frame: an answer to HEAD and a 304 may tell the
    /// length that the body would have.
    pub(crate) fn told_body(&self) -> BodyKind {
        self.told
    }

    /// Whether the upstream lets the connection stay open after this answer.
    pub(crate) fn keep_alive(&self) -> bool {
        match self.version {
            _ if self.body == BodyKind::UntilClose => false,
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        }
    }

    /// Whether `Connection` names fields, which then end here, other than those that do so anyway.
    pub(crate) fn connection_names_fields(&self) -> bool {
        self.connection.named_fields > 0
    }

    /// The protocol that the upstream changes to: of a 101, the value of the one `Upgrade` field if `Connection`
    /// names it.
    pub(crate) fn upgrade(&self) -> Option<Span> {
        if self.status != 101 || !self.connection.upgrade || self.version != Version::Http11 {
            return None;
        }
        self.fields.only(FieldId::Upgrade).ok().flatten().filter(|value| !value.is_empty())
    }

    fn read(&mut self, head: &[u8], to_head: bool) -> Result<(), Malformed> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        let mut grammar_rules = httparse::ParserConfig::default();
        grammar_rules.allow_multiple_spaces_in_response_status_delimiters(false);
        match grammar_rules.parse_response_with_uninit_headers(&mut answer, head, &mut room) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Malformed::answer("a malformed head")),
            Err(error) => return Err(Malformed::answer(grammar(error))),
        }
        self.status = answer.code.unwrap_or_default();
        if self.status < 100 {
            return Err(Malformed::answer("a malformed status code"));
        }
        self.version = if answer.version == Some(0) { Version::Http10 } else { Version::Http11 };
        self.reason = Span::locate(answer.reason.unwrap_or_default().as_bytes(), head);
        self.fields.clear();
        for header in answer.headers.iter() {
            self.fields.push(header, head);
        }
        self.told = told_body(&self.fields, head).map_err(Malformed::answer)?;
        if self.told == BodyKind::Chunked && self.version == Version::Http10 {
            return Err(Malformed::answer("Transfer-Encoding in HTTP/1.0"));
        }
        self.body = match self.told {
            _ if to_head || matches!(self.status, 100..=199 | 204 | 304) => BodyKind::Empty,
            BodyKind::Empty => BodyKind::UntilClose,
            told => told,
        };
        self.connection = ConnectionOptions::read(&self.fields, head).map_err(Malformed::answer)?;
        Ok(())
    }
}

fn unscannable(why: Unscannable) -> Malformed {
    Malformed::answer(match why {
        Unscannable::BareLf => "a line that does not end in CR LF",
        Unscannable::TooLong => "the head is too long",
        Unscannable::TooManyLines => "too many fields",
    })
}

#[cfg(test)]
mod tests;
