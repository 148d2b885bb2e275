//! Signing in in a browser, on our own pages and on the hosts of routes: each host has a cookie of its own, and all end
//! together.

mod codes;
mod pages;

use serde_json::{Value, json};

use crate::support::{
    Client, Gate, PASSPHRASE, Response, Upstream, Visit, Visitor, WebSocketUpstream, nobodys_address,
};

/// A gate with the routes `app` and `wiki` by host, and what they lead to.
struct Site {
    gate: Gate,
    upstream: Upstream,
    port: u16,
}

impl Site {
    fn new() -> Self {
        Self::with("")
    }

    /// `more` stands in the route `app`.
    fn with(more: &str) -> Self {
        let (upstream, address) = (Upstream::echo(), nobodys_address());
        let (url, port) = (upstream.url(), address.port());
        let gate = Gate::at(
            address,
            &format!(
                "[server]\npublic_url = \"http://box.example:{port}\"\nhosts = [\"other.example\"]\n\
                 [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n{more}\n\
                 [[route]]\nname = \"wiki\"\nhost = \"wiki.example\"\nupstream = {url:?}\n\
                 [[route]]\nname = \"tools\"\npath = \"/tools\"\nupstream = {url:?}\n\
                 [[route]]\nname = \"ours\"\npath = \"/ours\"\nupstream = {url:?}\nsame_origin = true\n"
            ),
        );
        gate.user("ada");
        Self { gate, upstream, port }
    }

    fn visitor(&self) -> Visitor {
        Visitor::of(self.gate.address())
    }

    /// `name.example` with the gate's port.
    fn host(&self, name: &str) -> String {
        format!("{name}.example:{}", self.port)
    }

    fn url(&self, name: &str, target: &str) -> String {
        format!("http://{}{target}", self.host(name))
    }

    /// Somebody who signed in to go to a page of the route `app`.
    #[track_caller]
    fn entered(&self) -> Visitor {
        let mut visitor = self.visitor();
        let login = visitor.visit(&self.url("app", "/x"));
        let arrived = visitor.sign_in(&login, "ada", PASSPHRASE);
        assert_eq!((arrived.answer.status, arrived.url), (200, self.url("app", "/x")), "{:?}", arrived.way);
        visitor
    }

    /// The address with a code that somebody is sent to who is signed in and comes from there.
    #[track_caller]
    fn code_for(&self, visitor: &mut Visitor, name: &str, target: &str) -> String {
        let sent = visitor.open(&self.url(name, target));
        let login = location(&sent);
        let given = visitor.open(&login);
        let entry = location(&given);
        assert!(entry.starts_with(&self.url(name, "/.fallgate/enter?code=fgc_")), "{entry}");
        entry
    }

    /// What a program with this sign-in is told.
    fn whoami(&self, secret: &str) -> Response {
        self.gate.ask("GET /api/whoami", &format!("Authorization: Bearer {secret}\r\n"), &Value::Null)
    }
}

#[track_caller]
fn location(answer: &Response) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap().to_owned()
}

/// It is the sign-in form.
#[track_caller]
fn asks(visit: &Visit) {
    assert_eq!(visit.answer.status, 200, "{}", visit.answer.text());
    assert!(visit.answer.text().contains("name=\"passphrase\""), "{}", visit.answer.text());
}

