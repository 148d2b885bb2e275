//! The Model Context Protocol over HTTP, both sides by its own SDK, through the gate.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::servers::{Server, script};
use crate::support::{Gate, Token};

/// Has the client add 40 and 2; what it saw and what came of it, line by line.
fn call(gate: &Gate, token: Option<&Token>) -> Vec<Value> {
    let mut client = script("mcp_client");
    client.arg(format!("http://{}/tools/mcp", gate.address()));
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(token.map_or("", |token| &token.secret).as_bytes()).unwrap();
    drop(stdin);
    let said = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn r24_an_mcp_client_is_let_in_by_a_token_and_else_challenged() {
    let upstream = Server::script("mcp_server", &[]);
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"tools\"\npath = \"/tools\"\nstrip = true\nupstream = {:?}\n",
        upstream.url()
    ));
    let token = gate.token("ada");
    let said = call(&gate, Some(&token));
    assert_eq!(said.last(), Some(&json!({"result": "42"})), "{said:?}");
    let said = call(&gate, None);
    let refused = json!({
        "status": 401,
        "type": "application/problem+json",
        "challenge": "Bearer realm=\"fallgate\"",
    });
    assert_eq!(said.first(), Some(&refused), "{said:?}");
    assert!(said.last().unwrap()["failed"].is_string(), "{said:?}");
    let revoked = gate.fallgate(&["token", "revoke", &token.id]);
    revoked.ok();
    assert_eq!(call(&gate, Some(&token)).first(), Some(&refused));
}
