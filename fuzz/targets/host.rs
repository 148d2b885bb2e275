//! Hosts: one form, which is its own.
#![no_main]

use fallgate_domain::host::Host;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(host) = Host::parse_header(data) {
        assert_one_form(&host);
        let shouted = data.to_ascii_uppercase();
        assert_eq!(Host::parse_header(&shouted).as_ref(), Ok(&host));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(host) = Host::parse_config(text)
    {
        assert_one_form(&host);
    }
});

fn assert_one_form(host: &Host<'_>) {
    let text = host.as_str();
    assert!(
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    );
    assert_eq!(Host::parse_header(text.as_bytes()).as_ref(), Ok(host));
    assert_eq!(Host::parse_config(text).as_ref(), Ok(host));
    assert_eq!(Host::parse_header(format!("{text}:80").as_bytes()).as_ref(), Ok(host));
}
