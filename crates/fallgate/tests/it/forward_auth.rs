//! Another proxy asks whether a request may go on: the endpoints, asked byte by byte as each kind of proxy does.

mod agreement;
mod snippets;

use std::os::unix::net::UnixStream;

use crate::support::{Client, Gate, Home, PATIENCE, Response, Upstream, wait_for};

/// The identity fields that every 200 has.
const IDENTITY: [&str; 5] =
    ["remote-user", "remote-name", "remote-groups", "remote-email", "fallgate-assertion"];

/// A gate that trusts this machine's proxies, with these routes.
fn trusting(routes: &str) -> Gate {
    Gate::configured(&format!(
        "[server]\npublic_url = \"http://box.example\"\ntrusted_proxies = [\"127.0.0.1\"]\n{routes}"
    ))
}

/// A client's request, as a proxy tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Told<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a str,
}

impl<'a> Told<'a> {
    pub(crate) fn get(host: &'a str, target: &'a str, headers: &'a str) -> Self {
        Self { method: "GET", host, target, headers }
    }

    /// As Caddy and Traefik do, and as our snippet has nginx do.
    fn at(&self, endpoint: &str) -> String {
        let Self { method, host, target, headers } = self;
        let family = if endpoint == "/auth/nginx" {
            format!("X-Original-Method: {method}\r\nX-Original-URL: http://{host}{target}\r\n")
        } else {
            format!(
                "X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\n\
                 X-Forwarded-Uri: {target}\r\n"
            )
        };
        format!("GET {endpoint} HTTP/1.1\r\nHost: auth.internal\r\n{family}{headers}\r\n")
    }

    pub(crate) fn asked(&self, gate: &Gate, endpoint: &str) -> Response {
        Client::exchange(gate.address(), self.at(endpoint))
    }
}

pub(crate) const ENDPOINTS: [&str; 3] = ["/auth/caddy", "/auth/traefik", "/auth/nginx"];

/// Routes without an upstream: one that tells who it is, and one that does not and is for admins.
const ROUTES: &str = "[[route]]\nname = \"app\"\nhost = \"app.example\"\nidentity = \"headers\"\npublic = [\"/open\"]\n\
                      [[route]]\nname = \"ops\"\npath = \"/ops\"\nallow = [\"role:admin\"]\n";

#[test]
fn r2_r11_each_kind_of_proxy_is_answered_as_it_expects() {
    let gate = trusting(ROUTES);
    gate.admin("root");
    let (ada, root) = (gate.token("ada").header(), gate.token("root").header());
    let browser = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
    let bad = "Authorization: Bearer fgt_no\r\n";
    for endpoint in ENDPOINTS {
        for (host, target, headers, status, user) in [
            ("app.example", "/x?a=b", ada.as_str(), 200, "ada"),
            ("APP.example.:443", "/x", &ada, 200, "ada"),
            ("app.example", "/open/x", "", 200, ""),
            ("app.example", "/open/x", bad, 200, ""),
            ("box.example", "/ops/x", &root, 200, ""),
            ("app.example", "/x", "", 401, ""),
            ("app.example", "/x", bad, 401, ""),
            ("box.example", "/ops/x", &ada, 403, ""),
            // Our own doors are not to be asked about, and no 2xx comes of it, whoever asks.
            ("box.example", "/api/whoami", &root, 403, ""),
            ("app.example", "/.fallgate/enter", &root, 403, ""),
            ("evil.example", "/x", &root, 421, ""),
            ("app.example", "/a/../x", &root, 400, ""),
            ("app.example", "/a%2fx", &root, 400, ""),
        ] {
            let answer = Told::get(host, target, headers).asked(&gate, endpoint);
            let place = format!("{endpoint} {host}{target} {headers}: {}", answer.text());
            assert_eq!(answer.status, status, "{place}");
            if status == 200 {
                assert_eq!(answer.body, b"", "{place}");
                for name in IDENTITY {
                    assert!(answer.header(name).is_some(), "{place} lacks {name}");
                }
                let groups = if user.is_empty() { "" } else { "user" };
                assert_eq!(answer.header("remote-user"), Some(user), "{place}");
                assert_eq!(answer.header("remote-groups"), Some(groups), "{place}");
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{place}");
            } else {
                for name in IDENTITY {
                    assert_eq!(answer.header(name), None, "{place}");
                }
            }
        }
        let sent = Told::get("app.example", "/x?a=b", browser).asked(&gate, endpoint);
        let login = sent.header(if endpoint == "/auth/nginx" { "fallgate-login" } else { "location" });
        let login = login.unwrap_or_else(|| panic!("{endpoint}: {sent:?}"));
        assert_eq!(sent.status, if endpoint == "/auth/nginx" { 401 } else { 303 });
        assert!(
            login.starts_with("http://box.example/login?returnTo=http%3A%2F%2Fapp.example%2Fx%3Fa%3Db"),
            "{login}"
        );
    }
}

