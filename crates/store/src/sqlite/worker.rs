//! A thread that owns a connection and does one job after the other.

use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::Fault;
use crate::sqlite::turns::Turns;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// How many jobs may wait in line; whoever comes next waits to be let into it.
const LINE: usize = 256;

/// The thread. It ends, and its connection closes, when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(name: &str, mut connection: Connection) -> Result<Self, Fault> {
        let (jobs, mut line) = mpsc::channel::<Job>(LINE);
        // Who only reads is in nobody's way.
        let writes = !connection.is_readonly("main")?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut turns = Turns::default();
                while let Some(job) = line.blocking_recv() {
                    if writes && let Some(pause) = turns.pause(Instant::now()) {
                        thread::sleep(pause);
                    }
                    let begun = Instant::now();
                    job(&mut connection);
                    turns.wrote(begun, Instant::now());
                }
            })
            .map_err(|error| Fault::Unavailable(format!("no thread can be started for it ({error})")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does a job on the thread. Once in line it is done, whether or not the answer is still waited for.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let ended = || Fault::Unavailable("its thread has ended; restart".to_owned());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more: what was done is done all the same.
            let _ = answer.send(job(connection));
        });
        self.jobs.as_ref().ok_or_else(ended)?.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Waited for, so that the file is at rest once the last handle is gone.
            let _ = thread.join();
        }
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
