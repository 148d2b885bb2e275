//! A thread that owns a connection and reads from it.

use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::sqlite::line::{Line, ended};

type Query = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread. It ends, and its connection closes, when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker(Line<Query>);

impl Worker {
    pub(crate) fn start(name: &str, mut connection: Connection) -> Result<Self, Fault> {
        let line = Line::start(name, move |mut line: tokio::sync::mpsc::Receiver<Query>| {
            while let Some(query) = line.blocking_recv() {
                query(&mut connection);
            }
        });
        Ok(Self(line?))
    }

    /// Asks on the thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        self.0
            .put(Box::new(move |connection| {
                // Nobody waits for it any more.
                let _ = answer.send(query(connection));
            }))
            .await?;
        answered.await.map_err(|_| ended())?
    }
}

/// Does one job on a thread of its own.
pub(crate) async fn once<T: Send + 'static>(
    name: &str,
    job: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = answer.send(job());
        })
        .map_err(|error| Fault::Unavailable(format!("no thread can be started for it ({error})")))?;
    answered.await.map_err(|_| Fault::Unavailable("the thread that opened it has ended".to_owned()))?
}
