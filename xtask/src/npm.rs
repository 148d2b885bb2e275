//! What tests load into pages, from npm, among the build's files.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::workspace::{Workspace, run};

/// What is fetched, each release by its number and its hash.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// The copy of it that says that all is there.
const MARK: &str = "made-from.txt";

/// Puts it into `npm` in the build folder, unless it is there as it should be. With it there, nothing is asked of the
/// network. No script of a package is run.
pub(crate) fn packages(workspace: &Workspace) -> anyhow::Result<()> {
    let source = workspace.root.join("xtask/npm");
    let folder = workspace.target.join("npm");
    let read = |name| {
        let file = source.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let wanted = FILES.into_iter().map(read).collect::<anyhow::Result<String>>()?;
    let mark = folder.join(MARK);
    if fs::read_to_string(&mark).is_ok_and(|made_from| made_from == wanted) {
        println!("all there: xtask/npm in {}", folder.display());
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in FILES {
        let copied = fs::copy(source.join(name), folder.join(name));
        copied.with_context(|| format!("cannot copy {name} to {}", folder.display()))?;
    }
    run(Command::new("npm").current_dir(&folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))?;
    // Last, so that what broke off is made anew.
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}
