//! Bodies in chunks, from both sides.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_relay::fuzzing::chunks(data));
