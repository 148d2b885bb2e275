//! `[workers]` in the config: what `config check` refuses, what `config explain` tells, what a reload changes.

use serde_json::json;

use super::claims;
use crate::support::{Gate, Home, Worker};

#[test]
fn config_check_refuses_what_a_start_would_and_explain_tells_what_counts() {
    let home = Home::new();
    let skews = "write a duration from 0s to 5m, such as 30s";
    let lives = "write a duration from 1s to 7d, such as 2h";
    for (setting, words) in [
        ("clock_skew = \"-1s\"", skews),
        ("clock_skew = \"5m1s\"", skews),
        ("clock_skew = \"soon\"", skews),
        ("clock_skew = 30", "must be a string in quotes"),
        ("ttl = \"0s\"", lives),
        ("ttl = \"7d1s\"", lives),
        ("ttl = \"-2h\"", lives),
        ("ttl = \"never\"", lives),
    ] {
        let file = home.write_config(&format!("[workers]\n{setting}\n"));
        let file = file.to_str().unwrap();
        for command in [&["config", "check"][..], &["config", "explain"], &["serve"]] {
            let refused = home.fallgate(&[command, &["--config", file]].concat()).refused(1);
            assert!(refused.contains("fallgate.toml:2: ") && refused.contains(words), "{setting}: {refused}");
        }
    }
    for (config, ttl, skew) in [
        ("", ("2h", "default"), ("30s", "default")),
        ("[workers]\nclock_skew = \"0s\"\n", ("2h", "default"), ("0s", "line 2")),
        ("[workers]\nttl = \"7d\"\nclock_skew = \"5m\"\n", ("7d", "line 2"), ("5m", "line 3")),
        ("[workers]\nttl = \"1s\"\n", ("1s", "line 2"), ("30s", "default")),
    ] {
        let file = home.write_config(config);
        let file = file.to_str().unwrap();
        home.fallgate(&["config", "check", "--config", file]).ok();
        let told = home.fallgate(&["config", "explain", "--config", file, "--json"]).ok().json();
        for (name, (value, source)) in [("workers.ttl", ttl), ("workers.clock_skew", skew)] {
            let found = told.pointer(&format!("/policy/{name}"));
            assert_eq!(found, Some(&json!({ "value": value, "source": source })), "{name} of {told}");
        }
    }
}

#[test]
fn a_reload_takes_another_life_at_once_and_says_that_another_skew_needs_a_start() {
    let gate = Gate::configured("[workers]\nttl = \"10m\"\n");
    let minter = gate.token_with("ada", &["--scope", "agents:write"]);
    let mint = || Worker::token_of(&gate.mint_worker(&minter, "ada", &json!({})));
    let life = || {
        let said = claims(&mint());
        said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap()
    };
    assert_eq!(life(), 600);
    gate.write_config("[workers]\nttl = \"20m\"\nclock_skew = \"1m\"\n");
    let told = gate.fallgate(&["reload", "--json"]).ok().json();
    assert_eq!(
        (&told["changed"], &told["needs_restart"]),
        (&json!(["workers.ttl"]), &json!(["workers.clock_skew"]))
    );
    assert_eq!(life(), 1_200);
    gate.write_config("[workers]\nttl = \"8d\"\n");
    let refused = gate.fallgate(&["reload"]).refused(1);
    assert!(refused.contains("from 1s to 7d"), "{refused}");
    assert_eq!(life(), 1_200, "what counted counts");
    // By the command line on the home folder the config is read too.
    gate.write_config("[workers]\nttl = \"30m\"\n");
    let config = gate.beside().join("fallgate.toml");
    let by_hand = gate.fallgate(&["agent", "token", "ada", "--config", config.to_str().unwrap()]);
    let secret = by_hand.ok().stdout.trim_end().to_owned();
    let said = claims(&crate::support::Token { id: String::new(), secret });
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 1_800);
}
