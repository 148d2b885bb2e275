//! Paths: the one form that is decided on and forwarded (requirements R4 and R5).
//!
//! Two programs that read one path differently are how a gate is walked around: it decides on `/public/..%2fadmin`
//! and the upstream serves `/admin`. So whatever can be read in two ways is refused, and what is left is brought to
//! one form, on which rules decide and which goes up byte for byte.

use std::borrow::Cow;
use std::fmt;

/// A path that was refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum InvalidPath {
    /// It does not start with `/`.
    Relative,
    /// `//`, or a segment that is empty up to its first `;`.
    EmptySegment,
    /// A segment that is `.` or `..` up to its first `;`, plain or encoded however often.
    DotSegment,
    /// A `/` in encoded form.
    EncodedSlash,
    /// A `\`, plain or encoded.
    Backslash,
    /// A `#`, which ends no path that is sent.
    Fragment,
    /// A control byte or a space, plain; or an encoded control byte.
    Control,
    /// A byte above 0x7f that was not percent-encoded.
    RawNonAscii,
    /// A `%` without two hex digits after it.
    MalformedPercent,
    /// Encoded bytes that are no UTF-8.
    Utf8,
    /// A `?` where only a path belongs.
    Query,
}

impl InvalidPath {
    /// The reason in a few words, for problem details and the audit trail.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Relative => "the path does not start with /",
            Self::EmptySegment => "the path has an empty segment",
            Self::DotSegment => "the path has a dot segment",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::Backslash => "the path has a backslash",
            Self::Fragment => "the target has a fragment",
            Self::Control => "the target has a control byte or a space",
            Self::RawNonAscii => "the target has a byte that is not ASCII",
            Self::MalformedPercent => "the path has a malformed percent-encoding",
            Self::Utf8 => "the path is not UTF-8 when decoded",
            Self::Query => "the path has a question mark",
        }
    }
}

/// Divides a request target in origin form at its first `?`: the path, still to be canonicalised, and the query.
///
/// The query is passed on untouched and never decided on (R5); refused in it are only control bytes, spaces, raw
/// non-ASCII and `#`.
pub fn split_target(target: &[u8]) -> Result<(&[u8], Option<&str>), InvalidPath> {
    let Some(mark) = target.iter().position(|&byte| byte == b'?') else {
        return Ok((target, None));
    };
    let (path, rest) = target.split_at(mark);
    let query = rest.get(1..).unwrap_or_default();
    for &byte in query {
        match byte {
            b'#' => return Err(InvalidPath::Fragment),
            0..=b' ' | 0x7f => return Err(InvalidPath::Control),
            0x80.. => return Err(InvalidPath::RawNonAscii),
            _ => {}
        }
    }
    let query = std::str::from_utf8(query).map_err(|_| InvalidPath::RawNonAscii)?;
    Ok((path, Some(query)))
}

/// A path in its canonical form.
///
/// It starts with `/`; has no empty segment but perhaps the last, no dot segment, no encoded slash and nothing else
/// of what [`InvalidPath`] lists, at whatever depth of percent-encoding; and no unreserved character (RFC 3986,
/// section 2.3) is encoded. Other encodings keep the case of their hex digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

