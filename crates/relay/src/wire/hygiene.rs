//! What may pass from one side to the other: the only list of header names.
//!
//! Everything that goes up or down is written here from its parts, field by field. Nothing is copied through that has
//! not been looked at, and framing is always our own.

mod answer;
mod cookies;
mod names;
mod request;

pub(crate) use answer::{Downward, Rewrite, Told, write_answer, write_switching};
pub(crate) use cookies::other_cookies;
pub(crate) use names::{FieldId, Trailer, classify, folded_eq, may_inject, trailer};
pub(crate) use request::{Identity, Upward, write_identity, write_request};

use crate::wire::http1::{Field, list_items};

/// Writes one field and its CR LF.
///
/// Name and value come from a parsed head or from this house; neither has a line break in it.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!name.iter().chain(value).any(|byte| b"\r\n\0".contains(byte)), "a field breaks its line");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal digits, at least so many.
fn write_number(out: &mut Vec<u8>, mut number: u64, at_least: usize) {
    // Twenty digits hold every `u64`.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        if number == 0 && place < 20 - at_least {
            break;
        }
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        first = place;
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Writes `Content-Length`.
fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    write_number(out, length, 1);
    out.extend_from_slice(b"\r\n");
}

/// Whether a `Connection` field among `fields` names this one, so that it ends here (RFC 9110, section 7.6.1;
/// requirement R16).
fn named_by_connection(field: &Field, fields: &[Field], buffer: &[u8]) -> bool {
    let name = field.name.of(buffer);
    fields
        .iter()
        .filter(|other| other.id == FieldId::Connection)
        .flat_map(|other| list_items(other.value.of(buffer)))
        .any(|option| option.eq_ignore_ascii_case(name))
}

/// Writes `Trailer` again with those names that may be trailers.
fn write_trailer_names<'b>(out: &mut Vec<u8>, values: impl Iterator<Item = &'b [u8]>) {
    let names = values.flat_map(list_items).filter(|name| is_token(name) && trailer(name) == Trailer::Passes);
    let mut separator = &b"Trailer: "[..];
    for name in names {
        out.extend_from_slice(separator);
        out.extend_from_slice(name);
        separator = b", ";
    }
    if separator == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

/// A token without `_` (RFC 9110, section 5.6.2; requirement R12).
fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 512, 65_535, 1_000_000, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number, 1);
            assert_eq!(out, number.to_string().as_bytes());
            out.clear();
            write_number(&mut out, number, 3);
            assert_eq!(out, format!("{number:03}").as_bytes());
        }
    }
}
