//! The snippets of the documentation in real proxies, as they stand there: only the addresses in them are the test's.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::servers::Server;
use crate::support::{Client, Gate, Response, SignIn, Token, Upstream, WebSocket, WebSocketUpstream};

/// The addresses in the snippets of Fallgate and of the app.
const FALLGATE: &str = "127.0.0.1:7400";
const APP: &str = "127.0.0.1:3000";

/// What a client must not be able to say to an upstream, in several spellings. None may arrive with this value.
const FORGED: [&str; 32] = [
    "Proxy",
    "Remote-User",
    "REMOTE-USER",
    "remote_user",
    "Remote_User",
    "Remote-Name",
    "Remote-Groups",
    "Remote_Groups",
    "remote-email",
    "Fallgate-Assertion",
    "fallgate_assertion",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X_Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-User",
    "Forwarded",
    "X-Real-IP",
    "X_Real_IP",
    "X-Original-Method",
    "X-Original-URL",
    "X-Original-URI",
    "X_Original_URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X_Rewrite_Url",
];

/// Somebody else's proxy with our snippets, before an app and beside a gate.
struct Front {
    proxy: Server,
    gate: Gate,
    ada: Token,
}

/// Each kind of proxy that is here to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Caddy,
    Nginx,
}

const KINDS: [Kind; 2] = [Kind::Caddy, Kind::Nginx];

impl Front {
    fn before(kind: Kind, app: &str) -> Self {
        let gate = super::trusting(
            "[[route]]\nname = \"app\"\nhost = \"app.example\"\nidentity = \"headers\"\npublic = [\"/open\"]\n\
             allow = [\"user:ada\"]\n",
        );
        let app = app.strip_prefix("http://").unwrap().to_owned();
        let fallgate = gate.address().to_string();
        let proxy = match kind {
            Kind::Caddy => Server::anywhere("caddy", |at, folder| caddy(at, folder, &fallgate, &app)),
            Kind::Nginx => Server::anywhere("nginx", |at, folder| nginx(at, folder, &fallgate, &app)),
        };
        let ada = gate.token("ada");
        Self { proxy, gate, ada }
    }

    /// A request of one line, to the app unless the headers name another host.
    fn ask(&self, line: &str, headers: &str) -> Response {
        let host = if headers.starts_with("Host: ") { "" } else { "Host: app.example\r\n" };
        Client::exchange(
            self.proxy.address(),
            format!("{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"),
        )
    }
}

/// A snippet, with each of these texts, which must stand in it, replaced.
fn snippet(file: &str, replace: &[(&str, &str)]) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../docs/snippets", file].iter().collect();
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    replace.iter().fold(text, |text, (documented, real)| {
        assert!(text.contains(documented), "{file} has no {documented}");
        text.replace(documented, real)
    })
}

