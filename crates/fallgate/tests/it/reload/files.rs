//! What a config that is read again names beside itself, and what of it cannot count before the next start.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::reload;
use crate::support::tls::Authority;
use crate::support::{Client, Gate, Home, nobodys_address};

const ROUTE: &str = "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:1\"\n";

/// Refused whole: says `word`, and what counted goes on to count.
#[track_caller]
fn refused(gate: &Gate, word: &str) {
    let refused = gate.fallgate(&["reload"]).refused(1);
    assert!(refused.contains(word) && refused.contains("nothing has changed"), "{refused}");
    let answer = Client::get(gate.address(), "/app/", Some(&gate.token("ada")));
    assert_eq!(answer.status, 502, "the route is there");
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn r57_a_config_that_names_files_which_cannot_be_used_changes_nothing() {
    let gate = Gate::configured(ROUTE);
    let missing = gate.beside().join("typo.pem");
    gate.write_config(&format!(
        "{}upstream_ca = {missing:?}\n",
        ROUTE.replace("/app", "/other").replace("http:", "https:")
    ));
    refused(&gate, "the upstream of the route app: ");
    gate.write_config(&format!("[server]\ntls = {{ cert = {missing:?}, key = {missing:?} }}\n"));
    refused(&gate, "server.tls: ");
}

#[test]
fn r57_neither_a_config_nor_a_secret_that_is_a_pipe_is_waited_for() {
    let gate = Gate::configured(ROUTE);
    let pipe = gate.beside().join("pipe");
    make_pipe(&pipe);
    let file = |key: &str, path: &Path| format!("{key} = \"${{file:{}}}\"", path.display());
    gate.write_config(&format!("{ROUTE}inject = {{ {} }}\n", file("x-key", &pipe)));
    refused(&gate, "not a regular file");
    let https = ROUTE.replace("http:", "https:");
    gate.write_config(&format!("{https}upstream_ca = {pipe:?}\n"));
    refused(&gate, "not a regular file");
    let config = gate.write_config(ROUTE);
    fs::remove_file(&config).unwrap();
    make_pipe(&config);
    refused(&gate, "not a regular file");
    fs::remove_file(&config).unwrap();
    gate.write_config(ROUTE);
    assert_eq!(reload(&gate)["changed"], json!([]));
}

#[test]
fn r57_tls_that_needs_a_restart_does_not_change_what_the_gate_calls_itself() {
    let (address, authority) = (nobodys_address(), Authority::new());
    let pair = authority.issue("gate", &["localhost"]);
    let host = "[[route]]\nname = \"wiki\"\nhost = \"wiki.example\"\nupstream = \"http://127.0.0.1:1\"\n";
    let gate = Gate::at(address, host);
    let sent_to = || {
        let asked = "GET / HTTP/1.1\r\nHost: wiki.example\r\nAccept: text/html\r\n\r\n";
        let answer = Client::exchange(address, asked);
        answer.header("location").unwrap().split("/login").next().unwrap().to_owned()
    };
    assert_eq!(sent_to(), format!("http://{address}"));
    gate.write_config(&format!("[server]\ntls = {{ cert = {:?}, key = {:?} }}\n{host}", pair.cert, pair.key));
    for _ in 0..2 {
        let reloaded = reload(&gate);
        assert_eq!((&reloaded["changed"], &reloaded["needs_restart"]), (&json!([]), &json!(["tls"])));
        assert_eq!(sent_to(), format!("http://{address}"));
    }
}

#[test]
fn r57_a_key_at_another_place_needs_a_restart() {
    let authority = Authority::new();
    let pair = authority.issue("gate", &["localhost"]);
    let config = |key: &Path| format!("[server]\ntls = {{ cert = {:?}, key = {key:?} }}\n", pair.cert);
    let gate = Gate::configured(&config(&pair.key));
    let copy = gate.beside().join("copy.pem");
    fs::copy(&pair.key, &copy).unwrap();
    gate.write_config(&config(&copy));
    assert_eq!(reload(&gate)["needs_restart"], json!(["tls"]));
    gate.write_config(&config(&pair.key));
    assert_eq!(reload(&gate)["needs_restart"], json!([]));
}

#[test]
fn r57_no_route_leads_to_where_the_gate_listens_whatever_a_later_file_says_of_that() {
    let (own, later) = (nobodys_address(), nobodys_address());
    let gate = Gate::configured(&format!("[server]\nlisten = \"{own}\"\n{ROUTE}"));
    for upstream in [own, later] {
        let route = ROUTE.replace("127.0.0.1:1\"", &format!("{upstream}\""));
        gate.write_config(&format!("[server]\nlisten = \"{later}\"\n{route}"));
        refused(&gate, "is the gate itself, which listens on");
    }
    // Nor to the port that it was given.
    let gate = Gate::configured(ROUTE);
    let route = ROUTE.replace("127.0.0.1:1\"", &format!("{}\"", gate.address()));
    gate.write_config(&route);
    refused(&gate, "is the gate itself, which listens on");
}

#[test]
fn r57_a_usual_config_that_is_missing_for_a_moment_takes_no_route_away() {
    let home = Home::new();
    let folder = home.beside().join(".config/fallgate");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fallgate.toml");
    fs::write(&file, ROUTE).unwrap();
    let without_config = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    let gate = Gate::started(home, "", |command| *command = without_config);
    fs::remove_file(&file).unwrap();
    refused(&gate, "fallgate.toml");
    // Who means it writes an empty one.
    fs::write(&file, "").unwrap();
    assert_eq!(reload(&gate)["changed"], json!(["route app (gone)"]));
}
