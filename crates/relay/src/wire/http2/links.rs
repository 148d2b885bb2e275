//! Connections to upstreams that speak HTTP/2, each shared by many exchanges of one worker.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Shared;
use parking_lot::Mutex;

use super::client::ClientStream;
use super::link::Link;
use crate::files::Files;
use crate::wire::dial::{Address, DialError, dial, dial_http2};
use crate::wire::socket::{Socket, Wire};
use crate::wire::tls::Trust;

/// One worker's connections to upstreams that speak HTTP/2.
#[derive(Debug)]
pub(crate) struct Links {
    open: Mutex<HashMap<Place, Vec<Arc<Link>>>>,
    /// Connections on their way: whoever wants one meanwhile waits for the same.
    dialing: Mutex<HashMap<Place, Dialing>>,
    files: Arc<Files>,
}

/// What connections are shared by: where they lead, and who vouches for who is there (requirement R66).
type Place = (Address, Option<Trust>);

type Dialing = Shared<Pin<Box<dyn Future<Output = Result<Opened, Arc<DialError>>> + Send>>>;

/// What has become of a connection on its way.
#[derive(Debug, Clone)]
enum Opened {
    Link(Arc<Link>),
    /// The upstream has chosen HTTP/1.1: a connection for whoever takes it first.
    Http1(Arc<Mutex<Option<Wire>>>),
}

impl Links {
    /// None yet; they are counted among these.
    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self { open: Mutex::default(), dialing: Mutex::default(), files }
    }

    /// A stream on a connection that is there already.
    pub(crate) fn take(&self, address: &Address, tls: Option<&Trust>) -> Option<Wire> {
        self.take_from(&place(address, tls))
    }

    fn take_from(&self, place: &Place) -> Option<Wire> {
        self.open.lock().get(place)?.iter().find_map(stream)
    }

    /// A stream on a new connection; or a connection that speaks HTTP/1.1, if the upstream will have no other.
    ///
    /// A connection takes so many streams and no more: whoever finds no room on the one that was waited for goes on to
    /// another. What `h2` is given beyond that it sends once there is room, whatever has become of the caller.
    pub(crate) async fn open(&self, address: &Address, tls: Option<&Trust>) -> Result<Wire, DialError> {
        let place = place(address, tls);
        loop {
            let (opened, first) = self.dialed(&place).await;
            match opened.map_err(|error| again(&error))? {
                Opened::Link(link) => {
                    if first {
                        self.open.lock().entry(place.clone()).or_default().push(link.clone());
                    }
                    if let Some(stream) = stream(&link).or_else(|| self.take_from(&place)) {
                        return Ok(stream);
                    }
                    if first {
                        return Err(DialError::Refused(io::Error::other("it takes no streams")));
                    }
                }
                Opened::Http1(wire) => {
                    let taken = wire.lock().take();
                    return match taken {
                        Some(wire) => Ok(wire),
                        None => dial(address, tls, &self.files).await,
                    };
                }
            }
        }
    }

    /// What comes of the connection on its way, and whether nobody else was told before.
    async fn dialed(&self, place: &Place) -> (Result<Opened, Arc<DialError>>, bool) {
        let dialing = {
            let begin = || {
                open(place.clone(), self.files.clone())
                    .map(|opened| opened.map_err(Arc::new))
                    .boxed()
                    .shared()
            };
            self.dialing.lock().entry(place.clone()).or_insert_with(begin).clone()
        };
        let waiter = Waiter { links: self, place, dialing };
        let opened = waiter.dialing.clone().await;
        let mut under_way = self.dialing.lock();
        let first = waiter.is_under_way(under_way.get(place));
        if first {
            under_way.remove(place);
        }
        drop(under_way);
        (opened, first)
    }

    /// Lets go of what has been idle for too long, or takes no more streams. Called now and then.
    pub(crate) fn sweep(&self) {
        self.open.lock().retain(|_, links| {
            links.retain(|link| !link.is_spent());
            !links.is_empty()
        });
    }
}

/// Somebody who waits for a connection. It is on its way only as long as somebody does: one that nobody drives would be
/// found late or broken by whoever comes next.
struct Waiter<'a> {
    links: &'a Links,
    place: &'a Place,
    dialing: Dialing,
}

impl Waiter<'_> {
    fn is_under_way(&self, under_way: Option<&Dialing>) -> bool {
        under_way.is_some_and(|other| other.ptr_eq(&self.dialing))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut under_way = self.links.dialing.lock();
        // Two are the map's and this one's own.
        if self.is_under_way(under_way.get(self.place))
            && self.dialing.strong_count().is_none_or(|count| count <= 2)
        {
            under_way.remove(self.place);
        }
    }
}

/// `None`: there is no room for one.
fn stream(link: &Arc<Link>) -> Option<Wire> {
    link.claim().then(|| Wire::new(Socket::Upstream(Box::new(ClientStream::new(link.clone())))))
}

fn place(address: &Address, tls: Option<&Trust>) -> Place {
    (address.clone(), tls.cloned())
}

/// What went wrong, for another who waited for the same.
fn again(error: &DialError) -> DialError {
    let same = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    match error {
        DialError::NoRoom => DialError::NoRoom,
        DialError::TimedOut(within) => DialError::TimedOut(*within),
        DialError::Refused(error) => DialError::Refused(same(error)),
        DialError::NoTls(error) => DialError::NoTls(same(error)),
    }
}

async fn open((address, tls): Place, files: Arc<Files>) -> Result<Opened, DialError> {
    let wire = dial_http2(&address, tls.as_ref(), &files).await?;
    if tls.is_some() && !wire.speaks_http2() {
        return Ok(Opened::Http1(Arc::new(Mutex::new(Some(wire)))));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    Link::begin_on(wire, scheme).await.map(|link| Opened::Link(Arc::new(link)))
}
