//! The access log: one line of JSON for each request, written on a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::{Clock, SystemClock, Timestamp};
use fallgate_domain::id::CredentialId;
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use fallgate_relay::{AccessLog as Notes, AccessNote, AccessNotes};
use serde::Serialize;

use crate::config::AccessLog;
use crate::failure::Failure;

/// Who may read a log that is made: it says who did what.
const OWNERS_ALONE: u32 = 0o600;
/// How much is gathered before it is written.
const BATCH: usize = 256 * 1024;
/// Notes are let gather for so long, so that a busy gate does not write line by line.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// How often the writer looks whether it is to end, or to open its file again.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long what waits to be written may take when the gate stops.
const WRITE_DOWN_WITHIN: Duration = Duration::from_secs(2);

/// Writes until it is told to stop.
#[derive(Debug)]
pub(crate) struct Writer {
    told: Arc<Told>,
    thread: JoinHandle<()>,
}

/// What the writer is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    stop: AtomicBool,
    reopen: AtomicBool,
}

impl Told {
    /// Whoever moved the file away wants another in its place.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }
}

/// A line, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    credential: Option<CredentialId>,
    username: Option<&'a Username>,
    agent: Option<&'a AgentName>,
    route: Option<&'a RouteName>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    ms: u64,
    ip: Option<IpAddr>,
}

/// Stands for lines that found no room.
#[derive(Serialize)]
struct Lost {
    at: Timestamp,
    lost: u64,
}

/// Where lines go.
enum Sink {
    Stdout,
    File(PathBuf, File),
}

/// Begins to write where the config says; `None` where it says nowhere.
pub(crate) fn start(to: &AccessLog) -> Result<Option<(Notes, Writer)>, Failure> {
    let sink = match to {
        AccessLog::Off => return Ok(None),
        AccessLog::Stdout => Sink::Stdout,
        AccessLog::File(path) => Sink::File(
            path.clone(),
            open(path).map_err(|error| {
                Failure::failed(format_args!(
                    "cannot write the access log {}: {error}; name another file with log.access, or \"off\"",
                    path.display()
                ))
            })?,
        ),
    };
    let (log, notes) = Notes::new();
    let told = Arc::new(Told::default());
    let shared = told.clone();
    let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        Writing { sink, notes, told: shared, failing: false, behind: false }.run();
    })?;
    Ok(Some((log, Writer { told, thread })))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(OWNERS_ALONE).open(path)
}

impl Writer {
    /// For whoever tells it to open its file again.
    pub(crate) fn told(&self) -> Arc<Told> {
        self.told.clone()
    }

    /// Lets it write down what waits; a disk that hangs is not waited for.
    pub(crate) fn stop(self) {
        self.told.stop.store(true, Ordering::Release);
        let until = Instant::now() + WRITE_DOWN_WITHIN;
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(GATHER_FOR);
        }
    }
}

/// The writer at work.
struct Writing {
    sink: Sink,
    notes: AccessNotes,
    told: Arc<Told>,
    /// The last lines could not be written, which was said.
    failing: bool,
    /// Lines found no room, which was said.
    behind: bool,
}

impl Writing {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH / 8);
        loop {
            let stop = self.told.stop.load(Ordering::Acquire);
            match self.notes.notes.recv_timeout(if stop { Duration::ZERO } else { LOOK_EVERY }) {
                Ok(first) => {
                    if !stop {
                        thread::sleep(GATHER_FOR);
                    }
                    add(&mut batch, &first);
                    while batch.len() < BATCH
                        && let Ok(note) = self.notes.notes.try_recv()
                    {
                        add(&mut batch, &note);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !stop => {}
                Err(_) => return,
            }
            self.tell_of_lost(&mut batch);
            if self.told.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            if !batch.is_empty() {
                let written = self.sink.write(&batch);
                self.tell_of_failure(written);
                batch.clear();
            }
        }
    }

    fn tell_of_lost(&mut self, batch: &mut Vec<u8>) {
        let lost = self.notes.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        add_line(batch, &Lost { at: SystemClock.now(), lost });
        if !std::mem::replace(&mut self.behind, true) {
            tracing::warn!(
                "the access log is not written as fast as requests come; where lines are missing, it says how many"
            );
        }
    }

    fn tell_of_failure(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!(%error, "cannot write the access log; requests go on, and leave no line until it can be");
            }
            Err(_) => {}
        }
    }

    /// What cannot be opened again goes on in the file that is open.
    fn reopen(&mut self) {
        if let Sink::File(path, file) = &mut self.sink {
            match open(path) {
                Ok(fresh) => *file = fresh,
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "cannot open the access log again; the file before goes on");
                }
            }
        }
    }
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(_, file) => file.write_all(lines),
        }
    }
}

fn add(batch: &mut Vec<u8>, note: &AccessNote) {
    let line = Line {
        at: note.at,
        credential: note.credential,
        username: note.username.as_ref(),
        agent: note.agent.as_ref(),
        route: note.route.as_ref(),
        method: note.method.as_deref(),
        path: note.path.as_deref(),
        status: note.status,
        bytes_in: note.bytes_in,
        bytes_out: note.bytes_out,
        ms: u64::try_from(note.took.as_millis()).unwrap_or(u64::MAX),
        ip: note.ip,
    };
    add_line(batch, &line);
}

fn add_line(batch: &mut Vec<u8>, line: &impl Serialize) {
    // Everything in it can be written as JSON, on one line.
    if serde_json::to_writer(&mut *batch, line).is_ok() {
        batch.push(b'\n');
    }
}
