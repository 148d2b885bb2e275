use std::path::Path;
use std::time::Duration;

use fallgate_relay::{Authorization, Paths};

use super::*;

fn with(text: &str, flags: &Settings, environment: &Environment) -> Result<Config, Failure> {
    Config::from_document(Some(&Document::of(text)), flags, environment, Secrets::Read, None)
}

fn no_flags() -> Settings {
    Settings { listen: None, config: None }
}

fn read(text: &str) -> Result<Config, Failure> {
    with(text, &no_flags(), &Environment::default())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn route(keys: &str) -> String {
    format!("[[route]]\nname = \"app\"\nupstream = \"http://127.0.0.1:3000\"\n{keys}\n")
}

#[test]
fn r70_without_any_config_the_gate_listens_on_loopback_only() {
    let config =
        Config::from_document(None, &no_flags(), &Environment::default(), Secrets::Read, None).unwrap();
    assert_eq!(config.listen, Setting { value: "127.0.0.1:7400".parse().unwrap(), source: Source::Default });
    assert_eq!((config.file, config.routes.iter().count()), (None, 0));
}

#[test]
fn a_whole_config_is_read() {
    let config = read(
        r#"
        [server]
        listen = "[::1]:7401"
        public_url = "https://Box.Example/"
        hosts = ["bücher.example"]

        [[route]]
        name = "llmux"
        host = "LLMUX.box.example."
        upstream = "http://[::1]:3030"
        allow = ["role:admin", "user:alice", "kind:internal"]
        public = ["/health", "/static/%7Eopen"]
        upstream_host = "llmux:3030"
        identity = "headers"

        [[route]]
        name = "files"
        path = "/files/"
        strip = false
        upstream = "unix:/run/files.sock"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.value, "[::1]:7401".parse().unwrap());
    assert_eq!(config.listen.source, Source::Line(3));
    assert_eq!(config.public_url.as_ref().unwrap().value.text(), "https://box.example");
    assert_eq!(config.hosts.value[0].as_str(), "xn--bcher-kva.example");
    let [llmux, files] = config.routes.iter().collect::<Vec<_>>()[..] else { panic!("not two routes") };
    assert_eq!(llmux.entrance, Entrance::Host(Host::parse_config("llmux.box.example").unwrap()));
    let upstream = llmux.upstream.as_ref().unwrap();
    assert_eq!(upstream.address, Address::Tcp { host: "::1".to_owned(), port: 3030 });
    assert_eq!(upstream.origin, "http://[::1]:3030");
    assert_eq!(llmux.upstream_host.as_deref(), Some("llmux:3030"));
    assert_eq!(llmux.policy.admission.allow.len(), 3);
    assert_eq!(
        llmux.policy.terms.public.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["/health", "/static/~open"]
    );
    assert!(llmux.identity.headers);
    let Entrance::Path { prefix, strip } = &files.entrance else { panic!("not a path route") };
    assert_eq!((prefix.as_str(), *strip), ("/files", false));
    assert_eq!(files.upstream.as_ref().unwrap().address, Address::Unix("/run/files.sock".into()));
    assert!(!files.identity.headers);
    assert_eq!(config.route_lines[&"files".parse().unwrap()], 16);
}

#[test]
fn flags_beat_variables_which_beat_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\npublic_url = \"http://a\"\nhosts = [\"a\"]\n";
    let environment = Environment::from_pairs([
        ("FALLGATE_LISTEN", "127.0.0.1:2".into()),
        ("FALLGATE_PUBLIC_URL", "http://b".into()),
        ("FALLGATE_HOSTS", "b, c".into()),
    ]);
    let config = with(file, &no_flags(), &environment).unwrap();
    assert_eq!(config.listen.source, Source::Variable("FALLGATE_LISTEN"));
    assert_eq!(config.public_url.unwrap().value.text(), "http://b");
    assert_eq!(config.hosts.value.len(), 2);
    let flags = Settings { listen: "127.0.0.1:3".parse().ok(), config: None };
    let config = with(file, &flags, &environment).unwrap();
    assert_eq!(
        config.listen,
        Setting { value: "127.0.0.1:3".parse().unwrap(), source: Source::Flag("--listen") }
    );
}

