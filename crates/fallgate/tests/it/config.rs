//! `fallgate.toml`, as `serve` and `config` read it.

use std::fs;

use serde_json::json;

use crate::support::{Gate, Home, Run, wait_for};

const GOOD: &str = r#"
[server]
public_url = "https://box.example"

[[route]]
name = "files"
path = "/files"
upstream = "http://127.0.0.1:3000"

[[route]]
name = "deep"
path = "/files/deep/"
upstream = "unix:/run/deep.sock"
strip = false
allow = ["role:admin", "user:ada"]
public = ["/health"]
identity = "headers"

[[route]]
name = "app"
host = "app.box.example"
upstream = "http://127.0.0.1:3001"
upstream_host = "internal"
"#;

#[test]
fn a_misspelt_key_stops_the_start_and_names_the_right_one() {
    let home = Home::new();
    let file =
        home.write_config("[[route]]\nname = \"a\"\npath = \"/a\"\nupsteam = \"http://127.0.0.1:1\"\n");
    let file = file.to_str().unwrap();
    let wanted = format!("{file}:4: unknown key \"upsteam\" in [[route]]; did you mean \"upstream\"?");
    assert_eq!(home.fallgate(&["serve", "--config", file]).refused(1), wanted);
    assert_eq!(home.fallgate(&["config", "check", "--config", file]).refused(1), wanted);
    assert!(!home.path().exists(), "a gate that does not start has made its home");
}

#[test]
fn what_is_wrong_with_a_route_among_others_names_the_line_of_the_key() {
    let home = Home::new();
    let first = "[[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"http://127.0.0.1:1\"\n";
    for (second, line, words) in [
        ("name = \"a\"\npath = \"/b\"\nupstream = \"http://127.0.0.1:1\"\n", 6, "two routes named a"),
        ("upstream = \"http://127.0.0.1:1\"\nname = \"b\"\npath = \"/a/\"\n", 8, "the same place"),
        ("name = \"b\"\nupstream = \"http://127.0.0.1:1\"\npath = \"/api\"\n", 8, "Fallgate's own"),
        ("name = \"b\"\npath = \"/b\"\nupstream = \"http://127.0.0.1:7400\"\n", 8, "the gate itself"),
        ("name = \"b\"\nupstream = \"http://127.0.0.1:1\"\n", 5, "needs a place to come in"),
    ] {
        let file = home.write_config(&format!("{first}[[route]]\n{second}"));
        let refused = home.fallgate(&["config", "check", "--config", file.to_str().unwrap()]).refused(1);
        assert!(refused.starts_with(&format!("{}:{line}: ", file.display())), "{line}: {refused}");
        assert!(refused.contains(words), "{refused}");
    }
    let file = home.write_config("[server]\ntrusted_proxies = [\n  \"10.0.0.1\",\n  \"0.0.0.0/0\",\n]\n");
    let refused = home.fallgate(&["config", "check", "--config", file.to_str().unwrap()]).refused(1);
    assert!(refused.starts_with(&format!("{}:4: ", file.display())), "{refused}");
}

#[test]
fn a_config_that_cannot_be_read_is_one_line() {
    let home = Home::new();
    for path in [home.beside().join("missing.toml"), home.beside().to_owned()] {
        let refused = home.fallgate(&["serve", "--config", path.to_str().unwrap()]).refused(1);
        assert!(refused.starts_with(&format!("cannot read the config {}", path.display())), "{refused}");
    }
    let broken = home.write_config("[server\n");
    let refused = home.fallgate(&["serve", "--config", broken.to_str().unwrap()]).refused(1);
    assert!(refused.starts_with(&format!("{}:1: this is not TOML", broken.display())), "{refused}");
}

#[test]
fn config_check_says_what_it_found() {
    let home = Home::new();
    let defaults = home.fallgate(&["config", "check"]).ok().stdout;
    assert!(defaults.starts_with("There is no config file at "), "{defaults}");
    assert!(defaults.contains("fallgate/fallgate.toml; the defaults are good: no routes,"), "{defaults}");
    let file = home.write_config(GOOD);
    let checked = home.fallgate(&["config", "check", "--config", file.to_str().unwrap()]).ok().stdout;
    assert_eq!(checked, format!("{} is good: 3 routes, listening on 127.0.0.1:7400\n", file.display()));
}