#[test]
fn r1_r14_nobody_but_a_trusted_proxy_may_ask() {
    for trusted in ["", "\"10.0.0.0/8\""] {
        let gate = Gate::configured(&format!("[server]\ntrusted_proxies = [{trusted}]\n{ROUTES}"));
        let token = gate.token("ada").header();
        for endpoint in ENDPOINTS {
            let told = Told::get("app.example", "/open/x", &token);
            // As any path of our own that is not there, and under no more hosts than that.
            for (host, status) in [("localhost", 404), ("127.0.0.1", 404), ("auth.internal", 421)] {
                let request = told.at(endpoint).replace("auth.internal", host);
                let answer = Client::exchange(gate.address(), request);
                assert_eq!(answer.status, status, "{endpoint} {host}: {}", answer.text());
                assert_eq!(answer.header("remote-user"), None);
            }
        }
    }
    // A proxy's word is no login: what it says of who is calling counts for nothing.
    let gate = trusting(ROUTES);
    let forged = "Remote-User: root\r\nRemote-Groups: admin\r\nX-Forwarded-For: 127.0.0.1\r\n";
    for endpoint in ENDPOINTS {
        assert_eq!(Told::get("app.example", "/x", forged).asked(&gate, endpoint).status, 401, "{endpoint}");
        let answer = Told::get("app.example", "/open", forged).asked(&gate, endpoint);
        assert_eq!((answer.status, answer.header("remote-user")), (200, Some("")), "{endpoint}");
    }
}

#[test]
fn r1_a_proxy_that_only_passes_requests_on_passes_on_no_question() {
    let upstream = Upstream::echo();
    let route =
        format!("[[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {:?}\n", upstream.url());
    let without = ROUTES.to_owned()
        + &format!("[[route]]\nname = \"in\"\nhost = \"in.example\"\nupstream = {:?}\n", upstream.url());
    for (routes, status) in [
        (route.clone(), 404),
        (format!("forward_auth = true\n{route}"), 200),
        (without.clone(), 200),
        (format!("forward_auth = false\n{without}"), 404),
    ] {
        let gate = trusting(&routes);
        let token = gate.token("ada").header();
        for endpoint in ENDPOINTS {
            let request = Told::get("app.example", "/x", &token).at(endpoint);
            let answer = Client::exchange(gate.address(), request.replace("auth.internal", "localhost"));
            assert_eq!(answer.status, status, "{endpoint} with {routes}: {}", answer.text());
        }
    }
}

#[test]
fn r1_a_proxy_asks_over_the_unix_socket_where_the_operator_says_unix() {
    for (trusted, status) in [("unix", 200), ("127.0.0.1", 404)] {
        let home = Home::new();
        let path = home.beside().join("gate.sock");
        let server =
            format!("[server]\nlisten = \"unix:{}\"\ntrusted_proxies = [{trusted:?}]\n", path.display());
        let gate = Gate::on(home, &format!("{server}{ROUTES}"));
        let token = gate.token("ada").header();
        for endpoint in ENDPOINTS {
            let stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut client = Client::over(stream);
            let request = Told::get("app.example", "/x", &token).at(endpoint);
            client.send(request.replace("auth.internal", "localhost"));
            assert_eq!(client.response().status, status, "{endpoint} with {trusted}");
        }
    }
}