#[test]
fn r17_r18_r19_whoever_opens_a_routes_page_signs_in_once_and_gets_a_cookie_of_that_host_only() {
    let site = Site::new();
    let mut ada = site.visitor();
    let first = ada.open(&site.url("app", "/x/y?a=b&c=%26"));
    let login = location(&first);
    let back = format!("http%3A%2F%2Fapp.example%3A{}%2Fx%2Fy%3Fa%3Db%26c%3D%2526", site.port);
    let (page, challenge) = login.split_once("&enter=").unwrap();
    assert_eq!(page, site.url("box", &format!("/login?returnTo={back}")));
    let knock = first.header("set-cookie").unwrap();
    let (value, attributes) = knock.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax");
    let secret = value.strip_prefix("fallgate-enter=").unwrap();
    assert!(secret.len() > 40 && !login.contains(secret) && challenge.len() == 43, "{login}");
    assert_eq!(site.upstream.requests().len(), 0);

    let page = ada.visit(&login);
    asks(&page);
    assert!(page.answer.text().contains(&site.host("app")), "{}", page.answer.text());
    let arrived = ada.sign_in(&page, "ada", PASSPHRASE);
    assert_eq!((arrived.answer.status, &arrived.url), (200, &site.url("app", "/x/y?a=b&c=%26")));
    assert_eq!(arrived.way.len(), 3, "{:?}", arrived.way);
    let (own, apps) = (ada.cookie(&site.host("box"), "fallgate"), ada.cookie(&site.host("app"), "fallgate"));
    assert!(own.is_some() && apps.is_some() && own != apps);

    // One passphrase is enough for the next host.
    let wiki = ada.visit(&site.url("wiki", "/start"));
    assert_eq!((wiki.answer.status, &wiki.url), (200, &site.url("wiki", "/start")), "{:?}", wiki.way);
    assert_eq!(wiki.way.len(), 4, "{:?}", wiki.way);
    let wikis = ada.cookie(&site.host("wiki"), "fallgate").unwrap();
    // Each opens its own route and nothing else.
    let apps = ada.cookie(&site.host("app"), "fallgate").unwrap();
    for (secret, route) in [(apps, "app"), (wikis, "wiki")] {
        let who = site.whoami(secret).json();
        assert_eq!(who["username"], "ada");
        assert_eq!(who["credential"]["scopes"], json!([format!("route:{route}")]));
        let bearer = format!("Authorization: Bearer {secret}\r\n");
        for line in ["GET /api/tokens", "GET /api/logins", "POST /api/tokens"] {
            assert_eq!(site.gate.ask(line, &bearer, &json!({"name": "x"})).status, 403, "{line}");
        }
        for host in ["app", "wiki"] {
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n{bearer}\r\n", site.host(host));
            let status = Client::exchange(site.gate.address(), request).status;
            assert_eq!(status, if host == route { 200 } else { 403 }, "{route} at {host}");
        }
    }
    // They are one device, with one place to end it.
    let cookie = ada.cookies(&site.host("box"));
    let listed = site.gate.ask("GET /api/logins", &cookie, &Value::Null).json();
    assert_eq!(listed["logins"].as_array().unwrap().len(), 1, "{listed}");
    let events = site.gate.fallgate(&["audit", "list", "--json"]).ok().json();
    let logins = events["events"].as_array().unwrap().iter().filter(|event| event["action"] == "login");
    let routes: Vec<_> = logins.map(|event| event["detail"]["route"].clone()).collect();
    assert_eq!(routes, [json!("wiki"), json!("app"), Value::Null]);
    site.gate.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn r15_r23_no_cookie_of_ours_reaches_an_upstream_and_no_code_a_log() {
    let (upstream, address) = (Upstream::echo(), nobodys_address());
    let port = address.port();
    let home = crate::support::Home::new();
    home.user("ada");
    let config = format!(
        "[server]\npublic_url = \"http://box.example:{port}\"\n\
         [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {:?}\n",
        upstream.url()
    );
    let gate = Gate::at_home(home, address, &config, |command| {
        command.env("FALLGATE_LOG", "trace");
    });
    let host = format!("app.example:{port}");
    let mut ada = Visitor::of(gate.address());
    ada.keep(&host, "theme", "dark");
    let login = ada.visit(&format!("http://{host}/x"));
    let arrived = ada.sign_in(&login, "ada", PASSPHRASE);
    assert_eq!(arrived.answer.status, 200);
    let code = arrived.way.iter().find_map(|url| url.split_once("?code=")).unwrap().1.to_owned();
    let knock = ada.cookie(&host, "fallgate-enter").unwrap().to_owned();
    let (own, apps) = (
        ada.cookie(&format!("box.example:{port}"), "fallgate").unwrap(),
        ada.cookie(&host, "fallgate").unwrap(),
    );
    let requests = upstream.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("cookie"), ["theme=dark"]);
    let (log, bytes) = (gate.log(), upstream.bytes().concat());
    for secret in [&*code, &knock, own, apps] {
        assert!(secret.len() == 53, "{secret}");
        assert!(!log.contains(secret), "the log has {secret}");
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "the upstream saw {secret}");
    }
}

