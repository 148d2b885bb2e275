//! How long a client may keep us waiting: to send what it announced, or to read what it asked for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_only_while_somebody_owes_and_nothing_moves() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let mut waits = async |owing, moved, seconds| {
            let over = poll_fn(|context| patience.poll_over(context, owing, moved));
            tokio::time::timeout(Duration::from_secs(seconds), over).await.is_ok()
        };
        assert!(!waits(true, 0, 9).await);
        assert!(!waits(true, 1, 9).await, "a byte moved");
        assert!(!waits(false, 1, 60).await, "nobody owes anything");
        assert!(!waits(true, 1, 9).await, "it begins anew");
        assert!(waits(true, 1, 2).await);
    }
}
