//! One client's connection: a request after the other, each decided on before anything of it moves.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use fallgate_authority::{Alarm, Ended, Lease, is_navigation};
use fallgate_domain::problem::Problem;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::access::Line;
use super::decide::{Asking, Verdict, decide};
use super::forward;
use super::forward_auth::{self, Family};
use super::own;
use super::proxies::Asker;
use super::refuse::{Answer, Manner};
use super::settings::CachedSettings;
use crate::gate::Worker;
use crate::wire::http1::{FieldId, HeadLimits, Progress, RequestHead};
use crate::wire::http2::preface::{Beginning, beginning};
use crate::wire::patience::within;
use crate::wire::socket::Wire;

/// The interim answer that asks for a body (RFC 9110, 10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How long a client has to read the last answer before the connection is closed on it.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Heads longer than this, in bytes, leave no memory behind on an idle connection.
const KEPT_WHILE_IDLE: usize = 2 * 1024;

/// A client's connection, between requests and during one.
pub(crate) struct Connection {
    pub(crate) client: Wire,
    /// Whoever is at the other end of the socket, and how they came.
    pub(crate) direct: Asker,
    /// Where the request under way comes from.
    pub(crate) asker: Asker,
    /// Whether a browser shows what is answered to it.
    shown: bool,
    pub(crate) worker: Arc<Worker>,
    settings: CachedSettings,
    /// Goes off when it has been idle for too long.
    alarm: Alarm,
    pub(crate) lease: Lease,
    pub(crate) head: RequestHead,
    /// The `Host` of the request that is being passed on.
    pub(crate) host: Vec<u8>,
    /// For heads on their way out.
    pub(crate) scratch: Vec<u8>,
    /// What the request under way was answered.
    pub(crate) answered: Option<u16>,
    /// The request under way, for the access log.
    pub(crate) line: Option<Line>,
    /// Turns true when the gate shuts down.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Nothing has been read that was understood: the client may still turn out to speak HTTP/2.
    fresh: bool,
}

/// What becomes of a connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It takes the next request.
    KeepAlive,
    /// It is closed in good order.
    Close,
    /// There is nobody left to be orderly with.
    Gone,
}

/// How reading a head ended.
enum Reading {
    Head,
    Closed,
    Refused(Answer),
    /// No head, but the beginning of HTTP/2.
    Http2,
}

impl Connection {
    pub(crate) fn new(
        client: Wire,
        direct: Asker,
        worker: Arc<Worker>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let lease = worker.gate.verifier.lease();
        let settings = worker.gate.settings.cached();
        let head = RequestHead::default();
        Self {
            client,
            direct,
            asker: direct,
            shown: false,
            worker,
            settings,
            alarm: Alarm::default(),
            lease,
            head,
            host: Vec::new(),
            scratch: Vec::new(),
            answered: None,
            line: None,
            stopping,
            fresh: true,
        }
    }

    /// The client has agreed on HTTP/1.1, and is held to it.
    pub(crate) fn without_http2(self) -> Self {
        Self { fresh: false, ..self }
    }

    /// Serves requests until either side closes, or the gate shuts down. A client that turns out to speak HTTP/2 comes
    /// back, with nothing consumed.
    pub(crate) async fn serve(mut self) -> Option<Wire> {
        loop {
            let after = match self.read_head().await {
                Reading::Head => self.exchange().await,
                Reading::Closed => return None,
                Reading::Refused(answer) => self.refuse_unread(&answer).await,
                Reading::Http2 => return Some(self.client),
            };
            self.fresh = false;
            self.note();
            match after {
                After::KeepAlive if *self.stopping.borrow() => return None,
                After::KeepAlive => {}
                After::Close => {
                    // Slow or stubborn clients are not waited for.
                    let _ = timeout(LINGER, self.client.drain(&self.worker.stock)).await;
                    return None;
                }
                After::Gone => return None,
            }
        }
    }

