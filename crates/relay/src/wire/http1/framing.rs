//! How a message says where its body ends, and what its `Connection` says (RFC 9112, sections 6 and 9; requirement
//! R64).

use super::FieldId;
use super::fields::Fields;
use crate::wire::hygiene::classify;

/// The most options that `Connection` may have.
const MOST_OPTIONS: usize = 32;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum BodyKind {
    /// There is no body, and no field speaks of one.
    #[default]
    Empty,
    /// This many bytes, as `Content-Length` says; perhaps none.
    Length(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection. Answers only.
    UntilClose,
}

impl BodyKind {
    /// Whether no byte of a body follows the head.
    pub(crate) fn is_empty(self) -> bool {
        matches!(self, Self::Empty | Self::Length(0))
    }
}

/// What the framing fields say, contradictions refused.
pub(super) fn told_body(fields: &Fields, buffer: &[u8]) -> Result<BodyKind, &'static str> {
    let coding = fields
        .only(FieldId::TransferEncoding)
        .map_err(|_| "Transfer-Encoding came more than once")?
        .map(|value| value.of(buffer));
    let length = fields
        .only(FieldId::ContentLength)
        .map_err(|_| "Content-Length came more than once")?
        .map(|value| value.of(buffer));
    match (coding, length) {
        (Some(_), Some(_)) => Err("both Content-Length and Transfer-Encoding"),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyKind::Chunked),
        (Some(_), None) => Err("a Transfer-Encoding other than chunked"),
        (None, Some(length)) => {
            parse_length(length).map(BodyKind::Length).ok_or("a malformed Content-Length")
        }
        (None, None) => Ok(BodyKind::Empty),
    }
}

/// Digits only, no sign, no leading zero, at most `i64::MAX`: what every reader of it takes for the same number.
fn parse_length(text: &[u8]) -> Option<u64> {
    if !matches!(text, [b'0'] | [b'1'..=b'9', ..]) || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(length).is_ok().then_some(length)
}

/// The options of `Connection` that have a meaning here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// How many names it has of fields that would pass if it did not name them.
    pub(super) named_fields: usize,
}

impl ConnectionOptions {
    pub(super) fn read(fields: &Fields, buffer: &[u8]) -> Result<Self, &'static str> {
        let mut options = Self::default();
        let mut count = 0;
        for value in fields.all(FieldId::Connection) {
            for option in list_items(value.of(buffer)) {
                options.close |= option.eq_ignore_ascii_case(b"close");
                options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                let other = !option.eq_ignore_ascii_case(b"close") && !classify(option).hop_by_hop();
                options.named_fields += usize::from(other);
                count += 1;
            }
        }
        // Every field that is passed on is compared with every option.
        if count > MOST_OPTIONS { Err("too many options in Connection") } else { Ok(options) }
    }
}

/// The items of a comma-separated list without quoted strings, blanks taken off, empty ones left out.
pub(crate) fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}