#[test]
fn r20_signing_out_anywhere_ends_it_everywhere() {
    let site = Site::new();
    for out in ["box", "app", "wiki", "api", "program"] {
        let mut ada = site.entered();
        assert_eq!(ada.visit(&site.url("wiki", "/")).answer.status, 200);
        let hosts = ["box", "app", "wiki"];
        let secrets: Vec<_> =
            hosts.iter().map(|name| ada.cookie(&site.host(name), "fallgate").unwrap().to_owned()).collect();
        for secret in &secrets {
            assert_eq!(site.whoami(secret).status, 200);
        }
        match out {
            "box" => asks(&ada.submit(&site.url("box", "/"), "/logout", &[])),
            "api" => {
                let sent = format!("{}Sec-Fetch-Site: same-origin\r\n", ada.cookies(&site.host("box")));
                assert_eq!(site.gate.ask("POST /api/logout", &sent, &Value::Null).status, 204);
            }
            "program" => {
                let sent = format!("Authorization: Bearer {}\r\n", secrets[1]);
                assert_eq!(site.gate.ask("POST /api/logout", &sent, &Value::Null).status, 204);
            }
            name => {
                let left = ada.submit(&site.url(name, "/"), "/.fallgate/logout", &[]);
                assert_eq!(left.url, site.url("box", "/login"));
                asks(&left);
            }
        }
        for secret in &secrets {
            assert_eq!(site.whoami(secret).status, 401, "after signing out at {out}");
        }
        for name in hosts {
            asks(&ada.visit(&site.url(name, "/")));
        }
    }
    // What others have stays.
    let (mut ada, eve) = (site.entered(), site.entered());
    ada.submit(&site.url("app", "/"), "/.fallgate/logout", &[]);
    assert_eq!(site.whoami(eve.cookie(&site.host("app"), "fallgate").unwrap()).status, 200);
}

#[test]
fn r20_ending_all_other_sign_ins_spares_what_hangs_on_the_one_in_use() {
    let site = Site::new();
    let (ada, other) = (site.entered(), site.entered());
    let sent = format!("{}Sec-Fetch-Site: same-origin\r\n", ada.cookies(&site.host("box")));
    let ended = site.gate.ask("DELETE /api/logins", &sent, &Value::Null);
    assert_eq!((ended.status, ended.json()), (200, json!({"revoked": 1})));
    for name in ["box", "app"] {
        let status =
            |visitor: &Visitor| site.whoami(visitor.cookie(&site.host(name), "fallgate").unwrap()).status;
        assert_eq!((status(&ada), status(&other)), (200, 401), "{name}");
    }
}

#[test]
fn r24_browsers_are_sent_to_sign_in_and_everybody_else_hears_401() {
    let site = Site::new();
    let ask = |host: &str, line: &str, headers: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", site.host(host));
        Client::exchange(site.gate.address(), request)
    };
    let html = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    let browsers = [
        format!("{html}Sec-Fetch-Mode: navigate\r\n"),
        "Sec-Fetch-Mode: navigate\r\n".to_owned(),
        html.to_owned(),
        format!("{html}Cookie: fallgate=fgl_bad\r\n"),
    ];
    let programs = [
        // curl, fetch, a WebSocket, an MCP client.
        "User-Agent: curl/8.5.0\r\nAccept: */*\r\n".to_owned(),
        "Accept: */*\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: empty\r\n"
            .to_owned(),
        format!("{html}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Fetch-Mode: websocket\r\n"),
        "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n".to_owned(),
        "Accept: application/json, text/html;q=0.5\r\n".to_owned(),
        String::new(),
    ];
    for (host, target) in [
        ("app", "/x"),
        ("wiki", "/"),
        ("box", "/ours/x"),
        ("box", "/"),
        ("box", "/tokens"),
        ("box", "/nothing?a=b"),
    ] {
        for headers in &browsers {
            let answer = ask(host, &format!("GET {target}"), headers);
            let login = location(&answer);
            let wanted = if host == "box" {
                "/login?returnTo=%2F".to_owned()
            } else {
                site.url("box", "/login?returnTo=http%3A%2F%2F")
            };
            assert!(login.starts_with(&wanted), "{host}{target}: {login}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        for headers in &programs {
            let answer = ask(host, &format!("GET {target}"), headers);
            assert_eq!(answer.status, 401, "{host}{target} with {headers}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"fallgate\""));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.header("set-cookie"), None);
        }
        // Who says who they are is told when it is wrong, browser or not.
        let token = "Authorization: Bearer fgt_bad\r\n";
        let told = ask(host, &format!("GET {target}"), &format!("{token}{}", browsers[0]));
        assert_eq!(told.status, 401, "{host}{target}");
        assert_eq!(told.header("content-type"), Some("text/html; charset=utf-8"), "{host}{target}");
    }
    // What is no page is none for browsers either.
    assert_eq!(
        ask("box", "GET /api/whoami", &browsers[0]).header("content-type"),
        Some("application/problem+json")
    );
    // No way back to what was not opened but sent.
    let sent = ask("box", "POST /logout", &format!("{}Content-Length: 0\r\n", browsers[0]));
    assert_eq!(location(&sent), "/login?returnTo=%2F");
}

