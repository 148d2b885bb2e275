//! Compressed heads of HTTP/2.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_relay::fuzzing::http2_paths(data));