#[test]
fn config_check_warns_of_what_may_not_be_meant() {
    let home = Home::new();
    home.user("ada");
    home.fallgate(&["agent", "create", "crawler", "--owner", "ada"]).ok();
    fs::write(home.beside().join("secret"), "s3cret").unwrap();
    let secret = home.beside().join("secret");
    let route = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:1\"\n\
         allow = [\"user:ada\", \"user:eve\", \"agent:ada\", \"agent:crawler\", \"agent:eve\"]\npublic = [\"/hook\"]\ninject = {{ x-key = \"${{file:{}}}\" }}\n",
        secret.display()
    );
    let server = "[server]\nlisten = \"0.0.0.0:7400\"\n";
    let check = |text: &str, more: &[&str]| {
        let file = home.write_config(text);
        home.fallgate(&[&["config", "check", "--config", file.to_str().unwrap()], more].concat()).ok()
    };
    let wanted = [
        "0.0.0.0:7400: other machines can reach this address",
        "the route app injects x-key into each request, also into those for its public path /hook",
        "the route app allows user:eve, and there is no such user",
        "the route app allows agent:crawler, and that agent was made without this route",
        "the route app allows agent:eve, and there is no such agent",
    ];
    let checked = check(&format!("{server}{route}"), &[]);
    let warned: Vec<_> = checked.stderr.lines().collect();
    assert_eq!(warned.len(), wanted.len(), "{warned:?}");
    for (line, wanted) in warned.iter().zip(wanted) {
        assert!(line.starts_with(&format!("warning: {wanted}")), "{line}");
    }
    assert!(checked.stdout.contains("is good: one route"), "{}", checked.stdout);
    let checked = check(&format!("{server}{route}"), &["--json"]);
    let told = checked.json();
    let warnings = told["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &told["routes"], checked.stderr.as_str()), (5, &json!(1), ""));
    for (warning, wanted) in warnings.iter().zip(wanted) {
        assert!(warning.as_str().unwrap().starts_with(wanted), "{warning}");
    }
    // Behind a proxy that is known; and where there is no store, nobody is missed in it.
    let behind = "[server]\nlisten = \"0.0.0.0:7400\"\npublic_url = \"https://box.example\"\n\
                  trusted_proxies = [\"10.0.0.1\"]\n";
    let quiet = route.replace("public = [\"/hook\"]\n", "");
    fs::remove_dir_all(home.path()).unwrap();
    assert_eq!(check(&format!("{behind}{quiet}"), &["--json"]).json()["warnings"], json!([]));
    assert!(!home.path().exists(), "a check has made a home");
}

