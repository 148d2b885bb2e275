//! Python tools that the tests run, in a virtual environment among the build's files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::workspace::{Workspace, output, run};

/// What is in the environment, each release by its number.
const REQUIREMENTS: &str = "xtask/python/requirements.txt";
/// The copy of it that says that the environment is whole.
const MARK: &str = "made-from.txt";

/// Makes the environment `python` in the build folder, unless it is there as it should be. With it there, nothing is
/// asked of the network.
pub(crate) fn environment(workspace: &Workspace) -> anyhow::Result<()> {
    let requirements = workspace.root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    // An environment is tied to the Python that made it.
    let wanted = wanted + "# " + &output(Command::new("python3").arg("--version"))?;
    let folder = workspace.target.join("python");
    let mark = folder.join(MARK);
    if fs::read_to_string(&mark).is_ok_and(|made_from| made_from == wanted) {
        println!("all there: {REQUIREMENTS} in {}", folder.display());
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    // Without its own pip, for which Debian wants a package more; the system's can install into it.
    run(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&folder))?;
    run(Command::new("pip3")
        .arg("--python")
        .arg(interpreter(&folder))
        .args(["install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements))?;
    // Last, so that what broke off is made anew.
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}
