//! The built program: as a gate, and as commands on its home folder.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

pub(crate) const PASSPHRASE: &str = "otter slate canyon vivid 41\n";

/// What stands in the banner before the address.
const ANNOUNCES: &str = "listening on http://";

/// The gate as a process, ended when dropped.
pub(crate) struct Gate {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From before the process was made until it said that it listens.
    pub(crate) started_in: Duration,
}

impl Gate {
    /// On that home, with its config in the folder.
    pub(crate) fn start(folder: &Path, home: &Path, settings: &str) -> anyhow::Result<Self> {
        let config = folder.join("fallgate.toml");
        fs::write(&config, settings)?;
        let begun = Instant::now();
        let mut child = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--home"])
            .arg(home)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = child.stderr.take().context("no stderr")?;
        let mut said = BufReader::new(said);
        let mut printed = String::new();
        let address = loop {
            let before = printed.len();
            ensure!(
                said.read_line(&mut printed)? > 0,
                "the gate does not come up; it printed: {}",
                printed.trim()
            );
            let line = printed.get(before..).unwrap_or_default();
            if let Some((_, address)) = line.split_once(ANNOUNCES) {
                break address.trim().parse()?;
            }
        };
        let started_in = begun.elapsed();
        let mut log = File::create(folder.join("log"))?;
        // Read to the end, or a full pipe would stop the gate.
        thread::spawn(move || std::io::copy(&mut said, &mut log));
        Ok(Self { child, address, started_in })
    }

    /// Memory in MB: what is resident now, and the most that ever was.
    pub(crate) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let figure = |name: &str| -> anyhow::Result<f64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).context("no figure")?;
            Ok(value.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok((figure("VmRSS:")?, figure("VmHWM:")?))
    }

    /// The processor time of all its threads so far, in seconds.
    pub(crate) fn processor_time(&self) -> anyhow::Result<f64> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // One that has just ended is no more to be read.
            let Ok(figures) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += figures.split(' ').next().context("no figure")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos).as_secs_f64())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program under measurement, whatever the surroundings say about where its home is.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fallgate"));
    command.env_remove("FALLGATE_CONFIG").env_remove("FALLGATE_SERVER");
    command
}

/// Runs a command to its end; what it prints.
pub(crate) fn cli(home: &Path, arguments: &[&str], stdin: &str) -> anyhow::Result<String> {
    let typed = format!("fallgate {}", arguments.join(" "));
    let mut child = program()
        .args(arguments)
        .env("FALLGATE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that does not read its input may have ended; what it says then tells more.
        drop(pipe.write_all(stdin.as_bytes()));
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "`{typed}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// A user with a token of these scopes (or the usual ones): its id and its secret.
pub(crate) fn token(home: &Path, username: &str, more: &[&str]) -> anyhow::Result<(String, String)> {
    cli(home, &["user", "create", username, "--admin", "--passphrase-stdin"], PASSPHRASE)?;
    let mut arguments = vec!["token", "create", "--username", username, "--name", "bench", "--json"];
    arguments.extend(more);
    let minted = cli(home, &arguments, "")?;
    let minted: serde_json::Value = serde_json::from_str(&minted).context("`token create --json`")?;
    let text = |field: &str| {
        let value = minted.get(field).and_then(|value| value.as_str());
        value.map(str::to_owned).with_context(|| format!("a mint without `{field}`"))
    };
    Ok((text("id")?, text("secret")?))
}
