//! Somebody else's proxy in front of the gate: what it says of the client counts where the operator trusts it.

use crate::support::{Client, Gate, Home, Upstream};

const TOLD: &str = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";

fn gate(upstream: &Upstream, trusted: &str) -> Gate {
    Gate::configured(&format!(
        "[server]\ntrusted_proxies = [{trusted}]\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n",
        upstream.url()
    ))
}

#[test]
fn r1_a_proxys_word_reaches_upstream_and_last_use_only_where_it_is_trusted() {
    for (trusted, address, proto) in [
        ("", "127.0.0.1", "http"),
        ("\"10.0.0.0/8\"", "127.0.0.1", "http"),
        ("\"127.0.0.1\"", "198.51.100.7", "https"),
    ] {
        let upstream = Upstream::echo();
        let gate = gate(&upstream, trusted);
        let token = gate.token("ada");
        let request = format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{TOLD}{}\r\n", token.header());
        let seen = Client::exchange(gate.address(), request).text();
        assert!(
            seen.contains(&format!("X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {proto}\r\n")),
            "{seen}"
        );
        assert!(!seen.contains("203.0.113.9"), "{seen}");
        let last_use = crate::support::wait_for("the use to be noted", || {
            let tokens = gate.fallgate(&["token", "list", "--json"]).json();
            tokens["tokens"][0]["last_used_ip"].as_str().map(str::to_owned)
        });
        assert_eq!(last_use, address);
    }
}

#[test]
fn r1_the_gate_does_not_start_when_everybody_is_trusted() {
    let home = Home::new();
    for everybody in ["0.0.0.0/0", "::/0"] {
        let config = home.write_config(&format!("[server]\ntrusted_proxies = [{everybody:?}]\n"));
        let refused = home.fallgate(&["serve", "--config", config.to_str().unwrap()]).refused(1);
        assert!(refused.contains("everybody"), "{refused}");
    }
}

#[test]
fn r8_a_trusted_proxys_word_that_cannot_be_read_is_refused() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream, "\"127.0.0.1\"");
    let token = gate.token("ada");
    for words in ["X-Forwarded-For: somebody\r\n", "X-Forwarded-Proto: gopher\r\n"] {
        let request = format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{words}{}\r\n", token.header());
        assert_eq!(Client::exchange(gate.address(), request).status, 400, "{words}");
    }
    assert!(upstream.requests().is_empty());
}
