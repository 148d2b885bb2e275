//! Sending one request to its upstream and the answer back, streamed both ways under the caller's lease.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fallgate_authority::{Ended, Lease, Principal};
use fallgate_domain::live::StreamKind;
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::problem::Problem;

use super::connection::{After, CONTINUE, Connection};
use super::decide::{Passage, Way, WayPath};
use super::refuse::Answer;
use super::route::{Authorization, Route, Upstream};
use crate::gate::Worker;
use crate::wire::buffer::Stock;
use crate::wire::dial::DialError;
use crate::wire::http1::{
    AnswerHead, BodyKind, ChunkDecoder, FieldId, HeadLimits, Malformed, Progress, RequestHead, Version,
};
use crate::wire::hygiene::{self, Downward, Identity, Rewrite, Told, Upward};
use crate::wire::patience::{Patience, Vigil};
use crate::wire::pipe::Word;
use crate::wire::pump::{Pump, PumpError, Side};
use crate::wire::socket::Wire;
use crate::wire::splice::{self, Farewell};

/// The protocol that a connection to any route may change to.
const WEBSOCKET: &str = "websocket";

/// How many interim answers an upstream may send before the one that counts.
const MOST_INTERIM: usize = 32;

/// How many bytes of a next request are taken in while this one is under way.
pub(super) const READ_AHEAD: usize = 16 * 1024;

/// A request, ready to go up.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of the one request, and none excludes another"
)]
pub(crate) struct Prepared {
    /// The head as the upstream will see it.
    head: Vec<u8>,
    body: BodyKind,
    /// The version that the client speaks.
    client: Version,
    keep_alive: bool,
    expects_continue: bool,
    /// What it asks to change to, if the route has it.
    upgrade: Option<Protocol>,
    /// It is a `HEAD`, whose answer has no body.
    to_head: bool,
    /// Doing it twice is doing it once (RFC 9110, 9.2.2), and there is no body that could be half gone.
    repeatable: bool,
}

/// A protocol that a connection may change to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Protocol {
    WebSocket,
    /// One that the route names, as the client spells it.
    Listed(String),
}

impl Protocol {
    /// What a request asks to change to, if that may be. A body would stand between it and the protocol, and nobody
    /// opens a WebSocket with anything but a `GET` (RFC 6455, 4.1).
    fn wanted(head: &RequestHead, buffer: &[u8], route: &Route) -> Option<Self> {
        let wanted = std::str::from_utf8(head.upgrade()?.of(buffer)).ok()?;
        if !head.body().is_empty() {
            return None;
        }
        if wanted.eq_ignore_ascii_case(WEBSOCKET) {
            return (head.method().of(buffer) == b"GET").then_some(Self::WebSocket);
        }
        let listed = route.upgrades.iter().any(|listed| wanted.eq_ignore_ascii_case(listed));
        listed.then(|| Self::Listed(wanted.to_owned()))
    }

    fn name(&self) -> &str {
        match self {
            Self::WebSocket => WEBSOCKET,
            Self::Listed(name) => name,
        }
    }
}

/// How far an exchange got before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Nothing of an answer has gone to the client.
    Waiting,
    /// The answer is on its way.
    Answering,
}

/// Why an exchange failed.
#[derive(Debug)]
enum Failure {
    Dial(DialError),
    /// The upstream closed before it answered, or its connection broke.
    UpstreamBroke(io::Error),
    /// The upstream's answer cannot be read.
    UpstreamMalformed(Malformed),
    /// The client's body broke the framing.
    ClientMalformed(Malformed),
    /// The client left.
    ClientGone,
    /// The client neither sends what it announced nor reads what it asked for.
    ClientStalled,
    /// What the caller's passage rests on has ended.
    Ended(Ended),
}

/// How an exchange ended well.
enum Done {
    /// Answered. `reusable`: the client's connection can take another request.
    Answered { reusable: bool },
    /// The upstream agreed to this; nothing of HTTP is left.
    Switched(Wire, Protocol),
}