fn caddy(at: SocketAddr, folder: &Path, fallgate: &str, app: &str) -> Command {
    let port = at.port();
    fs::write(folder.join("fallgate.caddy"), snippet("caddy/fallgate.caddy", &[(FALLGATE, fallgate)]))
        .unwrap();
    // What would get certificates for the documented names, which nobody gives to a test.
    let options = format!(
        "{{\nadmin off\nauto_https off\ndefault_bind 127.0.0.1\nstorage file_system {}\n}}\n",
        folder.display()
    );
    let (app_site, own_site) =
        (format!("http://app.example:{port} {{"), format!("http://box.example:{port} {{"));
    let sites =
        [("app.example {", &*app_site), ("box.example {", &own_site), (FALLGATE, fallgate), (APP, app)];
    fs::write(folder.join("Caddyfile"), options + &snippet("caddy/Caddyfile", &sites)).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

fn nginx(at: SocketAddr, folder: &Path, fallgate: &str, app: &str) -> Command {
    for name in ["fallgate-pass.conf", "fallgate-server.conf", "fallgate-protect.conf"] {
        fs::create_dir_all(folder.join("snippets")).unwrap();
        fs::write(folder.join("snippets").join(name), snippet(&format!("nginx/{name}"), &[])).unwrap();
    }
    let listen = format!("listen {at};");
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::write(folder.join("conf.d/fallgate.conf"), snippet("nginx/fallgate.conf", &[(FALLGATE, fallgate)]))
        .unwrap();
    let sites = snippet("nginx/sites.conf", &[("listen 80;", &listen), (APP, app)]);
    fs::write(folder.join("conf.d/sites.conf"), sites).unwrap();
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = places.map(|name| format!("{name}_temp_path {}/{name};\n", folder.display())).concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {}/pid;\nerror_log stderr warn;\nevents {{ }}\n\
         http {{\naccess_log off;\n{places}include conf.d/*.conf;\n}}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
    command
}

#[test]
fn r11_whoever_may_gets_through_and_nobody_else() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let bob = front.gate.token("bob");
        let (ada, bob) = (front.ada.header(), bob.header());
        let browser = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
        let page = format!("{browser}Cookie: fallgate=nonsense\r\n");

        let answer = front.ask("GET /x%41?a=%2f", &ada);
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        // The upstream sees what the client sent, where nothing is decided by it.
        assert!(answer.text().starts_with("GET /x%41?a=%2f "), "{kind:?}: {}", answer.text());
        assert!(answer.text().to_lowercase().contains("\r\nremote-user: ada\r\n"), "{}", answer.text());
        assert!(answer.text().to_lowercase().contains("\r\nremote-groups: user\r\n"), "{}", answer.text());
        assert!(answer.text().contains("\r\nHost: app.example\r\n"), "{kind:?}: {}", answer.text());
        let posted = front.ask("POST /x", &format!("{ada}Content-Length: 3\r\n\r\nabc"));
        assert_eq!((posted.status, posted.text().ends_with("\r\n\r\nabc")), (200, true), "{kind:?}");
        assert_eq!(front.ask("GET /open/x", "").status, 200, "{kind:?}");
        let before = app.requests().len();

        for (line, headers, status) in [
            ("GET /x", "", 401),
            ("POST /x", browser, 401),
            ("GET /x", "Authorization: Bearer fgt_no\r\n", 401),
            ("GET /x", browser, 303),
            ("GET /x", &page, 303),
            ("GET /x", &bob, 403),
            ("GET /a%2fb", &ada, 400),
            ("GET /open/..%2fx", "", 400),
            ("GET /open/%2e%2e/x", &ada, 400),
        ] {
            let answer = front.ask(line, headers);
            assert_eq!(answer.status, status, "{kind:?} {line} {headers}: {}", answer.text());
            if status == 401 {
                let challenge = answer.header("www-authenticate");
                assert_eq!(challenge, Some("Bearer realm=\"fallgate\""), "{kind:?} {line} {headers}");
            }
            if status == 303 {
                let location = answer.header("location").unwrap();
                assert!(
                    location.starts_with("http://box.example/login?returnTo=http%3A%2F%2Fapp.example%2Fx"),
                    "{kind:?}: {location}"
                );
            }
        }
        assert_eq!(app.requests().len(), before, "{kind:?}: a refused request went up");

        // A revocation counts from the next request on.
        front.gate.fallgate(&["token", "revoke", &front.ada.id]).ok();
        assert_eq!(front.ask("GET /x", &ada).status, 401, "{kind:?}");
        // Without Fallgate nobody gets through, not even where nobody needs to be.
        let Front { proxy, gate, ada } = front;
        let home = gate.kill();
        for headers in [String::new(), ada.header()] {
            let request =
                format!("GET /open HTTP/1.1\r\nHost: app.example\r\n{headers}Connection: close\r\n\r\n");
            let answer = Client::exchange(proxy.address(), request);
            assert!(answer.status >= 500, "{kind:?}: {}", answer.status);
        }
        assert_eq!(app.requests().len(), before, "{kind:?}");
        drop(home);
    }
}

#[test]
fn r49_whoever_may_not_is_told_why_through_the_proxy_too() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let (ada, bob) = (front.ada.header(), front.gate.token("bob").header());
        let why = |headers: &str| {
            let answer = front.ask("GET /x", headers);
            assert_eq!(answer.status, 403, "{kind:?}: {}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{kind:?}");
            let problem = answer.json();
            assert_eq!((&problem["status"], &problem["title"]), (&403.into(), &"Forbidden".into()));
            problem["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(why(&bob), "You may not use this route: its `allow` list does not name you.");
        let reason = "\"lost\" laptop; é 🚪 $host </script>";
        front.gate.fallgate(&["cut", "user:ada", "--reason", reason]).ok();
        let told = format!("This was cut off, and stays so until the cut is lifted: {reason}");
        assert_eq!(why(&ada), told, "{kind:?}");
    }
}

#[test]
fn r10_r11_r14_r16_what_a_client_says_of_itself_never_reaches_the_upstream() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let (ada, nobody) = (front.ada.header(), String::new());
        for (target, credential, user) in [("/x", &ada, "ada"), ("/open/x", &nobody, "")] {
            let all = FORGED.map(|name| format!("{name}: forged\r\n")).concat();
            let each = FORGED.iter().map(|name| format!("{name}: forged\r\n"));
            for headers in each.chain([all.clone(), all.repeat(2)]) {
                let answer = front.ask(&format!("GET {target}"), &format!("{credential}{headers}"));
                assert_eq!(answer.status, 200, "{kind:?} {headers}: {}", answer.text());
                let seen = answer.text().to_lowercase();
                assert!(!seen.contains("forged"), "{kind:?} {headers}: {seen}");
                let lines: Vec<_> = seen
                    .lines()
                    .filter_map(|line| line.strip_prefix("remote-user:"))
                    .map(str::trim)
                    .collect();
                let wanted: &[&str] = if lines.is_empty() { &[] } else { &[user] };
                assert_eq!(lines, wanted, "{kind:?} {headers}");
            }
        }
        for bytes in app.bytes() {
            assert!(!String::from_utf8_lossy(&bytes).to_lowercase().contains("forged"), "{kind:?}");
        }
        // Caddy can delete whatever begins so.
        if kind == Kind::Caddy {
            let seen = front
                .ask("GET /x", &format!("{ada}Remote-Uid: forged\r\nX-Forwarded-Any: forged\r\n"))
                .text();
            assert!(!seen.contains("forged"), "{seen}");
        }
        // Nor can a client name ours away (requirement R16).
        let named = "Connection: Remote-User, X-Forwarded-For, X-Forwarded-Uri, X-Original-URL\r\n";
        let seen = front.ask("GET /x", &format!("{ada}{named}")).text();
        assert!(seen.contains("\r\nRemote-User: ada\r\n"), "{kind:?}: {seen}");
        assert!(seen.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{kind:?}: {seen}");
    }
}

#[test]
fn r15_our_credentials_never_reach_the_upstream_and_other_cookies_do() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let SignIn { secret, .. } = front.gate.sign_in("ada");
        let token = &front.ada.secret;
        for (cookies, wanted) in [
            ("fallgate={s}", ""),
            ("a=b; fallgate={s}; c=d", "a=b; c=d"),
            ("fallgate={s}; c=d", "c=d"),
            ("a=b;fallgate={s}", "a=b"),
            (
                "a=b; fallgate={s}; __Host-fallgate={s}; fallgate-enter={s}; __Host-fallgate-enter={s}; c=d",
                "a=b; c=d",
            ),
            (
                "fallgate2=1; fallgate={s}; xfallgate=2; Fallgate=3; a=fallgate=4",
                "fallgate2=1; xfallgate=2; Fallgate=3; a=fallgate=4",
            ),
            ("a=\"x y\"; fallgate={s}", "a=\"x y\""),
        ] {
            let sent = cookies.replace("{s}", &secret);
            let answer = front.ask("GET /x", &format!("Cookie: {sent}\r\n"));
            assert_eq!(answer.status, 200, "{kind:?} {cookies}: {}", answer.text());
            let seen = answer.text();
            assert!(!seen.contains(&secret), "{kind:?} {cookies}: {seen}");
            let left = seen.lines().find_map(|line| line.strip_prefix("Cookie:")).unwrap_or_default();
            let left: Vec<_> = left.split(';').map(str::trim).filter(|pair| !pair.is_empty()).collect();
            assert_eq!(left.join("; "), wanted, "{kind:?} {cookies}");
        }
        let basic = fallgate_base64(&format!("ada:{token}"));
        for (target, headers) in [
            ("/x", format!("Authorization: Bearer {token}\r\n")),
            ("/x", format!("Authorization: Basic {basic}\r\n")),
            ("/open", format!("Authorization: Bearer {token}\r\n")),
            ("/open", format!("Fallgate-Token: {token}\r\n")),
            // Two of our cookies are good nowhere, and go nowhere either.
            (
                "/open",
                format!(
                    "Cookie: fallgate={secret}; fallgate={secret}; fallgate = {secret};fallgate={secret}\r\n"
                ),
            ),
            (
                "/open",
                format!("Cookie: a=b\r\nCookie: fallgate={secret}\r\nCookie: fallgate={secret}; c=d\r\n"),
            ),
        ] {
            let answer = front.ask(&format!("GET {target}"), &headers);
            assert_eq!(answer.status, 200, "{kind:?} {headers}: {}", answer.text());
        }
        for bytes in app.bytes() {
            let seen = String::from_utf8_lossy(&bytes).into_owned();
            for secret in [&secret, token, &basic] {
                assert!(!seen.contains(secret.as_str()), "{kind:?}: {seen}");
            }
        }
    }
}

fn fallgate_base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn r22_r65_websockets_go_through_and_nothing_else_becomes_a_tunnel() {
    for kind in KINDS {
        let app = WebSocketUpstream::echo();
        let front = Front::before(kind, &app.url());
        let at = front.proxy.address();
        let mut socket = WebSocket::open_at(at, "app.example", "/ws", Some(&front.ada)).unwrap();
        socket.echo("through somebody else's proxy");
        socket.echo(&"x".repeat(100_000));
        socket.close();
        assert_eq!(WebSocket::open_at(at, "app.example", "/ws", None).err(), Some(401), "{kind:?}");

        // A cookie opens one only for a page of the route's own.
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let cookie = front.gate.sign_in("ada").cookie();
        let upgrade = |protocol: &str, origin: &str| {
            let mut client = Client::connect(front.proxy.address());
            client.send(format!(
                "GET /x HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}{origin}\r\n"
            ));
            client.response()
        };
        let own = "Origin: http://app.example\r\n";
        for origin in ["", "Origin: http://evil.example\r\n", "Origin: null\r\n"] {
            assert_eq!(upgrade("websocket", origin).status, 403, "{kind:?} {origin}");
        }
        assert!(app.requests().is_empty(), "{kind:?}");
        for (protocol, goes_up) in
            [("websocket", true), ("WebSocket", true), ("h2c", false), ("TLS/1.2", false)]
        {
            let answer = upgrade(protocol, own);
            assert_eq!(answer.status, 200, "{kind:?} {protocol}: {}", answer.text());
            let seen = answer.text().to_lowercase();
            assert_eq!(seen.contains("\r\nupgrade:"), goes_up, "{kind:?} {protocol}: {seen}");
        }
    }
}

#[test]
fn r2_what_is_fallgates_own_goes_to_it_and_its_endpoints_are_for_proxies_only() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let ada = front.ada.header();
        let own = format!("Host: box.example\r\n{ada}");
        assert_eq!(front.ask("GET /api/whoami", &own).json()["username"], "ada", "{kind:?}");
        let answer = front.ask("GET /.fallgate/nothing", &ada);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{kind:?}: {}",
            answer.text()
        );
        assert_eq!(answer.status, 404, "{kind:?}");
        // Nobody asks for themselves what only their proxy is to know.
        let family = "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /x\r\nX-Original-Method: GET\r\n\
                      X-Original-URL: http://app.example/x\r\n";
        for endpoint in ["/auth/caddy", "/auth/traefik", "/auth/nginx", "/.fallgate/auth"] {
            for headers in [own.clone(), own.clone() + family, ada.clone() + family] {
                let answer = front.ask(&format!("GET {endpoint}"), &headers);
                assert_eq!(answer.header("remote-user"), None, "{kind:?} {endpoint} {headers}");
                assert!(
                    answer.status == 404 || answer.text().starts_with(&format!("GET {endpoint} ")),
                    "{kind:?} {endpoint} {headers}: {answer:?}"
                );
            }
        }
    }
}

#[test]
fn r24_a_browser_signs_in_on_its_way_through_the_proxy_and_out_again() {
    for kind in KINDS {
        let app = Upstream::echo();
        let front = Front::before(kind, &app.url());
        let browser = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
        let cookie = |answer: &Response| {
            answer.header("set-cookie").and_then(|set| set.split(';').next()).unwrap().to_owned()
        };
        let path = |answer: &Response, origin: &str| {
            let location = answer.header("location").unwrap();
            location.strip_prefix(origin).unwrap_or_else(|| panic!("{kind:?}: {location}")).to_owned()
        };

        let sent = front.ask("GET /page?a=b", browser);
        assert_eq!(sent.status, 303, "{kind:?}");
        let (knock, login) = (cookie(&sent), path(&sent, "http://box.example"));
        let signed_in = front.gate.sign_in("ada").cookie();
        let back = front.ask(&format!("GET {login}"), &format!("Host: box.example\r\n{browser}{signed_in}"));
        let enter = path(&back, "http://app.example");
        assert!(enter.starts_with("/.fallgate/enter?code="), "{kind:?}: {enter}");
        let entered = front.ask(&format!("GET {enter}"), &format!("{browser}Cookie: {knock}\r\n"));
        assert_eq!((entered.status, entered.header("location")), (303, Some("/page?a=b")), "{kind:?}");
        assert_eq!(app.requests().len(), 0, "{kind:?}");

        let session = cookie(&entered);
        let shown =
            front.ask("GET /page?a=b", &format!("{browser}Cookie: {knock}; theme=dark; {session}\r\n"));
        assert_eq!(shown.status, 200, "{kind:?}: {}", shown.text());
        assert!(shown.text().contains("\r\nCookie: theme=dark\r\n"), "{kind:?}: {}", shown.text());
        assert!(shown.text().contains("\r\nRemote-User: ada\r\n"), "{kind:?}: {}", shown.text());

        let out =
            format!("Host: box.example\r\n{signed_in}Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n");
        assert_eq!(front.ask("POST /api/logout", &out).status, 204, "{kind:?}");
        let again = front.ask("GET /page", &format!("{browser}Cookie: {session}\r\n"));
        assert_eq!(again.status, 303, "{kind:?}");
    }
}
