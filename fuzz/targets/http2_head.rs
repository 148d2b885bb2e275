//! Requests by HTTP/2, as HTTP/1.1.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_relay::fuzzing::http2_head(data));
