//! The API does what its description says, to whatever caller: schemathesis reads the description from the running
//! gate and tries to prove it wrong.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_web::doors::rows;

use crate::support::{Client, Gate};

/// One of each, where both run on one gate: what is tried out of the blue, and then what follows from answers.
const ROUNDS: [&str; 2] = ["coverage,fuzzing", "stateful"];

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
    for phases in ROUNDS {
        assert!(stands(), "the caller was locked out before `{phases}`: it would show nothing");
        let said = schemathesis(gate, header, phases);
        // All but the description itself, which the tool does not ask for again.
        let count = format!("Tested: {}\n", rows().len() - 1);
        assert!(phases == "stateful" || said.contains(&count), "not every operation was tried:\n{said}");
    }
}

fn schemathesis(gate: &Gate, (name, value): (&str, &str), phases: &str) -> String {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python/bin/schemathesis");
    assert!(program.is_file(), "no {}: `cargo xtask install` makes it", program.display());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/described/schemathesis.toml");
    let mut command = Command::new(program);
    command.arg("--config-file").arg(config).arg("run");
    command.args(["--no-color", "--phases", phases, &format!("http://{}/api/openapi.json", gate.address())]);
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
