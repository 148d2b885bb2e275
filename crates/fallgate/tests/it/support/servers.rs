//! Servers that others wrote, started as processes on ports of their own and ended with the test.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::is_listening;
use super::{nobodys_address, wait_for};

/// A running server, and the folder with its files.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// With its files; goes when it goes.
    _folder: TempDir,
}

impl Server {
    /// nginx, in one process and without a log; `site` is what stands in its `server { }` besides `listen`.
    pub(crate) fn nginx(site: &str) -> Self {
        Self::nginx_at(nobodys_address(), site)
    }

    /// The same at an address that is free now.
    pub(crate) fn nginx_at(address: SocketAddr, site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places = places.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr crit;\nevents {{ }}\n\
             http {{\naccess_log off;\n{places}default_type text/plain;\nserver {{\nlisten {address};\n{site}\n}}\n}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        command.args(["-e", "stderr"]);
        Self::start(command, address, folder)
    }

    /// Python's own web server, which shows the files of a folder.
    pub(crate) fn python(files: TempDir) -> Self {
        let address = nobodys_address();
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]);
        command.arg("--directory").arg(files.path()).arg(address.port().to_string());
        Self::start(command, address, files)
    }

    fn start(mut command: Command, address: SocketAddr, folder: TempDir) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        wait_for("the server", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            is_listening(address).then_some(())
        });
        Self { child, address, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route's `upstream` names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, as whoever runs it would; killed if it does not listen.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