/// Writes the head that goes up: cleaned, re-framed, with what we say of the caller.
pub(crate) fn prepare(connection: &Connection, way: &Way<'_>) -> Prepared {
    let (head, buffer) = (&connection.head, connection.client.input.filled());
    let route = &way.route;
    let stripped = match &way.path {
        WayPath::Canonical(path) => route.stripped_prefix().and_then(|prefix| path.strip_prefix(prefix)),
        WayPath::Raw(_) => None,
    };
    let path = match &way.path {
        WayPath::Canonical(path) => path.as_str(),
        WayPath::Raw(path) => path,
    };
    let caller = match &way.passage {
        Passage::Permitted(permit) if route.identity.headers => Some(permit.principal()),
        _ => None,
    };
    let display_name = caller.and_then(Principal::display_name);
    let identity = caller.map(|principal| Identity::of(principal, display_name.as_ref()));
    let upgrade = Protocol::wanted(head, buffer, route);
    let up = Upward {
        path: stripped.as_ref().map_or(path, CanonicalPath::as_str),
        query: way.query,
        host: route.upstream_host.as_deref(),
        client: connection.asker.ip,
        proto: if connection.asker.https { "https" } else { "http" },
        forwarded_host: head.host().of(buffer),
        prefix: stripped.is_some().then(|| route.stripped_prefix().map(CanonicalPath::as_str)).flatten(),
        strip_authorization: route.authorization == Authorization::Ours
            || head
                .field(FieldId::Authorization)
                .is_some_and(|value| connection.worker.gate.verifier.carries_ours(value.of(buffer))),
        identity,
        assertion: way.assertion.as_deref(),
        inject: &route.inject,
        body: head.body(),
        upgrade: upgrade.as_ref().map(Protocol::name),
    };
    let mut out = connection.worker.stock.take_head();
    out.reserve(head.len() + 256);
    hygiene::write_request(&mut out, head, buffer, &up);
    Prepared {
        head: out,
        body: head.body(),
        client: head.version(),
        // What a client sends early for another protocol is never taken for a request (requirement R65).
        keep_alive: head.keep_alive() && head.field(FieldId::Upgrade).is_none(),
        expects_continue: head.expects_continue(),
        to_head: head.is_head(),
        repeatable: head.body().is_empty() && upgrade.is_none() && is_idempotent(head.method().of(buffer)),
        upgrade,
    }
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

impl Failure {
    /// What the client is told: nothing of the upstream's address or the system's words.
    fn answer(&self, route: &Route, upstream: &Upstream) -> Answer {
        let (name, upstream) = (&route.policy.name, &upstream.origin);
        match self {
            Self::Ended(ended) => Answer::from(&ended.refusal()),
            Self::ClientMalformed(malformed) => Answer::from(*malformed),
            Self::ClientStalled => Problem::new(408, "The request's body took too long to arrive.").into(),
            Self::ClientGone => Problem::new(400, "The request broke off.").into(),
            // The log is told of it now and then.
            Self::Dial(DialError::NoRoom) => {
                Problem::new(503, "The gate has no room for another connection now; try again.").into()
            }
            Self::Dial(error) => {
                tracing::warn!(route = %name, %upstream, %error, "upstream not reached");
                match error {
                    DialError::TimedOut(_) => {
                        Problem::new(504, format!("The upstream of {name} did not answer in time.")).into()
                    }
                    DialError::Refused(_) | DialError::NoRoom => {
                        Problem::new(502, format!("The upstream of {name} is not reachable.")).into()
                    }
                    DialError::NoTls(_) => {
                        Problem::new(502, format!("The upstream of {name} cannot be trusted.")).into()
                    }
                }
            }
            Self::UpstreamBroke(error) => {
                tracing::warn!(route = %name, %upstream, %error, "upstream broke off");
                Problem::new(502, format!("The upstream of {name} broke off without an answer.")).into()
            }
            Self::UpstreamMalformed(malformed) => {
                let reason = malformed.reason;
                tracing::warn!(route = %name, %upstream, reason, "upstream answered nonsense");
                Problem::new(502, format!("The upstream of {name} sent an answer that cannot be read."))
                    .into()
            }
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
        // Where there is no room for it, those that are idle make some.
        let fresh = match self.fresh().await {
            Err(DialError::NoRoom) if self.worker.pool.let_go() => self.fresh().await,
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

/// The request on its way up, and after that an eye on the client.
struct Sending {
    pump: Pump,
    /// The upstream takes no more of it; perhaps it has answered early.
    refused: bool,
    vigil: Vigil,
    /// Whoever looks at what is live was told that it flows.
    told: bool,
}

impl Sending {
    fn new(pump: Pump) -> Self {
        Self { pump, refused: false, vigil: Vigil::default(), told: false }
    }

    fn is_done(&self) -> bool {
        self.pump.is_done()
    }

    /// Tells whoever looks at what is live of a body that does not come at once.
    fn tell(&mut self, lease: &Lease, ip: Option<IpAddr>) {
        if self.pump.is_read() {
            if self.told {
                lease.flows_nothing();
            }
        } else if !std::mem::replace(&mut self.told, true) {
            lease.flows(StreamKind::Upload, ip);
        }
        lease.came_in(self.pump.passed());
    }

    /// Whether it waits for more of the request to come from the client.
    fn client_owes(&self) -> bool {
        !self.refused && !self.pump.is_read() && self.pump.waits_for() == Side::Source
    }

    /// Sends what can be sent; afterwards notices when the client leaves. Fails with what ends the exchange.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Wire,
        upstream: &mut Wire,
        stock: &Stock,
    ) -> Result<(), Failure> {
        if !self.refused && !self.pump.is_done() {
            match self.pump.poll(context, client, upstream, stock) {
                Poll::Ready(Err(PumpError::Malformed(malformed))) => {
                    return Err(Failure::ClientMalformed(malformed));
                }
                Poll::Ready(Err(PumpError::Source(_))) => return Err(Failure::ClientGone),
                // Whatever it says before it closes is still its answer.
                Poll::Ready(Err(PumpError::Sink)) => self.refused = true,
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    let unread = self.pump.waits_for() == Side::Sink;
                    return self.look_after(context, client, unread);
                }
            }
        }
        // A client that leaves ends the request; one that sends the next one early has it taken in, to a point.
        while self.pump.is_read() && client.input.len() < READ_AHEAD {
            match client.poll_fill(context, stock, false) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Failure::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        self.look_after(context, client, !client.input.is_empty())
    }

    fn look_after(&mut self, context: &mut Context<'_>, client: &Wire, unread: bool) -> Result<(), Failure> {
        match self.vigil.poll_gone(context, client, unread) {
            Poll::Ready(()) => Err(Failure::ClientGone),
            Poll::Pending => Ok(()),
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

fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}
