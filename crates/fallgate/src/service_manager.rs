//! The service manager that started the gate, if one did: systemd, or whatever else speaks its protocol.
//!
//! Without one all of this does nothing.

use std::os::fd::{FromRawFd, OwnedFd};

use sd_notify::NotifyState;
use tokio::time::interval;

use crate::failure::Failure;

/// The socket that was handed over to listen on. To be called once, while the process has one thread.
pub(crate) fn socket() -> Result<Option<OwnedFd>, Failure> {
    let mut sockets = sd_notify::listen_fds().map_err(|error| {
        Failure::failed(format_args!("LISTEN_FDS names sockets that are not there: {error}"))
    })?;
    match (sockets.next(), sockets.len()) {
        (None, _) => Ok(None),
        (Some(number), 0) => {
            #[expect(
                unsafe_code,
                reason = "the descriptor was handed to this very process to own, is open, and is taken once"
            )]
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            Ok(Some(socket))
        }
        (Some(_), more) => Err(Failure::failed(format_args!(
            "the service manager hands over {} sockets, and the gate listens on one: leave one in its unit",
            more + 1
        ))),
    }
}

/// Says that the gate listens; `what` is what it does now, for people.
pub(crate) fn ready(what: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// Says that the config is read again; [`reloaded`] says when that is over.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the system has no monotonic clock"),
    }
}

/// Says that the config was read again, whatever came of it.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Says that requests under way are let end, and no others come in.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping; requests under way may end")]);
}

/// Answers the watchdog, if it asks: twice in the time after which it would take the gate for dead.
pub(crate) async fn keep_watchdog_quiet() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let mut beat = interval(limit / 2);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how the gate is");
    }
}
