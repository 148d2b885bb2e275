//! The pages on which people watch what is live, what was done and how the routes stand, as a browser without scripts has
//! them, and the events that a script follows.

mod acting;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use fallgate_domain::audit::{Action, Event, NewEvent};
use fallgate_domain::clock::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::http2::{Frame, Frames, Outcome, frame, headers};
use crate::support::{
    Client, Gate, Home, PASSPHRASE, SignIn, Visitor, WebSocket, WebSocketUpstream, nobodys_address, wait_for,
};

/// A gate before a WebSocket server, with an admin `root` and a user `bob`.
struct Scene {
    gate: Gate,
    _upstream: WebSocketUpstream,
}

impl Scene {
    fn set() -> Self {
        let (home, upstream) = (Home::new(), WebSocketUpstream::echo());
        home.admin("root");
        home.user("bob");
        let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
        Self { gate: Gate::on(home, &config), _upstream: upstream }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gate.address())
    }

    /// Somebody with a browser, signed in.
    #[track_caller]
    fn visitor(&self, name: &str) -> Visitor {
        let mut visitor = Visitor::of(self.gate.address());
        let login = visitor.visit(&self.url("/login"));
        assert_eq!(visitor.sign_in(&login, name, PASSPHRASE).answer.status, 200);
        visitor
    }

    /// A WebSocket of a token of that name, and the token's id.
    #[track_caller]
    fn websocket(&self, owner: &str, name: &str) -> (WebSocket, String) {
        let token = self.gate.token_with(owner, &["--name", name]);
        (WebSocket::open(self.gate.address(), "/app/", Some(&token)).unwrap(), token.id)
    }

    /// Follows on a page's events.
    #[track_caller]
    fn follow(&self, path: &str, login: &SignIn) -> Client {
        let mut client = Client::connect(self.gate.address());
        let headers = login.cookie();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.gate.address()));
        let answer = client.response_or_stream();
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        client
    }

    fn live(&self) -> Vec<Value> {
        self.gate.fallgate(&["live", "--json"]).ok().json()["live"].as_array().unwrap().clone()
    }
}

#[test]
fn r46_a_user_sees_their_own_streams_and_an_admin_all_of_them() {
    let scene = Scene::set();
    let (_bobs, _) = scene.websocket("bob", "bobs laptop");
    let (_roots, _) = scene.websocket("root", "roots laptop");
    wait_for("both rows", || (scene.live().len() == 2).then_some(()));
    let (mut bob, mut root) = (scene.visitor("bob"), scene.visitor("root"));
    let page = |visitor: &mut Visitor, path: &str| visitor.open(&scene.url(path)).text();
    for (is_bob, path, has, lacks) in [
        (true, "/live", "bobs laptop", "roots laptop"),
        (true, "/", "bobs laptop", "roots laptop"),
        (false, "/live", "roots laptop", "bobs laptop"),
    ] {
        let text = page(if is_bob { &mut bob } else { &mut root }, path);
        assert!(text.contains(has) && !text.contains(lacks), "{path}: {text}");
    }
    for path in ["/admin/live", "/"] {
        let all = page(&mut root, path);
        assert!(all.contains("bobs laptop") && all.contains("roots laptop"), "{path}: {all}");
    }
    let narrowed = page(&mut root, "/admin/live?user=bob");
    assert!(narrowed.contains("bobs laptop") && !narrowed.contains("roots laptop"), "{narrowed}");
    for path in ["/admin/live", "/admin/audit", "/admin/routes"] {
        assert_eq!(bob.open(&scene.url(path)).status, 403, "{path}");
    }
    // The same of what a script follows.
    let (bobs_login, roots_login) = (scene.gate.sign_in("bob"), scene.gate.sign_in("root"));
    scene.follow("/admin/live/events", &roots_login).wait_for("bobs laptop");
    let mut follower = scene.follow("/live/events", &bobs_login);
    follower.wait_for("bobs laptop");
    let refused = scene.gate.ask("GET /admin/live/events", &bobs_login.cookie(), &Value::Null);
    assert_eq!(refused.status, 403);
    let (_late, _) = scene.websocket("root", "late roots laptop");
    let (_later, _) = scene.websocket("bob", "bobs phone");
    follower.wait_for("bobs phone");
    scene.gate.fallgate(&["user", "disable", "bob"]).ok();
    let told = String::from_utf8(follower.rest()).unwrap();
    assert!(!told.contains("roots laptop"), "{told}");
}

