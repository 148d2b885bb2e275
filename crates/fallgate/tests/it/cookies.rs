//! Cookies on routes: they come along whoever has the browser ask, so who asks matters. And a route on our own origin does
//! not take them unless the operator says so.

use crate::support::{Client, Gate, Line, Response, Upstream, WebSocketUpstream};

const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";

/// A host route, a path route that takes no cookies, and one that does, all on one upstream. `https` is the public scheme.
fn gate(url: &str) -> Gate {
    let gate = Gate::configured(&format!(
        "[server]\npublic_url = \"http://box.example:7400\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[route]]\nname = \"site\"\nhost = \"app.example\"\nupstream = {url:?}\n\
         [[route]]\nname = \"apart\"\npath = \"/apart\"\nupstream = {url:?}\npublic = [\"/open\"]\n\
         [[route]]\nname = \"own\"\npath = \"/own\"\nupstream = {url:?}\nsame_origin = true\n"
    ));
    gate.user("ada");
    gate
}

fn ask(gate: &Gate, method: &str, host: &str, path: &str, headers: &str) -> Response {
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}\r\n");
    Client::exchange(gate.address(), request)
}

/// Where cookies are taken.
const TAKING: [(&str, &str); 2] = [("app.example:7400", "/x"), ("box.example:7400", "/own/x")];

#[test]
fn r21_what_a_cookie_changes_must_be_asked_for_by_a_page_of_the_very_origin() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream.url());
    let cookie = gate.sign_in("ada").cookie();
    let token = gate.token("ada").header();
    for (host, path) in TAKING {
        let own = format!("Origin: http://{host}\r\n");
        for method in ["GET", "HEAD", "OPTIONS"] {
            let mut client = Client::connect(gate.address());
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n"));
            let answer = if method == "HEAD" { client.response_to_head() } else { client.response() };
            assert_eq!(answer.status, 200, "{method} {host}{path}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "REPORT"] {
            for (page, status) in [
                ("Sec-Fetch-Site: same-origin\r\n", 200),
                (own.as_str(), 200),
                ("", 403),
                ("Sec-Fetch-Site: same-site\r\n", 403),
                ("Sec-Fetch-Site: cross-site\r\n", 403),
                ("Sec-Fetch-Site: none\r\n", 403),
                ("Origin: null\r\n", 403),
                ("Origin: http://evil.example\r\n", 403),
                ("Origin: https://evil.example\r\nReferer: http://app.example/x\r\n", 403),
            ] {
                let answer = ask(&gate, method, host, path, &format!("{cookie}{page}"));
                assert_eq!(answer.status, status, "{method} {host}{path} with {page}: {}", answer.text());
                // What is presented on purpose comes from whoever presents it.
                assert_eq!(ask(&gate, method, host, path, &format!("{token}{page}")).status, 200, "{page}");
            }
        }
    }
    // A page of one route's is a stranger to another's, and our own pages have no business there either.
    for page in ["http://box.example:7400", "http://other.example", "http://app.example"] {
        let answer = ask(&gate, "POST", "app.example:7400", "/x", &format!("{cookie}Origin: {page}\r\n"));
        assert_eq!(answer.status, 403, "{page}");
    }
}

#[test]
fn a_path_route_takes_no_cookie_unless_its_pages_may_act_as_their_visitors() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream.url());
    let sign_in = gate.sign_in("ada");
    let (cookie, by_page) = (sign_in.cookie(), sign_in.sent_by_page());
    let token = gate.token("ada").header();
    for headers in [&cookie, &by_page, &format!("{cookie}{NAVIGATION}")] {
        let answer = ask(&gate, "GET", "box.example:7400", "/apart/x", headers);
        // Signing in would not help, so nobody is sent to do it.
        assert_eq!((answer.status, answer.header("location")), (401, None), "{headers}");
        assert_eq!(ask(&gate, "GET", "box.example:7400", "/own/x", headers).status, 200, "{headers}");
    }
    assert_eq!(ask(&gate, "GET", "box.example:7400", "/apart/x", &token).status, 200);
    assert_eq!(ask(&gate, "GET", "box.example:7400", "/apart/x", &sign_in.bearer()).status, 200);
    // The cookie is in nobody's way where it does not count, and does not go up.
    let answer =
        ask(&gate, "GET", "box.example:7400", "/apart/x", &format!("{token}Cookie: fallgate=x; a=1\r\n"));
    assert!(answer.text().contains("\r\nCookie: a=1\r\n"), "{}", answer.text());
    assert_eq!(ask(&gate, "GET", "box.example:7400", "/apart/open", &cookie).status, 200);
    let upstreams = String::from_utf8(upstream.bytes().concat()).unwrap();
    assert!(!upstreams.contains(&sign_in.secret));
}

