//! `Authorization` values: whatever cannot be read is refused, and says nothing of what it was (requirement R8).
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_authority::Presented;
use fallgate_domain::token::{PlainToken, TokenKind};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(presented) = Presented::from_authorization(Some(data)) {
        // The shortest secret there is: `sas_` and 16 characters.
        assert!(data.len() > 20);
        drop(presented);
    }
    // A good token, with anything about it: read as the scheme's rules say, and shown by nothing.
    let Some((random, rest)) = data.split_first_chunk::<32>() else { return };
    let token = PlainToken::new(TokenKind::Token, random);
    let pair = [rest, b":", token.expose().as_bytes()].concat();
    let basic = format!("Basic {}", STANDARD.encode(pair));
    let readable = std::str::from_utf8(rest).is_ok() && !rest.contains(&b':');
    let read = Presented::from_authorization(Some(basic.as_bytes()));
    assert_eq!(read.is_ok(), readable);
    assert!(!format!("{read:?}").contains(token.expose()));
    let bearer = [b"Bearer ", token.expose().as_bytes(), rest].concat();
    let bare = rest.iter().all(u8::is_ascii_whitespace);
    let read = Presented::from_authorization(Some(&bearer));
    assert_eq!(read.is_ok(), bare);
    assert!(!format!("{read:?}").contains(token.expose()));
});
