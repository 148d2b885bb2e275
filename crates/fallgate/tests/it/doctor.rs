//! `fallgate doctor` on homes and configs with the mistakes that newcomers make.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Gate, Home, Run, nobodys_address};

fn doctor(home: &Home, config: &str) -> Run {
    let config = home.write_config(config);
    home.fallgate(&["doctor", "--json", "--config", config.to_str().unwrap()])
}

/// The checks of that name, as (verdict, what was found, what to do).
fn checks(run: &Run, name: &str) -> Vec<(String, String, String)> {
    let report = run.json();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap();
    let named = checks.iter().filter(|check| check["name"] == name);
    named.map(|check| (text(check, "verdict"), text(check, "found"), text(check, "fix"))).collect()
}

#[test]
fn a_sound_gate_is_told_so_and_nothing_is_changed() {
    let gate = Gate::start();
    gate.admin("root");
    let address = gate.address().to_string();
    let run = gate.fallgate(&["doctor", "--json", "--listen", &address]).ok();
    for name in ["home", "store", "clock", "config"] {
        assert!(checks(&run, name).iter().all(|(verdict, ..)| verdict == "ok"), "{name}: {}", run.stdout);
    }
    let (verdict, found, _) = checks(&run, "port").remove(0);
    assert_eq!((verdict.as_str(), found.contains("a gate listens")), ("ok", true), "{found}");
}

#[test]
fn a_home_that_is_not_there_is_named_and_not_made() {
    let home = Home::new();
    let run = home.fallgate(&["doctor", "--json", "--listen", &nobodys_address().to_string()]).ok();
    let (verdict, found, fix) = checks(&run, "home").remove(0);
    assert_eq!(verdict, "warn");
    assert!(found.contains("is not there yet") && fix.contains("user create NAME --admin"), "{found} {fix}");
    assert!(!home.path().exists());
}

#[test]
fn every_mistake_is_named_with_its_fix() {
    let gate = Gate::start();
    gate.user("ada");
    let token = gate.token_with("ada", &["--expires", "2d"]);
    let home = gate.kill();
    let database = home.path().join("fallgate.db");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (busy, nobody) = (other.local_addr().unwrap(), nobodys_address());
    let run = doctor(
        &home,
        &format!(
            "[server]\nlisten = \"{busy}\"\n[[route]]\nname = \"app\"\npath = \"/app\"\n\
             upstream = \"http://{nobody}\"\nallow = [\"user:zoe\"]\npublic = [\"/\"]\n"
        ),
    );
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for (name, verdict, what, how) in [
        ("home", "warn", "fallgate.db has mode 0644", "rotate"),
        ("users", "warn", "there is no admin", "user create NAME --admin"),
        ("token", "warn", "of ada ends at", &format!("token expire {}", token.id)),
        ("port", "fail", "another program listens", "--listen"),
        ("route", "warn", "nobody answers at", "start it"),
        ("route", "warn", "allows user:zoe", "user create zoe"),
        ("route", "warn", "opens all of it to anybody", "name only the paths"),
    ] {
        let all = checks(&run, name);
        let fits = |(said, found, fix): &(String, String, String)| {
            said == verdict && found.contains(what) && fix.contains(how)
        };
        assert!(all.iter().any(fits), "{name} {what}: {all:?}");
    }
}

#[test]
fn an_upstream_under_the_gates_own_user_is_warned_of() {
    let home = Home::new();
    home.admin("root");
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let route = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://{}\"\n",
        upstream.local_addr().unwrap()
    );
    let run = doctor(&home, &route);
    let routes = checks(&run, "route");
    assert!(
        routes.iter().any(|(_, found, fix)| found.contains("can read the home folder")
            && fix.contains("an OS user of its own"))
    );
    let gate = Gate::on(home, &route);
    crate::support::wait_for("the gate's warning", || {
        gate.log().contains("can read its home folder").then_some(())
    });
}

#[test]
fn a_broken_config_and_a_broken_store_are_failures() {
    let home = Home::new();
    home.admin("root");
    fs::write(home.path().join("fallgate.db"), "this is no database, however long it may be").unwrap();
    let run = doctor(&home, "[server]\nlissten = \"127.0.0.1:1\"\n");
    assert_eq!(run.code, Some(1));
    let (verdict, found, _) = checks(&run, "config").remove(0);
    assert_eq!((verdict.as_str(), found.contains("did you mean \"listen\"")), ("fail", true), "{found}");
    assert_eq!(checks(&run, "store").remove(0).0, "fail", "{}", run.stdout);
}

#[test]
fn a_misspelt_variable_is_named() {
    let home = Home::new();
    let mut command = home.command(&["doctor", "--json", "--listen", &nobodys_address().to_string()]);
    command.env("FALLGATE_LISTN", "secret-value");
    let run = Run::of(command, b"").ok();
    let (verdict, found, _) = checks(&run, "variable").remove(0);
    assert_eq!((verdict.as_str(), found.contains("FALLGATE_LISTN")), ("warn", true));
    assert!(!run.stdout.contains("secret-value"));
}
