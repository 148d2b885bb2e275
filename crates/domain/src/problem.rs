//! Errors as clients see them (RFC 9457).

use std::fmt::Write;

use serde::Serialize;

/// The media type of a [`Problem`]'s JSON.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem detail: what went wrong, in words that help an honest client and nobody else. Never holds a secret or
/// anything the client could not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Identifies the kind of problem; `about:blank` means that the status says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status code's own words.
    pub title: &'static str,
    /// The HTTP status code.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem of this status; the detail is a sentence for people.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { kind: "about:blank", title: title(status), status, detail: detail.into() }
    }

    /// As JSON of ASCII alone, in one line: as a header field has it.
    pub fn field(&self) -> String {
        let mut field = String::new();
        for character in self.json().chars() {
            match character {
                ' '..='~' => field.push(character),
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        // Into a string: this cannot fail.
                        let _ = write!(field, "\\u{unit:04x}");
                    }
                }
            }
        }
        field
    }

    /// As JSON.
    pub fn json(&self) -> String {
        // Strings and a number: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The reason phrase of a status code that Fallgate answers by itself.
pub const fn title(status: u16) -> &'static str {
    match status {
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_field_it_is_the_same_json_in_one_line_of_ascii() {
        let detail = "a \"quoted\" line\r\nand é, \u{202e} and 🚪\u{7f}";
        let problem = Problem::new(403, detail);
        let field = problem.field();
        assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{field}");
        let read: serde_json::Value = serde_json::from_str(&field).unwrap();
        assert_eq!((&read["detail"], &read["status"]), (&detail.into(), &403.into()));
    }
}