#[test]
fn r2_only_a_whole_family_of_fields_is_read_and_never_two() {
    const FORWARDED: [&str; 3] =
        ["X-Forwarded-Method: GET\r\n", "X-Forwarded-Host: app.example\r\n", "X-Forwarded-Uri: /x\r\n"];
    const ORIGINAL: [&str; 2] = ["X-Original-Method: GET\r\n", "X-Original-URL: http://app.example/x\r\n"];
    let gate = trusting(ROUTES);
    let token = gate.token("ada").header();
    let ask = |endpoint: &str, fields: &str| {
        let request = format!("GET {endpoint} HTTP/1.1\r\nHost: app.example\r\n{fields}{token}\r\n");
        let answer = Client::exchange(gate.address(), request);
        (answer.status, answer.text())
    };
    for endpoint in ENDPOINTS {
        let (own, foreign): (&[&str], &[&str]) =
            if endpoint == "/auth/nginx" { (&ORIGINAL, &FORWARDED) } else { (&FORWARDED, &ORIGINAL) };
        assert_eq!(ask(endpoint, &own.concat()).0, 200, "{endpoint}");
        // None of these is a method, host or URI, and where it is not read it may be anything.
        for more in
            ["X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-Port: 443\r\n", "Forwarded: for=192.0.2.1\r\n"]
        {
            assert_eq!(ask(endpoint, &(own.concat() + more)).0, 200, "{endpoint} {more}");
        }
        for one in 0..own.len() {
            let missing: String =
                own.iter().enumerate().filter(|(at, _)| *at != one).map(|(_, line)| *line).collect();
            assert_eq!(ask(endpoint, &missing).0, 400, "{endpoint} without {}", own[one]);
            let doubled = own.concat() + own[one];
            assert_eq!(ask(endpoint, &doubled).0, 400, "{endpoint} with twice {}", own[one]);
            let (name, _) = own[one].split_once(':').unwrap();
            let empty = own.concat().replace(own[one], &format!("{name}: \r\n"));
            assert_eq!(ask(endpoint, &empty).0, 400, "{endpoint} with an empty {name}");
        }
        for line in foreign.iter().chain(&[
            "x-original-uri: /x\r\n",
            "X-ORIGINAL-HOST: app.example\r\n",
            "X-Rewrite-URL: /x\r\n",
            "Forwarded: for=192.0.2.1; Host=app.example\r\n",
        ]) {
            let (status, text) = ask(endpoint, &(own.concat() + line));
            assert_eq!(status, 400, "{endpoint} with {line}");
            assert!(text.contains("have the proxy delete it"), "{text}");
        }
        // Read by somebody who takes `_` for `-`, they would be the same.
        assert_eq!(ask(endpoint, &(own.concat() + "X_Forwarded_Uri: /open\r\n")).0, 400);
        assert_eq!(ask(endpoint, "").0, 400, "{endpoint}");
        assert_eq!(ask(endpoint, &foreign.concat()).0, 400, "{endpoint}");
    }
    for (fields, status) in [
        ("X-Original-Method: GET\r\nX-Original-URL: https://app.example/x\r\n", 200),
        ("X-Original-Method: GET\r\nX-Original-URL: HTTPS://app.example/x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: ftp://app.example/x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: /x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http://app.example\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http://app.example?/x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http:///x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http://ada@app.example/x\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http://app.example/x y\r\n", 400),
        ("X-Original-Method: GET\r\nX-Original-URL: http://app.example/x#y\r\n", 400),
        ("X-Original-Method: get\r\nX-Original-URL: http://app.example/x\r\n", 400),
        ("X-Original-Method: CONNECT\r\nX-Original-URL: http://app.example/x\r\n", 405),
        // Not of its family, so whatever it says.
        (
            "X-Original-Method: GET\r\nX-Original-URL: http://app.example/x\r\nX-Forwarded-Proto: gopher\r\n",
            200,
        ),
    ] {
        assert_eq!(ask("/auth/nginx", fields).0, status, "{fields}");
    }
    for (more, status) in [
        ("X-Forwarded-Proto: https\r\n", 200),
        ("X-Forwarded-Proto: gopher\r\n", 400),
        ("X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n", 400),
        ("X-Forwarded-For: somebody\r\n", 400),
    ] {
        assert_eq!(ask("/auth/caddy", &(FORWARDED.concat() + more)).0, status, "{more}");
    }
}

