//! How long a client may keep us waiting: to send what it announced, or to read what it asked for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::socket::Wire;

/// What this comes to, unless it takes longer than `limit`. What is there at once costs no timer.
pub(crate) async fn within<F: Future>(limit: Duration, what: F) -> Result<F::Output, Elapsed> {
    let mut what = pin!(what);
    match poll_fn(|context| Poll::Ready(what.as_mut().poll(context))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(limit, what).await,
    }
}

/// Runs out when a client owes something and moves no byte for too long (requirement R67). An answer that waits for its
/// upstream alone tries nobody's patience.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// What had moved when the waiting began, and when it is over. There is no timer while nobody is waited for.
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Whether it has run out. `owing`: it is the client's turn; `moved`: bytes moved so far.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>, owing: bool, moved: u64) -> Poll<()> {
        if !owing {
            self.waiting = None;
            return Poll::Pending;
        }
        let limit = self.limit;
        let (mark, timer) = self.waiting.get_or_insert_with(|| (moved, Box::pin(sleep(limit))));
        if *mark != moved {
            *mark = moved;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context)
    }
}

/// How often a client that is not being read is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Notices a client that has left while nothing is read from it: its bytes wait for an upstream that takes none, and
/// its FIN waits behind them.
#[derive(Debug, Default)]
pub(crate) struct Vigil(Option<Pin<Box<Sleep>>>);

impl Vigil {
    /// Whether it has left. `unread`: what it sent is left lying, so only the system knows.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>, client: &Wire, unread: bool) -> Poll<()> {
        if !unread {
            self.0 = None;
            return Poll::Pending;
        }
        loop {
            let timer = self.0.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
            ready!(timer.as_mut().poll(context));
            self.0 = None;
            if client.has_left() {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_only_while_somebody_owes_and_nothing_moves() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let mut waits = async |owing, moved, seconds| {
            let over = poll_fn(|context| patience.poll_over(context, owing, moved));
            timeout(Duration::from_secs(seconds), over).await.is_ok()
        };
        assert!(!waits(true, 0, 9).await);
        assert!(!waits(true, 1, 9).await, "a byte moved");
        assert!(!waits(false, 1, 60).await, "nobody owes anything");
        assert!(!waits(true, 1, 9).await, "it begins anew");
        assert!(waits(true, 1, 2).await);
    }
}