impl<'a> CanonicalPath<'a> {
    /// Brings a path, without its query, to canonical form. Borrows when it is in that form already.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidPath> {
        canonicalize(raw).map(Self)
    }

    /// The path as it is decided on and as it goes up.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments between the slashes, each up to its first `;`. The last is empty if the path ends with `/`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        segments(&self.0)
    }

    /// Whether `prefix` covers this path: see [`CanonicalPath::strip_prefix`].
    pub fn starts_with_segments(&self, prefix: &CanonicalPath<'_>) -> bool {
        self.end_of_prefix(prefix).is_some()
    }

    /// What is left of this path below `prefix`, `/` if nothing is.
    ///
    /// Whole segments are compared, each up to its first `;`: `/health` covers `/health`, `/health/`, `/health;v=1`
    /// and `/health/db`, and not `/healthy`. A slash at the end of `prefix` makes no difference, so `/` covers all.
    pub fn strip_prefix(&self, prefix: &CanonicalPath<'_>) -> Option<CanonicalPath<'_>> {
        let rest = self.0.get(self.end_of_prefix(prefix)?..)?;
        Some(CanonicalPath(Cow::Borrowed(if rest.is_empty() { "/" } else { rest })))
    }

    /// The same path, owning its text.
    pub fn into_owned(self) -> CanonicalPath<'static> {
        CanonicalPath(Cow::Owned(self.0.into_owned()))
    }

    /// Where the segments that `prefix` names end in this path's text.
    fn end_of_prefix(&self, prefix: &CanonicalPath<'_>) -> Option<usize> {
        let prefix = prefix.0.strip_suffix('/').unwrap_or(&prefix.0);
        let has_parameters = |path: &str| path.as_bytes().contains(&b';');
        // Without parameters whole segments are bytes up to a slash.
        match self.0.strip_prefix(prefix) {
            Some(rest) if matches!(rest.as_bytes(), [] | [b'/', ..]) && !has_parameters(prefix) => {
                Some(prefix.len())
            }
            None if !has_parameters(&self.0) && !has_parameters(prefix) => None,
            _ => self.end_of_segments(prefix),
        }
    }

    /// The same, segment by segment; `prefix` has no slash at its end.
    fn end_of_segments(&self, prefix: &str) -> Option<usize> {
        let mut end = 0;
        if prefix.is_empty() {
            return Some(end);
        }
        let mut own = self.0.split('/').skip(1);
        for wanted in segments(prefix) {
            let segment = own.next()?;
            if up_to_semicolon(segment) != wanted {
                return None;
            }
            end += 1 + segment.len();
        }
        Some(end)
    }
}

impl fmt::Display for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The canonical form of a path, without its query. Borrows when the path is in that form already.
pub fn canonicalize(raw: &[u8]) -> Result<Cow<'_, str>, InvalidPath> {
    if raw.first() != Some(&b'/') {
        return Err(InvalidPath::Relative);
    }
    let mut escaped = false;
    for &byte in raw {
        match byte {
            b'%' => escaped = true,
            b'\\' => return Err(InvalidPath::Backslash),
            b'#' => return Err(InvalidPath::Fragment),
            b'?' => return Err(InvalidPath::Query),
            0..=b' ' | 0x7f => return Err(InvalidPath::Control),
            0x80.. => return Err(InvalidPath::RawNonAscii),
            _ => {}
        }
    }
    let text = std::str::from_utf8(raw).map_err(|_| InvalidPath::RawNonAscii)?;
    if escaped {
        check_decoded(raw)?;
        decode_unreserved(text)
    } else {
        check_segments(raw)?;
        Ok(Cow::Borrowed(text))
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1).map(up_to_semicolon)
}

fn up_to_semicolon(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// Refuses empty and dot segments in a path that is decoded to the end.
fn check_segments(path: &[u8]) -> Result<(), InvalidPath> {
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            // `/` at the very end.
            [] if segments.peek().is_none() => {}
            // With its parameter taken off, as servlet containers do, `/;` is an empty segment too.
            [] | [b';', ..] => return Err(InvalidPath::EmptySegment),
            [b'.'] | [b'.', b';', ..] | [b'.', b'.'] | [b'.', b'.', b';', ..] => {
                return Err(InvalidPath::DotSegment);
            }
            _ => {}
        }
    }
    Ok(())
}

/// One byte of a path decoded to the end, and how many rounds of decoding it took to appear.
#[derive(Clone, Copy)]
struct Decoded {
    byte: u8,
    rounds: u32,
}

/// Decodes the path as often as there is anything to decode and refuses what must not appear in any round.
///
/// `%HH` reduces to one byte, and no two such triplets overlap, so reducing the leftmost first gives the same end as
/// decoding whole rounds, and meets every byte that any round would bring forth. Linear: each step takes two bytes
/// away.
fn check_decoded(raw: &[u8]) -> Result<(), InvalidPath> {
    let mut stack: Vec<Decoded> = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        // In the first round a `%` must be followed by two digits. What decodes to one, as in `/100%25`, need not.
        if byte == b'%' && !rest.as_slice().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        {
            return Err(InvalidPath::MalformedPercent);
        }
        stack.push(Decoded { byte, rounds: 0 });
        while let Some(decoded) = triplet(&stack) {
            match decoded.byte {
                b'/' => return Err(InvalidPath::EncodedSlash),
                b'\\' => return Err(InvalidPath::Backslash),
                // `%23` is a character of a name; only what decodes twice can end up as a fragment.
                b'#' if decoded.rounds > 1 => return Err(InvalidPath::Fragment),
                0..b' ' | 0x7f => return Err(InvalidPath::Control),
                _ => {}
            }
            stack.truncate(stack.len() - 3);
            stack.push(decoded);
        }
    }
    let path: Vec<u8> = stack.iter().map(|decoded| decoded.byte).collect();
    check_utf8(&path, &stack)?;
    check_segments(&path)
}

