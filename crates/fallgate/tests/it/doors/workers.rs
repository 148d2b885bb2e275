//! Worker tokens at every place where a credential is taken: our own doors, event streams among them, and routes by path
//! and by host, over both versions of HTTP, to switch protocols too; and what other proxies ask about. One token for each way to end,
//! which comes in everywhere just before, and nowhere any more after.

use fallgate_domain::scope::PlainScope;
use fallgate_web::doors::{Access, Row, rows};
use http::Method;
use serde_json::{Value, json};

use super::table::{NOBODYS, about};
use super::ways::{basic, bearer};
use crate::forward_auth::{ENDPOINTS, Told};
use crate::support::http2::{Session, run};
use crate::support::{
    Client, Gate, SignIn, Token, Upstream, WebSocket, WebSocketUpstream, Worker, wait_up_to,
};

/// What an audience may name here, so that there is a door behind each.
const PLACES: [&str; 6] =
    ["fallgate", "route:app", "route:site", "route:pass", "route:sockets", "route:wires"];
/// Long enough to walk all doors, and not too long to be waited for.
const SHORT: std::time::Duration = std::time::Duration::from_secs(15);

/// A gate that has one of each place where a credential is taken.
struct House {
    gate: Gate,
    _upstream: Upstream,
    _sockets: WebSocketUpstream,
    /// What upstreams ask with.
    service: Token,
}

/// A worker token and its lineage.
struct Held {
    agent: String,
    owner: &'static str,
    top: Token,
    minter: Token,
    token: Token,
}

/// Presents a token, and gives the status.
type Ask = Box<dyn Fn(&House, &Token) -> u16>;

/// Where a credential is taken.
struct Door {
    name: String,
    /// What an audience must name.
    place: &'static str,
    /// Whether it comes no further there, since it is no sign-in, or mints nothing.
    is_beyond: bool,
    ask: Ask,
}

/// A way to end.
struct Way {
    name: &'static str,
    /// Whose token it is tried on.
    owner: &'static str,
    /// What is answered from then on.
    status: u16,
    end: fn(&House, &Held),
}

impl House {
    fn new() -> Self {
        let (upstream, sockets) = (Upstream::echo(), WebSocketUpstream::echo());
        let (plain, wires) = (upstream.url(), sockets.url());
        let gate = Gate::configured(&format!(
            "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforward_auth = true\n[workers]\nclock_skew = \"0s\"\n\
             [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {plain:?}\n\
             [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {plain:?}\n\
             [[route]]\nname = \"pass\"\nhost = \"pass.example\"\nauthorization = \"pass\"\nupstream = {plain:?}\n\
             [[route]]\nname = \"sockets\"\npath = \"/sockets\"\nupstream = {wires:?}\n\
             [[route]]\nname = \"wires\"\nhost = \"wires.example\"\nupstream = {wires:?}\n"
        ));
        gate.admin("root");
        gate.admin("boss");
        gate.admin("chief");
        gate.user("bob");
        let service = gate.token_with("root", &["--scope", "introspect"]);
        Self { gate, _upstream: upstream, _sockets: sockets, service }
    }

    /// A worker token of an agent of its own, minted by a token that another one minted, good for everything.
    fn hold(&self, agent: &str, owner: &'static str, order: Value) -> Held {
        let scopes: Vec<_> = PlainScope::ALL.iter().map(|scope| scope.name()).collect();
        let flags: Vec<_> = scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
        self.gate.fallgate(&[&["agent", "create", agent, "--owner", owner][..], &flags].concat()).ok();
        let top = self.gate.token_with(owner, &flags);
        let child = json!({ "name": "child", "scopes": scopes });
        let minter = Worker::token_of(&self.gate.ask("POST /api/tokens", &top.header(), &child));
        let mut order = order;
        order["scopes"] = json!(scopes);
        let token = Worker::token_of(&self.gate.mint_worker(&minter, agent, &order));
        Held { agent: agent.to_owned(), owner, top, minter, token }
    }

    /// Asks at every door.
    fn walk(&self, doors: &[Door], token: &Token, way: &str, wanted: impl Fn(&Door, u16) -> bool) {
        for door in doors {
            let status = (door.ask)(self, token);
            assert!(wanted(door, status), "{way}: {status} from {}", door.name);
        }
    }

    /// What an upstream is told of it.
    fn is_active(&self, token: &Token) -> bool {
        let fields = [("token", token.secret.as_str())];
        let answer =
            crate::oauth::form(&self.gate, "/oauth/introspect", &self.service.header(), &fields).json();
        answer["active"].as_bool().unwrap()
    }
}

/// Whether a good token came in.
fn comes_in(door: &Door, status: u16) -> bool {
    if door.is_beyond { status == 403 } else { ![401, 403, 421].contains(&status) && status < 500 }
}