    /// Waits for a request, then for the whole of its head.
    async fn read_head(&mut self) -> Reading {
        if self.client.input.is_empty() {
            self.slim_down();
        }
        if self.client.input.is_empty() {
            let idle_until = Instant::now() + self.settings.now().limits.idle;
            let (client, stock, alarm) = (&mut self.client, &self.worker.stock, &mut self.alarm);
            let readable = poll_fn(|context| match client.poll_readable(context, stock) {
                Poll::Ready(readable) => Poll::Ready(readable.is_ok()),
                Poll::Pending => alarm.poll_until(context, idle_until).map(|()| false),
            });
            tokio::select! {
                biased;
                readable = readable => if !readable {
                    return Reading::Closed;
                },
                _ = self.stopping.wait_for(|stopping| *stopping) => return Reading::Closed,
            }
        }
        // Those that count now: it may have been idle for long.
        let limits = self.settings.now().limits;
        self.head.clear();
        self.shown = false;
        self.answered = None;
        let (client, stock, head, fresh) = (&mut self.client, &self.worker.stock, &mut self.head, self.fresh);
        let head_limits = HeadLimits { max_bytes: limits.head_bytes, max_fields: limits.head_fields };
        let reading = async {
            loop {
                if !client.input.is_empty() {
                    match head.parse(client.input.filled(), &head_limits) {
                        Ok(Progress::Complete) => return Reading::Head,
                        Ok(Progress::Partial) => {}
                        // What HTTP/2 begins with is no head (RFC 9113, section 3.4).
                        Err(malformed) => match beginning(client.input.filled()) {
                            Beginning::Whole if fresh => return Reading::Http2,
                            Beginning::Partial if fresh => head.clear(),
                            _ => return Reading::Refused(malformed.into()),
                        },
                    }
                }
                match client.fill(stock).await {
                    Ok(0) | Err(_) => return Reading::Closed,
                    Ok(_) => {}
                }
            }
        };
        within(limits.head_time, reading).await.unwrap_or_else(|_| {
            Reading::Refused(Problem::new(408, "The request took too long to arrive.").into())
        })
    }

    /// What one large exchange needed is not kept while idle.
    fn slim_down(&mut self) {
        if self.head.len() > KEPT_WHILE_IDLE {
            self.head = RequestHead::default();
        }
        if self.scratch.capacity() > KEPT_WHILE_IDLE {
            self.scratch = Vec::new();
        }
    }

    /// Decides on the request, and lets it through.
    async fn exchange(&mut self) -> After {
        let worker = self.worker.clone();
        let settings = self.settings.now().clone();
        let buffer = self.client.input.filled();
        let fields = self.head.view(buffer);
        self.shown = is_navigation(&fields);
        if settings.forward_auth
            && let Some(family) = Family::asked_at(self.head.target().of(buffer))
            && settings.trusted_proxies.trusts_peer(self.direct.ip)
        {
            return forward_auth::serve(self, &settings, family).await;
        }
        self.asker = match settings.trusted_proxies.asker(self.direct, &fields) {
            Ok(asker) => asker,
            Err(unreadable) => {
                self.line = Line::unread(&worker.gate, self.direct.ip);
                return self.refuse_and_close(&Problem::new(400, unreadable.to_string()).into()).await;
            }
        };
        let asking = Asking {
            method: self.head.method().of(buffer),
            host: self.head.host().of(buffer),
            target: self.head.target().of(buffer),
            fields: &fields,
        };
        self.line = Line::begin(&worker.gate, &settings, &asking, self.asker.ip);
        match decide(&worker.gate, &settings, &asking, &self.asker, &self.lease.handle()).await {
            Verdict::Own { path, query } => {
                let target = with_query(path.as_str(), query);
                own::serve(self, target).await
            }
            Verdict::Go(way) => {
                let request = forward::prepare(self, &way);
                let route = way.route;
                let Some(upstream) = &route.upstream else {
                    let name = &route.policy.name;
                    let detail = format!(
                        "The route {name} has no upstream: another proxy serves it and asks Fallgate."
                    );
                    self.let_go();
                    return self.refuse(&Problem::new(404, detail).into()).await;
                };
                forward::serve(self, &route, upstream, request, settings.limits.idle).await
            }
            Verdict::Refused(answer) => {
                self.let_go();
                if answer.closes() {
                    self.refuse_and_close(&answer).await
                } else {
                    self.refuse(&answer).await
                }
            }
        }
    }

