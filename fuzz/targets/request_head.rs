//! Heads of requests, as any client may send them, and what goes up of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_relay::fuzzing::request_head(data));
