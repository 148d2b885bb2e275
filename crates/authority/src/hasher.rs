//! Where passphrases are hashed: threads of their own at the lowest priority, few of them, behind a bounded queue
//! (requirement R53). So a flood of them slows neither requests nor one another without end.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::hash_queue::{Job, Lane, Queue};

/// When to come again after the queue was full: about as long as half of it takes.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The lowest priority there is for a thread that may still run on an otherwise idle machine.
const NICE: i32 = 19;

/// Threads that hash. They are started when there is something to do.
pub(crate) struct Hasher {
    shared: Arc<Shared>,
    threads_at_most: usize,
}

/// There is no room for another job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passphrases are being checked at once: try again in {} seconds", self.retry_after().as_secs())]
pub struct HasherBusy;

impl HasherBusy {
    /// When to try again.
    pub const fn retry_after(self) -> Duration {
        RETRY_AFTER
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Hasher {
    /// At most half the cores, but one.
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { shared: Arc::default(), threads_at_most: (cores / 2).max(1) }
    }

    /// Does a job on one of the threads. Nobody waiting for its answer any more, it is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HasherBusy> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_closed() {
                // Whoever asked may have gone away meanwhile.
                let _ = answer.send(job());
            }
        });
        self.submit(lane, job)?;
        answered.await.map_err(|_| HasherBusy)
    }

    fn submit(&self, lane: Lane, job: Job) -> Result<(), HasherBusy> {
        let mut state = self.shared.state.lock();
        state.queue.push(lane, job)?;
        if state.queue.len() > state.idle && state.threads < self.threads_at_most {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name("hasher".to_owned()).spawn(move || work(&shared));
            match started {
                Ok(_) => state.threads += 1,
                Err(error) => {
                    tracing::error!(%error, "cannot start a thread for passphrases");
                    if state.threads == 0 {
                        state.queue.clear();
                        return Err(HasherBusy);
                    }
                }
            }
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("threads_at_most", &self.threads_at_most).finish_non_exhaustive()
    }
}

/// A thread's place among the threads, given back also when a job panics.
struct Place<'a>(&'a Shared);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().threads -= 1;
    }
}

fn work(shared: &Shared) {
    let _place = Place(shared);
    // On Linux a priority is the thread's own, and 0, which `None` stands for, is the thread that calls.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "passphrases are hashed at the usual priority");
    }
    loop {
        let job = {
            let mut state = shared.state.lock();
            loop {
                if let Some(job) = state.queue.pop() {
                    break job;
                }
                if state.closed {
                    return;
                }
                state.idle += 1;
                shared.work.wait(&mut state);
                state.idle -= 1;
            }
        };
        job();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::hash_queue::{OF_SITE as QUEUE_OF_LANE, STRANGERS as QUEUE};

    fn hasher(threads_at_most: usize) -> Hasher {
        Hasher { shared: Arc::default(), threads_at_most }
    }

    /// Fills the one thread with a job that waits, and tells how to let it go.
    fn occupied() -> (Hasher, mpsc::Sender<()>) {
        let hasher = hasher(1);
        let (go, wait) = mpsc::channel::<()>();
        let (begun, is_begun) = mpsc::channel();
        let job = move || {
            begun.send(()).unwrap();
            let _ = wait.recv();
        };
        hasher.submit(Lane::Known, Box::new(job)).unwrap();
        is_begun.recv().unwrap();
        (hasher, go)
    }

    #[tokio::test]
    async fn r53_what_the_queue_does_not_hold_is_refused_and_the_rest_is_done_in_order() {
        let (hasher, go) = occupied();
        let (done, in_order) = mpsc::channel();
        let stranger = Lane::of(None);
        for number in 0..QUEUE_OF_LANE {
            let done = done.clone();
            let job = Box::new(move || done.send(number).unwrap());
            hasher.submit(stranger, job).unwrap();
        }
        assert_eq!(hasher.run(stranger, || ()).await, Err(HasherBusy));
        go.send(()).unwrap();
        let numbers: Vec<_> = in_order.iter().take(QUEUE_OF_LANE).collect();
        assert_eq!(numbers, (0..QUEUE_OF_LANE).collect::<Vec<_>>());
        assert_eq!(hasher.run(Lane::Known, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn r53_lanes_take_turns_and_the_longest_makes_room_for_a_newcomer() {
        let (hasher, go) = occupied();
        let (done, in_order) = mpsc::channel();
        let lane = |number: u8| Lane::of(Some(std::net::Ipv4Addr::new(192, 0, 2, number).into()));
        let submit = |number: u8| {
            let done = done.clone();
            hasher.submit(lane(number), Box::new(move || done.send(u32::from(number)).unwrap()))
        };
        for number in 1..=4 {
            for _ in 0..QUEUE_OF_LANE {
                submit(number).unwrap();
            }
            assert_eq!(submit(number), Err(HasherBusy));
        }
        // All is full: two that come now find room, and what they took is the flood's.
        submit(5).unwrap();
        submit(6).unwrap();
        go.send(()).unwrap();
        let order: Vec<_> = in_order.iter().take(QUEUE).collect();
        assert_eq!(order[..8], [1, 2, 3, 4, 5, 6, 1, 2]);
        let count = |lane| order.iter().filter(|number| **number == lane).count();
        assert_eq!((1..=4).map(count).sum::<usize>(), QUEUE - 2);
        assert!((1..=4).all(|lane| count(lane) >= QUEUE_OF_LANE - 1));
        assert_eq!(hasher.run(lane(1), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn r53_no_more_run_at_once_than_there_are_threads_and_at_the_lowest_priority() {
        let hasher = hasher(2);
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let ours = priority();
        let name = || thread::current().name().map(str::to_owned);
        let theirs = hasher.run(Lane::Known, move || (name(), priority())).await.unwrap();
        assert_eq!(theirs, (Some("hasher".to_owned()), NICE));
        assert_eq!(priority(), ours, "the others keep theirs");
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let (begun, is_begun) = mpsc::channel();
        for _ in 0..5 {
            let (wait, begun) = (wait.clone(), begun.clone());
            let job = move || {
                begun.send(thread::current().id()).unwrap();
                let _ = wait.lock().recv();
            };
            hasher.submit(Lane::Known, Box::new(job)).unwrap();
        }
        let first: Vec<_> = is_begun.iter().take(2).collect();
        assert_ne!(first[0], first[1]);
        assert!(is_begun.try_recv().is_err(), "a third runs");
        drop(go);
        assert!(is_begun.iter().take(3).all(|thread| first.contains(&thread)));
    }

    #[tokio::test]
    async fn a_job_whose_caller_went_away_is_not_begun() {
        let (hasher, go) = occupied();
        let (ran, has_run) = mpsc::channel::<()>();
        let mut waiting = Box::pin(hasher.run(Lane::Known, move || ran.send(()).unwrap()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(Future::poll(waiting.as_mut(), &mut context).is_pending());
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(hasher.run(Lane::Known, || 1).await, Ok(1));
        assert!(has_run.recv().is_err());
    }

    #[tokio::test]
    async fn a_job_that_panics_takes_no_place_with_it() {
        let hasher = hasher(1);
        assert_eq!(hasher.run(Lane::Known, || panic!("on purpose")).await, Err::<(), _>(HasherBusy));
        // Its thread may take a moment to end.
        while hasher.shared.state.lock().threads > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.run(Lane::Known, || 1).await, Ok(1));
    }
}
