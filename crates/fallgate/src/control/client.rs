//! A command's end.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Address, Answer, LONGEST_ANSWER, Request};
use crate::failure::Failure;
use crate::home::HomeFolder;

/// Asks the gate that serves this home folder, and waits for its answer for so long.
pub(crate) fn ask<T: DeserializeOwned>(
    folder: &HomeFolder,
    request: &Request,
    within: Duration,
) -> Result<T, Failure> {
    let address = Address::within(&folder.path).map_err(|_| not_running(folder))?;
    let mut gate = connect(&address, within).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => not_running(folder),
        _ => broken(folder, &error, within),
    })?;
    let told = |error| broken(folder, &error, within);
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    gate.write_all(&line).map_err(told)?;
    let mut answer = Vec::new();
    BufReader::new(gate.take(LONGEST_ANSWER)).read_until(b'\n', &mut answer).map_err(told)?;
    if answer.is_empty() {
        return Err(Failure::failed(format_args!(
            "the gate on {} answers too many at once, or has just ended: try again",
            folder.path.display()
        )));
    }
    match serde_json::from_slice(&answer) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Failed(why)) => Err(Failure::failed(why)),
        Err(_) => Err(Failure::failed(format_args!(
            "the gate on {} answers what this fallgate does not understand: restart it, so that both are of one version",
            folder.path.display()
        ))),
    }
}

/// Whether a gate serves this home folder.
pub(crate) fn is_running(folder: &HomeFolder) -> bool {
    let address = Address::within(&folder.path);
    address.is_ok_and(|address| connect(&address, Duration::from_secs(1)).is_ok())
}

/// Whoever has no time for us is not waited for longer than that: neither here nor when it is written to or read.
fn connect(address: &Address, within: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(within))?;
    socket.set_read_timeout(Some(within))?;
    socket.connect(&SockAddr::unix(&address.path)?)?;
    Ok(OwnedFd::from(socket).into())
}

fn not_running(folder: &HomeFolder) -> Failure {
    Failure::failed(format_args!(
        "no gate runs on {}, and only a running one can tell: start it with `{}`",
        folder.path.display(),
        folder.command("serve")
    ))
}

fn broken(folder: &HomeFolder, error: &io::Error, within: Duration) -> Failure {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        return Failure::failed(format_args!(
            "the gate on {} did not answer within {} s: look into its log, or start it again",
            folder.path.display(),
            within.as_secs_f32()
        ));
    }
    Failure::failed(format_args!("the gate on {} does not answer: {error}", folder.path.display()))
}
