//! A command's end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::de::DeserializeOwned;

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
    let mut gate = UnixStream::connect(&address.path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => not_running(folder),
        _ => broken(folder, &error),
    })?;
    let told = |error| broken(folder, &error);
    gate.set_read_timeout(Some(within)).map_err(told)?;
    gate.set_write_timeout(Some(within)).map_err(told)?;
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

fn not_running(folder: &HomeFolder) -> Failure {
    Failure::failed(format_args!(
        "no gate runs on {}, and only a running one can tell: start it with `{}`",
        folder.path.display(),
        folder.command("serve")
    ))
}

fn broken(folder: &HomeFolder, error: &std::io::Error) -> Failure {
    Failure::failed(format_args!("the gate on {} does not answer: {error}", folder.path.display()))
}
