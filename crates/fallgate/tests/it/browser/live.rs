//! The live page in Chromium: it shows what opens and closes as it does, and says so when it cannot.

use serde_json::{Value, json};

use crate::support::{
    Browser, Gate, Home, PASSPHRASE, WebSocket, WebSocketUpstream, nobodys_address, wait_for,
};

/// As hostile as a name may be.
const NAME: &str = "</bdi></script><img src=x onerror=document.title='hit'>";

#[test]
fn r46_r58_the_live_page_shows_what_opens_and_closes_and_lives_through_a_restart() {
    let (home, upstream, address) = (Home::new(), WebSocketUpstream::echo(), nobodys_address());
    home.admin("ada");
    home.user("bob");
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let gate = Gate::at_home(home, address, &config, |_| ());
    let url = |path: &str| format!("http://{address}{path}");
    let live = url("/admin/live");
    let token = gate.token_with("bob", &["--name", NAME]);
    let browser = Browser::new();
    browser.open(&live);
    browser.shows(&url("/login"), "Sign in");
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&live, "Following");
    browser.shows(&live, "Nothing is open.");
    browser.looks_right("live-empty");

    let mut socket = WebSocket::open(address, "/app/", Some(&token)).unwrap();
    browser.shows(&live, NAME);
    assert_eq!(browser.run("return document.images.length"), 1, "there is the mark of ours only");
    wait_for("the end of its entrance", || {
        (browser.run("return document.getAnimations().length") == 0).then_some(())
    });
    browser.looks_right("live");
    // A row that stays is the same element, with whoever is on it.
    browser.run(
        "const row = document.querySelector('tbody tr'); row.stays = true; row.querySelector('a').focus()",
    );
    let sent = || browser.run("return document.querySelector('[data-is=bytes_in]').textContent");
    let before = sent();
    socket.echo("a few more bytes");
    wait_for("other counts", || (sent() != before).then_some(()));
    let stays = "const row = document.querySelector('tbody tr'); \
                 return row.stays === true && row.contains(document.activeElement)";
    assert_eq!(browser.run(stays), true);

    let mut socket = gone_behind_the_dialog(&browser, &live, socket, || {
        WebSocket::open(address, "/app/", Some(&token)).unwrap()
    });

    // Closed from a dialog over the page.
    browser.click("tbody a[data-href=close]");
    browser.shows(&live, "Cut the WebSocket to app of bob?");
    assert_eq!(browser.run("return document.querySelector('dialog').open"), true);
    browser.looks_right("live-close");
    browser.press("Cut this connection");
    browser.shows(&live, "The connection is cut.");
    browser.shows(&live, "Nothing is open.");
    assert_eq!(socket.close_code(), Some(4403));

    // What is open vanishes by itself, too.
    let socket = WebSocket::open(address, "/app/", Some(&token)).unwrap();
    browser.shows(&live, NAME);
    socket.close();
    browser.shows(&live, "Nothing is open.");

    let mut socket = WebSocket::open(address, "/app/", Some(&token)).unwrap();
    browser.shows(&live, NAME);
    browser.click("tbody a[data-href=cut_user]");
    browser.shows(&live, "1 open connection is cut, at once.");
    browser.fill("reason", "lost laptop");
    browser.looks_right("live-cut");
    browser.press("Cut user");
    browser.shows(&live, "It closed 1 connection in ");
    browser.shows(&live, "lost laptop");
    assert_eq!(socket.close_code(), Some(4403));
    wait_for("the end of its entrance", || {
        (browser.run("return document.getAnimations().length") == 0).then_some(())
    });
    browser.looks_right("live-cuts");
    browser.click("a[data-href=lift]");
    browser.shows(&live, "Lift the cut on user bob?");
    browser.press("Lift the cut");
    browser.shows(&live, "The cut is lifted.");

    // Another process's cut shows up, too, and goes.
    let placed = gate.fallgate(&["cut", "user:bob", "--reason", "by another", "--json"]).ok().json();
    browser.shows(&live, "by another");
    gate.fallgate(&["lift", placed["id"].as_str().unwrap()]).ok();
    browser.shows(&live, "No cut stands.");

    // The gate goes, and comes back.
    let home = gate.kill();
    browser.shows(&live, "The gate cannot be reached; trying again.");
    let gate = Gate::at_home(home, address, &config, |_| ());
    browser.shows(&live, "Following");
    let _socket = WebSocket::open(address, "/app/", Some(&token)).unwrap();
    browser.shows(&live, NAME);
    assert_eq!(browser.run("return document.title"), "Live · Fallgate");

    loses_its_network(&browser, &live);

    // Everything, big and red, by a word.
    browser.click("a.button.cut[href*=everything]");
    browser.shows(&live, "Type everything to confirm");
    browser.fill("typed", "everything");
    browser.looks_right("live-cut-everything");
    browser.press("Cut everything");
    browser.shows(&live, "The cut stands.");
    assert_eq!(gate.ask("GET /api/whoami", &token.header(), &Value::Null).status, 403);
    browser.click("a[data-href=lift]");
    browser.shows(&live, "Lift the cut on everything?");
    browser.press("Lift the cut");
    browser.shows(&live, "The cut is lifted.");

    // Signed out somewhere else, the page says so, and leads back.
    browser.shows(&live, "Following");
    browser.run("await fetch('/logout', { method: 'POST' })");
    browser.shows(&live, "You are signed out, so this page does not follow any more.");
    browser.click("[data-state] a");
    browser.shows(&url("/login?returnTo="), "Sign in");
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&live, "Following");
}