#[test]
fn r47_who_follows_is_sent_nothing_more_once_their_sign_in_is_over_or_the_gate_is() {
    let scene = Scene::set();
    let (first, second) = (scene.gate.sign_in("bob"), scene.gate.sign_in("bob"));
    let (mut ends, mut stays) = (scene.follow("/live/events", &first), scene.follow("/live/events", &second));
    stays.wait_for("lists");
    let begun = Instant::now();
    let out = scene.gate.ask("POST /logout", &first.sent_by_page(), &Value::Null);
    assert_eq!(out.status, 303);
    ends.rest();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // The other goes on, and does not hold the gate up.
    let (socket, _) = scene.websocket("bob", "bobs laptop");
    stays.wait_for("bobs laptop");
    socket.close();
    let mut gate = scene.gate;
    let begun = Instant::now();
    gate.signal(Signal::TERM);
    stays.rest();
    assert!(gate.ended().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn r67_who_leaves_follows_no_more_and_only_so_many_pages_of_one_person_do() {
    let scene = Scene::set();
    let (bob, root) = (scene.gate.sign_in("bob"), scene.gate.sign_in("root"));
    let mut open: Vec<_> = (0..16).map(|_| scene.follow("/live/events", &bob)).collect();
    wait_for("sixteen rows", || (scene.live().len() == 16).then_some(()));
    let refused = scene.gate.ask("GET /live/events", &bob.cookie(), &Value::Null);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")), "{}", refused.text());
    scene.follow("/live/events", &root);
    // A page does not list pages that follow, and says how many it leaves out.
    let page = scene.visitor("root").open(&scene.url("/admin/live")).text();
    assert!(
        page.contains("Nothing is open.") && page.contains("pages that follow along are not listed"),
        "{page}"
    );
    open.clear();
    wait_for("no rows", || scene.live().is_empty().then_some(()));
    scene.follow("/live/events", &bob);
}

#[test]
fn r67_over_http_2_a_page_follows_too_and_leaves_when_its_stream_is_reset() {
    let scene = Scene::set();
    let token = scene.gate.token_with("bob", &["--scope", "live:read"]);
    let (bearer, authority) = (format!("Bearer {}", token.secret), scene.gate.address().to_string());
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/live/events"), (":authority", &authority)];
    let mut client = Frames::begin(scene.gate.address(), &[]);
    client.send(headers(1, true, &[&fields[..], &[("authorization", &bearer)]].concat()));
    assert_eq!(client.outcome(1), Outcome::Status(200));
    let (_socket, _) = scene.websocket("bob", "bobs laptop");
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("bobs laptop") {
        let data = |frame: &Frame| (frame.kind == 0 && frame.stream == 1).then(|| frame.payload.clone());
        said.extend(client.find(data).unwrap());
    }
    assert_eq!(scene.live().len(), 2);
    // RST_STREAM with CANCEL, as a browser sends it when the page is left.
    client.send(frame(3, 0, 1, &8_u32.to_be_bytes()));
    wait_for("its end", || (scene.live().len() == 1).then_some(()));
}

#[test]
fn r50_the_routes_say_how_their_upstreams_stand_and_where_nothing_can_be_cut() {
    let (home, upstream) = (Home::new(), WebSocketUpstream::echo());
    home.admin("root");
    home.user("bob");
    let (up, down) = (upstream.url(), format!("http://{}", nobodys_address()));
    // Nobody answers there, and nobody says so: a documentation address (RFC 5737).
    let silent = "http://192.0.2.1:9";
    let config = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[route]]\nname = \"up\"\nhost = \"up.example\"\nupstream = {up:?}\nallow = [\"role:admin\"]\nidentity = \"headers\"\n\
         [[route]]\nname = \"down\"\nhost = \"down.example\"\nupstream = {down:?}\npublic = [\"/open\"]\nauthorization = \"pass\"\n\
         [[route]]\nname = \"silent\"\nhost = \"silent.example\"\nupstream = {silent:?}\n\
         [[route]]\nname = \"theirs\"\nhost = \"theirs.example\"\n\
         [[route]]\nname = \"ours\"\npath = \"/ours\"\nupstream = {up:?}\nsame_origin = true\n"
    );
    let scene = Scene { gate: Gate::on(home, &config), _upstream: upstream };
    let mut root = scene.visitor("root");
    let begun = Instant::now();
    let page = root.open(&scene.url("/admin/routes")).text();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let card = |page: &str, name: &str| {
        let (_, rest) = page.split_once(&format!("id=\"route-{name}\"")).unwrap();
        rest.split("</section>").next().unwrap().to_owned()
    };
    for (name, says) in [
        ("up", ">up</span>"),
        ("up", "role:admin"),
        ("up", "Remote-User, Remote-Name, Remote-Groups, Remote-Email"),
        ("down", ">down</span>"),
        ("down", "cannot connect"),
        ("down", "/open"),
        ("down", "the upstream&#39;s own; it is passed on"),
        ("theirs", "Open streams cannot be cut here"),
        ("ours", "same_origin = true"),
    ] {
        let card = card(&page, name);
        assert!(card.contains(says), "{name} without {says}: {card}");
    }
    assert!(!card(&page, "up").contains("cannot be cut") && !card(&page, "silent").contains(">up</span>"));
    // On the first page everybody sees how the routes stand that they may use, and not why.
    let home = scene.visitor("bob").open(&scene.url("/")).text();
    assert!(home.contains(">down</span>") && !home.contains("cannot connect"), "{home}");
    assert!(!home.contains("up.example"), "{home}");
    // A config that makes no sense is told of, until one does.
    assert!(!page.contains("goes on to count"), "{page}");
    fs::write(scene.gate.beside().join("fallgate.toml"), "[[route]]\nname = \"x\"\nhots = \"a\"\n").unwrap();
    scene.gate.fallgate(&["reload"]).refused(1);
    let page = root.open(&scene.url("/admin/routes")).text();
    assert!(page.contains("hots") && page.contains("goes on to count"), "{page}");
    fs::write(scene.gate.beside().join("fallgate.toml"), config).unwrap();
    scene.gate.fallgate(&["reload"]).ok();
    assert!(!root.open(&scene.url("/admin/routes")).text().contains("goes on to count"));
}