#[test]
fn a_bad_variable_is_named() {
    let environment = Environment::from_pairs([("FALLGATE_LISTEN", "7400".into())]);
    let refused = with("", &no_flags(), &environment).unwrap_err().to_string();
    assert!(refused.starts_with("FALLGATE_LISTEN=\"7400\": write an IP address and a port"), "{refused}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_right_one() {
    let upsteam = "[server]\n\n[[route]]\nname = \"a\"\npath = \"/a\"\n\nupsteam = \"http://x\"\n";
    assert_eq!(
        refused(upsteam),
        "fallgate.toml:7: unknown key \"upsteam\" in [[route]]; did you mean \"upstream\"?"
    );
    assert_eq!(
        refused("[servr]\n"),
        "fallgate.toml:1: unknown key \"servr\" in the file; did you mean \"server\"?"
    );
    assert_eq!(
        refused("\n[server]\nlisten_addr = \"x\""),
        "fallgate.toml:3: unknown key \"listen_addr\" in [server]; did you mean \"listen\"?"
    );
    assert_eq!(
        refused("[server]\nzzz = 1\n"),
        "fallgate.toml:2: unknown key \"zzz\" in [server]; there can be listen, public_url, hosts, trusted_proxies, forward_auth, tls"
    );
}

#[test]
fn a_route_says_how_requests_go_up() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let text = route(&format!(
        "host = \"a.example\"\nauthorization = \"pass\"\nidentity = \"both\"\nmax_stream_age = \"2h\"\n\
         paths = \"raw\"\nupgrades = [\"Custom/1\"]\nupstream_http2 = true\n\
         inject = {{ X-Plain = \"yes\", authorization = \"Bearer ${{file:{}}}!\" }}",
        secret.display()
    ));
    let config = read(&text).unwrap();
    let route = config.routes.iter().next().unwrap();
    assert_eq!(route.authorization, Authorization::Pass);
    assert!(route.identity.headers && route.identity.assertion);
    assert_eq!(route.policy.terms.max_stream_age, Some(Duration::from_secs(7_200)));
    assert_eq!(route.paths, Paths::Raw);
    assert_eq!(route.upgrades, ["custom/1"]);
    assert!(route.upstream.as_ref().unwrap().http2);
    let fields: Vec<_> = route.inject.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(fields, [("x-plain", "yes"), ("authorization", "Bearer s3cret!")]);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn r57_a_route_without_an_upstream_is_another_proxys() {
    let config = read("[[route]]\nname = \"a\"\nhost = \"a.example\"").unwrap();
    let route = config.routes.iter().next().unwrap();
    assert_eq!(route.upstream, None);
    assert_eq!(route.policy.terms.max_stream_age, Some(Duration::from_secs(86_400)));
}

#[test]
fn limits_and_the_access_log_are_read() {
    let config = read(
        "[limits]\nhead_bytes = 4096\nhead_fields = 32\nhead_time = \"2s\"\nidle = \"1m\"\n\
         connections = 50\nconnections_per_network = 5\n[log]\naccess = \"stdout\"",
    )
    .unwrap();
    let limits = config.limits;
    assert_eq!((limits.head_bytes, limits.head_fields), (4_096, 32));
    assert_eq!((limits.head_time, limits.idle), (Duration::from_secs(2), Duration::from_mins(1)));
    assert_eq!((limits.connections, limits.connections_per_network), (50, 5));
    assert_eq!(config.access_log.value, AccessLog::Stdout);
}

#[test]
fn every_complaint_names_its_line_and_what_would_be_right() {
    for (text, line, words) in [
        ("[server\n".to_owned(), 1, "this is not TOML"),
        ("server = 1".to_owned(), 1, "written [server]"),
        ("[route]\nname = \"a\"".to_owned(), 1, "[[route]], with two brackets"),
        ("[server]\nlisten = 7400".to_owned(), 2, "a string in quotes, and is an integer"),
        ("[server]\nlisten = \"localhost:7400\"".to_owned(), 2, "an IP address and a port"),
        ("[server]\nlisten = \"unix:fallgate.sock\"".to_owned(), 2, "absolute path"),
        ("[server]\ntls = {}".to_owned(), 2, "cert is missing"),
        ("[server]\ntls = { cert = \"a\" }".to_owned(), 2, "key is missing"),
        ("[server]\ntls = { cert = \"a\", kee = \"b\" }".to_owned(), 2, "did you mean \"key\"?"),
        (route("path = \"/a\"\nupstream_ca = \"/ca.pem\""), 5, "goes with an upstream by https"),
        ("[server]\npublic_url = \"https://a/b\"".to_owned(), 2, "no path"),
        ("[server]\nhosts = \"a\"".to_owned(), 2, "a list of strings, and is a string"),
        ("[server]\nhosts = [\n\"a\",\n\"http://a\"]".to_owned(), 4, "without scheme"),
        ("[[route]]\npath = \"/a\"".to_owned(), 1, "name is missing, such as name = \"app\""),
        ("[[route]]\nname = \"A b\"".to_owned(), 2, "1 to 64 of the characters"),
        (
            "[[route]]\nname = \"a\"\npath = \"/a\"\nupgrades = [\"x\"]".to_owned(),
            4,
            "upgrades needs an upstream",
        ),
        (route("path = \"/a\"\nauthorization = \"theirs\""), 5, "\"ours\" or \"pass\""),
        (route("path = \"/a\"\nmax_stream_age = \"0s\""), 5, "such as 24h"),
        (route("path = \"/a\"\npaths = \"raw\""), 5, "for a route with a host"),
        (route("host = \"a\"\npublic = [\"/x\"]\npaths = \"raw\""), 6, "no public paths"),
        (route("host = \"a\"\npaths = \"any\""), 5, "\"canonical\" or \"raw\""),
        (route("host = \"a\"\nsame_origin = true"), 5, "same_origin goes with path"),
        (route("host = \"a\"\nupgrades = [\"h2c\"]"), 5, "pass unseen"),
        (route("host = \"a\"\nupgrades = [\"TLS/1.0\"]"), 5, "pass unseen"),
        (route("host = \"a\"\nupgrades = [\"a b\"]"), 5, "the name of a protocol"),
        (route("host = \"a\"\ninject = \"x\""), 5, "a table of strings"),
        (route("host = \"a\"\ninject = { host = \"x\" }"), 5, "cannot be injected"),
        (route("host = \"a\"\ninject = { Remote_User = \"x\" }"), 5, "cannot be injected"),
        (route("host = \"a\"\ninject = { Content-Length = \"x\" }"), 5, "cannot be injected"),
        (route("host = \"a\"\ninject = { \"a b\" = \"x\" }"), 5, "cannot be injected"),
        (route("host = \"a\"\ninject = { a = \"x\", A = \"y\" }"), 5, "there twice"),
        (route("host = \"a\"\ninject = { a = \"x\\ny\" }"), 5, "on one line"),
        (route("host = \"a\"\ninject = { a = \"${file:/nowhere/x}\" }"), 5, "cannot read /nowhere/x"),
        (route("host = \"a\"\ninject = { a = \"${file:x}\" }"), 5, "not an absolute path"),
        (route("host = \"a\"\ninject = { a = \"${env:x}\" }"), 5, "only ${file:/path}"),
        (route("host = \"a\"\ninject = { a = \"${file:/x\" }"), 5, "not closed"),
        ("[limits]\nhead_fields = 1".to_owned(), 2, "from 16 to 256"),
        ("[limits]\nidle = \"never\"".to_owned(), 2, "write a duration such as"),
        ("[log]\naccess = \"log.json\"".to_owned(), 2, "absolute path"),
        (route(""), 1, "needs a place to come in"),
        (route("path = \"/a\"\nhost = \"a\""), 4, "leave one of them out"),
        (route("host = \"a\"\nstrip = true"), 5, "strip goes with path"),
        (route("path = \"/a\"\nstrip = \"yes\""), 5, "true or false, and is a string"),
        (route("path = \"a\""), 4, "does not start with /"),
        (route("path = \"/a/../b\""), 4, "dot segment"),
        (route("path = \"/\""), 4, "route by host"),
        (route("path = \"/a;b\""), 4, "leave it out"),
        (route("path = \"/api\""), 4, "Fallgate's own pages and API live there"),
        (route("path = \"/.fallgate/x\""), 4, "Fallgate's own pages and API live there"),
        (route("host = \"a b\""), 4, "not a host"),
        (route("path = \"/a\"\npublic = [\"health\"]"), 5, "does not start with /"),
        (route("path = \"/a\"\nallow = [\"bob\"]"), 5, "names nobody"),
        (route("path = \"/a\"\nallow = [\"kind:token\"]"), 5, "names nobody"),
        (route("path = \"/a\"\nidentity = \"all\""), 5, "\"assertion\" or \"both\""),
        (route("path = \"/a\"\nupstream_host = \"a\\r\\nb: c\""), 5, "not a host"),
    ] {
        let refused = refused(&text);
        assert!(refused.starts_with(&format!("fallgate.toml:{line}: ")), "{text:?}: {refused}");
        assert!(refused.contains(words), "{text:?}: {refused}");
    }
}

#[test]
fn an_upstream_is_http_or_a_unix_socket_and_nothing_else() {
    for (upstream, words) in [
        ("https://127.0.0.1:3000/base", "no path, query or fragment"),
        ("https://127.0.0.1:7400", "the gate itself"),
        ("http://127.0.0.1:3000/base", "no path, query or fragment"),
        ("http://127.0.0.1:3000?x=1", "no path, query or fragment"),
        ("127.0.0.1:3000", "https://host:port or unix:/path"),
        ("unix:run/app.sock", "absolute path"),
        ("http://127.0.0.1:7400", "the gate itself"),
        ("http://localhost:7400", "the gate itself"),
        ("http://LOCALHOST.:7400", "the gate itself"),
        ("http://app.localhost:7400", "the gate itself"),
        ("http://127.1:7400", "the gate itself"),
        ("http://2130706433:7400", "the gate itself"),
        ("http://0x7f.0.0.1:7400", "the gate itself"),
        ("http://0177.1:7400", "the gate itself"),
        ("http://0.0.0.0:7400", "the gate itself"),
        ("http://0:7400", "the gate itself"),
        ("http://[::]:7400", "the gate itself"),
        ("http://[::ffff:127.0.0.1]:7400", "the gate itself"),
    ] {
        let text = format!("[[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"{upstream}\"");
        assert!(refused(&text).contains(words), "{upstream}: {}", refused(&text));
    }
}

#[test]
fn addresses_in_their_short_forms_are_read_as_resolvers_read_them() {
    for (text, address) in [
        ("127.1", "127.0.0.1"),
        ("10.1.258", "10.1.1.2"),
        ("1", "0.0.0.1"),
        ("0xffffffff", "255.255.255.255"),
        ("010.0.0.1", "8.0.0.1"),
    ] {
        assert_eq!(short_ipv4(text), Some(address.parse().unwrap()), "{text}");
    }
    for text in
        ["", "app", "127.", "1.2.3.4.5", "256.1", "1.16777216", "4294967296", "0x", "0x1g", "08", "-1"]
    {
        assert_eq!(short_ipv4(text), None, "{text}");
    }
    // Others listen there, or nobody knows where it is.
    for upstream in ["http://127.1:3000", "http://192.0.2.1:7400", "http://app.example:7400"] {
        read(&format!("[[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"{upstream}\"")).unwrap();
    }
}

#[test]
fn routes_that_stand_in_each_others_or_our_way_are_refused_at_the_later_ones_line() {
    let two = |first: &str, second: &str| {
        let one = |name: &str, keys: &str| {
            format!("[[route]]\nname = \"{name}\"\nupstream = \"http://127.0.0.1:3000\"\n{keys}\n")
        };
        refused(&format!("{}{}", one("a", first), one("b", second)))
    };
    for (first, second) in [
        ("path = \"/x\"", "path = \"/x/\""),
        ("path = \"/x\"\nstrip = true", "path = \"/%78\"\nstrip = false"),
        ("host = \"x.example\"", "host = \"X.EXAMPLE.\""),
    ] {
        let refused = two(first, second);
        assert!(refused.contains("the routes a and b come in at the same place"), "{refused}");
        // The line of its path or host, which is the first of what it has more than the other three.
        let line = 4 + route(first).lines().filter(|line| !line.is_empty()).count();
        assert!(refused.starts_with(&format!("fallgate.toml:{line}:")), "{refused}");
    }
    let same_name = refused(&format!("{}{}", route("path = \"/x\""), route("path = \"/y\"")));
    assert_eq!(same_name, "fallgate.toml:6: there are two routes named app");
    let server = "[server]\npublic_url = \"https://box.example\"\nhosts = [\"other.example\"]\n";
    for (host, key) in [("box.example", "public_url"), ("other.example", "hosts")] {
        let refused = refused(&format!("{server}{}", route(&format!("host = \"{host}\""))));
        assert!(refused.contains(&format!("server.{key} says")), "{refused}");
        assert!(refused.starts_with("fallgate.toml:7:"), "{refused}");
    }
}

#[test]
fn what_is_wrong_with_a_file_itself_is_said_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| {
        let flags = Settings { listen: None, config: Some(path.to_owned()) };
        Config::load(&flags, &Environment::default(), Secrets::Skip).unwrap_err().to_string()
    };
    let missing = folder.path().join("missing.toml");
    assert!(load(&missing).starts_with(&format!("cannot read the config {}", missing.display())));
    assert!(load(folder.path()).starts_with("cannot read the config"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"\xff\xfe").unwrap();
    assert!(load(&binary).ends_with("is not UTF-8 text"));
    let huge = folder.path().join("huge.toml");
    std::fs::write(&huge, "#".repeat(1024 * 1024)).unwrap();
    let flags = Settings { listen: None, config: Some(huge.clone()) };
    Config::load(&flags, &Environment::default(), Secrets::Skip).unwrap();
    std::fs::write(&huge, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(load(&huge), format!("the config {} is larger than 1 MiB", huge.display()));
    assert!(load(Path::new("/dev/zero")).ends_with("it is not a regular file"));
}

#[test]
fn the_usual_file_may_be_missing_but_a_link_that_leads_nowhere_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::from_pairs([("XDG_CONFIG_HOME", folder.path().into())]);
    assert_eq!(Config::load(&no_flags(), &environment, Secrets::Skip).unwrap().file, None);
    std::fs::create_dir(folder.path().join("fallgate")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("fallgate/fallgate.toml")).unwrap();
    let refused = Config::load(&no_flags(), &environment, Secrets::Skip).unwrap_err().to_string();
    assert!(refused.starts_with("cannot read the config"), "{refused}");
}

#[test]
fn r33_r34_the_policy_is_read_and_what_is_not_named_has_its_default() {
    let config = read(
        r#"
        [logins]
        idle = "12h"
        [passphrases]
        min_bytes = 16
        [tokens]
        max_lifetime = "365d"
        max_per_user = 7
        unused_days = 0
        [workers]
        ttl = "1h"
        [audit]
        keep = "forever"
        "#,
    )
    .unwrap();
    let wanted = Policy {
        login_idle: Duration::from_hours(12),
        passphrase_bytes: 16,
        token_life: Some(Duration::from_hours(365 * 24)),
        tokens_per_user: 7,
        token_unused: None,
        worker_life: Duration::from_hours(1),
        audit_kept: None,
        ..Policy::default()
    };
    assert_eq!(config.policy, wanted);
    let told: Vec<_> = config
        .rules
        .iter()
        .filter(|rule| !rule.name.starts_with("limits."))
        .map(|rule| format!("{}={} ({})", rule.name, rule.setting.value, rule.setting.source))
        .collect();
    assert_eq!(
        told,
        [
            "logins.idle=12h (line 3)",
            "logins.life=30d (default)",
            "passphrases.min_bytes=16 (line 5)",
            "tokens.max_lifetime=365d (line 7)",
            "tokens.max_per_user=7 (line 8)",
            "tokens.unused_days=0 (line 9)",
            "workers.ttl=1h (line 11)",
            "workers.clock_skew=30s (default)",
            "audit.keep=forever (line 13)",
        ]
    );
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_with_its_line() {
    for (text, words) in [
        ("[logins]\nidle = \"9d\"\nlife = \"8d\"", ":2: logins.idle (9d) is longer than logins.life (8d)"),
        ("[logins]\nidle = \"31d\"", ":2: logins.idle (31d) is longer than logins.life (30d)"),
        ("[logins]\nidle = \"never\"", ":2: idle = \"never\": write a duration"),
        ("[logins]\nlife = \"0d\"", ":2: life = \"0d\": write a duration"),
        ("[logins]\nlive = \"1d\"", "did you mean \"life\"?"),
        ("[passphrases]\nmin_bytes = 7", ":2: min_bytes must be a whole number from 8 to 1024"),
        ("[passphrases]\nmin_bytes = \"9\"", ":2: min_bytes must be a whole number from 8 to 1024"),
        ("[tokens]\nmax_lifetime = \"forever\"", "or never"),
        ("[tokens]\nunused_days = -1", ":2: unused_days must be a whole number"),
        ("[audit]\nkeep = 400", ":2: keep must be a string in quotes"),
    ] {
        let refused = refused(text);
        assert!(refused.contains(words), "{text}: {refused}");
    }
}

#[test]
fn listening_on_a_unix_socket_and_certificates_are_read_relative_to_the_config() {
    let config = read(
        r#"
        [server]
        listen = "unix:/run/fallgate.sock"
        trusted_proxies = ["10.0.0.0/8", "unix"]
        tls = { cert = "tls/cert.pem", key = "/etc/key.pem" }

        [[route]]
        name = "app"
        host = "app.example"
        upstream = "https://app.internal"
        upstream_ca = "/etc/ca.pem"

        [[route]]
        name = "other"
        host = "other.example"
        upstream = "https://app.internal:8443"
        upstream_ca = "/etc/ca.pem"

        [[route]]
        name = "third"
        host = "third.example"
        upstream = "https://app.internal"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.value.to_string(), "unix:/run/fallgate.sock");
    assert!(config.trusted_proxies.value.has_unix());
    assert_eq!(config.trusted_proxies.value.networks().len(), 1);
    let tls = TlsFiles { cert: "tls/cert.pem".into(), key: "/etc/key.pem".into() };
    assert_eq!(config.tls.clone().unwrap().value, tls);
    assert_eq!((config.is_exposed(), config.origin().as_str()), (false, "https://localhost"));
    let upstream = |name: &str| {
        let named = config.routes.iter().find(|route| route.policy.name.to_string() == name);
        named.unwrap().upstream.clone().unwrap()
    };
    let (app, other, third) = (upstream("app"), upstream("other"), upstream("third"));
    assert_eq!(app.address, Address::Tcp { host: "app.internal".to_owned(), port: 443 });
    assert_eq!(app.tls.as_ref().unwrap().file(), Some(Path::new("/etc/ca.pem")));
    assert!(app.tls == other.tls && app.tls != third.tls);
    assert_eq!(third.tls.unwrap().file(), None);
    let itself =
        "[server]\nlisten = \"unix:/x\"\n[[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"unix:/x\"";
    assert!(refused(itself).contains("the gate itself"));
}

#[test]
fn r1_proxies_are_trusted_by_network_and_never_everybody() {
    let config = read("[server]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"::1\"]").unwrap();
    let networks: Vec<_> = config.trusted_proxies.value.networks().iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]);
    for everybody in ["0.0.0.0/0", "::/0", "10.0.0.0/0"] {
        let refused = refused(&format!("[server]\ntrusted_proxies = [{everybody:?}]"));
        assert!(refused.contains(":2: trusted_proxies") && refused.contains("everybody"), "{refused}");
    }
    assert!(refused("[server]\ntrusted_proxies = [\"proxy\"]").contains("write an address or a network"));
}
