//! What the client was told against what servers that others wrote say they saw: Python's own, bare, and the same behind
//! nginx and behind `haproxy`. What is refused none of them sees; what is taken they see once, as it was meant.

use serde_json::Value;

use super::corpus::{self};
use super::talks::{After, TALKS};
use super::{BY_HOST, BY_PATH, Entrance, fill, gate};
use crate::support::servers::Server;
use crate::support::{Client, Gate, Token, wait_for};

/// A request, as whoever saw it counts: method, target, length of the body.
type Seen = (String, String, usize);

/// A gate, and witnesses behind it.
struct Court {
    gate: Gate,
    token: Token,
    /// The last in line: what reaches it has passed everything.
    app: Server,
    /// A proxy between gate and app.
    proxy: Option<Server>,
    /// What was taken until now.
    taken: Vec<Seen>,
    /// How many requests may have broken off in the middle of their bodies.
    broken: usize,
}

impl Court {
    fn new(proxy: impl FnOnce(&Server) -> Option<Server>) -> Self {
        let app = Server::script("echo", &[]);
        let proxy = proxy(&app);
        let gate = gate(&proxy.as_ref().unwrap_or(&app).url());
        let token = gate.token("ada");
        Self { gate, token, app, proxy, taken: Vec::new(), broken: 0 }
    }

    fn fill(&self, entrance: Entrance, bytes: &[u8]) -> Vec<u8> {
        fill(&self.token, entrance, bytes)
    }

    /// Says this on a connection of its own. The client is told these statuses, the answers of 200 are to these
    /// requests in this order, and the witnesses have seen them and no others.
    #[track_caller]
    fn try_one(
        &mut self,
        (entrance, name): (Entrance, &str),
        bytes: &[u8],
        told: &[u16],
        seen: &[Seen],
        after: After,
    ) {
        let _case = Case(format!("{name} on {}", entrance.host));
        let mut client = Client::connect(self.gate.address());
        client.send(self.fill(entrance, bytes));
        let mut wanted = seen.iter();
        for status in told {
            let request = wanted.clone().next().filter(|_| *status == 200);
            let to_head = request.is_some_and(|(method, ..)| method == "HEAD");
            let answer = if to_head { client.response_to_head() } else { client.response() };
            assert_eq!(answer.status, *status, "{name} on {}: {}", entrance.host, answer.text());
            if *status != 200 {
                continue;
            }
            let request = wanted.next().unwrap_or_else(|| panic!("{name}: one answer too many"));
            if !to_head {
                assert_eq!(&Self::seen(&answer.json()), request, "{name}: the answer is to another request");
            }
        }
        assert_eq!(wanted.next(), None, "{name}: an answer is missing");
        if after == After::Closed {
            assert_eq!(client.rest().escape_ascii().to_string(), "", "{name}: something followed");
            client = Client::connect(self.gate.address());
        }
        self.taken.extend_from_slice(seen);
        // One good request more: what the app has seen it has told by the time that this is answered.
        let marker = format!("/marker-{}", self.taken.len());
        client.send(self.fill(entrance, format!("GET {{p}}{marker} HTTP/1.1\r\n{{h}}\r\n").as_bytes()));
        let answer = client.response();
        assert_eq!(answer.status, 200, "after {name}: {}", answer.text());
        let marker = ("GET".to_owned(), marker, 0);
        assert_eq!(Self::seen(&answer.json()), marker, "after {name}: out of step");
        self.taken.push(marker);
        let account = Self::whole(&self.app);
        let start = account.len().saturating_sub(seen.len() + 1);
        assert_eq!(account.len(), self.taken.len(), "{name}: the app saw {:?} last", &account[start..]);
        assert_eq!(account[start..], self.taken[start..], "{name}: the app saw something else");
    }

