//! What a command leaves behind, at whatever step it is killed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::home::Home;

/// How long the command runs between two looks: less than any call takes that writes to a disk.
const STEP: Duration = Duration::from_micros(20);

/// The files of a home folder, by name, with what they hold and their modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, (Vec<u8>, Permissions)>);

impl Files {
    /// As they are now. What processes share while they run, and what is no file, is not among them: a kill ends it.
    pub(crate) fn of(home: &Home) -> Self {
        let entries = fs::read_dir(home.path()).unwrap().map(Result::unwrap);
        let read = entries.filter_map(|entry| {
            let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
            let metadata = fs::symlink_metadata(&path).ok()?;
            let is_shared = name.ends_with("-shm");
            (metadata.is_file() && !is_shared)
                .then(|| (name, (fs::read(&path).unwrap(), metadata.permissions())))
        });
        Self(read.collect())
    }

    /// A home folder that holds them, and nothing else.
    pub(crate) fn placed(&self) -> Home {
        let home = Home::new();
        fs::create_dir(home.path()).unwrap();
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        for (name, (content, permissions)) in &self.0 {
            write(&home.path().join(name), content, permissions);
        }
        home
    }

    /// What a file holds, if it is there.
    pub(crate) fn content(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|(content, _)| content.as_slice())
    }

    /// The same with another file beside them, or with another content of it.
    pub(crate) fn with(&self, name: &str, content: &[u8]) -> Self {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        let mut files = self.clone();
        files.0.insert(name.to_owned(), (content.to_vec(), permissions));
        files
    }

    /// The same without one of them.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut files = self.clone();
        files.0.remove(name);
        files
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

fn write(path: &Path, content: &[u8], permissions: &Permissions) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, permissions.clone()).unwrap();
}

/// Runs a command on a home folder to its end, stops it again and again, and gives what the folder held whenever that
/// was something else than before: what a SIGKILL at that moment would have left.
pub(crate) fn states(home: &Home, mut command: Command) -> Vec<Files> {
    let mut states = vec![Files::of(home)];
    let mut child = command.spawn().unwrap();
    while stop(&mut child) {
        let now = Files::of(home);
        if states.last() != Some(&now) {
            states.push(now);
        }
        kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
        let on = Instant::now();
        while on.elapsed() < STEP {
            std::hint::spin_loop();
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = Files::of(home);
    if states.last() != Some(&last) {
        states.push(last);
    }
    states
}

/// Stops all of its threads; false: it has ended.
fn stop(child: &mut Child) -> bool {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).unwrap();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(pid), options) {
            Ok(Some(_)) => return true,
            // One that has just ended cannot stop any more.
            Ok(None) | Err(Errno::CHILD) => {}
            Err(error) => panic!("cannot wait for it: {error}"),
        }
    }
}