#[test]
fn the_audit_trail_is_filtered_paged_followed_and_verified_on_its_page() {
    let scene = Scene::set();
    for number in 0..120 {
        let _ = scene.gate.token_with("bob", &["--name", &format!("number {number}")]);
    }
    let mut root = scene.visitor("root");
    let rows = |page: &str| page.split("<template>").next().unwrap().matches("<tr data-id=").count();
    let first = root.open(&scene.url("/admin/audit?action=token.mint")).text();
    assert_eq!(rows(&first), 100);
    let (_, older) = first.split_once("Older events\"><a class=\"button plain\" href=\"").unwrap();
    let older = older.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let second = root.open(&scene.url(&older)).text();
    assert_eq!(rows(&second), 20, "{older}");
    assert!(!second.contains("data-events"), "a page of old events follows nothing");
    for (query, count) in [
        ("?user=bob&action=user.create", 1),
        ("?user=nobody", 0),
        ("?since=2000-01-01&until=2000-01-02", 0),
        ("?since=2000-01-01&action=user.create", 2),
    ] {
        let page = root.open(&scene.url(&format!("/admin/audit{query}"))).text();
        assert_eq!(rows(&page), count, "{query}");
    }
    for query in ["?since=yesterday", "?before=x"] {
        assert_eq!(root.open(&scene.url(&format!("/admin/audit{query}"))).status, 400, "{query}");
    }
    let login = scene.gate.sign_in("root");
    // One that was away for more than a page of events is told them all.
    scene.follow("/admin/audit/events?action=token.mint&after=0", &login).wait_for("number 0");
    let mut follower = scene.follow("/admin/audit/events?action=token.revoke", &login);
    let token = scene.gate.token("bob");
    scene.gate.fallgate(&["token", "revoke", &token.id]).ok();
    follower.wait_for(&token.id);

    let page = scene.url("/admin/audit");
    assert!(root.open(&page).text().contains("It has not been verified"));
    let mut verify = || {
        let sent = root.send(&page, "/admin/audit/verify", &[]);
        assert_eq!((sent.status, sent.header("location")), (303, Some("/admin/audit#chain")));
        // A walk that takes long goes on by itself.
        wait_for("the end of the walk", || {
            Some(root.open(&page).text()).filter(|page| !page.contains("It is being verified"))
        })
    };
    assert!(verify().contains("Every link fits"));
    let database = rusqlite::Connection::open(scene.gate.path().join("fallgate.db")).unwrap();
    database.execute("UPDATE audit SET target = 'eve' WHERE seq = 5", []).unwrap();
    let broken = verify();
    assert!(broken.contains("cannot be relied on") && broken.contains("event 5 was changed"), "{broken}");
}

