//! What a newcomer gets wrong, and what they are told.

use crate::support::{Gate, Home, PASSPHRASE, Run};

const ID: &str = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";

#[test]
fn an_address_to_listen_on_that_is_none_is_refused_in_the_configs_words() {
    let home = Home::new();
    for address in ["localhost:7600", "7600", ":7600"] {
        let run = home.fallgate(&["serve", "--listen", address]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(
            run.stderr.contains("write an IP address and a port, such as 127.0.0.1:7400"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let home = Home::new();
    for asked in ["verbose", "info,verbose"] {
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("FALLGATE_LOG", asked);
        let refused = Run::of(command, b"").refused(1);
        assert!(refused.contains(r#""verbose" is no level: write off, error"#), "{refused}");
    }
    let help = home.fallgate(&["serve", "--help"]).ok().stdout;
    assert!(help.contains("FALLGATE_LOG") && help.contains("FALLGATE_LISTEN"), "{help}");
    Gate::started(Home::new(), "", |command| {
        command.env("FALLGATE_LOG", "Info,fallgate_relay=debug");
    });
}

#[test]
fn half_a_command_is_told_what_the_other_half_may_be() {
    let home = Home::new();
    let refused = home.fallgate(&["token", "revoke"]).refused(2);
    assert!(refused.contains("--all") && refused.contains("--stdin"), "{refused}");
    let refused = home.fallgate(&["token", "expire", ID, "1h"]).refused(2);
    assert!(refused.contains(&format!("`fallgate token expire {ID} --at 1h`")), "{refused}");
    let run = home.fallgate(&["token", "expire", ID]);
    assert!(run.code == Some(2) && run.stderr.contains("--at <WHEN>"), "{}", run.stderr);
}

#[test]
fn a_scope_for_a_route_that_the_config_lacks_is_warned_of() {
    let home = Home::new();
    home.user("ada");
    let mint = |route: &str| {
        let mut command = home.command(&["token", "create", "--username", "ada", "--scope", route]);
        command.env("FALLGATE_CONFIG", home.beside().join("fallgate.toml"));
        Run::of(command, b"").ok().stderr
    };
    home.write_config("[[route]]\nname = \"notes\"\npath = \"/notes\"\nupstream = \"http://127.0.0.1:9\"\n");
    assert!(mint("route:note").contains("warning: the config has no route note"));
    assert!(!mint("route:notes").contains("warning"));
    // Without a config that can be read nobody knows.
    let unsaid = home.token_with("ada", &["--scope", "route:note"]);
    assert!(!unsaid.id.is_empty());
    let said = home.fallgate(&["token", "create", "--username", "ada", "--scope", "route:x"]).ok().stderr;
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn whoever_is_signed_in_and_has_no_home_is_told_of_the_gate() {
    let gate = Gate::start();
    gate.admin("ada");
    let url = format!("http://{}", gate.address());
    let elsewhere = gate.beside().join("elsewhere");
    let list = ["token", "list", "--home", elsewhere.to_str().unwrap()];
    assert!(!gate.fallgate(&list).refused(1).contains("--server"));
    let login = ["login", "--server", &url, "--username", "ada", "--passphrase-stdin"];
    gate.fallgate_with(&login, PASSPHRASE).ok();
    let refused = gate.fallgate(&list).refused(1);
    assert!(refused.ends_with(&format!("add --server {url}")), "{refused}");

    let none = gate.fallgate(&["token", "list", "--server", &url]).ok().stderr;
    assert!(none.contains("token create --name NAME") && !none.contains("--username"), "{none}");
}

#[test]
fn who_tries_too_often_is_told_once_how_long_to_wait() {
    let gate = Gate::start();
    gate.admin("ada");
    let url = format!("http://{}", gate.address());
    let login = ["login", "--server", &url, "--username", "ada", "--passphrase-stdin"];
    let mut said = String::new();
    while !said.contains("too many") {
        said = gate.fallgate_with(&login, "not the passphrase").refused(1);
        assert!(said.contains("too many") || said.contains("wrong"), "{said}");
    }
    assert_eq!(said.matches("try again in").count(), 1, "{said}");
}

#[test]
fn the_doctor_counts_one_as_one() {
    let home = Home::new();
    home.token("ada");
    let seen = home.fallgate(&["doctor", "--listen", "127.0.0.1:0"]).ok().stdout;
    assert!(seen.contains("1 user, 1 good token\n"), "{seen}");
}

#[test]
fn the_usual_scopes_are_listed_as_default() {
    let home = Home::new();
    home.token("ada");
    home.token_with("ada", &["--scope", "routes:use", "--name", "narrow"]);
    let list = home.fallgate(&["token", "list"]).ok().stdout;
    let row = |name: &str| list.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row("narrow").contains("  routes:use  "), "{list}");
    let usual = list.lines().skip(1).find(|line| !line.contains("narrow")).unwrap();
    assert!(usual.contains("  default  ") && !usual.contains("routes:use"), "{list}");
}

#[test]
fn a_dry_run_of_an_import_says_what_it_would_take() {
    let home = Home::new();
    let folder = home.beside().join("llmux");
    std::fs::create_dir(&folder).unwrap();
    let token =
        format!(r#"{{"hash":"{}","name":"old","createdAt":"2026-01-01T00:00:00Z"}}"#, "ab".repeat(32));
    std::fs::write(folder.join("auth.json"), format!(r#"{{"version":2,"tokens":[{token}]}}"#)).unwrap();
    let folder = folder.to_str().unwrap();
    let import = ["import", "llmux", "--state-dir", folder, "--data-dir", folder];
    let dry = home.fallgate(&[&import[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(dry.trim_end().ends_with("would take"), "{dry}");
    let done = home.fallgate(&import).ok().stdout;
    assert!(done.trim_end().ends_with("taken") && !done.contains("would"), "{done}");
}
