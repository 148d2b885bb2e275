//! From the banner to signed in, in Chromium.

use std::fs;

use crate::support::{Browser, Gate, PASSPHRASE};

#[test]
fn r23_the_setup_link_makes_the_first_admin_and_leaves_no_trace_of_itself() {
    let gate = Gate::start();
    let token = fs::read_to_string(gate.path().join("setup-token")).unwrap().trim_end().to_owned();
    let url = |path: &str| format!("http://{}{path}", gate.address());
    let browser = Browser::new();
    // Whoever comes without the link is told where it is.
    browser.open(&url("/tokens"));
    browser.shows(&url("/setup"), "setup-token in its home folder");
    browser.looks_right("setup-without-link");
    browser.open(&url(&format!("/setup#{token}")));
    browser.shows(&url("/setup"), "Your setup link is recognised");
    assert_eq!(browser.url(), url("/setup"), "the token is still in the address");
    assert_eq!(browser.run("return document.activeElement.name"), "username");
    browser.looks_right("setup");
    browser.fill("username", "ada");
    browser.fill("passphrase", "adaadaadaada");
    browser.press("Make the first admin");
    browser.shows(&url("/setup"), "too easy to guess");
    // The link still counts, and the hand is where the mistake is.
    browser.shows(&url("/setup"), "Your setup link is recognised");
    assert_eq!(browser.run("return document.activeElement.name"), "passphrase");
    assert_eq!(browser.run("return document.querySelector('[name=username]').value"), "ada");
    browser.looks_right("setup-with-a-mistake");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Make the first admin");
    browser.shows(&url("/"), "Sign out");
    browser.open(&url("/setup"));
    browser.shows(&url("/setup"), "set up already");
    assert!(!gate.log().contains(&token));
}
