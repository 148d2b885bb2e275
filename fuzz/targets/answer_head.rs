//! Heads of answers, as any upstream may send them, and what goes down of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fallgate_relay::fuzzing::answer_head(data));
