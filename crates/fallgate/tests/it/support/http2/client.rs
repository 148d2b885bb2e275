//! A client that speaks HTTP/2 by the rules.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, StatusCode};

use crate::support::{PATIENCE, Token};

/// Runs a test that waits for several things at once. Gives up after [`PATIENCE`] three times over.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, test).await });
    outcome.unwrap_or_else(|_| panic!("the test came to no end"))
}

/// A connection to a gate.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    handle: SendRequest<Bytes>,
    host: String,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Session {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &client::Builder::new()).await
    }

    pub(crate) async fn open_with(address: SocketAddr, builder: &client::Builder) -> Self {
        // The test is the client here: nothing vets where it goes.
        let stream = tokio::net::TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (handle, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { handle, host: "localhost".to_owned() }
    }

    /// A request to be filled in further.
    pub(crate) fn request(&self, method: Method, target: &str, token: Option<&Token>) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{}{target}", self.host).parse().unwrap();
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.secret);
            request.headers_mut().insert("authorization", bearer.parse().unwrap());
        }
        request
    }

    /// Sends a request's head.
    pub(crate) async fn send(&self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut handle = self.handle.clone().ready().await.unwrap();
        handle.send_request(request, ends).unwrap()
    }

    /// A request without a body, and its whole answer.
    pub(crate) async fn get(&self, target: &str, token: Option<&Token>) -> Answer {
        self.ask(self.request(Method::GET, target, token), b"").await
    }

    /// A request, and its whole answer.
    pub(crate) async fn ask(&self, request: Request<()>, body: &[u8]) -> Answer {
        let (answer, mut stream) = self.send(request, body.is_empty()).await;
        let sending = async {
            if !body.is_empty() {
                send(&mut stream, body).await;
                let _ = stream.send_data(Bytes::new(), true);
            }
        };
        let ((), answer) = tokio::join!(sending, Answer::read(answer));
        answer.unwrap()
    }
}

impl Answer {
    pub(crate) async fn read(answer: ResponseFuture) -> Result<Self, h2::Error> {
        let (parts, mut stream) = answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = more(&mut stream).await {
            body.extend(data?);
        }
        let trailers = stream.trailers().await?;
        Ok(Self { status: parts.status, headers: parts.headers, body, trailers })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The next piece of a body.
pub(crate) async fn more(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    loop {
        let data = stream.data().await?;
        if let Ok(data) = &data {
            let _ = stream.flow_control().release_capacity(data.len());
        }
        // The last frame may have nothing but the end in it.
        if !data.as_ref().is_ok_and(Bytes::is_empty) {
            return Some(data);
        }
    }
}

/// Sends all of it as the other side takes it; stops when that wants no more.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut body: &[u8]) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(room)) = room else { return };
        let (now, later) = body.split_at(room.min(body.len()));
        if stream.send_data(Bytes::copy_from_slice(now), false).is_err() {
            return;
        }
        body = later;
    }
}

/// How long something must not come for it to count as not coming.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