/// The network goes, and comes back.
fn loses_its_network(browser: &Browser, live: &str) {
    browser.tell("Network.enable", json!({}));
    for (offline, says) in [(true, "The gate cannot be reached; trying again."), (false, "Following")] {
        let conditions =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        browser.tell("Network.emulateNetworkConditions", conditions);
        browser.shows(live, says);
    }
}

/// Whoever goes back from a dialog about what is gone by then stands at its list. Gives another stream, which is shown.
fn gone_behind_the_dialog(
    browser: &Browser,
    live: &str,
    socket: WebSocket,
    another: impl Fn() -> WebSocket,
) -> WebSocket {
    browser.click("tbody a[data-href=close]");
    browser.shows(live, "Cut the WebSocket to app of bob?");
    socket.close();
    browser.shows(live, "Nothing is open.");
    browser.click("dialog [data-back]");
    wait_for("the list's heading", || {
        (browser.run("return document.activeElement.id") == "open").then_some(())
    });
    let socket = another();
    browser.shows(live, NAME);
    socket
}

#[test]
fn r58_the_other_pages_look_right_whatever_they_are_to_show() {
    let (home, upstream, address) = (Home::new(), WebSocketUpstream::echo(), nobodys_address());
    home.admin("ada");
    let url = upstream.url();
    let silent = format!("http://{}", nobodys_address());
    let config = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\nsame_origin = true\n\
         [[route]]\nname = \"down\"\nhost = \"a-rather-long-name-of-a-host.box.example\"\nupstream = {silent:?}\n\
         [[route]]\nname = \"theirs\"\nhost = \"theirs.example\"\n"
    );
    let gate = Gate::at_home(home, address, &config, |_| ());
    let token = gate.token_with("ada", &["--name", &"🦀".repeat(40), "--expires", "3d"]);
    gate.token_with("ada", &["--name", NAME, "--expires", "3d"]);
    let _socket = WebSocket::open(address, "/app/", Some(&token)).unwrap();
    gate.try_sign_in("ada", "not the passphrase");
    let at = |path: &str| format!("http://{address}{path}");
    let browser = Browser::new();
    browser.open(&at("/login"));
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&at("/"), "Last refusals");
    browser.shows(&at("/"), NAME);
    browser.looks_right("home");
    browser.open(&at("/live"));
    browser.shows(&at("/live"), "Following");
    browser.looks_right("live-own");
    browser.open(&at("/admin/routes"));
    browser.shows(&at("/admin/routes"), "Open streams cannot be cut here");
    browser.looks_right("routes");
    browser.open(&at("/admin/audit"));
    browser.shows(&at("/admin/audit"), "Following");
    browser.press("Verify chain");
    browser.shows(&at("/admin/audit"), "Every link fits");
    gate.user("mallory");
    browser.shows(&at("/admin/audit"), "mallory");
    wait_for("the end of its entrance", || {
        (browser.run("return document.getAnimations().length") == 0).then_some(())
    });
    browser.looks_right("audit");
    assert_eq!(browser.run("return document.title"), json!("Audit · Fallgate"));
}
