//! Sending one request to its upstream and the answer back, streamed both ways under the caller's lease.

mod failure;
mod prepare;
mod sending;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fallgate_authority::Lease;
use fallgate_domain::live::StreamKind;
use fallgate_domain::path::CanonicalPath;

use self::failure::Failure;
pub(crate) use self::prepare::prepare;
use self::prepare::{Prepared, Protocol};
use self::sending::Sending;
use super::connection::{After, CONTINUE, Connection};
use super::route::{Route, Upstream};
use crate::gate::Worker;
use crate::wire::dial::DialError;
use crate::wire::http1::{
    AnswerHead, BodyKind, ChunkDecoder, FieldId, HeadLimits, Malformed, Progress, Version,
};
use crate::wire::hygiene::{self, Downward, Rewrite, Told};
use crate::wire::patience::Patience;
use crate::wire::pipe::Word;
use crate::wire::pump::{Pump, PumpError, Side};
use crate::wire::socket::Wire;
use crate::wire::splice::{self, Farewell};

/// How many interim answers an upstream may send before the one that counts.
const MOST_INTERIM: usize = 32;

/// How many bytes of a next request are taken in while this one is under way.
pub(super) const READ_AHEAD: usize = 16 * 1024;

/// How far an exchange got before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Nothing of an answer has gone to the client.
    Waiting,
    /// The answer is on its way.
    Answering,
}

/// How an exchange ended well.
enum Done {
    /// Answered. `reusable`: the client's connection can take another request.
    Answered { reusable: bool },
    /// The upstream agreed to this; nothing of HTTP is left.
    Switched(Wire, Protocol),
}

/// Carries the exchange out, under the lease that the verifier bound to the caller.
pub(crate) async fn serve(
    connection: &mut Connection,
    route: &Route,
    upstream: &Upstream,
    mut request: Prepared,
    idle: Duration,
) -> After {
    connection.host.clear();
    connection.host.extend_from_slice(connection.head.host().of(connection.client.input.filled()));
    connection.client.input.consume(connection.head.len());
    let mut reached = Reached::Waiting;
    let attempt = Attempt {
        client: &mut connection.client,
        worker: &connection.worker,
        route,
        upstream,
        head: std::mem::take(&mut request.head),
        request: &request,
        host: &connection.host,
        reached: &mut reached,
        answered: &mut connection.answered,
        lease: &connection.lease,
        ip: connection.asker.ip,
        patience: Patience::new(idle),
    };
    let outcome = tokio::select! {
        biased;
        ended = connection.lease.ended() => Err(Failure::Ended(ended)),
        outcome = attempt.run() => outcome,
    };
    if matches!(outcome, Err(Failure::Ended(_))) {
        connection.client.cut();
    }
    match outcome {
        Ok(Done::Answered { reusable }) if reusable && request.keep_alive && request.upgrade.is_none() => {
            After::KeepAlive
        }
        Ok(Done::Answered { .. }) => After::Close,
        // From here on there is no HTTP left on this connection.
        Ok(Done::Switched(upstream, protocol)) => {
            let Connection { client, lease, stopping, worker, .. } = connection;
            let farewell = match protocol {
                Protocol::WebSocket => Farewell::CloseFrame,
                Protocol::Listed(_) => Farewell::Reset,
            };
            splice::tunnel(client, upstream, farewell, lease, stopping, &worker.stock).await;
            After::Gone
        }
        // What has begun cannot be taken back: the client sees that it did not end. Where an answer ends with its
        // connection, only a reset shows that.
        Err(_) if reached == Reached::Answering => {
            if request.client == Version::Http10 {
                connection.client.reset_on_close();
            }
            After::Gone
        }
        Err(Failure::ClientGone) => After::Gone,
        Err(Failure::Ended(ended)) => connection.refuse_cut(ended).await,
        Err(failure) => {
            let answer = failure.answer(route, upstream);
            connection.refuse_and_close(&answer).await
        }
    }
}

/// One exchange with an upstream.
struct Attempt<'a> {
    client: &'a mut Wire,
    worker: &'a Worker,
    route: &'a Route,
    upstream: &'a Upstream,
    /// As in `request`, where it is not being sent.
    head: Vec<u8>,
    request: &'a Prepared,
    /// The `Host` that the client used.
    host: &'a [u8],
    reached: &'a mut Reached,
    /// What the client is answered.
    answered: &'a mut Option<u16>,
    /// What it is done under, for whoever looks at what is live; where the client is.
    lease: &'a Lease,
    ip: Option<IpAddr>,
    /// With the client.
    patience: Patience,
}

