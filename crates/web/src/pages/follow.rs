//! Pages that follow what happens: the server sends what is to be shown whenever that changed (server-sent events).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use fallgate_authority::Principal;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_store::StoreError;
use futures_util::stream;
use http::{HeaderValue, header};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::hold_to_page;
use crate::app::App;
use crate::error::WebError;

/// How often it is looked whether anything changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so long without news the browser hears that the line is still good, and we hear whether it is.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many pages of one person may follow at once.
const MOST_EACH: usize = 16;

/// Whoever follows now, and on how many pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<HashMap<Follower, usize>>>);

/// A person, or a credential that nobody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Follower {
    User(UserId),
    Credential(CredentialId),
}

/// One page that follows. It is counted until this is dropped.
#[derive(Debug)]
struct Place {
    followers: Followers,
    follower: Follower,
}

impl Followers {
    fn enter(&self, caller: &Principal) -> Option<Place> {
        let follower = caller.user().map_or(Follower::Credential(caller.credential()), Follower::User);
        let mut counts = self.0.lock();
        let count = counts.entry(follower).or_default();
        if *count >= MOST_EACH {
            return None;
        }
        *count += 1;
        Some(Place { followers: self.clone(), follower })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.followers.0.lock();
        if let Some(count) = counts.get_mut(&self.follower) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.follower);
            }
        }
    }
}

/// What a page shows now, each time it is asked.
pub(super) trait Watched: Send + 'static {
    /// What is to be sent, as JSON on one line; `None`: nothing new.
    fn look(&mut self) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
}

/// Answers with what is watched, again and again. It ends with the lease that it is sent under, which the relay sees to.
pub(super) fn follow(app: &App, caller: &Principal, watched: impl Watched) -> Result<Response, WebError> {
    let Some(place) = app.followers.enter(caller) else {
        let detail = format!("You follow on {MOST_EACH} pages already: close some of them.");
        return Err(WebError::TooManyOpen(detail));
    };
    let events = stream::unfold((watched, place, None), |(mut watched, place, mut sent)| async move {
        let text = next(&mut watched, &mut sent).await?;
        Some((Ok::<_, Infallible>(text), (watched, place, sent)))
    });
    let mut response = Response::new(Body::from_stream(events));
    let media_type = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    hold_to_page(&mut response);
    Ok(response)
}

/// Waits for what is to be sent next. `None`: the store cannot be read; the page asks again.
async fn next(watched: &mut impl Watched, sent: &mut Option<Instant>) -> Option<String> {
    loop {
        if sent.is_some() {
            sleep(LOOK_EVERY).await;
        }
        let found = watched.look().await.inspect_err(|error| tracing::error!(%error, "a page cannot follow"));
        let text = match found.ok()? {
            Some(json) => format!("data: {json}\n\n"),
            // What comes first also tells that the line is good.
            None if sent.is_none_or(|sent| sent.elapsed() >= HEARTBEAT) => ": still here\n\n".to_owned(),
            None => continue,
        };
        *sent = Some(Instant::now());
        return Some(text);
    }
}
