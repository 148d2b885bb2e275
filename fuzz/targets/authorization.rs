//! `Authorization` values: whatever cannot be read is refused, and says nothing of what it was (requirement R8).
#![no_main]

use fallgate_authority::Presented;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(presented) = Presented::from_authorization(Some(data)) {
        // The shortest secret there is: `sas_` and 16 characters.
        assert!(data.len() > 20);
        drop(presented);
    }
});
