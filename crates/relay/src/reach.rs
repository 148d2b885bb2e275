//! Whether upstreams take connections, for pages that show it. Nothing is decided by it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::files::Files;
use crate::ingress::route::Route;
use crate::wire::dial::{Address, DialError, reach};

/// How long what was found out is told again.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How long an upstream may take to accept a connection.
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);
/// How long whoever asks waits for it. A page must not hang on an upstream that is gone.
const WAIT_FOR: Duration = Duration::from_millis(300);

/// Whether an upstream takes connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It did, a moment ago.
    Up,
    /// It did not; why, in words without a stop.
    Down(String),
    /// It has not answered yet.
    Waiting,
}

/// What was found out of each upstream, shared by all who ask.
#[derive(Debug, Clone)]
pub struct Reaches {
    looks: Arc<Mutex<HashMap<Address, Look>>>,
    files: Arc<Files>,
}

/// A look at one upstream.
#[derive(Debug)]
struct Look {
    begun: Instant,
    /// `None` until it is over, and if nothing came of it.
    found: watch::Receiver<Option<Reach>>,
    /// What the look before it found, which is told until this one is over.
    before: Option<Reach>,
}

impl Reaches {
    /// Nothing was found out yet; whatever is opened for that is counted among these.
    pub fn new(files: Arc<Files>) -> Self {
        Self { looks: Arc::default(), files }
    }

    /// The state of each route's upstream; `None` where it has none (forward-auth). Looks that take long go on by
    /// themselves: whoever asks next is told what they found.
    pub async fn of(&self, routes: impl Iterator<Item = &Route>) -> Vec<Option<Reach>> {
        let deadline = Instant::now() + WAIT_FOR;
        let addresses: Vec<_> =
            routes.map(|route| route.upstream.as_ref().map(|upstream| &upstream.address)).collect();
        self.forget_old();
        // All are begun before one is waited for.
        let looks: Vec<_> = addresses.into_iter().map(|address| address.map(|one| self.look(one))).collect();
        let found = looks.into_iter().map(async |look| {
            let (mut found, before) = look?;
            let found = timeout_at(deadline, found.wait_for(Option::is_some)).await;
            let found = found.ok().and_then(Result::ok).and_then(|found| found.clone());
            Some(found.or(before).unwrap_or(Reach::Waiting))
        });
        join_all(found).await
    }

    /// The look that counts: the last one, or a new one if that is too long ago.
    fn look(&self, address: &Address) -> (watch::Receiver<Option<Reach>>, Option<Reach>) {
        let mut looks = self.looks.lock();
        let last = looks.get(address);
        if let Some(look) = last.filter(|look| look.begun.elapsed() < GOOD_FOR) {
            return (look.found.clone(), look.before.clone());
        }
        let before = last.and_then(|look| look.found.borrow().clone().or_else(|| look.before.clone()));
        let (tell, found) = watch::channel(None);
        let (asked, files) = (address.clone(), self.files.clone());
        tokio::spawn(async move {
            let found = match reach(&asked, ACCEPT_WITHIN, &files).await {
                Ok(()) => Reach::Up,
                // It was not asked: what was known of it goes on to be told.
                Err(DialError::NoRoom) => return,
                Err(error) => Reach::Down(error.to_string()),
            };
            let _ = tell.send(Some(found));
        });
        let look = Look { begun: Instant::now(), found: found.clone(), before: before.clone() };
        looks.insert(address.clone(), look);
        (found, before)
    }

    /// What nobody has asked for in a while may be of a route that is gone.
    fn forget_old(&self) {
        self.looks.lock().retain(|_, look| look.begun.elapsed() < 60 * GOOD_FOR);
    }
}
