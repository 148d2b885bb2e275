//! Servers that others wrote, started as processes on ports of their own and ended with the test.
//!
//! ```text
//! let app = Server::script("echo", &[]);                    // python/echo.py
//! let proxy = Server::haproxy(&format!("server app {}", app.address()));
//! let gate = Gate::before("app", &proxy.url());
//! proxy.log()                                               // what it has printed: shown when the test fails
//! ```

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::is_listening;
use super::{nobodys_address, wait_up_to};

/// How often a server is started anew on another port, when somebody else was quicker to take the first.
const TRIES: usize = 5;
/// How many lines of what it printed are shown when a test fails.
const MOST_LINES: usize = 40;

/// A running server, and the folder with its files.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    /// With its config, its log and whatever it writes; goes when it goes.
    folder: TempDir,
}

impl Server {
    /// nginx, in one process; `site` is what stands in its `server { }` besides `listen`. It logs nothing unless the
    /// site says `access_log /dev/stdout seen;`: then a line of JSON for each request, with `method`, `target` and
    /// `status`.
    pub(crate) fn nginx(site: &str) -> Self {
        Self::anywhere("nginx", |address, folder| nginx(address, folder, site))
    }

    /// The same at an address that is free now.
    pub(crate) fn nginx_at(address: SocketAddr, site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let command = nginx(address, folder.path(), site);
        Self::start("nginx", command, address, folder).unwrap_or_else(|said| panic!("nginx ended: {said}"))
    }

    /// `haproxy`, with this in the backend of its one listener: `server app 127.0.0.1:80`, say. It logs as
    /// [`Self::nginx`] does; what it cannot read has neither method nor target.
    pub(crate) fn haproxy(backend: &str) -> Self {
        Self::anywhere("haproxy", |address, folder| {
            let config = format!(
                "global\n  log stdout format raw local0\n\
                 defaults\n  mode http\n  log global\n  option dontlognull\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
                 log-format '{{\"method\":\"%[capture.req.method]\",\"target\":\"%[capture.req.uri,json(utf8s)]\",\"status\":%ST}}'\n\
                 frontend front\n  bind {address}\n  default_backend back\nbackend back\n  {backend}\n"
            );
            let file = folder.join("haproxy.cfg");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("haproxy");
            // In the foreground, one process.
            command.arg("-db").arg("-f").arg(file);
            command
        })
    }

    /// Caddy, with this as the site of its one plain listener: `reverse_proxy 127.0.0.1:80`, say.
    pub(crate) fn caddy(site: &str) -> Self {
        Self::anywhere("caddy", |address, folder| {
            let config = format!(
                "{{\nadmin off\nauto_https off\nstorage file_system {}\n}}\n\
                 http://:{port} {{\nbind 127.0.0.1\n{site}\n}}\n",
                folder.display(),
                port = address.port()
            );
            let file = folder.join("Caddyfile");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            // Where it would else leave its files.
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        })
    }

    /// Python's own web server, which shows the files of a folder.
    pub(crate) fn python(files: &Path) -> Self {
        Self::anywhere("python3", |address, _| {
            let mut command = Command::new("python3");
            command.args(["-m", "http.server", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]);
            command.arg("--directory").arg(files).arg(address.port().to_string());
            command
        })
    }

    /// A script from `tests/it/python`, which listens on the port that is its first argument; `more` are the others.
    pub(crate) fn script(name: &'static str, more: &[&str]) -> Self {
        Self::anywhere(name, |address, _| {
            let mut command = script(name);
            command.arg(address.port().to_string()).args(more);
            command
        })
    }

    /// JupyterLab on a folder of notebooks. Whoever brings this token may do everything.
    pub(crate) fn jupyter(notebooks: &Path, token: &str) -> Self {
        Self::anywhere("jupyter-lab", |address, folder| {
            let mut command = Command::new(python_program("jupyter-lab"));
            command.args([
                "--no-browser",
                "--allow-root",
                "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port_retries=0",
            ]);
            command.arg(format!("--ServerApp.port={}", address.port()));
            // It is asked for by the name of the route's host.
            command.arg("--ServerApp.allow_remote_access=True");
            command.arg("--ServerApp.root_dir").arg(notebooks);
            command
                .arg("--LabApp.news_url=None")
                .arg("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate");
            command.env("JUPYTER_TOKEN", token).env("HOME", folder).env("IPYTHONDIR", folder);
            command
                .env("JUPYTER_CONFIG_DIR", folder)
                .env("JUPYTER_RUNTIME_DIR", folder)
                .env("JUPYTER_DATA_DIR", folder);
            // The kernel that comes along is found beside the program.
            command.env("JUPYTER_PREFER_ENV_PATH", "1");
            command
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        log(self.folder.path())
    }

    /// The lines of JSON among what it has printed so far.
    pub(crate) fn account(&self) -> Vec<Value> {
        let log = self.log();
        // The last line may still be on its way.
        let lines = log.split_inclusive('\n').filter(|line| line.starts_with('{') && line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Starts the command that `make` gives for a free address and a folder for its files.
    pub(crate) fn anywhere(name: &'static str, make: impl Fn(SocketAddr, &Path) -> Command) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let (address, folder) = (nobodys_address(), tempfile::tempdir().unwrap());
            let command = make(address, folder.path());
            match Self::start(name, command, address, folder) {
                Ok(server) => return server,
                Err(last) => said = last,
            }
        }
        panic!("{name} ended each time it was started; it said: {said}")
    }

    /// Starts a server and waits until it answers; if it ends instead, what it said.
    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        folder: TempDir,
    ) -> Result<Self, String> {
        let printed = File::create(folder.path().join(LOG)).unwrap();
        command.stdin(Stdio::null()).stdout(printed.try_clone().unwrap()).stderr(printed);
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut server = Self { name, child, address, folder };
        let ended = wait_up_to(STARTS_WITHIN, "the server", || {
            let ended = server.child.try_wait().unwrap().is_some();
            (ended || is_listening(address)).then_some(ended)
        });
        if ended { Err(server.log()) } else { Ok(server) }
    }
}

/// A script from `tests/it/python`, with the packages of `xtask/python/requirements.txt`.
pub(crate) fn script(name: &str) -> Command {
    let python = python_program("python");
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/it/python", name].iter().collect();
    let mut command = Command::new(python);
    // Its compiled form would be left in the working tree.
    command.arg("-B").arg("-u").arg(file.with_extension("py"));
    command
}

/// A program among the packages of `xtask/python/requirements.txt`.
fn python_program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python/bin");
    let program = folder.join(name);
    assert!(program.is_file(), "no {}: `cargo xtask install` makes it", program.display());
    program
}

/// How long a server may take until it answers: some load half a Python.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

const LOG: &str = "log";

fn log(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join(LOG)).unwrap_or_default()).into_owned()
}

fn nginx(address: SocketAddr, folder: &Path, site: &str) -> Command {
    let at = folder.display();
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = places.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr error;\nevents {{ }}\n\
         http {{\naccess_log off;\n{places}default_type text/plain;\n\
         log_format seen escape=json '{{\"method\":\"$request_method\",\"target\":\"$request_uri\",\"status\":$status}}';\n\
         server {{\nlisten {address};\n{site}\n}}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, as whoever runs it would; killed if it does not listen.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let last = log.split_inclusive('\n').rev().take(MOST_LINES).collect::<Vec<_>>();
            let last = last.into_iter().rev().collect::<String>();
            eprintln!("--- {} said (last):\n{last}---", self.name);
        }
    }
}
