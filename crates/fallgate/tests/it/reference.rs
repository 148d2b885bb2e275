//! The command line, written down: help, completions, manual pages.

use std::fs;
use std::process::Command;

use crate::support::Home;

#[test]
fn completions_are_printed_for_each_shell_and_bash_takes_its_own() {
    let home = Home::new();
    for (shell, holds) in [
        ("bash", "complete "),
        ("zsh", "#compdef fallgate"),
        ("fish", "complete -c fallgate"),
        ("elvish", "edit:"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = home.fallgate(&["completions", shell]).ok().stdout;
        assert!(script.contains(holds) && script.contains("reset-passphrase"), "{shell}");
    }
    let script = home.beside().join("completions.bash");
    fs::write(&script, home.fallgate(&["completions", "bash"]).ok().stdout).unwrap();
    let complete = "source \"$0\"; COMP_WORDS=(fallgate token re); COMP_CWORD=2; _fallgate fallgate re token; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", complete]).arg(&script).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "revoke rename\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(home.fallgate(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn a_manual_page_is_written_for_each_command() {
    let home = Home::new();
    let folder = home.beside().join("deep/man1");
    let written = home.fallgate(&["man", folder.to_str().unwrap()]).ok();
    assert!(
        written.stdout.is_empty() && written.stderr.contains("deep/man1/fallgate.1"),
        "{}",
        written.stderr
    );
    for (name, place) in [
        ("fallgate", "server"),
        ("fallgate-serve", "home"),
        ("fallgate-user-create", "server"),
        ("fallgate-token-revoke", "server"),
        ("fallgate-login", "server"),
    ] {
        let page = fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
        for part in [".TH", ".SH NAME", &format!("\\-\\-{place}")] {
            assert!(page.contains(part), "{name} without {part}: {page}");
        }
    }
    let page = fs::read_to_string(folder.join("fallgate-token-create.1")).unwrap();
    let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
    assert!(title.contains(concat!("fallgate ", env!("CARGO_PKG_VERSION"))), "{title}");
    assert!(page.contains(".SH EXAMPLE\n") && !page.contains("EXTRA"), "{page}");
    let refused = home.fallgate(&["man", "/dev/null/man"]).refused(1);
    assert!(refused.contains("cannot write to /dev/null/man"), "{refused}");
}