/// Links so many events behind those that are there; the last of them was changed afterwards.
fn lengthen_trail(home: &Home, by: u64) {
    let mut database = rusqlite::Connection::open(home.path().join("fallgate.db")).unwrap();
    let (last, mut prev): (u64, String) = database
        .query_row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })
        .unwrap();
    let act = database.transaction().unwrap();
    for seq in last + 1..=last + by {
        let new = NewEvent {
            at: Timestamp::from_millis(0),
            action: Action::Setup,
            actor: "cli:ada".to_owned(),
            credential: None,
            target: "config".to_owned(),
            ip: None,
            detail: BTreeMap::new(),
            author: None,
        };
        let event = Event::link(seq, prev, new);
        act.prepare_cached("INSERT INTO audit VALUES (?1, 0, ?2, ?3, NULL, ?4, ?5, NULL, '{}', ?6, ?7)")
            .unwrap()
            .execute((
                i64::try_from(seq).unwrap(),
                &event.action,
                &event.actor,
                if seq == last + by { "eve" } else { &event.target },
                &event.outcome,
                &event.prev,
                &event.hash,
            ))
            .unwrap();
        prev = event.hash;
    }
    act.commit().unwrap();
}

#[test]
fn a_walk_through_a_long_trail_does_not_hold_up_the_end_of_the_gate() {
    let mut scene = Scene::set();
    lengthen_trail(&scene.gate, 160_000);
    let mut root = scene.visitor("root");
    let page = scene.url("/admin/audit");
    assert_eq!(root.send(&page, "/admin/audit/verify", &[]).status, 303);
    let shown = root.open(&page).text();
    assert!(shown.contains("It is being verified"), "it is over already");
    scene.gate.signal(Signal::TERM);
    assert_eq!(scene.gate.ended().code(), Some(0));
    // Nobody has waited for what the walk would have found at its end.
    assert!(!scene.gate.log().contains("cannot be relied on"), "{}", scene.gate.log());
}

#[test]
fn who_looks_at_the_audit_trail_does_not_fill_it() {
    let scene = Scene::set();
    let login = scene.gate.sign_in("root");
    for path in ["/live/events", "/admin/live/events", "/admin/audit/events"] {
        drop(scene.follow(path, &login));
    }
    wait_for("them to leave", || scene.live().is_empty().then_some(()));
    // What comes later is written later.
    drop(scene.websocket("bob", "bobs laptop"));
    let closings = wait_for("the end of what is no page", || {
        let listed =
            scene.gate.fallgate(&["audit", "list", "--action", "stream.close", "--json"]).ok().json();
        listed["events"].as_array().cloned().filter(|events| !events.is_empty())
    });
    let on: Vec<_> = closings.iter().map(|event| &event["target"]).collect();
    assert_eq!(on, ["app"]);
}

#[test]
fn the_first_page_says_what_ends_soon_and_tells_admins_who_was_refused() {
    let scene = Scene::set();
    for (name, expires) in [("ends soon", "13d"), ("ends late", "15d"), ("</bdi><img src=x>", "1d")] {
        let _ = scene.gate.token_with("bob", &["--name", name, "--expires", expires]);
    }
    let home = scene.visitor("bob").open(&scene.url("/")).text();
    assert!(
        home.contains("ends soon") && !home.contains("ends late") && !home.contains("<img src=x>"),
        "{home}"
    );
    assert!(!home.contains("Last refusals"), "{home}");
    // A wrong passphrase is written down at once.
    assert_eq!(scene.gate.try_sign_in("bob", "not the passphrase").status, 401);
    let home = scene.visitor("root").open(&scene.url("/")).text();
    assert!(home.contains("Last refusals") && home.contains("login.failed"), "{home}");
}