/// What the last three bytes decode to, if they are an encoding.
fn triplet(stack: &[Decoded]) -> Option<Decoded> {
    let [.., Decoded { byte: b'%', rounds }, high, low] = stack else { return None };
    let digit = |decoded: &Decoded| char::from(decoded.byte).to_digit(16);
    let byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    Some(Decoded { byte, rounds: 1 + rounds.max(&high.rounds).max(&low.rounds) })
}

/// UTF-8 in every round: valid at the end, and each character's bytes appear in one round together.
fn check_utf8(path: &[u8], decoded: &[Decoded]) -> Result<(), InvalidPath> {
    let text = std::str::from_utf8(path).map_err(|_| InvalidPath::Utf8)?;
    let mut rest = decoded;
    for character in text.chars() {
        let (bytes, after) = rest.split_at_checked(character.len_utf8()).ok_or(InvalidPath::Utf8)?;
        if bytes.windows(2).any(|two| matches!(two, [one, other] if one.rounds != other.rounds)) {
            return Err(InvalidPath::Utf8);
        }
        rest = after;
    }
    Ok(())
}

/// Decodes what is encoded without need, once. The text's encodings are all well-formed.
fn decode_unreserved(text: &str) -> Result<Cow<'_, str>, InvalidPath> {
    let needless = |digits: &str| {
        let byte = u8::from_str_radix(digits, 16).ok()?;
        (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then(|| char::from(byte))
    };
    let mut pieces = text.split('%');
    let mut canonical = String::new();
    let mut changed = false;
    canonical.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or(InvalidPath::MalformedPercent)?;
        if let Some(character) = needless(digits) {
            changed = true;
            canonical.push(character);
        } else {
            canonical.push('%');
            canonical.push_str(digits);
        }
        canonical.push_str(rest);
    }
    Ok(if changed { Cow::Owned(canonical) } else { Cow::Borrowed(text) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(path: &str) -> CanonicalPath<'_> {
        CanonicalPath::parse(path.as_bytes()).unwrap()
    }

    #[test]
    fn r4_paths_that_can_be_read_in_two_ways_are_refused() {
        use InvalidPath::*;
        for (raw, why) in [
            ("", Relative),
            ("a", Relative),
            ("*", Relative),
            ("http://a/", Relative),
            ("//", EmptySegment),
            ("//a", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/;", EmptySegment),
            ("/a/;x/b", EmptySegment),
            ("/a/%3bx/b", EmptySegment),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/..", DotSegment),
            ("/a/..;/b", DotSegment),
            ("/a/.;x=1/b", DotSegment),
            ("/a/..;x", DotSegment),
            ("/a/..%3b/b", DotSegment),
            ("/a/%2e%3Bx/b", DotSegment),
            ("/%2e%2e/b", DotSegment),
            ("/.%2E/b", DotSegment),
            ("/a/%2e", DotSegment),
            ("/%252e%252e/b", DotSegment),
            ("/%252e./b", DotSegment),
            ("/%25252e/b", DotSegment),
            ("/%25%32%65/b", DotSegment),
            ("/..%253b/b", DotSegment),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a%252fb", EncodedSlash),
            ("/a%25252Fb", EncodedSlash),
            ("/a%25%32%66b", EncodedSlash),
            ("/a%25%32fb", EncodedSlash),
            ("/a%252%66b", EncodedSlash),
            ("/a%25%2532fb", EncodedSlash),
            ("/a%25%252532%2566b", EncodedSlash),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%5Cb", Backslash),
            ("/a%255cb", Backslash),
            ("/a#b", Fragment),
            ("/a%2523b", Fragment),
            ("/a b", Control),
            ("/a\tb", Control),
            ("/a\u{7f}b", Control),
            ("/a%00b", Control),
            ("/a%0ab", Control),
            ("/a%1Fb", Control),
            ("/a%7fb", Control),
            ("/a%2500b", Control),
            ("/a%250d%250ab", Control),
            ("/a%", MalformedPercent),
            ("/a%2", MalformedPercent),
            ("/a%zz", MalformedPercent),
            ("/a%%20", MalformedPercent),
            ("/a%%32f", MalformedPercent),
            ("/a%u002f", MalformedPercent),
            ("/a%2g", MalformedPercent),
            ("/é", RawNonAscii),
            ("/a%ff", Utf8),
            ("/a%c3", Utf8),
            ("/a%c0%af", Utf8),
            ("/a%c0%ae%c0%ae/", Utf8),
            ("/a%ed%a0%80", Utf8),
            ("/a%25ff", Utf8),
            ("/a%c3%25a9", Utf8),
            ("/a%25C3%2525A9", Utf8),
            ("/a?b", Query),
        ] {
            assert_eq!(canonicalize(raw.as_bytes()), Err(why), "{raw}");
        }
    }

    #[test]
    fn r4_only_needless_encodings_change() {
        for (raw, wanted) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a.b/...", "/a.b/..."),
            ("/..a/.b;/c..", "/..a/.b;/c.."),
            ("/100%25", "/100%25"),
            ("/100%25/x", "/100%25/x"),
            ("/%25zz", "/%25zz"),
            ("/%2541", "/%2541"),
            ("/%25%34%31", "/%2541"),
            ("/%61%2D%7e%5F", "/a-~_"),
            ("/%7B%7b", "/%7B%7b"),
            ("/a%20b%3f", "/a%20b%3f"),
            ("/a%23b", "/a%23b"),
            ("/%C3%a9", "/%C3%a9"),
            ("/%25C3%25A9", "/%25C3%25A9"),
            ("/%F0%9f%98%80", "/%F0%9f%98%80"),
            ("/@scope/name:1,2+3!$&'()*=", "/@scope/name:1,2+3!$&'()*="),
            ("/{a}|[b]^`<\">", "/{a}|[b]^`<\">"),
        ] {
            let path = canonicalize(raw.as_bytes());
            assert_eq!(path.as_deref(), Ok(wanted), "{raw}");
            assert_eq!(matches!(path, Ok(Cow::Borrowed(_))), raw == wanted, "{raw} was copied, or was not");
        }
    }

    #[test]
    fn long_chains_of_encoding_are_read_in_one_pass() {
        let path = format!("/a%{}2f", "25".repeat(30_000));
        assert_eq!(canonicalize(path.as_bytes()), Err(InvalidPath::EncodedSlash));
        let path = format!("/a%{}zz", "25".repeat(30_000));
        assert_eq!(canonicalize(path.as_bytes()).as_deref(), Ok(path.as_str()));
    }

    #[test]
    fn r5_rules_see_whole_segments_up_to_a_semicolon() {
        for (path, prefix, rest) in [
            ("/health", "/health", Some("/")),
            ("/health/", "/health", Some("/")),
            ("/health/db", "/health", Some("/db")),
            ("/health;v=1", "/health", Some("/")),
            ("/health;v=1/db;w", "/health", Some("/db;w")),
            ("/healthy", "/health", None),
            ("/healt", "/health", None),
            ("/Health", "/health", None),
            ("/", "/health", None),
            ("/a/health", "/health", None),
            ("/health%3bv", "/health", None),
            ("/a/b/c", "/a/b", Some("/c")),
            ("/a", "/a/b", None),
            ("/a/bc", "/a/b", None),
            ("/a/b", "/a/b/", Some("/")),
            ("/a/b", "/", Some("/a/b")),
            ("/", "/", Some("/")),
            ("/a;x/b", "/a;y/b", Some("/")),
        ] {
            let (path, prefix) = (canonical(path), canonical(prefix));
            let stripped = path.strip_prefix(&prefix);
            assert_eq!(stripped.as_ref().map(CanonicalPath::as_str), rest, "{path} below {prefix}");
            assert_eq!(path.starts_with_segments(&prefix), rest.is_some(), "{path} below {prefix}");
        }
        let path = canonical("/a;b/c%3bd/");
        assert_eq!(path.segments().collect::<Vec<_>>(), ["a", "c%3bd", ""]);
    }

    #[test]
    fn r5_the_query_is_divided_off_and_passed_untouched() {
        let good = |target: &'static str| split_target(target.as_bytes());
        assert_eq!(good("/a"), Ok((&b"/a"[..], None)));
        assert_eq!(good("/a?"), Ok((&b"/a"[..], Some(""))));
        assert_eq!(good("/a?b=/../%2f%zz//?c\\"), Ok((&b"/a"[..], Some("b=/../%2f%zz//?c\\"))));
        for (target, why) in [
            (&b"/a?b#c"[..], InvalidPath::Fragment),
            (b"/a?b c", InvalidPath::Control),
            (b"/a?b\rc", InvalidPath::Control),
            (b"/a?\0", InvalidPath::Control),
            (b"/a?\x7f", InvalidPath::Control),
            (b"/a?\xc3\xa9", InvalidPath::RawNonAscii),
        ] {
            assert_eq!(split_target(target), Err(why));
        }
    }

    /// Percent-decodes once, as lenient servers do.
    fn decode_leniently(path: &[u8]) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut decoded = Vec::new();
        let mut rest = path;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if let (b'%', [high, low, behind @ ..]) = (first, after)
                && let (Some(high), Some(low)) = (digit(*high), digit(*low))
            {
                decoded.push(u8::try_from(high << 4 | low).unwrap());
                rest = behind;
            } else {
                decoded.push(first);
            }
        }
        decoded
    }

    fn tricky_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "/", "%", "%25", "%2", "25", "2e", "2f", "%2e", "%2F", "%32", "%66", ".", "..", ";", "%3b",
                "%5c", "\\", "%00", "%c3%a9", "%c3", "%a9", "a", "5c", "#", "%23", "?", "%41", "0", "é", " ",
            ])
            .prop_map(str::to_owned),
            "[ -~]",
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn r4_the_canonical_form_is_its_own(raw in tricky_path()) {
            if let Ok(path) = canonicalize(raw.as_bytes()) {
                let again = canonicalize(path.as_bytes());
                prop_assert_eq!(again.as_deref(), Ok(&*path));
                prop_assert!(matches!(again, Ok(Cow::Borrowed(_))));
            }
        }

        #[test]
        fn r5_a_prefix_is_found_as_segments_are_compared(
            path in "(/[ab]{1,2}(;x?)?){1,3}/?",
            prefix in "(/[ab]{1,2}(;x?)?){1,2}",
        ) {
            let (path, prefix) = (canonical(&path), canonical(&prefix));
            prop_assert_eq!(path.end_of_prefix(&prefix), path.end_of_segments(prefix.as_str()));
        }

        #[test]
        fn r4_what_passes_is_harmless_however_often_it_is_decoded(raw in tricky_path()) {
            if let Ok(path) = canonicalize(raw.as_bytes()) {
                let slashes = |path: &[u8]| path.split(|&byte| byte == b'/').count();
                let mut decoded = path.as_bytes().to_vec();
                for round in 0..8 {
                    let segments: Vec<&[u8]> = decoded.split(|&byte| byte == b'/').skip(1).collect();
                    for (index, segment) in segments.iter().enumerate() {
                        let name = segment.split(|&byte| byte == b';').next().unwrap();
                        prop_assert!(name != b"." && name != b"..", "{:?} in round {}", path, round);
                        prop_assert!(!name.is_empty() || index + 1 == segments.len(), "{:?}", path);
                    }
                    prop_assert_eq!(slashes(&decoded), slashes(path.as_bytes()));
                    prop_assert!(!decoded.contains(&b'\\') && !decoded.iter().any(u8::is_ascii_control));
                    prop_assert!(std::str::from_utf8(&decoded).is_ok());
                    decoded = decode_leniently(&decoded);
                }
            }
        }

        #[test]
        fn r59_no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = canonicalize(&raw);
            let _ = split_target(&raw);
        }
    }
}
