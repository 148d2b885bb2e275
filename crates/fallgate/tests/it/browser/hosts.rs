//! One passphrase, three hosts: our own and those of two routes, over https.

use crate::support::tls::Authority;
use crate::support::{Browser, Gate, PASSPHRASE, Upstream, nobodys_address};

#[test]
fn r15_r19_r20_one_passphrase_opens_every_host_and_signing_out_anywhere_closes_them_all() {
    let authority = Authority::new();
    let pair = authority.issue("gate", &["box.example", "app.example", "wiki.example"]);
    let (upstream, address) = (Upstream::echo(), nobodys_address());
    let (url, port) = (upstream.url(), address.port());
    let gate = Gate::at(
        address,
        &format!(
            "[server]\npublic_url = \"https://box.example:{port}\"\ntls = {{ cert = {:?}, key = {:?} }}\n\
             [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n\
             [[route]]\nname = \"wiki\"\nhost = \"wiki.example\"\nupstream = {url:?}\n",
            pair.cert, pair.key
        ),
    );
    gate.user("ada");
    let at = |name: &str, target: &str| format!("https://{name}.example:{port}{target}");
    let browser = Browser::trusting(&pair);

    for out in ["app", "box"] {
        browser.open(&at("app", "/x?y=z"));
        browser.shows(&at("box", "/login?returnTo="), "to go on to app.example");
        // The page's policy lets its own style through.
        let style = "return getComputedStyle(document.querySelector('button')).minHeight";
        assert_eq!(browser.run(style), "44px");
        browser.fill("username", "ada");
        browser.fill("passphrase", "not the passphrase");
        browser.press("Sign in");
        browser.shows(&at("box", "/login"), "The username or the passphrase is wrong.");
        browser.fill("passphrase", PASSPHRASE);
        browser.press("Sign in");
        browser.shows(&at("app", "/x?y=z"), "GET /x?y=z HTTP/1.1");
        // And once is enough.
        browser.open(&at("wiki", "/start"));
        browser.shows(&at("wiki", "/start"), "GET /start HTTP/1.1");

        let mut secrets = Vec::new();
        for (name, says) in [("app", "GET / "), ("wiki", "GET / "), ("box", "Signed in as ada")] {
            browser.open(&at(name, "/"));
            browser.shows(&at(name, "/"), says);
            let cookie = browser.cookie("__Host-fallgate").unwrap();
            assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)), "{name}");
            assert!(cookie.same_site().is_some_and(|same_site| same_site.is_lax()), "{name}");
            assert_eq!(browser.run("return document.cookie"), "", "{name}");
            secrets.push(cookie.value().to_owned());
        }
        secrets.sort();
        secrets.dedup();
        assert_eq!(secrets.len(), 3, "two hosts have one cookie");

        if out == "box" {
            browser.open(&at("box", "/"));
            browser.press("Sign out");
        } else {
            browser.open(&at("app", "/"));
            browser.run(
                "const form = document.createElement('form');
                 form.method = 'post'; form.action = '/.fallgate/logout';
                 document.body.append(form); form.submit();",
            );
        }
        browser.shows(&at("box", "/login"), "Sign in");
        for name in ["app", "wiki", "box"] {
            browser.open(&at(name, "/"));
            browser.shows(&at("box", "/login?returnTo="), "Sign in");
        }
    }
    let seen = String::from_utf8_lossy(&upstream.bytes().concat()).into_owned();
    assert!(seen.contains("GET /x?y=z ") && seen.contains("GET /start "), "{seen}");
    for ours in ["fgl_", "fge_", "fgc_", "fallgate"] {
        assert!(!seen.contains(ours), "the upstream saw {ours}");
    }
}