#[test]
fn r21_nobody_is_signed_in_or_out_by_another_sites_page() {
    let site = Site::new();
    let mut ada = site.visitor();
    let page = ada.visit(&site.url("box", "/login"));
    let form = format!("username=ada&passphrase={}&returnTo=%2F", PASSPHRASE.replace(' ', "+"));
    let send = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Mode: navigate\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}",
            site.host("box")
        );
        Client::exchange(site.gate.address(), request)
    };
    let foreign = [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        format!("Origin: http://{}\r\nSec-Fetch-Site: same-site\r\n", site.host("app")),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
    ];
    for headers in &foreign {
        let answer = send("/login", headers, &form);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{headers}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    let own = format!("Origin: http://{}\r\n", site.host("box"));
    assert_eq!(location(&send("/login", &own, &form)), "/");
    let home = ada.sign_in(&page, "ada", PASSPHRASE);
    assert_eq!((home.answer.status, &home.url), (200, &site.url("box", "/")));
    let cookies = ada.cookies(&site.host("box"));
    for headers in foreign.iter().chain([&String::new()]) {
        for path in ["/logout", "/.fallgate/logout"] {
            assert_eq!(send(path, &format!("{headers}{cookies}"), "").status, 403, "{path} with {headers}");
        }
    }
    assert_eq!(ada.open(&site.url("box", "/")).status, 200);
}

#[test]
fn r22_r46_a_cookie_opens_a_websocket_only_for_a_page_of_that_host_and_signing_out_closes_it() {
    let (upstream, address) = (WebSocketUpstream::echo(), nobodys_address());
    let port = address.port();
    let gate = Gate::at(
        address,
        &format!(
            "[server]\npublic_url = \"http://box.example:{port}\"\n\
             [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {:?}\npublic = [\"/open\"]\n",
            upstream.url()
        ),
    );
    gate.user("ada");
    let host = format!("app.example:{port}");
    let mut ada = Visitor::of(gate.address());
    let login = ada.visit(&format!("http://{host}/"));
    ada.sign_in(&login, "ada", PASSPHRASE);
    let cookies = ada.cookies(&host);
    let ask = |headers: &str| {
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{cookies}{headers}\r\n"
        ));
        (client.response().status, client)
    };
    let (status, mut open) = ask(&format!("Origin: http://{host}\r\n"));
    assert_eq!(status, 101);
    for headers in
        ["", "Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: same-origin\r\n"]
    {
        assert_eq!(ask(headers).0, 403, "{headers}");
    }
    // Signed out where they signed in.
    let out = ada.submit(&format!("http://box.example:{port}/"), "/logout", &[]);
    asks(&out);
    // A close frame, unmasked, with code 4401.
    let end = open.rest();
    assert!(end.starts_with(&[0x88]) && end[2..4] == 4401_u16.to_be_bytes(), "{end:?}");
}

#[test]
fn a_path_route_takes_no_cookie_unless_its_pages_may_act_as_their_visitors() {
    let site = Site::new();
    let mut ada = site.entered();
    let seen = site.upstream.requests().len();
    let shut = ada.visit(&site.url("box", "/tools/x"));
    assert_eq!((shut.answer.status, &shut.url), (401, &site.url("box", "/tools/x")), "{:?}", shut.way);
    assert_eq!(shut.answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.upstream.requests().len(), seen);
    let open = ada.visit(&site.url("box", "/ours/x"));
    assert_eq!((open.answer.status, site.upstream.requests().len()), (200, seen + 1));
    // Whoever is not signed in comes back there.
    let mut bob = site.visitor();
    let login = bob.visit(&site.url("box", "/ours/x?y"));
    asks(&login);
    assert_eq!(bob.sign_in(&login, "ada", PASSPHRASE).url, site.url("box", "/ours/x?y"));
}
