//! An upstream that echoes over WebSocket, and a client that waits for its close code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HOST};
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message};

use super::client::{Duplex, connect};
use super::home::Token;

/// A WebSocket server that sends every message back, for as long as the test runs.
#[derive(Debug)]
pub(crate) struct WebSocketUpstream {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl WebSocketUpstream {
    /// Starts it on a port of its own.
    pub(crate) fn echo() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicUsize::new(0));
        let counter = open.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(echo(stream, counter.clone()));
                }
            });
        });
        Self { address, open }
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections are open on it now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn echo(stream: tokio::net::TcpStream, open: Arc<AtomicUsize>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    open.fetch_add(1, Ordering::SeqCst);
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() && socket.send(message).await.is_err() {
            break;
        }
    }
    open.fetch_sub(1, Ordering::SeqCst);
}

/// A client's WebSocket. Reading and writing give up after [`super::PATIENCE`].
#[derive(Debug)]
pub(crate) struct WebSocket(tungstenite::WebSocket<Box<dyn Duplex>>);

impl WebSocket {
    /// Opens one; a status other than 101 is the error.
    pub(crate) fn open(gate: SocketAddr, target: &str, token: Option<&Token>) -> Result<Self, u16> {
        Self::open_at(gate, &gate.to_string(), target, token)
    }

    /// The same under another `Host`.
    pub(crate) fn open_at(
        gate: SocketAddr,
        host: &str,
        target: &str,
        token: Option<&Token>,
    ) -> Result<Self, u16> {
        Self::over(connect(gate), host, target, token)
    }

    /// The same over a connection that is there already.
    pub(crate) fn over(
        stream: impl Duplex + 'static,
        host: &str,
        target: &str,
        token: Option<&Token>,
    ) -> Result<Self, u16> {
        let mut request = format!("ws://localhost{target}").into_client_request().unwrap();
        request.headers_mut().insert(HOST, host.parse().unwrap());
        if let Some(token) = token {
            let value = format!("Bearer {}", token.secret).parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        match tungstenite::client(request, Box::new(stream) as Box<dyn Duplex>) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("the WebSocket's handshake broke: {error}"),
        }
    }

    /// Sends a text and waits for it to come back.
    #[track_caller]
    pub(crate) fn echo(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
        assert_eq!(self.0.read().unwrap(), Message::text(text));
    }

    /// Sends anything: messages, and frames that are parts of one.
    pub(crate) fn send(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }

    /// Reads whatever comes next.
    pub(crate) fn read(&mut self) -> Message {
        self.0.read().unwrap()
    }

    /// Says goodbye, and waits for the answer to it.
    pub(crate) fn close(mut self) {
        self.0.close(None).unwrap();
        while self.0.read().is_ok() {}
    }

    /// Waits for the end; the close code, if one came.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the WebSocket stays open")
                }
                Err(_) => return None,
            }
        }
    }
}
