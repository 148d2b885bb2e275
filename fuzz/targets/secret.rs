//! Secrets that are no tokens of ours: old ones of llmux, and the internal one. A text has one form at most.
#![no_main]

use fallgate_domain::internal::InternalToken;
use fallgate_domain::legacy::LegacyToken;
use fallgate_domain::token::{PlainToken, TokenKind};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data);
    // Most inputs have no chance to begin like one.
    read(&[b"sas_", data].concat());
    if let Some((id, secret)) = data.split_first_chunk::<16>() {
        read(&[b"sas_", &id[..], b".", secret].concat());
    }
});

fn read(text: &[u8]) {
    let legacy = LegacyToken::parse(text);
    let internal = InternalToken::parse(text);
    let ours =
        PlainToken::parse(TokenKind::Token, text).or_else(|_| PlainToken::parse(TokenKind::Login, text));
    assert!([legacy.is_ok(), internal.is_ok(), ours.is_ok()].into_iter().filter(|is| *is).count() <= 1);
    if let Ok(token) = legacy {
        assert!(text.starts_with(b"sas_") && (20..=132).contains(&text.len()));
        assert_eq!(token.is_bound(), text.contains(&b'.'));
        assert!(text.starts_with(token.hint().as_bytes()) && token.hint().len() == 8);
    }
    if let Ok(token) = internal {
        assert!(token.expose().as_bytes().eq_ignore_ascii_case(text));
    }
}
