//! A thread that takes one job after the other out of a line.

use std::fmt;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::error::Fault;

/// How many jobs may wait in line; whoever comes next waits to be let into it.
const LONGEST: usize = 256;

/// The line and its thread, which does what is in line, and ends when this is dropped.
pub(super) struct Line<Job> {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl<Job: Send + 'static> Line<Job> {
    pub(super) fn start(
        name: &str,
        work: impl FnOnce(mpsc::Receiver<Job>) + Send + 'static,
    ) -> Result<Self, Fault> {
        let (jobs, line) = mpsc::channel(LONGEST);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(line))
            .map_err(|error| Fault::Unavailable(format!("no thread can be started for it ({error})")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Once in line a job is done, whether or not its answer is still waited for.
    pub(super) async fn put(&self, job: Job) -> Result<(), Fault> {
        self.jobs.as_ref().ok_or_else(ended)?.send(job).await.map_err(|_| ended())
    }
}

impl<Job> fmt::Debug for Line<Job> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// The thread is no more.
pub(super) fn ended() -> Fault {
    Fault::Unavailable("its thread has ended; restart".to_owned())
}

impl<Job> Drop for Line<Job> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Waited for, so that the file is at rest once the last handle is gone.
            let _ = thread.join();
        }
    }
}
