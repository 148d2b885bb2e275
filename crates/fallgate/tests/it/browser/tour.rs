//! Every page, with the most hostile names in every field, on a phone and a desk, by day and by night.

use serde_json::{Value, json};

use crate::support::{Browser, Gate, Home, PASSPHRASE, WebSocket, WebSocketUpstream, nobodys_address};

/// Breaks out of whatever it is not escaped for, and leaves a mark if it does.
const MARKUP: &str = "</script><img src=x onerror=\"hit=1\">'\"`{{7*7}}";
/// Turns around what stands behind it.
const TURNED: &str = "\u{202e}\u{2066}gnp.exe\u{200f}";

/// The most that a page weighs at its first load, with everything.
const HEAVIEST: u64 = 100 * 1024;

/// Watches for whatever the policy stops, from a page's first moment on.
const WATCH: &str = "window.stopped = []; window.hit = 0; \
    document.addEventListener('securitypolicyviolation', event => \
        window.stopped.push(`${event.effectiveDirective} ${event.blockedURI}`)); \
    window.alert = window.confirm = window.prompt = () => { window.hit = 1; };";

/// Of each file that the page is made of: where it is from, and how many bytes came.
const LOADED: &str = "return performance.getEntriesByType('resource')\
    .concat(performance.getEntriesByType('navigation'))\
    .map(one => [new URL(one.name).origin, one.encodedBodySize + 300])";

const EVERYWHERE: &[(&str, &str)] = &[
    ("/", "home"),
    ("/tokens", "tokens"),
    ("/tokens/new", "token-new"),
    ("/agents", "agents"),
    ("/agents/new", "agent-new"),
    ("/agents/crawler/delete", "agent-delete"),
    ("/live", "live-own"),
    ("/account", "account"),
    ("/admin/users", "users"),
    ("/admin/new-user", "user-new"),
    ("/admin/users/eve", "user"),
    ("/admin/users/eve/delete", "user-delete"),
    ("/admin/live", "live-all"),
    ("/live/cut?target=everything", "cut-everything"),
    ("/admin/audit", "audit"),
    ("/admin/routes", "routes"),
    ("/pair", "pair"),
    ("/device", "device"),
    ("/nothing", "not-found"),
    ("/login?fresh=1", "login"),
];

#[test]
fn r58_no_name_breaks_out_of_any_page_and_every_page_fits_every_screen() {
    let (home, upstream, address) = (Home::new(), WebSocketUpstream::echo(), nobodys_address());
    home.admin("ada");
    home.user("eve");
    let config = format!(
        "[[route]]\nname = \"notebook\"\npath = \"/notebook\"\nupstream = {:?}\n\n\
         [[route]]\nname = \"wiki\"\nhost = \"wiki.example\"\nupstream = \"http://{}\"\n\
         identity = \"headers\"\nallow = [\"user:ada\"]\n\n\
         [[route]]\nname = \"elsewhere\"\nhost = \"other.example\"\n",
        upstream.url(),
        nobodys_address()
    );
    let gate = Gate::at_home(home, address, &config, |_| ());
    let emoji = "🦀".repeat(20);
    let ada = gate.token_with("ada", &["--scope", "admin"]).header();
    for (user, name) in [("ada", MARKUP), ("eve", TURNED)] {
        let path = format!("PATCH /api/users/{user}");
        let changed = gate.ask(&path, &ada, &json!({"display_name": name}));
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
    for (agent, more) in
        [("crawler", &["--route", "notebook", "--route", "wiki"][..]), (&*"x".repeat(64), &[])]
    {
        gate.fallgate(&[&["agent", "create", agent, "--owner", "eve"], more].concat()).ok();
    }
    gate.fallgate(&["agent", "disable", "crawler"]).ok();
    let named = |name: &str| gate.token_with("eve", &["--name", name]);
    let (token, _, _) = (named(MARKUP), named(&emoji), named(TURNED));
    let _socket = WebSocket::open(address, "/notebook/", Some(&token)).unwrap();
    let _ = gate.ask("POST /api/login", "", &json!({"username": MARKUP, "passphrase": "x"}));

    let url = |path: &str| format!("http://{address}{path}");
    let browser = Browser::new();
    browser.tell("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}));
    browser.open(&url("/"));
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&url("/"), "Sign out");
    let cut = json!({"target": "user:eve", "reason": MARKUP, "expires_in": 3_600});
    let ids = gate.ask("GET /api/tokens", &ada, &Value::Null).json();
    let id = ids["tokens"].as_array().unwrap()[0]["id"].as_str().unwrap().to_owned();
    let revoke = format!("/tokens/{id}/revoke");
    for (path, name) in EVERYWHERE.iter().copied().chain([(revoke.as_str(), "token-revoke")]) {
        browser.open(&url(path));
        looks_innocent(&browser, path);
        browser.looks_right(name);
    }
    let placed = gate.ask("POST /api/cuts", &ada, &cut);
    assert_eq!(placed.status, 201, "{}", placed.text());
    for (path, name) in [("/admin/live", "live-cut-stands"), ("/admin/audit", "audit-cut")] {
        browser.open(&url(path));
        browser.shows(&url(path), MARKUP);
        looks_innocent(&browser, path);
        browser.looks_right(name);
    }
}

/// Nothing was stopped, nothing ran that is not ours, nothing came from elsewhere, and it was little.
#[track_caller]
fn looks_innocent(browser: &Browser, path: &str) {
    assert_eq!(browser.run("return window.stopped"), json!([]), "{path}");
    assert_eq!(browser.run("return window.hit"), 0, "{path}");
    assert_eq!(browser.run("return document.querySelectorAll('img[src=x]').length"), 0, "{path}");
    let (loaded, origin) = (browser.run(LOADED), browser.run("return location.origin"));
    let loaded = loaded.as_array().unwrap();
    assert!(loaded.iter().all(|file| file[0] == origin), "{path}: {loaded:?}");
    let weight: u64 = loaded.iter().map(|file| file[1].as_u64().unwrap()).sum();
    assert!(weight < HEAVIEST, "{path}: {weight} bytes: {loaded:?}");
}
