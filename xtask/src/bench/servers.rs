//! The servers of a bench: started on free ports, ended when dropped.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::workspace::program;

/// A running server on 127.0.0.1.
pub(super) struct Server {
    pub(super) port: u16,
    child: Child,
}

const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Server {
    /// Starts a server on that processor (or any) and waits until it answers `GET path` with 200.
    ///
    /// What it prints goes to `NAME.log` in `folder`, and into the error when it does not come up.
    pub(super) fn start(
        name: &str,
        command: &Command,
        at: (u16, &str),
        processor: Option<u32>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let (port, path) = at;
        let log = folder.join(format!("{name}.log"));
        let printed = File::create(&log)?;
        let mut pinned = pinned(command, processor);
        pinned.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed);
        let child = pinned.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { port, child };
        let deadline = Instant::now() + PATIENCE;
        while !matches!(status(port, path, None), Ok(200)) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let state = ended.map_or("does not answer".to_owned(), |status| format!("ended ({status})"));
                let printed = fs::read_to_string(&log).unwrap_or_default();
                bail!("{name} {state}; it printed: {}", printed.trim());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: nginx's workers would outlive a killed master.
        let asked = Command::new("sh")
            .args(["-c", r#"kill -TERM "$1""#, "sh", &self.child.id().to_string()])
            .status();
        let deadline = Instant::now() + PATIENCE;
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pinned(command: &Command, processor: Option<u32>) -> Command {
    let mut pinned = match processor {
        Some(processor) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &processor.to_string()]).arg(command.get_program());
            taskset
        }
        None => Command::new(command.get_program()),
    };
    pinned.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned
}

/// The status that a server answers to one GET.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is about where the gate connects to; this is loopback"
)]
pub(super) fn status(port: u16, path: &str, bearer: Option<&str>) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.context("no HTTP answer")
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// nginx with that many workers and these server blocks, in the foreground, all its files in a folder of its own.
pub(super) fn nginx(folder: &Path, workers: u32, http: &str) -> anyhow::Result<Command> {
    fs::create_dir_all(folder)?;
    let here = folder.display();
    // As root its workers would become another user, who cannot read this folder.
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
    let config = format!(
        "daemon off; pid {here}/pid; worker_processes {workers}; {user}
        error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            default_type application/octet-stream;
            sendfile on;
            tcp_nodelay on;
            keepalive_timeout 1h;
            keepalive_requests 1000000000;
            client_body_temp_path {here}/body;
            proxy_temp_path {here}/proxy;
            fastcgi_temp_path {here}/fastcgi;
            uwsgi_temp_path {here}/uwsgi;
            scgi_temp_path {here}/scgi;
            {http}
        }}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program("nginx").context("nginx is missing")?);
    command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file);
    Ok(command)
}

/// Caddy with this as the site of its one plain listener, all its files in that folder.
pub(super) fn caddy(folder: &Path, port: u16, site: &str) -> anyhow::Result<Command> {
    let here = folder.display();
    let config = format!(
        "{{\nadmin off\nauto_https off\nstorage file_system {here}\n}}\nhttp://:{port} {{\nbind 127.0.0.1\n{site}\n}}\n"
    );
    let file = folder.join("Caddyfile");
    fs::write(&file, config)?;
    let mut command = Command::new(program("caddy").context("caddy is missing")?);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    Ok(command)
}

/// The built gate with a home folder of its own.
pub(super) struct Gate {
    program: PathBuf,
    home: PathBuf,
    config: PathBuf,
}

impl Gate {
    pub(super) fn new(program: PathBuf, folder: &Path) -> Self {
        Self { program, home: folder.join("home"), config: folder.join("fallgate.toml") }
    }

    /// Makes a user and a token of theirs; returns the token.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        self.cli(&["user", "create", "bench", "--passphrase-stdin"], "otter slate canyon vivid 41\n")?;
        let said = self.cli(&["token", "create", "--username", "bench", "--name", "bench"], "")?;
        let secret = said.trim();
        if !secret.starts_with("fgt_") {
            bail!("`fallgate token create` printed no token");
        }
        Ok(secret.to_owned())
    }

    /// Where what it knows lies.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The daemon on this port, with routes by path to those ports of this machine, which may also ask it by
    /// forward-auth.
    pub(super) fn serve(&self, port: u16, routes: &[(&str, u16)]) -> anyhow::Result<Command> {
        let routes = routes.iter().map(|(name, upstream)| {
            format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"http://127.0.0.1:{upstream}\"\n")
        });
        let routes = routes.collect::<String>();
        fs::write(
            &self.config,
            format!("[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforward_auth = true\n{routes}"),
        )?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--home"]).arg(&self.home);
        command.arg("--config").arg(&self.config);
        Ok(command)
    }

    fn cli(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<String> {
        let typed = format!("fallgate {}", arguments.join(" "));
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("FALLGATE_HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{typed}`"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that does not read its input may have ended; what it says then tells more.
            drop(pipe.write_all(stdin.as_bytes()));
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("`{typed}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