    /// At the end of it all: nobody saw more than was told, not even late.
    fn close(self) {
        let lines = self.app.account();
        assert_eq!(Self::whole(&self.app), self.taken);
        let broken = lines.iter().filter(|line| line.get("broken").is_some()).count();
        assert!(broken <= self.broken, "{broken} requests broke off at the app, of {}", self.broken);
        assert_eq!(
            lines.iter().find(|line| line.get("error").is_some()),
            None,
            "the app could not read something"
        );
        let Some(proxy) = &self.proxy else { return };
        // It tells of a request when all of it is over, and of several in no certain order.
        let mut taken: Vec<_> =
            self.taken.iter().map(|(method, target, _)| (method.clone(), target.clone())).collect();
        taken.sort();
        let account = || {
            let lines = proxy.account();
            let (whole, broken): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["status"] == 200);
            let whole = whole.iter().map(|line| (text(line, "method"), text(line, "target")));
            let mut whole: Vec<_> = whole.collect();
            whole.sort();
            (whole, broken)
        };
        wait_for("the proxy's account", || (account().0.len() >= taken.len()).then_some(()));
        let (whole, broken) = account();
        assert_eq!(whole, taken);
        // What breaks off in its body had a good head.
        let odd = broken.iter().find(|line| !matches!(text(line, "target").as_str(), "/x" | "/late"));
        assert_eq!(odd, None, "the proxy saw something that nobody sent");
        assert!(broken.len() <= self.broken, "{} requests broke off at the proxy", broken.len());
    }

    /// What arrived whole.
    fn whole(server: &Server) -> Vec<Seen> {
        server.account().iter().filter(|line| line.get("length").is_some()).map(Self::seen).collect()
    }

    fn seen(line: &Value) -> Seen {
        let length = usize::try_from(line["length"].as_u64().unwrap()).unwrap();
        (text(line, "method"), text(line, "target"), length)
    }
}

/// Named when the test fails in the middle of it.
struct Case(String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case: {}", self.0);
        }
    }
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned()
}

/// The request that these bytes are, chunks put together.
fn read(bytes: &[u8]) -> Seen {
    let (head, body) = bytes.split_at(bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4);
    let head = String::from_utf8_lossy(head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    if !head.contains("\r\nTransfer-Encoding: chunked\r\n") {
        return (method, target, body.len());
    }
    let (mut rest, mut length) = (body, 0);
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (method, target, length);
        }
        length += size;
        rest = &rest[line + 2 + size + 2..];
    }
}

fn owned(seen: &[(&str, &str, usize)]) -> Vec<Seen> {
    seen.iter()
        .map(|(method, target, length)| ((*method).to_owned(), (*target).to_owned(), *length))
        .collect()
}

/// All of the corpus; how many cases that were.
fn hear(court: &mut Court) -> usize {
    let mut cases = 0;
    for entrance in [BY_PATH, BY_HOST] {
        for (name, bytes, status) in corpus::HEADS {
            court.try_one((entrance, name), bytes, &[*status], &[], After::Closed);
            cases += 1;
        }
        for path in corpus::PATHS {
            let bytes = format!("GET {{p}}{path} HTTP/1.1\r\n{{h}}\r\n");
            court.try_one((entrance, path), bytes.as_bytes(), &[400], &[], After::Open);
            cases += 1;
        }
        for (name, body) in corpus::BODIES {
            for start in ["", "1\r\nz\r\n"] {
                let head =
                    format!("POST {{p}}/late HTTP/1.1\r\n{{h}}Transfer-Encoding: chunked\r\n\r\n{start}");
                court.broken += 1;
                court.try_one(
                    (entrance, name),
                    &[head.as_bytes(), body].concat(),
                    &[400],
                    &[],
                    After::Closed,
                );
                cases += 1;
            }
        }
        for (name, bytes, wanted) in corpus::GOOD {
            let seen = read(&court.fill(entrance, wanted));
            let closes = bytes.windows(8).any(|window| window == b"Upgrade:")
                || (bytes.windows(9).any(|window| window == b" HTTP/1.0") && !name.contains("kept alive"));
            let after = if closes { After::Closed } else { After::Open };
            court.try_one((entrance, name), bytes, &[200], &[seen], after);
            cases += 1;
        }
        for talk in TALKS {
            court.try_one((entrance, talk.name), talk.bytes, talk.told, &owned(talk.seen), talk.after);
            cases += 1;
        }
    }
    cases
}

fn sit(proxy: impl FnOnce(&Server) -> Option<Server>) {
    let mut court = Court::new(proxy);
    let cases = hear(&mut court);
    assert!(cases >= 600, "{cases}");
    court.close();
}

#[test]
fn r4_r12_r16_r64_r65_a_bare_python_server_sees_what_the_client_was_told_and_nothing_else() {
    sit(|_| None);
}

#[test]
fn r4_r12_r16_r64_r65_nginx_and_what_is_behind_it_see_what_the_client_was_told_and_nothing_else() {
    sit(|app| {
        let address = app.address();
        let site = format!(
            "access_log /dev/stdout seen;\nkeepalive_requests 100000;\n\
             location / {{ proxy_pass http://{address}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}"
        );
        Some(Server::nginx(&site))
    });
}

#[test]
fn r4_r12_r16_r64_r65_haproxy_and_what_is_behind_it_see_what_the_client_was_told_and_nothing_else() {
    sit(|app| Some(Server::haproxy(&format!("server app {}", app.address()))));
}
