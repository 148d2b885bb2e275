//! What is said when a gate cannot be asked, is none, or will not.

use std::io::Write;
use std::process::Command;

use crate::support::scripted::{Scripted, read_head};
use crate::support::{Gate, Home, Run, nobodys_address};

const TOKEN: &str = "fgt_canarycanarycanary";

fn ask(home: &Home, url: &str) -> Run {
    Run::of(asking(home, url), b"")
}

fn asking(home: &Home, url: &str) -> Command {
    let mut command = home.command(&["user", "list", "--server", url]);
    command.env("FALLGATE_TOKEN", TOKEN);
    command
}

/// A server that answers every request with this.
fn answering(answer: impl Into<String>) -> Scripted {
    let answer = answer.into();
    Scripted::new(move |mut stream, _| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(answer.as_bytes());
        }
    })
}

fn problem(status: &str, headers: &str, detail: &str) -> String {
    let body = format!(r#"{{"type":"about:blank","title":"x","status":1,"detail":"{detail}"}}"#);
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
}

#[test]
fn a_gate_that_is_down_or_nowhere_is_named() {
    let home = Home::new();
    let down = format!("http://{}", nobodys_address());
    let refused = ask(&home, &down).refused(1);
    assert!(
        refused.starts_with(&format!("{down} cannot be asked")) && refused.contains("is the gate running?"),
        "{refused}"
    );
    let refused = ask(&home, "https://gate.invalid").refused(1);
    assert!(refused.contains("https://gate.invalid cannot be found"), "{refused}");
    let silent = answering("");
    let refused = ask(&home, &silent.url()).refused(1);
    assert!(refused.contains("cannot be asked"), "{refused}");
}

#[test]
fn an_answer_that_is_no_gates_is_told_from_a_gates() {
    let home = Home::new();
    let page = "<html>fgt_not for a terminal\u{1b}[31m</html>";
    for status in ["200 OK", "404 Not Found", "401 Unauthorized", "502 Bad Gateway"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
            page.len()
        );
        let refused = ask(&home, &answering(answer).url()).refused(1);
        let wanted = format!("does not answer as Fallgate does (status {}, text/html)", &status[..3]);
        assert!(refused.contains(&wanted) && !refused.contains("terminal"), "{refused}");
    }
    let half = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"users\":[{}";
    assert!(ask(&home, &answering(half).url()).refused(1).contains("does not answer as Fallgate does"));
    let endless =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n{}";
    assert!(ask(&home, &answering(endless).url()).refused(1).contains("more than is read here"));
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let elsewhere = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let target = format!("{}/api/users", elsewhere.url());
    let away = answering(format!(
        "HTTP/1.1 308 x\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ));
    let refused = ask(&Home::new(), &away.url()).refused(1);
    assert!(refused.contains(&format!("sends clients on to {target}")), "{refused}");
}

#[test]
fn a_proxy_of_the_surroundings_gets_no_credential() {
    let home = Home::new();
    let gate = Gate::start();
    gate.admin("root");
    let token = gate.token_with("root", &["--scope", "admin"]);
    let mut command = home.command(&["user", "list", "--server", &format!("http://{}", gate.address())]);
    command.env("FALLGATE_TOKEN", &token.secret);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        command.env(name, format!("http://{}", nobodys_address()));
    }
    Run::of(command, b"").ok();
}

#[test]
fn what_a_gate_refuses_is_said_in_its_words_with_what_to_do() {
    let home = Home::new();
    for (answer, says) in [
        (problem("401", "", "The credential is not valid."), "does not take what FALLGATE_TOKEN says"),
        (problem("403", "", "This needs the scope admin."), "this needs the scope admin"),
        (problem("421", "", "This gate has no such host."), "this gate has no such host"),
        (problem("500", "", "Fallgate cannot do it."), "Fallgate cannot do it"),
        (problem("503", "", "Fallgate cannot read its store."), ": Fallgate cannot read its store"),
        (problem("503", "Retry-After: 7\\r\\n", "Too busy."), "too busy"),
        (problem("429", "Retry-After: 30\r\n", "Too many tries."), "too many tries; try again in 30 s"),
    ] {
        let refused = ask(&home, &answering(answer).url()).refused(1);
        assert!(refused.contains(says), "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
}

#[test]
fn r23_secrets_go_over_plain_http_to_this_machine_only_unless_that_is_asked_for() {
    let home = Home::new();
    let refused = ask(&home, "http://gate.invalid").refused(1);
    assert!(refused.contains("plain HTTP") && refused.contains("--insecure-http"), "{refused}");
    let mut command = asking(&home, "http://gate.invalid");
    command.arg("--insecure-http");
    assert!(Run::of(command, b"").refused(1).contains("cannot be found"));
}

#[test]
fn a_command_without_a_credential_asks_nobody_and_says_how_to_get_one() {
    let home = Home::new();
    let url = format!("http://{}", nobodys_address());
    let refused = home.fallgate(&["user", "list", "--server", &url]).refused(1);
    assert_eq!(
        refused,
        format!("not signed in to {url}: use `fallgate login --server {url}`, or set FALLGATE_TOKEN")
    );
    // A token needs no place for sign-ins; who has neither hears of both.
    let mut homeless = asking(&home, &url);
    homeless.env_remove("HOME");
    assert!(Run::of(homeless, b"").refused(1).contains("cannot be asked"));
    let mut homeless = home.command(&["user", "list", "--server", &url]);
    homeless.env_remove("HOME");
    assert!(Run::of(homeless, b"").refused(1).contains("HOME is not set"));
    let mut command = home.command(&["user", "list", "--server", &url]);
    command.env("FALLGATE_TOKEN", "two words");
    assert!(Run::of(command, b"").refused(1).contains("FALLGATE_TOKEN is no token"));
    for words in [&["logout"][..], &["status"], &["passwd", "--passphrase-stdin"]] {
        assert!(home.fallgate(words).refused(1).contains("not signed in to any gate"));
    }
}
