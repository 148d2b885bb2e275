//! Letting other processes write, too.
//!
//! Whoever waits for the database's lock looks for it about every millisecond, and nobody tells them that it is free. A
//! process with always one more act to write would lock it again within microseconds: the others would find it free
//! as good as never, and give up in the end.

use std::time::{Duration, Instant};

/// How long one process may write without a pause.
const AT_A_STRETCH: Duration = Duration::from_millis(25);
/// A pause in which one that waits finds the lock free.
const PAUSE: Duration = Duration::from_millis(2);

/// How long this process has been writing.
#[derive(Debug, Default)]
pub(super) struct Turns(Option<Stretch>);

#[derive(Debug)]
struct Stretch {
    from: Instant,
    until: Instant,
}

impl Turns {
    /// Before an act: how long to leave the lock alone, if this process has been writing long enough.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let stretch = self.0.as_ref()?;
        let rested = now.duration_since(stretch.until);
        if rested >= PAUSE {
            self.0 = None;
            return None;
        }
        if now.duration_since(stretch.from) < AT_A_STRETCH {
            return None;
        }
        self.0 = None;
        Some(PAUSE.saturating_sub(rested))
    }

    /// After an act.
    pub(super) fn wrote(&mut self, from: Instant, until: Instant) {
        let from = self.0.as_ref().map_or(from, |stretch| stretch.from);
        self.0 = Some(Stretch { from, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_on_and_on_pauses_and_whoever_writes_now_and_then_does_not() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let mut turns = Turns::default();
        assert_eq!(turns.pause(at(0)), None);
        for millis in (0..20).step_by(5) {
            turns.wrote(at(millis), at(millis + 5));
            assert_eq!(turns.pause(at(millis + 5)), None);
        }
        turns.wrote(at(20), at(25));
        assert_eq!(turns.pause(at(25)), Some(PAUSE), "once for each stretch");
        assert_eq!(turns.pause(at(27)), None);
        for millis in (30..300).step_by(10) {
            turns.wrote(at(millis), at(millis + 8));
            assert_eq!(turns.pause(at(millis + 10)), None, "the lock was free long enough");
        }
    }
}
