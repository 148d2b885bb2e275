//! What a config that is read again names beside itself, and what of it cannot count before the next start.

use crate::support::{Client, Gate};

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
