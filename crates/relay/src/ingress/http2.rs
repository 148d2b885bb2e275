//! A client's connection that speaks HTTP/2: each of its streams is served as a connection of its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, LINGER};
use super::proxies::Asker;
use crate::gate::Worker;
use crate::wire::http1::Malformed;
use crate::wire::http2::watch::{Lookout, Trouble, Watch, Watched};
use crate::wire::http2::{Framed, STREAMS, ServerStream, settings, to_http1};
use crate::wire::socket::{Socket, Wire};

type Server = h2::server::Connection<Watched, Bytes>;
type Arrived = (Request<RecvStream>, SendResponse<Bytes>);

/// What a connection goes on with.
enum Next {
    Stream(Box<Arrived>),
    /// Streams have ended.
    Fewer,
    Trouble(Trouble),
    /// No stream has been open for as long as a connection may be idle.
    Idle,
    Stopping,
    /// The client is gone, or has broken the rules and was told so.
    Closed,
}

/// Serves a client that speaks HTTP/2, until either side closes, or the gate shuts down.
pub(crate) async fn serve(
    client: Wire,
    direct: Asker,
    worker: Arc<Worker>,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = worker.gate.settings.now().limits;
    let watch = Watch::new(limits.head_time);
    let shaken = settings(limits.head_bytes).handshake(Watched::new(client, watch.clone()));
    let mut server: Server = tokio::select! {
        biased;
        shaken = timeout(limits.head_time, shaken) => match shaken {
            Ok(Ok(server)) => server,
            Ok(Err(error)) => return tracing::debug!(%error, "a client's HTTP/2 broke off as it began"),
            Err(_) => return,
        },
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    let streams =
        Streams { direct, worker: worker.clone(), watch: watch.clone(), stopping: stopping.clone() };
    // Dropped with this future: nothing of a connection outlives it.
    let mut open = JoinSet::new();
    let mut lookout = Lookout::default();
    loop {
        let idle_for = worker.gate.settings.now().limits.idle;
        let next = next(&mut server, &mut open, &mut lookout, &watch, &mut stopping, idle_for).await;
        match next {
            Next::Stream(arrived) => {
                let (request, respond) = *arrived;
                open.spawn(streams.clone().serve(request, respond));
            }
            Next::Fewer => {}
            Next::Trouble(Trouble::Blocked) | Next::Closed => return,
            Next::Trouble(Trouble::Flood) => {
                tracing::debug!("a client sends HTTP/2 frames that carry nothing; its connection is closed");
                server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                return farewell(&mut server).await;
            }
            Next::Idle | Next::Trouble(Trouble::Slow) => {
                server.abrupt_shutdown(Reason::NO_ERROR);
                return farewell(&mut server).await;
            }
            Next::Stopping => break,
        }
    }
    // Requests that are under way may end; how long they have is the worker's to say.
    server.graceful_shutdown();
    let _ = poll_fn(|context| {
        while let Poll::Ready(Some(_)) = open.poll_join_next(context) {}
        if lookout.poll(context, &watch).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            match server.poll_accept(context) {
                // It was on its way before the client heard.
                Poll::Ready(Some(Ok((request, respond)))) => {
                    open.spawn(streams.clone().serve(request, respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

async fn next(
    server: &mut Server,
    open: &mut JoinSet<()>,
    lookout: &mut Lookout,
    watch: &Watch,
    stopping: &mut watch::Receiver<bool>,
    idle_for: Duration,
) -> Next {
    let idle = open.is_empty();
    let going_on = poll_fn(|context| {
        if let Poll::Ready(trouble) = lookout.poll(context, watch) {
            return Poll::Ready(Next::Trouble(trouble));
        }
        if let Poll::Ready(Some(_)) = open.poll_join_next(context) {
            return Poll::Ready(Next::Fewer);
        }
        poll_arrival(server, context, open.len() < STREAMS as usize)
    });
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stopping| *stopping) => Next::Stopping,
        next = going_on => next,
        () = sleep(idle_for), if idle => Next::Idle,
    }
}

/// Drives the connection. Streams that a client has given up may still be being cleared away here: it gets no more than
/// its share at once, whatever it says.
fn poll_arrival(server: &mut Server, context: &mut Context<'_>, room: bool) -> Poll<Next> {
    if !room {
        return server.poll_closed(context).map(|_| Next::Closed);
    }
    server.poll_accept(context).map(|arrived| match arrived {
        Some(Ok(arrived)) => Next::Stream(Box::new(arrived)),
        Some(Err(error)) => {
            tracing::debug!(%error, "a client's HTTP/2 connection ended");
            Next::Closed
        }
        None => Next::Closed,
    })
}

/// Lets the last frame leave, for a while.
async fn farewell(server: &mut Server) {
    let _ = timeout(LINGER, poll_fn(|context| server.poll_closed(context))).await;
}

/// What a connection's streams have in common.
#[derive(Clone)]
struct Streams {
    direct: Asker,
    worker: Arc<Worker>,
    watch: Watch,
    stopping: watch::Receiver<bool>,
}

impl Streams {
    async fn serve(self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let to_head = parts.method == http::Method::HEAD;
        let written = if self.watch.had_fragment(respond.stream_id().as_u32()) {
            Err(Malformed::request("the request target has a fragment"))
        } else {
            to_http1(&parts, body.is_end_stream())
        };
        let (head, framed, refused) = match written {
            Ok((head, framed)) => (head, framed, None),
            Err(malformed) => (Vec::new(), Framed::Empty, Some(malformed)),
        };
        let stream = ServerStream::new(head, framed, to_head, body, respond, self.watch);
        let wire = Wire::new(Socket::Stream(Box::new(stream)));
        let mut connection = Connection::new(wire, self.direct, self.worker, self.stopping);
        match refused {
            None => {
                connection.serve().await;
            }
            Some(malformed) => {
                connection.refuse_unread(&malformed.into()).await;
                connection.note();
            }
        }
    }
}
