//! `--help` of every verb there is, found by asking.

use std::collections::BTreeSet;

use crate::support::Home;

/// What each verb takes besides `--help` and `--json`, and where it works: at a gate, on a home folder, or nowhere in
/// particular.
const VERBS: &[(&str, &[&str], &[&str])] = &[
    ("serve", &["--listen", "--config", "--qr-owner", "--no-qr"], HOME),
    ("user create", &["--display-name", "--admin", "--passphrase-stdin"], BOTH),
    ("user list", &[], BOTH),
    ("user set-role", &[], BOTH),
    ("user disable", &[], BOTH),
    ("user enable", &[], BOTH),
    ("user delete", &["--yes"], BOTH),
    ("user reset-passphrase", &["--passphrase-stdin", "--revoke-tokens"], BOTH),
    ("token create", &["--username", "--name", "--scope", "--expires", "--qr"], BOTH),
    ("token list", &["--user", "--all"], BOTH),
    ("token revoke", &["--all", "--user", "--yes", "--stdin", "--expires-at", "--force"], BOTH),
    ("token rename", &[], BOTH),
    ("token expire", &["--at"], BOTH),
    ("token inspect", &[], BOTH),
    ("agent create", &["--owner", "--scope", "--route"], BOTH),
    ("agent list", &["--owner"], BOTH),
    ("agent token", &["--ttl", "--scope", "--audience"], BOTH),
    ("agent disable", &[], BOTH),
    ("agent enable", &[], BOTH),
    ("agent delete", &["--yes"], BOTH),
    ("internal-token show", &[], HOME),
    ("internal-token rotate", &[], HOME),
    ("import llmux", &["--state-dir", "--data-dir", "--dry-run", "--config"], HOME),
    ("cut", &["--reason", "--for"], BOTH),
    ("cuts", &[], BOTH),
    ("lift", &[], BOTH),
    ("audit list", &["--user", "--action", "--limit", "--before"], BOTH),
    ("audit tail", &[], BOTH),
    ("audit verify", &[], BOTH),
    ("key list", &[], HOME),
    ("key rotate", &["--new-key-file", "--confirm"], HOME),
    ("key rotate-signing", &["--now"], HOME),
    ("store backup", &[], HOME),
    ("store restore", &["--accept"], HOME),
    ("store sweep", &[], HOME),
    ("live", &[], BOTH),
    ("reload", &[], HOME),
    ("config check", &["--listen", "--config"], &[]),
    ("config explain", &["--listen", "--config"], &[]),
    ("doctor", &["--listen", "--config"], HOME),
    ("login", &["--username", "--device-name", "--passphrase-stdin", "--device"], GATE),
    ("logout", &[], GATE),
    ("status", &[], GATE),
    ("pair", &["--username"], BOTH),
    ("passwd", &["--passphrase-stdin", "--revoke-tokens"], GATE),
    ("version", &[], &[]),
    ("completions", &[], &[]),
    ("man", &[], &[]),
];
const GATE: &[&str] = &["--server", "--insecure-http"];
const HOME: &[&str] = &["--home"];
const BOTH: &[&str] = &["--server", "--insecure-http", "--home", "--config"];

fn help(home: &Home, words: &str) -> String {
    let mut arguments: Vec<&str> = words.split_whitespace().collect();
    arguments.push("--help");
    let run = home.fallgate(&arguments).ok();
    assert_eq!(run.stderr, "", "{words}");
    run.stdout
}

/// The verbs below these words, with what their help says.
fn verbs(home: &Home, words: &str, found: &mut Vec<(String, String)>) {
    let help = help(home, words);
    let Some((_, commands)) = help.split_once("\nCommands:\n") else {
        found.push((words.to_owned(), help));
        return;
    };
    // What is indented further goes on with the line before.
    let named =
        commands.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    for line in named {
        let (name, says) = line.trim().split_once(' ').unwrap();
        assert!(!says.trim().is_empty(), "{words} {name} says nothing about itself");
        if name != "help" {
            verbs(home, format!("{words} {name}").trim(), found);
        }
    }
}

#[test]
fn every_verb_says_what_it_does_what_it_takes_and_where_it_works() {
    let home = Home::new();
    let mut found = Vec::new();
    verbs(&home, "", &mut found);
    let names: BTreeSet<_> = found.iter().map(|(words, _)| words.as_str()).collect();
    assert_eq!(names, VERBS.iter().map(|(words, ..)| *words).collect(), "the verbs and this table differ");
    for (words, help) in &found {
        let (_, takes, places) = VERBS.iter().find(|(name, ..)| name == words).unwrap();
        let first = help.lines().next().unwrap();
        assert!(first.contains(' ') && first.starts_with(char::is_uppercase), "{words}: {first}");
        assert!(help.contains(&format!("\nUsage: fallgate {words}")), "{words}: {help}");
        assert!(!help.contains('`'), "{words} shows Markdown: {help}");
        let options: BTreeSet<_> = help
            .lines()
            .filter(|line| line.starts_with("  ") && line.trim_start().starts_with('-'))
            .filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")))
            .filter(|option| !["--help", "--json"].contains(option))
            .map(str::to_owned)
            .collect();
        let wanted: BTreeSet<_> = takes.iter().chain(*places).map(|option| (*option).to_owned()).collect();
        assert_eq!(options, wanted, "{words}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{words}: {help}");
    }
    assert!(!home.path().exists(), "asking for help has made a home");
}

#[test]
fn what_is_hidden_where_it_means_nothing_is_still_refused_with_the_reason() {
    let home = Home::new();
    for (words, _, places) in VERBS.iter().filter(|(_, _, places)| !places.contains(&"--server")) {
        let needed: &[&str] = match *words {
            "completions" => &["bash"],
            "man" | "store backup" => &["/nowhere"],
            "store restore" => &["--accept"],
            _ => &[],
        };
        let arguments: Vec<_> = words.split(' ').chain(needed.iter().copied()).collect();
        let refused =
            home.fallgate(&[&arguments[..], &["--server", "http://127.0.0.1:1"]].concat()).refused(2);
        assert!(refused.contains("works on this machine only"), "{words} {places:?}: {refused}");
    }
    assert!(!home.path().exists());
}
