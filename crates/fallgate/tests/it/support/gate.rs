//! `fallgate serve` as a process.

use std::io::Read;
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::home::Home;
use super::wait_for;

/// What stands in the banner before the address.
const ANNOUNCES: &str = "listening on ";

/// A running gate on a home folder of its own, whose methods it has too. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    // Dropped in this order: the process ends before its folder goes.
    daemon: Daemon,
    home: Home,
    /// As the banner says it, without the scheme.
    address: String,
}

#[derive(Debug)]
struct Daemon {
    child: Child,
    log: Log,
}

/// What the process has said so far.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Gate {
    /// A gate with nothing configured and nobody in it.
    pub(crate) fn start() -> Self {
        Self::on(Home::new(), "")
    }

    /// A gate with a path route `/<name>` before an upstream.
    pub(crate) fn before(name: &str, upstream: &str) -> Self {
        Self::configured(&format!(
            "[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = {upstream:?}\n"
        ))
    }

    /// A gate with this config; `listen` need not stand in it, and counts if it does.
    pub(crate) fn configured(config: &str) -> Self {
        Self::on(Home::new(), config)
    }

    /// A gate with this config on a home that is there already.
    pub(crate) fn on(home: Home, config: &str) -> Self {
        Self::started(home, config, |_| ())
    }

    /// A gate with this config, whose command is changed before it runs: other variables, say.
    pub(crate) fn started(home: Home, config: &str, change: impl FnOnce(&mut Command)) -> Self {
        // A config that names the address has it.
        let listen = if config.contains("listen = ") { None } else { Some("127.0.0.1:0") };
        Self::listening(home, listen, config, change)
    }

    /// The same at an address that is free now, which the config names: as the public URL, say.
    pub(crate) fn at(address: SocketAddr, config: &str) -> Self {
        Self::at_home(Home::new(), address, config, |_| ())
    }

    /// The same on a home that is there already, and with a changed command.
    pub(crate) fn at_home(
        home: Home,
        address: SocketAddr,
        config: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        Self::listening(home, Some(&address.to_string()), config, change)
    }

    fn listening(home: Home, listen: Option<&str>, config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let config = home.write_config(config);
        let mut arguments = vec!["serve", "--config", config.to_str().unwrap()];
        arguments.extend(listen.iter().flat_map(|address| ["--listen", address]));
        let mut command = home.command(&arguments);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let mut daemon = Daemon { child, log };
        let address = wait_for("the gate's address", || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gate ended: {}", daemon.log.text());
            daemon.log.address()
        });
        Self { daemon, home, address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    /// What it has said on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log.text()
    }

    /// What it writes on stdout, to be read as it comes.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.daemon.child.stdout.take().unwrap()
    }

    /// The most memory that it ever had resident, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory_said("VmHWM:")
    }

    /// The memory that it has resident now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_said("VmRSS:")
    }

    fn memory_said(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.child.id())).unwrap();
        let figure = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        figure.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Lets it write no byte to any file beyond this size, as a full disk would; `None` lifts that. It must ignore
    /// the signal that goes with it: see [`ignoring_full_disks`].
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_child(&self.daemon.child);
        let now = rustix::process::getrlimit(Resource::Fsize);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(now.maximum), ..now }).unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.daemon.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the gate's end", || self.daemon.child.try_wait().unwrap())
    }

    /// Kills it, as a power cut would, and gives its home back.
    pub(crate) fn kill(self) -> Home {
        let Self { daemon, home, .. } = self;
        drop(daemon);
        home
    }
}

/// For [`Gate::started`]: a write that [`Gate::limit_files`] forbids fails, and does not end the process.
pub(crate) fn ignoring_full_disks(command: &mut Command) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    *command = shell;
}

impl Deref for Gate {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the gate said:\n{}---", self.log.text());
        }
    }
}

impl Log {
    fn of(mut stderr: ChildStderr) -> Self {
        let log = Self::default();
        let shared = log.clone();
        // Read to the end, or a full pipe would stop the gate; and as it was written, so that the banner comes whole.
        thread::spawn(move || {
            let mut buffer = [0; 8 * 1024];
            while let Ok(count) = stderr.read(&mut buffer)
                && count > 0
            {
                shared.0.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        log
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn address(&self) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(ANNOUNCES)?;
        let (address, _) = rest.split_once('\n')?;
        Some(address.split_once("://").map_or(address, |(_, address)| address).to_owned())
    }
}
