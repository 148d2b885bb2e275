//! Closing, cutting and lifting from the pages.
use rusqlite::Connection;

use super::Scene;
use crate::support::{PASSPHRASE, Visit, Visitor, wait_for};

impl Scene {
    /// What a visitor's page of everything live shows.
    fn all(&self, visitor: &mut Visitor) -> String {
        visitor.open(&self.url("/admin/live")).text()
    }

    fn send(&self, visitor: &mut Visitor, path: &str, fields: &[(&str, &str)]) -> Visit {
        visitor.submit(&self.url("/admin/live"), path, fields)
    }
}

/// The first address on the page that begins and ends so.
#[track_caller]
fn address(page: &str, begins: &str, ends: &str) -> String {
    let mut all = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let found = all.find(|href| href.starts_with(begins) && href.ends_with(ends));
    let found = found.unwrap_or_else(|| panic!("no address {begins}…{ends}: {page}"));
    found.replace("&#38;", "&").replace("&amp;", "&")
}

#[test]
fn r46_a_stream_is_closed_from_a_page_that_asks_first() {
    let scene = Scene::set();
    let (mut socket, _) = scene.websocket("bob", "bobs laptop");
    let (mut root, mut bob) = (scene.visitor("root"), scene.visitor("bob"));
    let (mut other, _) = scene.websocket("root", "roots laptop");
    let page =
        wait_for("both", || Some(scene.all(&mut root)).filter(|page| page.matches("Cut<span").count() == 3));
    // Newest first; the last but one is bob's.
    let roots = address(&page, "/live/streams/", "close?all=1");
    let bobs = address(&bob.open(&scene.url("/live")).text(), "/live/streams/", "/close");
    let asked = root.open(&scene.url(&bobs)).text();
    assert!(asked.contains("Cut the WebSocket to app of bob?"), "{asked}");
    // Bob may not close what is root's; whoever may not know of it is told that there is none.
    let refused = bob.submit(&scene.url("/live"), &roots, &[]).answer.text();
    assert!(refused.contains("closed already"), "{refused}");
    other.echo("still here");
    let done = scene.send(&mut root, &format!("{bobs}?all=1"), &[]);
    assert!(
        done.url.contains("/admin/live?done=closed") && done.answer.text().contains("The connection is cut.")
    );
    assert_eq!(socket.close_code(), Some(4403));
    // One that its client has not let go of yet is closed all the same.
    wait_for("its end", || (scene.live().len() == 1).then_some(()));
    let again = scene.send(&mut root, &format!("{bobs}?all=1"), &[]);
    assert!(again.answer.text().contains("That connection is closed already."));
    other.echo("still here");
}

#[test]
fn r46_r49_a_cut_says_what_it_will_close_what_it_closed_and_lifts_again() {
    let scene = Scene::set();
    let (mut first, id) = scene.websocket("bob", "</bdi><script>bobs laptop");
    let (mut second, _) = scene.websocket("bob", "bobs phone");
    let mut root = scene.visitor("root");
    let page =
        wait_for("both", || Some(scene.all(&mut root)).filter(|page| page.matches("Cut<span").count() == 3));
    assert!(!page.contains("<script>bobs"), "{page}");
    let credential = address(&page, &format!("/live/cut?target=credential%3A{id}"), "all=1");
    let asked = root.open(&scene.url(&credential)).text();
    assert!(asked.contains("1 open connection is cut, at once.") && asked.contains("bobs laptop"), "{asked}");
    assert!(!asked.contains("<script>bobs"), "{asked}");
    let user = address(&page, "/live/cut?target=user%3Abob", "all=1");
    assert!(root.open(&scene.url(&user)).text().contains("2 open connections are cut, at once."));
    // What is wrong is said by the field, and what was typed is still there.
    let fields = |reason: &'static str, lasts: &'static str| {
        [("target", "user:bob"), ("reason", reason), ("lasts", lasts)]
    };
    for (reason, lasts, says) in
        [("a\u{202e}b", "1h", "A reason is one line"), ("<img src=x>", "soon", "Choose one of these.")]
    {
        let wrong = root.send(&scene.url("/admin/live"), "/live/cut?all=1", &fields(reason, lasts));
        assert_eq!(wrong.status, 400, "{}", wrong.text());
        assert!(wrong.text().contains(says) && wrong.text().contains("aria-invalid"), "{}", wrong.text());
        assert!(!wrong.text().contains("<img src=x"), "{}", wrong.text());
    }
    first.echo("nothing was cut");
    let cut = scene.send(&mut root, "/live/cut?all=1", &fields("lost laptop", "1h"));
    let told = cut.answer.text();
    assert!(told.contains("The cut stands. It closed 2 connections and ended 0 requests in "), "{told}");
    assert_eq!((first.close_code(), second.close_code()), (Some(4403), Some(4403)));
    assert!(
        told.contains("user bob") && told.contains("lost laptop") && told.contains("59 minutes"),
        "{told}"
    );

    let lift = address(&told, "/live/cuts/", "/lift?all=1");
    assert!(root.open(&scene.url(&lift)).text().contains("Lift the cut on user bob?"));
    // Whoever signed in long ago does so again, and comes back to where it is lifted.
    let database = Connection::open(scene.gate.path().join("fallgate.db")).unwrap();
    let aged = "UPDATE credential SET created_at = created_at - 700000 WHERE kind = 'login'";
    assert!(database.execute(aged, []).unwrap() > 0);
    let login = scene.send(&mut root, &lift, &[]);
    assert!(login.url.contains("/login?fresh=1&returnTo="), "{:?}", login.way);
    let back = root.sign_in(&login, "root", PASSPHRASE);
    assert!(back.url.ends_with(&lift), "{:?}", back.way);
    let lifted = scene.send(&mut root, &lift, &[]).answer.text();
    assert!(lifted.contains("The cut is lifted.") && lifted.contains("No cut stands."), "{lifted}");
    scene.websocket("bob", "bobs tablet").0.echo("again");
}

