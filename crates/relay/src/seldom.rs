//! Things that are said now and then, however often they happen: strangers must not fill the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Says when it is time to speak of something again.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// Once in that time at most.
    pub fn every(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// It has happened again. If that is to be said now: how often it has happened since it was last said, this time
    /// included.
    pub fn now(&self) -> Option<u64> {
        let mut state = self.state.lock();
        state.since += 1;
        if state.said.is_some_and(|said| said.elapsed() < self.every) {
            return None;
        }
        state.said = Some(Instant::now());
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_said_now_and_then_with_how_often_it_was() {
        let seldom = Seldom::every(Duration::from_secs(1));
        assert_eq!(seldom.now(), Some(1));
        assert_eq!([seldom.now(), seldom.now()], [None, None]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!([seldom.now(), seldom.now()], [Some(3), None]);
    }
}
