//! Handing what is for our own doors to them: an HTTP service behind our listener.

mod answer;
mod body;

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum_core::body::Body;
use fallgate_authority::{CameByHttps, PeerAddress};
use fallgate_domain::live::StreamKind;
use fallgate_domain::problem::Problem;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use tokio::sync::{mpsc, oneshot};

use self::answer::answer;
use self::body::{Feed, RequestBody};
use super::connection::{After, Connection};
use super::refuse::Answer;
use crate::wire::http1::{BodyKind, FieldId};

/// Our own pages and API: a request in, an answer out, never an error.
pub type Doors =
    Arc<dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// Serves the request whose head stands in `connection`, at this canonical path and query.
pub(crate) async fn serve(connection: &mut Connection, target: String) -> After {
    let body_kind = connection.head.body();
    let bodiless = connection.head.is_head();
    // What a client sends early for another protocol is never taken for a request (requirement R65).
    let keep_alive = connection.head.keep_alive() && connection.head.field(FieldId::Upgrade).is_none();
    let expects_continue = connection.head.expects_continue();
    let (wanted_by_door, wanted) = oneshot::channel();
    let (to_door, pieces) = mpsc::channel(1);
    let body = match body_kind {
        BodyKind::Empty | BodyKind::Length(0) => Body::empty(),
        _ => Body::new(RequestBody { wanted: Some(wanted_by_door), pieces }),
    };
    let request = match build(connection, &target, body) {
        Ok(request) => request,
        Err(answer) => return connection.refuse(&answer).await,
    };
    connection.client.input.consume(connection.head.len());

    let worker = connection.worker.clone();
    let mut feed = Feed { left: body_kind, expects_continue, taken: 0 };
    let answered = {
        let door = AssertUnwindSafe((worker.gate.doors)(request)).catch_unwind();
        let (lease, ip) = (&connection.lease, connection.asker.ip);
        let tell = |taken, more| {
            if more {
                lease.flows(StreamKind::Upload, ip);
            } else {
                lease.flows_nothing();
            }
            lease.came_in(taken);
        };
        let feeding = feed.run(&mut connection.client, &worker.stock, wanted, to_door, tell);
        let (mut door, mut feeding) = (pin!(door), pin!(feeding));
        let mut all_read = false;
        let both = poll_fn(|context| {
            all_read = all_read || feeding.as_mut().poll(context).is_ready();
            door.as_mut().poll(context)
        });
        tokio::select! {
            biased;
            ended = connection.lease.ended() => Err(ended),
            response = both => Ok(response),
        }
    };
    // A body that was not read to its end leaves the connection nowhere.
    let whole = matches!(feed.left, BodyKind::Empty | BodyKind::Length(0));
    match answered {
        Err(ended) => connection.refuse_cut(ended).await,
        Ok(Err(_panic)) => {
            tracing::error!("a door panicked; this request is answered 503");
            connection.refuse_and_close(&Problem::new(503, "Something broke inside Fallgate.").into()).await
        }
        Ok(Ok(response)) => answer(connection, response, bodiless, keep_alive && whole).await,
    }
}

fn build(connection: &Connection, target: &str, body: Body) -> Result<Request<Body>, Answer> {
    let unusable = || Answer::from(Problem::new(400, "The request cannot be read."));
    let (head, buffer) = (&connection.head, connection.client.input.filled());
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method().of(buffer)).map_err(|_| unusable())?;
    *request.uri_mut() = target.parse::<Uri>().map_err(|_| unusable())?;
    *request.version_mut() = Version::HTTP_11;
    for field in head.fields() {
        if matches!(field.id, FieldId::Connection | FieldId::TransferEncoding | FieldId::Expect) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.of(buffer)).map_err(|_| unusable())?;
        let value = HeaderValue::from_bytes(field.value.of(buffer)).map_err(|_| unusable())?;
        request.headers_mut().append(name, value);
    }
    request.extensions_mut().insert(PeerAddress(connection.asker.ip));
    request.extensions_mut().insert(CameByHttps(connection.asker.https));
    request.extensions_mut().insert(connection.lease.handle());
    Ok(request)
}
