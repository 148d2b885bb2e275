//! A timer that is set anew far more often than it goes off.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for whoever waits again and again, each time for something that mostly comes. Putting it off costs nothing: it
/// goes off when it was to at first, and is only then set to what counts by now.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at this time and not before. Until then it wakes whoever asked, perhaps for nothing.
    pub fn poll_until(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() == at || Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_when_it_was_last_set_for() {
        let mut alarm = Alarm::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut waits = async |until: Instant, at_most: Instant| {
            let over = poll_fn(|context| alarm.poll_until(context, until));
            tokio::time::timeout_at(at_most, over).await.is_ok().then(|| begun.elapsed().as_secs())
        };
        assert_eq!(waits(at(5), at(1)).await, None);
        assert_eq!(waits(at(9), at(8)).await, None, "put off");
        assert_eq!(waits(at(9), at(20)).await, Some(9));
        assert_eq!(waits(at(12), at(20)).await, Some(12), "once more");
        assert_eq!(waits(at(60), at(13)).await, None);
        assert_eq!(waits(at(14), at(20)).await, Some(14), "brought forward");
        assert_eq!(waits(at(14), at(20)).await, Some(14), "over already");
    }
}