#[test]
fn r49_cutting_everything_takes_the_word_and_leaves_the_page_to_lift_it() {
    let scene = Scene::set();
    let (mut socket, _) = scene.websocket("bob", "bobs laptop");
    let mut root = scene.visitor("root");
    let all = [("target", "everything"), ("reason", "all hands"), ("lasts", "never")];
    let wrong = root.send(&scene.url("/admin/live"), "/live/cut?all=1", &all);
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("Nothing was cut"), "{}", wrong.text());
    socket.echo("nothing was cut");
    let typed = [&all[..], &[("typed", "everything")]].concat();
    let cut = scene.send(&mut root, "/live/cut?all=1", &typed);
    assert_eq!((cut.answer.status, socket.close_code()), (200, Some(4403)), "{}", cut.answer.text());
    assert_eq!(root.open(&scene.url("/")).status, 403);
    let mut follower = scene.follow("/admin/live/events", &scene.gate.sign_in("root"));
    follower.wait_for("all hands");
    let lift = address(&scene.all(&mut root), "/live/cuts/", "/lift?all=1");
    assert_eq!(scene.send(&mut root, &lift, &[]).answer.status, 200);
    assert_eq!(root.open(&scene.url("/")).status, 200);
}

#[test]
fn who_is_no_admin_cuts_what_is_theirs_and_hears_of_nothing_else() {
    let scene = Scene::set();
    let mut bob = scene.visitor("bob");
    let (mut socket, id) = scene.websocket("root", "roots laptop");
    let live = scene.url("/live");
    for target in ["user:root", "everything", "route:app", "route:none", &format!("credential:{id}")] {
        let asked = bob.open(&scene.url(&format!("/live/cut?target={target}")));
        assert_eq!(asked.status, 403, "{target}");
        assert!(!asked.text().contains("roots laptop"), "{}", asked.text());
        let fields = [("target", target), ("reason", ""), ("lasts", "never"), ("typed", "everything")];
        assert_eq!(bob.send(&live, "/live/cut", &fields).status, 403, "{target}");
    }
    socket.echo("still here");
    let (mut own, id) = scene.websocket("bob", "bobs laptop");
    let target = format!("credential:{id}");
    let fields = [("target", &*target), ("reason", ""), ("lasts", "15m")];
    let cut = bob.submit(&live, "/live/cut", &fields);
    assert!(
        cut.url.contains("/live?done=cut") && cut.answer.text().contains("It closed 1 connection"),
        "{cut:?}"
    );
    assert_eq!(own.close_code(), Some(4403));
    // Who cuts themselves is told beforehand that it shuts them out.
    assert!(
        bob.open(&scene.url("/live/cut?target=user:bob")).text().contains("somebody else has to lift it")
    );
}
