//! Names, as anybody may send them: what is taken is written back as it was read, and is harmless where names stand.
#![no_main]

use fallgate_domain::credential::TokenName;
use fallgate_domain::user::{DisplayName, Username};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<Username>() {
        assert_eq!(name.as_str(), text, "a username has one spelling");
        assert!((1..=32).contains(&text.len()));
        assert!(text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')));
        assert!(text.parse::<DisplayName>().is_ok(), "a username can be shown");
    }
    let shown = text.parse::<DisplayName>().map(|name| name.as_str().to_owned());
    let called = text.parse::<TokenName>().map(TokenName::into_string);
    assert_eq!(shown.as_ref().ok(), called.as_ref().ok(), "both are names for people");
    if let Ok(name) = shown {
        assert_eq!(name, text.trim());
        assert!((1..=80).contains(&name.chars().count()) && !name.chars().any(char::is_control));
        assert_eq!(name.parse::<DisplayName>().map(|again| again.as_str().to_owned()), Ok(name));
    }
});