/// A request of one of our own doors that does no harm, whoever asks: about what there is not, or with no good body.
fn own(row: &Row) -> (String, String) {
    let (method, path) = (row.method.as_str(), row.path);
    let mut target = about(path, NOBODYS, "nobody", "nobody");
    if (method, path) == ("DELETE", "/api/tokens") {
        target.push_str("?username=bob");
    }
    let body = match (method, path) {
        ("POST", "/api/workers/renew") | ("GET" | "DELETE", _) => String::new(),
        ("POST", "/api/tokens") => json!({ "name": "x" }).to_string(),
        ("POST", "/api/cuts") => json!({ "target": format!("credential:{NOBODYS}") }).to_string(),
        _ => "{}".to_owned(),
    };
    (target, body)
}

/// Every door of ours but those for anybody, by both versions of HTTP.
fn own_doors() -> impl Iterator<Item = Door> {
    let walled = rows().iter().filter(|row| row.access != Access::Public);
    walled.flat_map(|row| {
        let name = format!("{} {}", row.method, row.path);
        let mints = [("POST", "/api/tokens"), ("POST", "/api/agents/{name}/tokens")];
        let is_beyond = row.access == Access::Login || mints.contains(&(row.method.as_str(), row.path));
        let door =
            |by: &str, ask| Door { name: format!("{name} by {by}"), place: "fallgate", is_beyond, ask };
        let first: Ask = Box::new(|house, token| {
            let ((target, body), method) = (own(row), &row.method);
            let (header, length) = (token.header(), body.len());
            let mut client = Client::connect(house.gate.address());
            client.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ));
            client.response_or_stream().status
        });
        let second: Ask = Box::new(|house, token| {
            let (target, body) = own(row);
            by_http2(house, row.method.clone(), "localhost", &target, token, &body)
        });
        [door("HTTP/1.1", first), door("HTTP/2", second)]
    })
}

/// The status of an answer of which nothing else is waited for.
fn by_http2(house: &House, method: Method, host: &str, target: &str, token: &Token, body: &str) -> u16 {
    run(async {
        let session = Session::open(house.gate.address()).await;
        let mut request = session.request(method, target, Some(token));
        *request.uri_mut() = format!("http://{host}{target}").parse().unwrap();
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        let (answer, mut stream) = session.send(request, body.is_empty()).await;
        if !body.is_empty() {
            // Whoever is refused is answered before this has come.
            let _ = stream.send_data(body.to_owned().into(), true);
        }
        answer.await.unwrap().status().as_u16()
    })
}

