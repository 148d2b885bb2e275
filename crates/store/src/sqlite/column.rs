//! Reading a column's value as a word of the domain. What no row of ours can hold is a fault, never a default.

use std::fmt::Display;
use std::str::FromStr;

use fallgate_domain::clock::Timestamp;

use crate::error::Fault;

/// A text in the form that `T` writes.
pub(crate) fn parsed<T>(text: &str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Fault::Unreadable(error.to_string()))
}

/// Milliseconds since 1970, within the years that can be written.
pub(crate) fn time(millis: i64) -> Result<Timestamp, Fault> {
    let time = Timestamp::from_millis(millis);
    if time.millis() == millis { Ok(time) } else { Err(Fault::Unreadable(format!("{millis} is no time"))) }
}
