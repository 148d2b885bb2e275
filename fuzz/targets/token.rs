//! Token texts: what is taken for one is exactly what one of ours looks like.
#![no_main]

use fallgate_domain::token::{PlainToken, TokenKind};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for (kind, other) in [(TokenKind::Token, TokenKind::Login), (TokenKind::Login, TokenKind::Token)] {
        if let Ok(token) = PlainToken::parse(kind, data) {
            assert_eq!(token.expose().as_bytes(), data);
            assert!(PlainToken::parse(other, data).is_err(), "one text is of two kinds");
        }
        // Half the inputs are good ones, or the checksum would keep all of them out.
        if let Some(random) = data.first_chunk::<32>() {
            let minted = PlainToken::new(kind, random);
            let read = PlainToken::parse(kind, minted.expose().as_bytes());
            assert!(read.is_ok_and(|read| read.hash() == minted.hash()));
        }
    }
});
