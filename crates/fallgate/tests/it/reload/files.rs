//! What a config that is read again names beside itself, and what of it cannot count before the next start.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::reload;
use crate::support::tls::Authority;
use crate::support::{Client, Gate, nobodys_address};

const ROUTE: &str = "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:1\"\n";

/// Refused whole: says `word`, and what counted goes on to count.
#[track_caller]
fn refused(gate: &Gate, word: &str) {
    let refused = gate.fallgate(&["reload"]).refused(1);
    assert!(refused.contains(word) && refused.contains("nothing has changed"), "{refused}");
    let answer = Client::get(gate.address(), "/app/", Some(&gate.token("ada")));
    assert_eq!(answer.status, 502, "the route is there");
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
