//! The API does what its description says, to whatever caller: schemathesis reads the description from the running
//! gate and tries to prove it wrong.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_web::doors::rows;

use crate::support::{Client, Gate};

/// What is tried: out of the blue, and then what follows from answers; last what may end the caller's own sign-in, or cut them.
const ROUNDS: [(&str, &str); 3] = [
    ("coverage,fuzzing", "--exclude-path-regex"),
    ("stateful", "--exclude-path-regex"),
    ("coverage,fuzzing", "--include-path-regex"),
];
const ENDS_THE_CALLER: &str = "^/api/(log(in|out)|cuts)$";

/// A gate with people in it, some of whom the tool knows by name.
fn gate() -> Gate {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    gate.user("eve");
    gate
}

/// Runs the tool against the gate as somebody who presents themselves by this header.
fn assert_true_to_its_description(gate: &Gate, header: (&str, &str)) {
    let stands = || {
        let (name, value) = header;
        let request = format!(
            "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
        );
        Client::exchange(gate.address(), request).status == 200
    };
    // All but the description itself, which the tool does not ask for again.
    let described = rows().iter().filter(|row| !row.is_page);
    let first =
        described.filter(|row| !["/api/login", "/api/logout", "/api/cuts"].contains(&row.path)).count() - 1;
    for (round, (phases, paths)) in ROUNDS.into_iter().enumerate() {
        assert!(
            round == 2 || stands(),
            "the caller was locked out before round {round}: it would show nothing"
        );
        let said = schemathesis(gate, header, &["--phases", phases, paths, ENDS_THE_CALLER]);
        assert!(
            round > 0 || said.contains(&format!("Tested: {first}\n")),
            "not every door was tried:\n{said}"
        );
    }
}

fn schemathesis(gate: &Gate, (name, value): (&str, &str), arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python/bin/schemathesis");
    assert!(program.is_file(), "no {}: `cargo xtask install` makes it", program.display());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/described/schemathesis.toml");
    let mut command = Command::new(program);
    command.arg("--config-file").arg(config).arg("run");
    command.args(arguments).args(["--no-color", &format!("http://{}/api/openapi.json", gate.address())]);
    command.env("FALLGATE_TEST_HEADER", name).env("FALLGATE_TEST_VALUE", value);
    // Where it writes what it remembers, and no proxy in between.
    let output = command.current_dir(gate.beside()).env("NO_PROXY", "*").output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

#[test]
fn the_api_is_as_described_to_an_admins_token() {
    let gate = gate();
    let token = gate.token_with("root", &["--scope", "admin"]);
    assert_true_to_its_description(&gate, ("Authorization", &bearer(&token.secret)));
}

#[test]
fn the_api_is_as_described_to_a_users_token() {
    let gate = gate();
    let token = gate.token_with("ada", &["--scope", "identity:read", "--scope", "tokens:write"]);
    assert_true_to_its_description(&gate, ("Authorization", &bearer(&token.secret)));
}

#[test]
fn the_api_is_as_described_to_a_token_by_basic() {
    let gate = gate();
    let token = gate.token_with("ada", &["--scope", "tokens:write", "--scope", "routes:use"]);
    let value = format!("Basic {}", STANDARD.encode(format!("ada:{}", token.secret)));
    assert_true_to_its_description(&gate, ("Authorization", &value));
}

#[test]
fn the_api_is_as_described_to_a_browser_that_is_signed_in() {
    let gate = gate();
    let cookie = format!("fallgate={}", gate.sign_in("root").secret);
    assert_true_to_its_description(&gate, ("Cookie", &cookie));
}

#[test]
fn the_api_is_as_described_to_a_program_that_is_signed_in() {
    let gate = gate();
    assert_true_to_its_description(&gate, ("Authorization", &bearer(&gate.sign_in("ada").secret)));
}

#[test]
fn the_api_is_as_described_to_this_machines_own_programs() {
    let gate = gate();
    let token = gate.internal_token();
    assert_true_to_its_description(&gate, ("Authorization", &bearer(&token)));
}

#[test]
fn the_api_is_as_described_to_an_old_token_of_llmux() {
    let gate = gate();
    let token = gate.legacy_token();
    assert_true_to_its_description(&gate, ("Authorization", &bearer(&token.secret)));
}