#[test]
fn r19_two_cookies_of_ours_are_refused_on_a_route_and_a_bad_one_is_no_lesser_credential() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream.url());
    let (one, other) = (gate.sign_in("ada").secret, gate.sign_in("ada").secret);
    let token = gate.token("ada").header();
    for (host, path) in TAKING {
        for cookies in [
            format!("Cookie: fallgate={one}; fallgate={other}\r\n"),
            format!("Cookie: fallgate={one}; fallgate={one}\r\n"),
            format!("Cookie: fallgate={one}\r\nCookie: fallgate={other}\r\n"),
            "Cookie: fallgate=\r\n".to_owned(),
            "Cookie: fallgate=%zz\r\n".to_owned(),
            format!("Cookie: fallgate={one}x\r\n"),
        ] {
            assert_eq!(ask(&gate, "GET", host, path, &cookies).status, 401, "{host}{path} with {cookies}");
        }
        // A bad explicit one never falls back to the cookie.
        let good = format!("Cookie: fallgate={one}\r\n");
        for bad in ["Authorization: Bearer x\r\n", "Authorization: Basic %%%\r\n", "Authorization: \r\n"] {
            assert_eq!(ask(&gate, "GET", host, path, &format!("{bad}{good}")).status, 401, "{bad}");
        }
        assert_eq!(ask(&gate, "GET", host, path, &format!("{token}Cookie: fallgate=x\r\n")).status, 200);
    }
    // By https the cookie has the name that no neighbour can set, and no other counts.
    let https = "X-Forwarded-Proto: https\r\n";
    for (name, status) in [("__Host-fallgate", 200), ("fallgate", 401)] {
        let cookie = format!("{https}Cookie: {name}={one}\r\n");
        assert_eq!(ask(&gate, "GET", "app.example:7400", "/x", &cookie).status, status, "{name}");
    }
}

/// Asks for a WebSocket; gives the status, and leaves nothing open.
fn websocket(gate: &Gate, host: &str, path: &str, headers: &str) -> u16 {
    let mut line = Line::connect(gate.address());
    line.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    line.head().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn r22_a_websocket_by_cookie_is_opened_by_a_page_of_this_gate_or_of_the_routes_host_only() {
    let upstream = WebSocketUpstream::echo();
    let gate = gate(&upstream.url());
    let cookie = gate.sign_in("ada").cookie();
    let token = gate.token("ada").header();
    for (host, path) in TAKING {
        let own = format!("http://{host}");
        for (origin, status) in [
            (own.as_str(), 101),
            ("http://box.example:7400", 101),
            ("HTTP://BOX.EXAMPLE:7400", 101),
            ("", 403),
            ("null", 403),
            ("http://evil.example", 403),
            ("http://box.example", 403),
            ("http://box.example:7401", 403),
            ("https://box.example:7400", 403),
            ("http://box.example:7400.evil.example", 403),
            ("http://evil.example/http://box.example:7400", 403),
            ("box.example:7400", 403),
        ] {
            let page = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
            for more in ["", "Sec-Fetch-Site: same-origin\r\nReferer: http://box.example:7400/\r\n"] {
                let asked = format!("{cookie}{page}{more}");
                assert_eq!(
                    websocket(&gate, host, path, &asked),
                    status,
                    "{host}{path} from {origin:?} {more}"
                );
                // Whoever presents a token on purpose is no page that was lured.
                assert_eq!(websocket(&gate, host, path, &format!("{token}{page}{more}")), 101, "{origin:?}");
            }
        }
        let twice = format!("{cookie}Origin: {own}\r\nOrigin: http://evil.example\r\n");
        assert_eq!(websocket(&gate, host, path, &twice), 403);
    }
    let own = "Origin: http://box.example:7400\r\n";
    assert_eq!(websocket(&gate, "box.example:7400", "/apart/x", &format!("{cookie}{own}")), 401);
    assert_eq!(websocket(&gate, "box.example:7400", "/own/x", own), 401);
}
