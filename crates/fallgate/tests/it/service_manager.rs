//! A gate that a service manager starts: a socket handed over, and word of how it is.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Client, Gate, Home, PATIENCE, Run, nobodys_address, wait_for};

/// A config whose own place to listen must not count.
const ELSEWHERE: &str = "[server]\nlisten = \"127.0.0.1:1\"\n";

/// Has the command find this socket as descriptor 3, as `sd_listen_fds(3)` says it. A shell puts it there.
fn hand_over(command: &mut Command, socket: OwnedFd, count: usize) {
    let mut shell = Command::new("sh");
    let script =
        format!("exec 3<&0 4<&0 0</dev/null; export LISTEN_FDS={count} LISTEN_PID=$$; exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    *command = shell;
}

/// What `NOTIFY_SOCKET` names.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn beside(home: &Home) -> Self {
        let path = home.beside().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The next that it is told.
    #[track_caller]
    fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

#[test]
fn a_socket_that_is_handed_over_wins_and_whoever_waited_on_it_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Before there is any gate.
    let mut early = Client::connect(address);
    early.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let home = Home::new();
    home.user("ada");
    let mut gate = Gate::started(home, ELSEWHERE, |command| hand_over(command, listener.into(), 1));
    assert_eq!(gate.address(), address);
    assert!(gate.log().contains("handed over by the service manager"), "{}", gate.log());
    assert_eq!(early.response().status, 200);
    // The address it really listens on is one of its names.
    let answer = Client::exchange(address, format!("GET /api/whoami HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(answer.status, 401);
    gate.signal(Signal::TERM);
    assert!(gate.ended().success());
}

#[test]
fn no_route_leads_to_a_socket_that_is_handed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let route =
        |address| format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://{address}\"\n");
    let own = format!("{ELSEWHERE}{}", route(listener.local_addr().unwrap().to_string()));
    let home = Home::new();
    let config = home.write_config(&own);
    let mut command = home.command(&["serve", "--config", config.to_str().unwrap()]);
    hand_over(&mut command, listener.try_clone().unwrap().into(), 1);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is the gate itself, which listens on"), "{said}");
    // Where the file says that it listens, nobody does: a route may lead there.
    let elsewhere = format!("{ELSEWHERE}{}", route("127.0.0.1:1".to_owned()));
    let gate = Gate::started(home, &elsewhere, |command| hand_over(command, listener.into(), 1));
    gate.fallgate(&["reload"]).ok();
    gate.write_config(&own);
    let said = gate.fallgate(&["reload"]).refused(1);
    assert!(said.contains("is the gate itself, which listens on"), "{said}");
}

#[test]
fn a_unix_socket_that_is_handed_over_stays_when_the_gate_ends() {
    let home = Home::new();
    let path = home.beside().join("handed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut gate = Gate::started(home, ELSEWHERE, |command| hand_over(command, listener.into(), 1));
    let mut client = Client::over(UnixStream::connect(&path).unwrap());
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.response().status, 200);
    gate.signal(Signal::TERM);
    assert!(gate.ended().success());
    assert!(path.exists(), "it is the service manager's");
}

#[test]
fn what_is_handed_over_must_be_one_listening_socket_and_meant_for_this_process() {
    let home = Home::new();
    let run = |change: &dyn Fn(&mut Command)| {
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
        change(&mut command);
        // Its stdin is the socket.
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let two = run(&|command| hand_over(command, listener(), 2));
    assert!(two.contains("hands over 2 sockets"), "{two}");
    let datagrams = run(&|command| hand_over(command, UnixDatagram::unbound().unwrap().into(), 1));
    assert!(datagrams.contains("no socket that listens"), "{datagrams}");
    let nothing = run(&|command| {
        command.env("LISTEN_FDS", "7").env("LISTEN_PID", "");
    });
    assert!(nothing.contains("LISTEN_"), "{nothing}");
    // For another process: it does not count.
    let gate = Gate::started(Home::new(), "", |command| {
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    });
    assert!(!gate.log().contains("handed over"), "{}", gate.log());
}

#[test]
fn the_service_manager_is_told_when_the_gate_listens_and_when_it_stops() {
    let home = Home::new();
    let manager = Manager::beside(&home);
    let mut gate = Gate::started(home, "", |command| {
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    });
    let ready = manager.told();
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("STATUS=listening on http://{}\n", gate.address())), "{ready}");
    // It listens when it says so.
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1\n");
    }
    gate.signal(Signal::TERM);
    let stopping =
        wait_for("word of the stop", || Some(manager.told()).filter(|told| told != "WATCHDOG=1\n"));
    assert!(stopping.contains("STOPPING=1\n"), "{stopping}");
    assert!(gate.ended().success());
}

#[test]
fn a_gate_that_does_not_come_up_is_never_called_ready() {
    let home = Home::new();
    let manager = Manager::beside(&home);
    let taken = TcpListener::bind(nobodys_address()).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let mut command = home.command(&["serve", "--listen", &listen]);
    command.env("NOTIFY_SOCKET", &manager.path);
    Run::of(command, b"").refused(1);
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
}

#[test]
fn the_units_in_the_docs_are_good_and_leave_the_gate_little_to_do_harm_with() {
    let folder = tempfile::tempdir().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/snippets/systemd");
    for name in ["fallgate.service", "fallgate.socket"] {
        let unit = std::fs::read_to_string(docs.join(name)).unwrap();
        // It looks for the program too.
        let unit = unit.replace("/usr/local/bin/fallgate", env!("CARGO_BIN_EXE_fallgate"));
        std::fs::write(folder.path().join(name), unit).unwrap();
    }
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).current_dir(folder.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let units = ["./fallgate.service", "./fallgate.socket"];
    let (good, said) = analyze(&[&["verify", "--man=no", "--recursive-errors=no"][..], &units].concat());
    assert!(good && said.is_empty(), "{said}");
    // From 0, sealed off, to 100, wide open.
    let (good, said) = analyze(&["security", "--offline=true", "--threshold=25", "./fallgate.service"]);
    assert!(good, "{said}");
}