type Carrier = (&'static str, fn(&str) -> String);

const CARRIERS: [Carrier; 2] = [("bearer", bearer), ("Basic", |secret| basic("", secret))];

/// Every way to a route, by every carrier.
fn route_doors() -> Vec<Door> {
    let mut doors = Vec::new();
    let mut door = |name: String, place, ask: Ask| {
        doors.push(Door { name, place, is_beyond: false, ask });
    };
    for (place, host, target) in [("route:app", "localhost", "/app/x"), ("route:site", "site.example", "/x")]
    {
        for (carrier, headers) in CARRIERS {
            door(
                format!("{place} by {carrier}"),
                place,
                Box::new(move |house, token| {
                    let headers = headers(&token.secret);
                    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
                    Client::exchange(house.gate.address(), request).status
                }),
            );
            for endpoint in ENDPOINTS {
                door(
                    format!("{endpoint} about {place} by {carrier}"),
                    place,
                    Box::new(move |house, token| {
                        let headers = headers(&token.secret);
                        Told::get(host, target, &headers).asked(&house.gate, endpoint).status
                    }),
                );
            }
        }
        door(
            format!("{place} by HTTP/2"),
            place,
            Box::new(move |house, token| by_http2(house, Method::GET, host, target, token, "")),
        );
    }
    let field = |token: &Token| format!("Fallgate-Token: {}\r\n", token.secret);
    door(
        "route:pass".to_owned(),
        "route:pass",
        Box::new(move |house, token| {
            let headers = field(token);
            let request = format!("GET /x HTTP/1.1\r\nHost: pass.example\r\n{headers}\r\n");
            Client::exchange(house.gate.address(), request).status
        }),
    );
    for endpoint in ENDPOINTS {
        door(
            format!("{endpoint} about route:pass"),
            "route:pass",
            Box::new(move |house, token| {
                Told::get("pass.example", "/x", &field(token)).asked(&house.gate, endpoint).status
            }),
        );
    }
    for (place, host, target) in
        [("route:sockets", "localhost", "/sockets/"), ("route:wires", "wires.example", "/")]
    {
        door(
            format!("a WebSocket to {place}"),
            place,
            Box::new(move |house, token| {
                WebSocket::open_at(house.gate.address(), host, target, Some(token)).err().unwrap_or(101)
            }),
        );
    }
    doors
}

const fn way(name: &'static str, owner: &'static str, status: u16, end: fn(&House, &Held)) -> Way {
    Way { name, owner, status, end }
}

/// All but the end by itself.
const WAYS: [Way; 12] = [
    way("revoked", "root", 401, |house, held| house.gate.revoke_worker(&held.token)),
    way("its renewal revoked", "root", 401, |house, held| {
        let renewed = Worker::token_of(&house.gate.renew_worker(&held.token));
        house.gate.revoke_worker(&renewed);
    }),
    way("given back", "root", 401, |house, held| {
        let given = json!({ "token": held.token.secret });
        assert_eq!(house.gate.ask("POST /api/tokens/revoke", "", &given).status, 204);
    }),
    way("orphaned", "root", 401, |house, held| house.gate.revoke_worker(&held.minter)),
    way("its parent orphaned", "root", 401, |house, held| house.gate.revoke_worker(&held.top)),
    way("its agent disabled", "root", 401, |house, held| {
        house.gate.fallgate(&["agent", "disable", &held.agent]).ok();
    }),
    way("its agent deleted", "root", 401, |house, held| {
        house.gate.fallgate(&["agent", "delete", &held.agent, "--yes"]).ok();
    }),
    way("its owner disabled", "boss", 401, |house, held| {
        house.gate.fallgate(&["user", "disable", held.owner]).ok();
    }),
    way("its agent cut", "root", 403, |house, held| {
        house.gate.fallgate(&["cut", &format!("agent:{}", held.agent)]).ok();
    }),
    way("its parent cut", "root", 403, |house, held| {
        house.gate.fallgate(&["cut", &format!("credential:{}", held.minter.id)]).ok();
    }),
    way("its owner cut", "chief", 403, |house, held| {
        house.gate.fallgate(&["cut", &format!("user:{}", held.owner)]).ok();
    }),
    way("its key dropped", "root", 401, |house, _| {
        house.gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    }),
];

#[test]
fn r28_r41_r42_a_worker_token_that_has_ended_is_refused_at_every_door_where_it_came_in_just_before() {
    let house = House::new();
    let doors: Vec<_> = own_doors().chain(route_doors()).collect();
    assert!(doors.len() > 150, "{}", doors.len());
    let everywhere = json!({ "audience": PLACES });
    let mut short = everywhere.clone();
    short["ttl"] = json!(SHORT.as_secs());
    let short = house.hold("short", "root", short);
    house.walk(&doors, &short.token, "good", comes_in);
    let bystander = house.hold("bystander", "root", everywhere.clone());
    for (number, Way { name, owner, status, end }) in WAYS.into_iter().enumerate() {
        let held = house.hold(&format!("runner-{number}"), owner, everywhere.clone());
        house.walk(&doors, &held.token, "good", comes_in);
        assert!(house.is_active(&held.token), "{name}");
        let is_last = number + 1 == WAYS.len();
        if is_last {
            // Before its key goes too.
            wait_up_to(SHORT * 2, "its end", || (!house.is_active(&short.token)).then_some(()));
            house.walk(&doors, &short.token, "expired", |_, answered| answered == 401);
        }
        end(&house, &held);
        house.walk(&doors, &held.token, name, |_, answered| answered == status);
        assert!(!house.is_active(&held.token), "{name}");
        assert_eq!(house.is_active(&bystander.token), !is_last, "{name}: nothing else is touched");
    }
}

#[test]
fn r41_a_worker_token_comes_in_at_the_doors_that_its_audience_names_and_at_no_others() {
    let house = House::new();
    let doors: Vec<_> = own_doors().chain(route_doors()).collect();
    for (number, lacks) in PLACES.iter().enumerate() {
        let others = PLACES.iter().filter(|place| *place != lacks).chain(&["egress", "route:none"]);
        let order = json!({ "audience": others.collect::<Vec<_>>() });
        let held = house.hold(&format!("runner-{number}"), "root", order);
        house.walk(&doors, &held.token, lacks, |door, status| {
            if door.place == *lacks { status == 401 } else { comes_in(door, status) }
        });
    }
}

#[test]
fn r41_a_worker_token_in_a_cookie_opens_nothing() {
    let house = House::new();
    let token = house.hold("runner", "root", json!({ "audience": PLACES })).token;
    let cookie = SignIn { id: token.id.clone(), secret: token.secret.clone() }.sent_by_page();
    for row in rows().iter().filter(|row| row.access != Access::Public) {
        let ((target, body), method) = (own(row), &row.method);
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{cookie}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(Client::exchange(house.gate.address(), request).status, 401, "{method} {target}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (host, target) in [("localhost", "/app/x"), ("site.example", "/x"), ("wires.example", "/")] {
        // What a WebSocket asks for beside is no carrier either.
        let protocols = format!("Sec-WebSocket-Protocol: bearer, {}\r\n", token.secret);
        for more in ["", upgrade, &format!("{upgrade}{protocols}")] {
            let headers = format!("{cookie}Origin: http://{host}\r\n{more}");
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
            assert_eq!(Client::exchange(house.gate.address(), request).status, 401, "{host}{target}");
        }
        for endpoint in ENDPOINTS {
            let asked = Told::get(host, target, &cookie).asked(&house.gate, endpoint);
            assert_eq!(asked.status, 401, "{endpoint} about {host}{target}");
        }
    }
}