#[test]
fn a_decision_is_about_the_client_and_leaves_the_proxys_connection_as_it_was() {
    let gate = trusting(ROUTES);
    let (ada, bob) = (gate.token("ada"), gate.token("bob"));
    let mut line = Client::connect(gate.address());
    let asked = |line: &mut Client, headers: &str| {
        line.send(Told::get("app.example", "/x", headers).at("/auth/nginx"));
        let answer = line.response();
        (answer.status, answer.header("remote-user").map(str::to_owned))
    };
    let told = format!("{}X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n", ada.header());
    assert_eq!(asked(&mut line, &told), (200, Some("ada".to_owned())));
    assert_eq!(asked(&mut line, &bob.header()), (200, Some("bob".to_owned())));
    assert_eq!(asked(&mut line, ""), (401, None));
    // What ends for one of its clients is no end for the proxy.
    gate.fallgate(&["token", "revoke", &ada.id]).ok();
    assert_eq!(asked(&mut line, &ada.header()), (401, None));
    assert_eq!(asked(&mut line, &bob.header()), (200, Some("bob".to_owned())));
    let last_use = wait_for("the use to be noted", || {
        let tokens = gate.fallgate(&["token", "list", "--all", "--json"]).json();
        let tokens = tokens["tokens"].as_array().unwrap().clone();
        let of_ada = tokens.into_iter().find(|token| token["id"] == ada.id.as_str()).unwrap();
        of_ada["last_used_ip"].as_str().map(str::to_owned)
    });
    assert_eq!(last_use, "198.51.100.7");
    // What could be the next request, and what could be another protocol, is not guessed at.
    for more in ["Content-Length: 3\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let mut line = Client::connect(gate.address());
        let request = Told::get("app.example", "/x", &(bob.header() + more)).at("/auth/caddy");
        line.send(request + "abc");
        let answer = line.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{more}");
        assert_eq!(line.rest(), b"", "{more}");
    }
}

#[test]
fn r21_r22_r24_a_cookie_counts_where_a_page_of_the_routes_asks() {
    let gate = trusting(ROUTES);
    gate.user("ada");
    let cookie = gate.sign_in("ada").cookie();
    // As an upgrade looks when the proxy took off what is for one hop.
    let socket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let own = "Origin: http://app.example\r\n";
    let foreign = "Origin: http://evil.example\r\n";
    for endpoint in ENDPOINTS {
        for (method, headers, status) in [
            ("GET", String::new(), 200),
            ("POST", String::new(), 403),
            ("POST", foreign.to_owned(), 403),
            ("POST", own.to_owned(), 200),
            ("GET", format!("{socket}Upgrade: websocket\r\n"), 403),
            ("GET", socket.to_owned(), 403),
            ("GET", format!("{socket}{foreign}"), 403),
            ("GET", format!("{socket}{own}"), 200),
        ] {
            let headers = format!("{cookie}{headers}");
            let told = Told { method, host: "app.example", target: "/x", headers: &headers };
            let answer = told.asked(&gate, endpoint);
            assert_eq!(answer.status, status, "{endpoint} {method} {headers}: {}", answer.text());
        }
        let told = Told::get("app.example", "/x", "Accept: text/html\r\nSec-WebSocket-Version: 13\r\n");
        assert_eq!(told.asked(&gate, endpoint).status, 401, "{endpoint}");
    }
}

