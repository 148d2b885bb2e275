//! Copying both ways between a client and an upstream, under a lease, until either is done.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fallgate_authority::Lease;
use tokio::sync::watch;
use tokio::time::timeout;

use super::buffer::Stock;
use super::patience::{Patience, Vigil};
use super::socket::Wire;
use super::websocket::{FrameTracker, close_frame};

/// How long a cut client has to read its close frame before the connection is closed on it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a tunnel of which one side has ended goes on.
const HALF_OPEN: Duration = Duration::from_secs(30);
/// Close code for a server that goes down (RFC 6455, 7.4.1).
const CODE_GOING_AWAY: u16 = 1001;
/// What is said with it.
const STOPPING: &str = "the gate is stopping";

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Lane {
    finished: bool,
}

impl Lane {
    /// Copies what can be copied. Ready when the source has ended and the sink was told.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        (source, sink): (&mut Wire, &mut Wire),
        stock: &Stock,
        mut passed: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !source.input.is_empty() {
                let count = ready!(sink.poll_write(context, source.input.filled()))?;
                passed(source.input.filled().get(..count).unwrap_or_default());
                source.input.consume(count);
            }
            // Whoever waits for an answer to this must have it: nothing stays behind while the source is silent.
            if let Poll::Ready(flushed) = sink.poll_flush(context) {
                flushed?;
            }
            // Idle tunnels hold no buffer.
            ready!(source.poll_readable(context, stock))?;
            match source.poll_fill(context, stock, true) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    source.input.rest(stock);
                    return Poll::Pending;
                }
            }
        }
        ready!(sink.poll_finish(context))?;
        self.finished = true;
        Poll::Ready(Ok(()))
    }
}

/// How a client is told that its tunnel is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// WebSocket frames are spoken.
    CloseFrame,
    /// What is spoken is not known.
    Reset,
}

/// Runs a tunnel. When the lease ends or the gate stops, neither side is waited for: the upstream is closed, and a
/// WebSocket's client gets close code 4401, 4403 or 1001 where a frame may stand; a reset elsewhere (requirements R46, R48).
pub(crate) async fn tunnel(
    client: &mut Wire,
    mut upstream: Wire,
    farewell: Farewell,
    lease: &Lease,
    stopping: &mut watch::Receiver<bool>,
    stock: &Stock,
) {
    let mut frames = FrameTracker::default();
    let (mut up, mut down) = (Lane::default(), Lane::default());
    let mut half_open = Patience::new(HALF_OPEN);
    let mut vigil = Vigil::default();
    let (mut bytes_in, mut bytes_out) = (0, 0);
    let copying = poll_fn(|context| {
        let went_up = |bytes: &[u8]| bytes_in += bytes.len() as u64;
        let went_down = |bytes: &[u8]| {
            if farewell == Farewell::CloseFrame {
                frames.feed(bytes);
            }
            bytes_out += bytes.len() as u64;
        };
        let up_done = up.poll(context, (&mut *client, &mut upstream), stock, went_up);
        let down_done = down.poll(context, (&mut upstream, &mut *client), stock, went_down);
        lease.passed(bytes_in, bytes_out);
        let (up_done, down_done) = (up_done?, down_done?);
        if vigil.poll_gone(context, client, !client.input.is_empty()).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match (up_done.is_ready(), down_done.is_ready()) {
            (true, true) => Poll::Ready(io::Result::Ok(())),
            // One side has said its last word; the other does not get for ever to say its own.
            (one, other) => half_open.poll_over(context, one || other, 0).map(|()| Ok(())),
        }
    });
    let ended = tokio::select! {
        biased;
        ended = lease.ended() => Some((ended.close_code(), ended.reason())),
        _ = stopping.wait_for(|stopping| *stopping) => {
            lease.because(STOPPING);
            Some((CODE_GOING_AWAY, STOPPING.into()))
        }
        // A side that failed is closed with the other: there is nobody left to tell.
        _ = copying => None,
    };
    if let Some((code, reason)) = ended {
        upstream.reset_on_close();
        drop(upstream);
        match farewell {
            Farewell::CloseFrame => say_goodbye(client, code, &reason, frames.at_boundary(), stock).await,
            Farewell::Reset => client.reset_on_close(),
        }
    }
}

async fn say_goodbye(client: &mut Wire, code: u16, reason: &str, at_boundary: bool, stock: &Stock) {
    let frame = close_frame(code, reason);
    let told = at_boundary && client.try_write(&frame).is_ok_and(|count| count == frame.len());
    // A client that is still connected when its second is over is not waited for.
    if !told || timeout(FAREWELL, client.drain(stock)).await.is_err() {
        client.reset_on_close();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::wire::pipe::Pipe;
    use crate::wire::socket::Socket;
    use crate::wire::tls::tests::{read_all, sealed_pair};

    #[tokio::test]
    async fn by_tls_too_nothing_stays_behind_while_the_other_side_is_silent() {
        const MUCH: usize = 100_000;
        let (mut ours, mut client) = sealed_pair().await;
        let (source, mut upstream) = tokio::net::UnixStream::pair().unwrap();
        let mut source = Wire::new(Socket::Plain(Pipe::Unix(source)));
        let stock = Stock::default();
        let mut down = Lane::default();
        let passing = poll_fn(|context| down.poll(context, (&mut source, &mut ours), &stock, |_| {}));
        let spoken = async {
            for round in 0..2 {
                // It says so much and waits for an answer; the lane goes on for ever.
                let said = vec![round; MUCH];
                let (sent, heard) = tokio::join!(upstream.write_all(&said), read_all(&mut client, MUCH));
                assert!(sent.is_ok() && heard == said);
            }
        };
        let both = async {
            tokio::select! { ended = passing => panic!("nobody has ended: {ended:?}"), () = spoken => {} }
        };
        timeout(Duration::from_secs(20), both).await.unwrap();
    }
}
