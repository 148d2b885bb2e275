//! What the fuzz targets hold the reading of cookies to. Takes any bytes and panics where a promise is broken.

use fallgate_domain::token::{PlainToken, TokenKind};
use http::{HeaderMap, HeaderValue, header};

use crate::cookie::cookie_name;
use crate::presented::Presented;

/// `Cookie` fields, one a line: only our name counts, only once, and only with a sign-in's secret (requirements R8
/// and R19).
pub fn cookies(data: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(20) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            fields.append(header::COOKIE, value);
        }
    }
    let mut random = [0; 32];
    for (held, byte) in random.iter_mut().zip(data) {
        *held = *byte;
    }
    for https in [false, true] {
        let read = Presented::from_cookies(&fields, https);
        let name = cookie_name(https);
        let named = fields.values().any(|value| contains(value.as_bytes(), name.as_bytes()));
        assert!(named || matches!(read, Ok(None)), "a cookie came out of nothing");
        // A good one more: it is the one, or there are two of them now and neither counts.
        for (kind, good) in [(TokenKind::Login, true), (TokenKind::Token, false)] {
            let token = PlainToken::new(kind, &random);
            let Ok(own) = HeaderValue::from_str(&format!("{name}={}", token.expose())) else { return };
            let mut with_own = fields.clone();
            with_own.append(header::COOKIE, own);
            let both = Presented::from_cookies(&with_own, https);
            match &both {
                Ok(Some(found)) => assert!(good && matches!(read, Ok(None)) && found.hash == token.hash()),
                Ok(None) => unreachable_cookie(),
                Err(_) => assert!(!good || !matches!(read, Ok(None))),
            }
            assert!(!format!("{both:?}").contains(token.expose()));
        }
    }
}

#[expect(clippy::panic, reason = "this is how a fuzz target tells")]
fn unreachable_cookie() {
    panic!("our own cookie was overlooked");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
