//! `Cookie` fields: whatever cannot be read is refused, and two of our name are never taken (requirements R8, R19).
#![no_main]

use fallgate_authority::Presented;
use http::{HeaderMap, HeaderValue, header};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for field in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(header::COOKIE, value);
        }
    }
    for (https, name) in [(false, &b"fallgate=fgl_"[..]), (true, b"__Host-fallgate=fgl_")] {
        if let Ok(Some(_)) = Presented::from_cookies(&headers, https) {
            let fields = headers.values().map(HeaderValue::as_bytes);
            let found = fields.flat_map(|field| field.split(|byte| *byte == b';'));
            let found = found.filter(|pair| pair.trim_ascii().starts_with(name)).count();
            assert_eq!(found, 1);
        }
    }
});