#[test]
fn the_file_is_found_by_flag_then_variable_then_the_users_config_folder() {
    let home = Home::new();
    let usual = home.beside().join(".config/fallgate/fallgate.toml");
    fs::create_dir_all(usual.parent().unwrap()).unwrap();
    for (name, port) in [("flag", 1), ("variable", 2)] {
        fs::write(home.beside().join(name), format!("[server]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    }
    fs::write(&usual, "[server]\nlisten = \"127.0.0.1:3\"\n").unwrap();
    let listens = |flag: bool, variable: bool| {
        let (flagged, named) = (home.beside().join("flag"), home.beside().join("variable"));
        let mut arguments = vec!["config", "explain", "--json"];
        if flag {
            arguments.extend(["--config", flagged.to_str().unwrap()]);
        }
        let mut command = home.command(&arguments);
        if variable {
            command.env("FALLGATE_CONFIG", named);
        }
        Run::of(command, b"").ok().json()["listen"]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(listens(true, true), "127.0.0.1:1");
    assert_eq!(listens(false, true), "127.0.0.1:2");
    assert_eq!(listens(false, false), "127.0.0.1:3");
}

#[test]
fn commands_on_a_home_folder_go_by_the_config_of_the_gate_that_serves_it() {
    let route = |name: &str| {
        format!("[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = \"http://127.0.0.1:1\"\n")
    };
    let gate = Gate::configured(&format!("[tokens]\nmax_lifetime = \"2h\"\n{}", route("served")));
    gate.user("ada");
    let mint = |more: &[&str], variable: bool| {
        let arguments = [&["token", "create", "--username", "ada"], more].concat();
        let mut command = gate.command(&arguments);
        if variable {
            command.env("FALLGATE_CONFIG", gate.beside().join("other.toml"));
        }
        Run::of(command, b"")
    };
    let refused = mint(&["--expires", "3h"], false).refused(1);
    assert!(refused.contains("at most 2h here"), "{refused}");
    let unknown = "the config has no route";
    for (name, is_known) in [("served", true), ("other", false)] {
        let minted = mint(&["--scope", &format!("route:{name}")], false).ok();
        assert_eq!(!minted.stderr.contains(unknown), is_known, "{}", minted.stderr);
    }
    gate.fallgate(&["cut", "route:other"]).refused(1);
    // What is said beats what is asked.
    fs::write(gate.beside().join("other.toml"), route("other")).unwrap();
    mint(&["--expires", "3h"], true).ok();
    let other = gate.beside().join("other.toml");
    mint(&["--expires", "3h", "--config", other.to_str().unwrap()], false).ok();
    // Without a gate there is nothing to go by.
    let home = gate.kill();
    home.fallgate(&["token", "create", "--username", "ada", "--expires", "3h"]).ok();
}

#[test]
fn config_explain_shows_where_each_value_comes_from_and_the_routes_as_they_are_tried() {
    let home = Home::new();
    let file = home.write_config(GOOD);
    let arguments = ["config", "explain", "--listen", "127.0.0.1:1", "--config", file.to_str().unwrap()];
    let text = home.fallgate(&arguments).ok().stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for wanted in [
        "listen 127.0.0.1:1 --listen",
        "public_url https://box.example line 3",
        "hosts none default",
        "app host app.box.example http://127.0.0.1:3001 as internal every user - none - line 19",
        "deep path /files/deep (kept) unix:/run/deep.sock role:admin user:ada /health headers - line 10",
        "files path /files (taken off) http://127.0.0.1:3000 every user - none - line 5",
    ] {
        assert!(lines.contains(&wanted.split(' ').collect()), "{wanted:?} is not in\n{text}");
    }
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let explained = home.fallgate(&arguments).ok().json();
    assert_eq!(explained["listen"], json!({"value": "127.0.0.1:1", "source": "--listen"}));
    let names: Vec<_> = explained["routes"].as_array().unwrap().iter().map(|route| &route["name"]).collect();
    assert_eq!(names, ["app", "deep", "files"]);
    assert_eq!(
        explained["routes"][1],
        json!({
            "name": "deep", "path": "/files/deep", "strip": false, "upstream": "unix:/run/deep.sock",
            "upstream_host": null, "allow": ["role:admin", "user:ada"], "public": ["/health"],
            "upstream_http2": false, "identity": "headers", "authorization": "ours", "inject": [],
            "max_stream_age": "1d", "paths": "canonical", "same_origin": false, "upgrades": [],
            "source": "line 10",
        })
    );
}

#[test]
fn an_address_on_the_command_line_that_is_none_is_a_usage_error() {
    let run = Home::new().fallgate(&["serve", "--listen", "7400"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

#[test]
fn r50_a_route_that_another_proxy_serves_says_that_its_streams_cannot_be_cut() {
    let home = Home::new();
    let route = "[[route]]\nname = \"app\"\nhost = \"app.box.example\"\n";
    let words = "another proxy, which asks here (forward-auth); open streams cannot be cut here";
    let warning = "the route app has no upstream, so another proxy has to ask about it, and none may";
    for (server, warned) in [("", true), ("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n", false)] {
        let file = home.write_config(&format!("{server}{route}"));
        let file = file.to_str().unwrap();
        let checked = home.fallgate(&["config", "check", "--config", file]).ok();
        assert_eq!(checked.stderr.contains(warning), warned, "{}", checked.stderr);
        let explained = home.fallgate(&["config", "explain", "--config", file]).ok().stdout;
        assert!(explained.contains(words), "{explained}");
        let explained = home.fallgate(&["config", "explain", "--config", file, "--json"]).ok().json();
        assert_eq!(explained["routes"][0]["upstream"], json!(null));
    }
    let shut = format!("[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforward_auth = false\n{route}");
    let file = home.write_config(&shut);
    let checked = home.fallgate(&["config", "check", "--config", file.to_str().unwrap()]).ok();
    assert!(checked.stderr.contains("take server.forward_auth = false out"), "{}", checked.stderr);
    let gate = Gate::configured(route);
    assert!(gate.log().contains(&format!("app: app.box.example to {words}")), "{}", gate.log());
    assert!(wait_for("the warning", || gate.log().contains(warning).then_some(true)));
}
