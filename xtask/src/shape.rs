//! What is agreed about the tree: a closed list at the top, links that lead somewhere, tests that leave no trace.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::workspace::{Workspace, output, program};

/// All that may lie at the top. A new entry is a decision, made by adding it here.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "fuzz",
    "rustfmt.toml",
    "xtask",
];

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let files = files(workspace)?;
    let top = files.iter().filter_map(|file| file.iter().next()?.to_str());
    let strangers: BTreeSet<_> = top.filter(|entry| !TOP.contains(entry)).collect();
    if !strangers.is_empty() {
        bail!("not on the list of top-level entries (xtask/src/shape.rs): {strangers:?}");
    }
    let mut links = 0;
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(workspace.root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let folder = workspace.root.join(file.parent().unwrap_or(Path::new("")));
        for link in relative_links(&text) {
            links += 1;
            if !folder.join(link).exists() {
                broken.push(format!("{} -> {link}", file.display()));
            }
        }
    }
    if !broken.is_empty() {
        bail!("links to files that do not exist: {}", broken.join(", "));
    }
    println!(
        "{} files under the agreed top-level entries, {links} relative links that lead to a file",
        files.len()
    );
    Ok(())
}

/// What git says has changed, or none outside a git checkout.
pub(crate) fn working_tree(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    match git(workspace) {
        Some(mut git) => output(git.args(["status", "--porcelain"])).map(Some),
        None => Ok(None),
    }
}

/// Fails when the working tree is not as it was `before`: a test wrote into it, or a generated file was stale.
pub(crate) fn unchanged(workspace: &Workspace, before: Option<&str>) -> anyhow::Result<()> {
    let after = working_tree(workspace)?;
    let (Some(before), Some(after)) = (before, after) else {
        println!("not a git checkout, or no git: not checked");
        return Ok(());
    };
    let known: BTreeSet<_> = before.lines().collect();
    let now: BTreeSet<_> = after.lines().collect();
    let moved: Vec<_> = known.symmetric_difference(&now).copied().collect();
    if !moved.is_empty() {
        bail!("the working tree changed while the tests ran: {}", moved.join(", "));
    }
    println!("as it was before the tests");
    Ok(())
}

/// All files that belong to the tree, relative to the root: git's view where there is one, else all but
/// build folders.
pub(crate) fn files(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(mut git) = git(workspace) {
        let listed = output(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
        let listed = listed.split_terminator('\0').map(PathBuf::from);
        // A file that was deleted and not yet committed is still listed.
        return Ok(listed.filter(|file| workspace.root.join(file).exists()).collect());
    }
    let mut found = Vec::new();
    walk(&workspace.root, Path::new(""), &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let place = root.join(folder);
    for entry in fs::read_dir(&place).with_context(|| format!("cannot list {}", place.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if folder == Path::new("") && (name == "target" || name == ".git") {
            continue;
        }
        let path = folder.join(name);
        if entry.file_type()?.is_dir() { walk(root, &path, found)? } else { found.push(path) }
    }
    Ok(())
}

/// Git on this checkout, also when it belongs to another user (as it may in a container).
fn git(workspace: &Workspace) -> Option<Command> {
    let git = program("git")?;
    let command = || {
        let mut command = Command::new(&git);
        command.current_dir(&workspace.root).arg("-c").arg("safe.directory=*").stdin(Stdio::null());
        command
    };
    let inside = command().args(["rev-parse", "--show-toplevel"]).stderr(Stdio::null()).output().ok()?;
    // A checkout below some other repository is not one of our own.
    let top = String::from_utf8(inside.stdout).ok()?;
    let ours = fs::canonicalize(top.trim_end()).ok()? == fs::canonicalize(&workspace.root).ok()?;
    (inside.status.success() && ours).then(command)
}

/// The targets of Markdown links that name a file by relative path, without their `#fragment`.
/// Code, fenced or between backticks, is not looked at.
fn relative_links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let marker = ["```", "~~~"].into_iter().find(|marker| line.trim_start().starts_with(marker));
        match (fence, marker) {
            (None, Some(_)) => fence = marker,
            (Some(open), Some(found)) if open == found => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                // What stands at odd places between backticks is code.
                let prose = line.split('`').step_by(2);
                links.extend(prose.flat_map(inline_links));
                links.extend(definition(line));
            }
        }
    }
    links.retain(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"));
    links
}

/// `[text](target "title")`
fn inline_links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next())
}

/// `[label]: target`
fn definition(line: &str) -> Option<&str> {
    let (_, target) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    target.trim_start().split([' ', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_markdown_has_them() {
        let text = "See [one](a/b.md), [two](../c.md#part \"title\") and ![shot](pic.png).\n\
            [ref]: docs/d.md#x\n[top](#here) [out](https://example.org/x.md) [mail](mailto:a@b.c)\n\
            Not `[code](no.md)` at all.\n```\n[fenced](no.md)\n```\n[after](e.md)";
        assert_eq!(relative_links(text), ["a/b.md", "../c.md", "pic.png", "docs/d.md", "e.md"]);
    }

    #[test]
    fn a_broken_link_and_a_new_top_level_entry_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: folder.path().to_owned(), target: folder.path().join("target") };
        fs::write(folder.path().join("README.md"), "[there](LICENSE)").unwrap();
        fs::write(folder.path().join("LICENSE"), "").unwrap();
        check(&workspace).unwrap();

        fs::write(folder.path().join("README.md"), "[gone](docs/gone.md)").unwrap();
        let error = check(&workspace).unwrap_err().to_string();
        assert!(error.ends_with("README.md -> docs/gone.md"), "{error}");

        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let error = check(&workspace).unwrap_err().to_string();
        assert!(error.contains("notes.txt"), "{error}");
    }

    #[test]
    fn a_file_left_behind_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: folder.path().to_owned(), target: folder.path().join("target") };
        if program("git").is_none() {
            return;
        }
        output(Command::new("git").args(["init", "--quiet"]).arg(folder.path())).unwrap();
        let before = working_tree(&workspace).unwrap();
        unchanged(&workspace, before.as_deref()).unwrap();
        fs::write(folder.path().join("left"), "").unwrap();
        let error = unchanged(&workspace, before.as_deref()).unwrap_err().to_string();
        assert!(error.ends_with("?? left"), "{error}");
    }
}
