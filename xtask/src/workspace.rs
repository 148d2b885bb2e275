//! Where things are, and how other programs are run.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// The checkout and its build folder, both absolute.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let manifest = variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = manifest.parent().context("xtask has no folder above it")?.to_owned();
        let target = match variable("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Whether this path, given from the root, is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// `cargo` at the root, building into the same folder as the cargo that runs us.
    pub(crate) fn cargo<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let program = variable("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .stdin(Stdio::null());
        // `cargo run` tells us about the xtask package; handed on, build scripts that look at these
        // would run again after every switch between `cargo` and `cargo xtask`.
        for (name, _) in env::vars_os() {
            let about_us = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
            });
            if about_us {
                command.env_remove(name);
            }
        }
        command
    }
}

/// An environment variable that holds a path; empty counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban keeps the gate's settings in one place; xtask has none"
)]
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where a program is: on the path, or where Debian keeps servers that a plain user's path leaves out.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let servers = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(servers).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a command in the foreground, saying so; an error names it as one would type it.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let typed = typed(command);
    println!("$ {typed}");
    let status = command.status().with_context(|| format!("cannot start `{typed}`"))?;
    if !status.success() {
        bail!("`{typed}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it says on stdout; stderr goes to ours.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let typed = typed(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{typed}`"))?;
    if !output.status.success() {
        bail!("`{typed}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{typed}` did not answer in UTF-8"))
}

/// The command as one would type it, its program by name alone.
pub(crate) fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    command.get_args().fold(name, |mut line, argument| {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_as_it_was_typed() {
        let error = output(Command::new("/bin/false").args(["--one", "two"])).unwrap_err();
        assert!(error.to_string().starts_with("`false --one two` failed"), "{error}");
    }

    #[test]
    fn programs_are_found_and_made_up_ones_are_not() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-anywhere").is_none());
    }
}
