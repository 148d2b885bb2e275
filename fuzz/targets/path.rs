//! Request targets: the canonical path is its own canonical form, and stays harmless however often it is decoded.
#![no_main]

use fallgate_domain::path::{CanonicalPath, split_target};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok((path, _)) = split_target(data) else { return };
    let Ok(path) = CanonicalPath::parse(path) else { return };
    let text = path.as_str();
    assert_eq!(CanonicalPath::parse(text.as_bytes()).as_ref(), Ok(&path));
    let slashes = text.split('/').count();
    let mut decoded = text.as_bytes().to_vec();
    for _ in 0..6 {
        let segments: Vec<&[u8]> = decoded.split(|&byte| byte == b'/').skip(1).collect();
        assert_eq!(segments.len() + 1, slashes, "a slash came out of an encoding");
        assert!(!decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
        assert!(std::str::from_utf8(&decoded).is_ok());
        for (index, segment) in segments.iter().enumerate() {
            let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
            assert!(name != b"." && name != b"..", "a dot segment");
            assert!(!name.is_empty() || index + 1 == segments.len(), "an empty segment");
        }
        decoded = decode(&decoded);
    }
    for segment in path.segments() {
        let Ok(prefix) = CanonicalPath::parse(text.as_bytes()) else { return };
        assert!(path.starts_with_segments(&prefix) && !segment.contains('/'));
    }
});

/// Percent-decodes once and leaves alone what is no encoding, as lenient servers do.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let mut byte = first;
        if let (b'%', [high, low, behind @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
            && let Ok(value) = u8::try_from(high << 4 | low)
        {
            byte = value;
            rest = behind;
        }
        decoded.push(byte);
    }
    decoded
}
