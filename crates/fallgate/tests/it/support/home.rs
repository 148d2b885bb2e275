//! A home folder of a test's own, and the command line on it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Good enough for every user of every test.
pub(crate) const PASSPHRASE: &str = "otter slate canyon vivid 41";

/// A home folder, and beside it a place for a config and whatever else a test needs. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
}

/// A token, as the command line made it.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What came of running a command.
#[derive(Debug)]
pub(crate) struct Run {
    typed: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    /// A home that is not made yet: the first command makes it.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One whose path is longer than most.
    pub(crate) fn deep() -> Self {
        let folder = tempfile::Builder::new().prefix(&"deep-".repeat(40)).tempdir().unwrap();
        Self { folder }
    }

    /// The home folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A place for what the home folder must not hold.
    pub(crate) fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a config beside the home folder.
    pub(crate) fn write_config(&self, text: &str) -> PathBuf {
        let path = self.beside().join("fallgate.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The built program, told to use this home, and nothing of the surroundings: no variable, config or terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fallgate"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FALLGATE_", "XDG_", "RUST_LOG"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .env("HOME", self.beside())
            .env("FALLGATE_HOME", self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn fallgate(&self, arguments: &[&str]) -> Run {
        self.fallgate_with(arguments, "")
    }

    /// Runs a command to its end, with this on its stdin.
    pub(crate) fn fallgate_with(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Run {
        Run::of(self.command(arguments), stdin.as_ref())
    }

    /// Makes a user.
    pub(crate) fn user(&self, name: &str) {
        self.fallgate_with(&["user", "create", name, "--passphrase-stdin"], PASSPHRASE).ok();
    }

    /// Makes an admin.
    pub(crate) fn admin(&self, name: &str) {
        self.fallgate_with(&["user", "create", name, "--admin", "--passphrase-stdin"], PASSPHRASE).ok();
    }

    /// Makes a token with the default scopes, and its owner first if there is none of that name.
    pub(crate) fn token(&self, owner: &str) -> Token {
        self.token_with(owner, &[])
    }

    /// Makes a token with more arguments, such as `["--scope", "admin"]`, and its owner first if there is none.
    pub(crate) fn token_with(&self, owner: &str, more: &[&str]) -> Token {
        let mut arguments = vec!["token", "create", "--username", owner, "--json"];
        arguments.extend(more);
        let mut run = self.fallgate(&arguments);
        // Asked only now: most have an owner, and each question is a process.
        if run.code == Some(1) && !self.usernames().iter().any(|name| name == owner) {
            self.user(owner);
            run = self.fallgate(&arguments);
        }
        let minted = run.ok().json();
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        Token { id: text("id"), secret: text("secret") }
    }

    /// What this machine's own programs come in with, once the home was served.
    pub(crate) fn internal_token(&self) -> String {
        fs::read_to_string(self.path().join("internal-token")).unwrap().trim_end().to_owned()
    }

    /// Everybody's name.
    pub(crate) fn usernames(&self) -> Vec<String> {
        let listed = self.fallgate(&["user", "list", "--json"]);
        if listed.code != Some(0) {
            return Vec::new();
        }
        let listed = listed.json();
        let users = listed["users"].as_array().unwrap();
        users.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    }
}

impl Token {
    /// The header line that presents it, with its line end.
    pub(crate) fn header(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.secret)
    }
}

impl Run {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command, stdin: &[u8]) -> Self {
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        let typed = format!("fallgate {}", words.collect::<Vec<_>>().join(" "));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A command that does not read its input may have ended already; what it says tells more.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        Self {
            typed,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It did what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "`{}` failed: {}", self.typed, self.stderr);
        self
    }

    /// It failed with that exit code, nothing on stdout and one line on stderr, which is given without `error: `.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "`{}`: {}", self.typed, self.stderr);
        assert_eq!(self.stdout, "", "`{}`", self.typed);
        let line = self.stderr.strip_suffix('\n').unwrap_or(&self.stderr);
        assert!(!line.contains('\n'), "`{}` says more than one line: {}", self.typed, self.stderr);
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}` printed no JSON ({error}): {}", self.typed, self.stdout))
    }
}