#[test]
fn r13_r15_an_answer_has_an_assertion_where_the_route_says_so_and_the_clients_other_cookies() {
    let gate = trusting(&ROUTES.replace("identity = \"headers\"", "identity = \"assertion\""));
    gate.user("ada");
    let signed_in = gate.sign_in("ada").secret;
    for endpoint in ENDPOINTS {
        let cookies = format!("Cookie: a=b; fallgate={signed_in};c=\"d e\"\r\nCookie: f=g\r\n");
        let answer = Told::get("app.example", "/x", &cookies).asked(&gate, endpoint);
        assert_eq!((answer.status, answer.header("remote-user")), (200, Some("")), "{endpoint}");
        assert_eq!(answer.header("cookie"), Some("a=b; c=\"d e\"; f=g"), "{endpoint}");
        let assertion = answer.header("fallgate-assertion").unwrap();
        assert_eq!(assertion.split('.').count(), 3, "{endpoint}: {assertion}");
        // On a public path nobody is asked, so nobody is named.
        let answer = Told::get("app.example", "/open", &cookies).asked(&gate, endpoint);
        assert_eq!((answer.status, answer.header("fallgate-assertion")), (200, Some("")), "{endpoint}");
        assert_eq!(answer.header("cookie"), Some("a=b; c=\"d e\"; f=g"), "{endpoint}");
        let bare = Told::get("app.example", "/open", "").asked(&gate, endpoint);
        assert_eq!(bare.header("cookie"), Some(""), "{endpoint}");
    }
}

/// As Traefik asks: what is for one hop is gone, its own fields are there, and a WebSocket has a scheme of its own.
#[test]
fn r2_r22_traefik_asks_in_its_own_way() {
    let gate = trusting(ROUTES);
    gate.user("ada");
    let signed_in = gate.sign_in("ada").secret;
    let ask = |proto: &str, more: &str| {
        let request = format!(
            "GET /auth/traefik HTTP/1.1\r\nHost: 127.0.0.1:7400\r\nUser-Agent: Go-http-client/1.1\r\n\
             Cookie: __Host-fallgate={signed_in}\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: app.example\r\n\
             X-Forwarded-Method: GET\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: {proto}\r\n\
             X-Forwarded-Server: traefik-1\r\nX-Forwarded-Uri: /x?a=b\r\nX-Real-Ip: 203.0.113.9\r\n{more}\r\n"
        );
        let answer = Client::exchange(gate.address(), request);
        (answer.status, answer.header("remote-user").map(str::to_owned))
    };
    let ada = (200, Some("ada".to_owned()));
    let socket = "Sec-Websocket-Version: 13\r\nSec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask("https", ""), ada);
    // The cookie of a client that came by https counts for no other.
    assert_eq!(ask("http", "").0, 401);
    assert_eq!(ask("wss", &format!("{socket}Origin: https://app.example\r\n")), ada);
    assert_eq!(ask("wss", &format!("{socket}Origin: http://app.example\r\n")).0, 403);
    assert_eq!(ask("wss", socket).0, 403);
}

#[test]
fn what_is_cut_may_not_go_on_until_it_is_lifted() {
    let gate = trusting(ROUTES);
    let token = gate.token("ada").header();
    let status = |target: &str, headers: &str| {
        ENDPOINTS.map(|endpoint| Told::get("app.example", target, headers).asked(&gate, endpoint).status)
    };
    for (target, open, refused) in [("user:ada", 200, 403), ("route:app", 403, 403), ("everything", 403, 403)]
    {
        assert_eq!((status("/x", &token), status("/open", "")), ([200; 3], [200; 3]), "{target}");
        let cut = gate.fallgate(&["cut", target, "--reason", "drill", "--json"]).ok().json();
        assert_eq!((status("/x", &token), status("/open", "")), ([refused; 3], [open; 3]), "{target}");
        gate.fallgate(&["lift", cut["id"].as_str().unwrap()]).ok();
    }
    assert_eq!(status("/x", &token), [200; 3]);
}