    /// Refuses what cannot be read. The connection takes no other.
    pub(crate) async fn refuse_unread(&mut self, answer: &Answer) -> After {
        self.line = Line::unread(&self.worker.gate, self.direct.ip);
        self.refuse_and_close(answer).await
    }

    /// The request is over.
    pub(crate) fn note(&mut self) {
        self.let_go();
        if let Some(line) = self.line.take() {
            line.end(&self.worker.gate, self.answered);
        }
    }

    /// Nothing rests on the caller any more.
    pub(crate) fn let_go(&mut self) {
        if let Some(line) = &mut self.line {
            line.observe(&self.lease);
        }
        self.lease.settle();
    }

    /// Answers the request with a problem. The connection goes on when nothing of the request is left unread.
    pub(crate) async fn refuse(&mut self, answer: &Answer) -> After {
        let manner = self.manner(answer);
        self.answered = Some(answer.problem.status);
        self.reply(|out, close| answer.write(out, Manner { close, ..manner })).await
    }

    /// Answers with a problem, whatever state the request is in; the connection takes no other.
    pub(crate) async fn refuse_and_close(&mut self, answer: &Answer) -> After {
        let manner = self.manner(answer);
        self.answered = Some(answer.problem.status);
        self.send(|out, close| answer.write(out, Manner { close, ..manner }), true).await
    }

    /// Says what has ended the request to whoever takes it in at once, and waits for nobody: what it rested on is gone, and
    /// so is its connection (requirement R48).
    pub(crate) async fn refuse_cut(&mut self, ended: Ended) -> After {
        self.client.cut();
        let answer = Answer::from(&ended.refusal());
        let told = timeout(LINGER, self.refuse_and_close(&answer)).await;
        told.unwrap_or_else(|_| {
            self.client.reset_on_close();
            After::Gone
        })
    }

    /// As a page to a browser that shows it, to everybody else as a problem.
    fn manner(&self, answer: &Answer) -> Manner {
        let gate = &self.worker.gate;
        let page = self.shown.then(|| (gate.draw_problem)(&answer.problem, &gate.settings.now().origin));
        let now = gate.verifier.clock().now();
        Manner { bodiless: self.head.is_head(), close: true, https: self.asker.https, now, page }
    }

    /// Answers the request with what is written, which is told whether the connection closes: it goes on when nothing of
    /// the request is left unread.
    pub(crate) async fn reply(&mut self, write: impl FnOnce(&mut Vec<u8>, bool)) -> After {
        // Whatever it is, and however often it is said.
        let whole = self.head.body().is_empty() && self.head.field(FieldId::Upgrade).is_none();
        let close = !(whole && self.head.keep_alive());
        if !close {
            self.client.input.consume(self.head.len());
        }
        self.send(write, close).await
    }

    async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>, bool), close: bool) -> After {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        write(&mut out, close);
        if let Some(line) = &mut self.line {
            let head = memchr::memmem::find(&out, b"\r\n\r\n").map_or(out.len(), |at| at + 4);
            line.sent((out.len() - head) as u64);
        }
        let written = self.client.write_within(&out, self.worker.gate.settings.now().limits.idle).await;
        out.clear();
        self.scratch = out;
        match written {
            Ok(()) if close => After::Close,
            Ok(()) => After::KeepAlive,
            Err(_) => After::Gone,
        }
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
