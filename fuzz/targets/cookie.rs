//! `Cookie` fields, one a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_authority::fuzzing::cookies(data));
