//! The running gate's end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::{Actor, PairingSide, Verifier};
use fallgate_relay::{LiveSettings, Seldom};
use fallgate_web::view::{ClosedView, LiveList, PairingView, StartedPairingView};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Address, Answer, ConfigFile, LONGEST_REQUEST, Request};
use crate::home::Home;
use crate::lifecycle;
use crate::reload::Reloader;

/// Who asks more is not waited for.
const MOST_CLIENTS: usize = 24;
/// How long a client may take to send a request, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A pause after an accept that failed for want of something, such as file descriptors.
const BREATHE: Duration = Duration::from_millis(50);
/// How often it is said at most that accepting fails.
const SAY_EVERY: Duration = Duration::from_secs(1);
const ROOT: u32 = 0;
const OWNERS_ALONE: u32 = 0o600;

/// The socket, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// What requests are answered from.
pub(crate) struct Answers {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) settings: LiveSettings,
}

impl ControlSocket {
    /// Listens in that home folder, which no other gate serves: a socket that lies there is an earlier run's.
    pub(crate) fn open(home: &Home) -> io::Result<Self> {
        let path = home.path().join(super::NAME);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something else lies there")),
            Err(_) => {}
        }
        let address = Address::within(home.path())?;
        let listener = UnixListener::bind(&address.path)?;
        fs::set_permissions(&path, Permissions::from_mode(OWNERS_ALONE))?;
        Ok(Self { listener, path })
    }

    /// Answers whoever asks, until it is dropped.
    pub(crate) async fn serve(self, answers: Arc<Answers>) {
        let mut clients = JoinSet::new();
        let failures = Seldom::every(SAY_EVERY);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    // Whoever is one too many finds the connection closed.
                    Ok((client, _)) if clients.len() < MOST_CLIENTS => {
                        clients.spawn(serve_client(client, answers.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        if let Some(times) = failures.now() {
                            tracing::warn!(%error, times, "cannot accept a connection on the control socket");
                        }
                        sleep(BREATHE).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // The next start removes it too.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve_client(mut client: UnixStream, answers: Arc<Answers>) {
    // The folder's mode keeps others out already; this is for a folder whose mode somebody has changed.
    let Ok(peer) = client.peer_cred() else { return };
    if peer.uid() != lifecycle::user_id() && peer.uid() != ROOT {
        tracing::warn!(
            user = lifecycle::user_name(peer.uid()),
            "another user asked on the control socket; not answered"
        );
        return;
    }
    let actor = Actor::Cli { os_user: lifecycle::user_name(peer.uid()) };
    let (reading, mut writing) = client.split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reading).take(LONGEST_REQUEST);
        match timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => return,
        }
        // Whatever is longer than a request may be is none.
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answers.answer(request, &actor).await,
            Err(error) => line_of(&Answer::<()>::Failed(format!("this gate knows no such request: {error}"))),
        };
        let written = timeout(PATIENCE, writing.write_all(&answer)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

impl Answers {
    async fn answer(&self, request: Request, actor: &Actor) -> Vec<u8> {
        match request {
            Request::Live {} => line_of(&Answer::Done(LiveList::from(self.verifier.live_for_operator()))),
            Request::Config {} => {
                line_of(&Answer::Done(ConfigFile { file: self.reloader.config_file().await }))
            }
            Request::Closed { cut } => {
                line_of(&Answer::Done(self.verifier.closed_by(cut).await.map(ClosedView::from)))
            }
            Request::Reload {} => line_of(&match self.reloader.reload(actor).await {
                Ok(reloaded) => Answer::Done(reloaded),
                Err(failure) => Answer::Failed(failure.to_string()),
            }),
            Request::FollowKeys {} => line_of(&answer_of(self.verifier.follow_keys().await)),
            Request::Pair { username } => {
                let started = self.verifier.start_pairing_for(username.as_ref(), actor).await;
                let reached_at = &self.settings.now().reached_at;
                line_of(&answer_of(started.map(|started| StartedPairingView::of(&started, reached_at))))
            }
            Request::Pairing { id } => {
                let pairing = self.verifier.pairing(PairingSide::Operator(actor), id);
                line_of(&answer_of(pairing.map(PairingView::from)))
            }
            Request::AnswerPairing { id, allow } => {
                let side = PairingSide::Operator(actor);
                let answered = self.verifier.answer_pairing(side, id, allow).await;
                line_of(&answer_of(answered.map(PairingView::from)))
            }
            Request::WithdrawPairing { id } => {
                line_of(&answer_of(self.verifier.withdraw_pairing(PairingSide::Operator(actor), id)))
            }
        }
    }
}

fn answer_of<T>(done: Result<T, impl std::fmt::Display>) -> Answer<T> {
    done.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Done)
}

fn line_of(answer: &impl Serialize) -> Vec<u8> {
    // What is answered can always be written.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}
