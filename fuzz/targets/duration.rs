//! Lifetimes, as people write them: whatever is taken ends in the future and within a hundred years, or never.
#![no_main]

use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::lifetime::Lifetime;

const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(lifetime) = text.parse::<Lifetime>() else { return };
    // The times at which it is asked are any too.
    let asked = data.iter().fold(0_i64, |sum, byte| sum.wrapping_mul(257).wrapping_add(i64::from(*byte)));
    for now in [Timestamp::from_millis(0), Timestamp::from_millis(asked), Timestamp::MAX] {
        match lifetime.ends_at(now) {
            Ok(None) => assert_eq!((text, lifetime), ("never", Lifetime::Never)),
            Ok(Some(end)) => {
                assert!(end > now && end.since(now) <= CENTURY);
                // Written as a time, it is the same end.
                let written = end.to_string();
                assert_eq!(written.parse(), Ok(Lifetime::Until(end)));
                assert_eq!(Lifetime::Until(end).ends_at(now), Ok(Some(end)));
            }
            Err(_) => assert_ne!(lifetime, Lifetime::Never),
        }
    }
});