impl Attempt<'_> {
    async fn run(mut self) -> Result<Done, Failure> {
        if let Some(kept) = self.kept() {
            match self.exchange(kept).await {
                // The upstream closed it while it was idle, and never saw the request.
                Err(Failure::UpstreamBroke(error))
                    if self.request.repeatable && *self.reached == Reached::Waiting =>
                {
                    tracing::debug!(%error, "a kept connection was stale; trying a new one");
                }
                outcome => return outcome,
            }
        }
        // Where there is no room for it, those that are idle make some; or somebody else's has, who asked for the same.
        let fresh = match self.fresh().await {
            Err(DialError::NoRoom) => {
                self.worker.pool.let_go();
                self.fresh().await
            }
            fresh => fresh,
        };
        self.exchange(fresh.map_err(Failure::Dial)?).await
    }

    async fn fresh(&self) -> Result<Wire, DialError> {
        let (address, tls) = (&self.upstream.address, self.upstream.tls.as_ref());
        if self.by_http2() {
            self.worker.links.open(address, tls).await
        } else {
            self.worker.pool.open(address, tls).await
        }
    }

    fn kept(&self) -> Option<Wire> {
        let (address, tls) = (&self.upstream.address, self.upstream.tls.as_ref());
        let link = if self.by_http2() { self.worker.links.take(address, tls) } else { None };
        // There may be one on which an upstream chose HTTP/1.1 all the same.
        // What the upstream did before this request came, the runtime knows. If it closes just now, a request that can be
        // repeated is; for any other the system is asked.
        let word = if self.request.repeatable { Word::Runtime } else { Word::System };
        link.or_else(|| self.worker.pool.take(address, tls, word))
    }

    /// A protocol is changed to over HTTP/1.1, whatever else the upstream speaks.
    fn by_http2(&self) -> bool {
        self.upstream.http2 && self.request.upgrade.is_none()
    }

    async fn exchange(&mut self, mut upstream: Wire) -> Result<Done, Failure> {
        // Ours to answer, now that the caller is authorised and the upstream is there (30-gate).
        if self.request.expects_continue && self.client.input.is_empty() {
            self.client.write_all(CONTINUE).await.map_err(|_| Failure::ClientGone)?;
        }
        let chunked = self.request.body == BodyKind::Chunked;
        let mut decoder = ChunkDecoder::for_requests();
        if chunked {
            let ours = self.route.inject.iter().map(|(name, _)| name.clone());
            decoder = decoder.withholding(ours.collect());
        }
        let pump = Pump::new(self.request.body, decoder, chunked, std::mem::take(&mut self.head));
        let mut sending = Sending::new(pump);
        let mut head = AnswerHead::default();
        let mut interim = 0;
        let answered = poll_fn(|context| {
            self.poll_answer_head(context, &mut sending, &mut upstream, &mut head, &mut interim)
        })
        .await;
        if let Err(failure) = answered {
            // It may have to be sent once more.
            self.head = sending.pump.into_buffer();
            return Err(failure);
        }
        *self.answered = Some(head.status());
        if head.status() == 101 {
            return self.switch(upstream, &head).await;
        }
        self.pass_answer(sending, upstream, &head).await
    }

    /// Sends the request, and reads until the head of its final answer has come.
    fn poll_answer_head(
        &mut self,
        context: &mut Context<'_>,
        sending: &mut Sending,
        upstream: &mut Wire,
        head: &mut AnswerHead,
        interim: &mut usize,
    ) -> Poll<Result<(), Failure>> {
        let stock = &self.worker.stock;
        sending.poll(context, self.client, upstream, stock)?;
        sending.tell(self.lease, self.ip);
        if self.patience.poll_over(context, sending.client_owes(), sending.pump.moved()).is_ready() {
            return Poll::Ready(Err(Failure::ClientStalled));
        }
        loop {
            match head.parse(upstream.input.filled(), &HeadLimits::default(), self.request.to_head) {
                // Interim answers are ours to give (30-gate); 101 is none of them.
                Ok(Progress::Complete) if head.is_interim() && head.status() != 101 => {
                    *interim += 1;
                    if *interim > MOST_INTERIM {
                        let endless = Malformed::answer("interim answers without end");
                        return Poll::Ready(Err(Failure::UpstreamMalformed(endless)));
                    }
                    upstream.input.consume(head.len());
                    head.clear();
                }
                Ok(Progress::Complete) => return Poll::Ready(Ok(())),
                Ok(Progress::Partial) => match ready!(upstream.poll_fill(context, stock, false)) {
                    Ok(0) => {
                        let error = io::ErrorKind::UnexpectedEof.into();
                        return Poll::Ready(Err(Failure::UpstreamBroke(error)));
                    }
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(Failure::UpstreamBroke(error))),
                },
                Err(malformed) => return Poll::Ready(Err(Failure::UpstreamMalformed(malformed))),
            }
        }
    }

    /// Only to what the client asked for, and only after the upstream agreed to it (requirement R65).
    async fn switch(&mut self, mut upstream: Wire, head: &AnswerHead) -> Result<Done, Failure> {
        let named = head.upgrade().map(|protocol| protocol.of(upstream.input.filled()));
        let agreed = |protocol: &&Protocol| {
            named.is_some_and(|named| named.eq_ignore_ascii_case(protocol.name().as_bytes()))
        };
        let Some(protocol) = self.request.upgrade.as_ref().filter(agreed).cloned() else {
            return Err(Failure::UpstreamMalformed(Malformed::answer(
                "a change of protocol nobody asked for",
            )));
        };
        let mut out = Vec::with_capacity(head.len() + 64);
        hygiene::write_switching(&mut out, head, upstream.input.filled(), &self.downward(false));
        upstream.input.consume(head.len());
        *self.reached = Reached::Answering;
        // Before the client knows: whoever has a stream finds it listed.
        self.lease.flows(
            match &protocol {
                Protocol::WebSocket => StreamKind::WebSocket,
                Protocol::Listed(_) => StreamKind::Tunnel,
            },
            self.ip,
        );
        self.client.write_all(&out).await.map_err(|_| Failure::ClientGone)?;
        Ok(Done::Switched(upstream, protocol))
    }

    async fn pass_answer(
        &mut self,
        mut sending: Sending,
        mut upstream: Wire,
        head: &AnswerHead,
    ) -> Result<Done, Failure> {
        // An answer to what the upstream has not wholly read: what it makes of the rest is anybody's guess.
        let early = !sending.is_done();
        let close = !self.request.keep_alive || self.request.upgrade.is_some() || early;
        let stock = &self.worker.stock;
        let mut out = sending.pump.spare_buffer().unwrap_or_else(|| stock.take_head());
        out.clear();
        // What of the body is there already goes out with it.
        out.reserve(upstream.input.len() + 64);
        let kind = kind_of(head, upstream.input.filled());
        let framing = hygiene::write_answer(&mut out, head, upstream.input.filled(), &self.downward(close));
        upstream.input.consume(head.len());
        let mut answer =
            Pump::new(head.body(), ChunkDecoder::for_answers(), framing == BodyKind::Chunked, out);
        let (client, upstream_wire, reached) = (&mut *self.client, &mut upstream, &mut *self.reached);
        let patience = &mut self.patience;
        let (lease, ip) = (self.lease, self.ip);
        let mut flows = kind.is_endless() && head.body() != BodyKind::Empty;
        if flows {
            lease.flows(kind, ip);
        }
        poll_fn(|context| {
            sending.poll(context, client, upstream_wire, stock)?;
            let passed = answer.poll(context, upstream_wire, client, stock);
            // What is through at once is no stream, and nobody need hear of it.
            if passed.is_pending() && !std::mem::replace(&mut flows, true) {
                lease.flows(kind, ip);
            }
            lease.passed(sending.pump.passed(), answer.passed());
            // Until then it can still be answered otherwise.
            if answer.has_begun() {
                *reached = Reached::Answering;
            }
            let owing = sending.client_owes() || answer.waits_for() == Side::Sink;
            let moved = sending.pump.moved() + answer.moved();
            if patience.poll_over(context, owing && passed.is_pending(), moved).is_ready() {
                return Poll::Ready(Err(Failure::ClientStalled));
            }
            match ready!(passed) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(PumpError::Source(error)) => Poll::Ready(Err(Failure::UpstreamBroke(error))),
                Err(PumpError::Malformed(malformed)) => {
                    Poll::Ready(Err(Failure::UpstreamMalformed(malformed)))
                }
                Err(PumpError::Sink) => Poll::Ready(Err(Failure::ClientGone)),
            }
        })
        .await?;
        // Never reused after an early answer or a broken one (requirement R66); nor after one that told of a body that it
        // must not have: some send it all the same, a little later, and it would be the next one's answer.
        let whole = sending.is_done();
        let ended = head.body() != BodyKind::Empty || head.told_body().is_empty();
        stock.give_head(answer.into_buffer());
        if whole && !early && ended && head.keep_alive() && upstream.input.is_empty() {
            self.worker.pool.keep(&self.upstream.address, self.upstream.tls.as_ref(), upstream, stock);
        }
        Ok(Done::Answered { reusable: whole && !close && framing != BodyKind::UntilClose })
    }

    fn downward(&self, close: bool) -> Downward<'_> {
        let told = match &self.route.upstream_host {
            Some(host) => Told::Internal(host),
            None => Told::Public(self.host),
        };
        let rewrite = Rewrite {
            upstream_origin: &self.upstream.origin,
            told,
            prefix: self.route.stripped_prefix().map(CanonicalPath::as_str),
        };
        Downward {
            client: self.request.client,
            close,
            own_origin: self.route.is_on_own_origin(),
            rewrite: Some(rewrite),
        }
    }
}

/// What flows in an answer.
fn kind_of(head: &AnswerHead, buffer: &[u8]) -> StreamKind {
    let media_type = head.fields_of(FieldId::ContentType).next().map(|value| value.of(buffer));
    if media_type.is_some_and(is_event_stream) { StreamKind::Events } else { StreamKind::Download }
}

/// Whether that media type is an event stream's, whatever its parameters.
pub(super) fn is_event_stream(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}
