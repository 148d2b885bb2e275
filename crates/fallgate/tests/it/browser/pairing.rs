//! A phone and a laptop: two browsers, one of which signs the other in.

use crate::support::tls::Authority;
use crate::support::{Browser, Gate, PASSPHRASE, nobodys_address};

#[test]
fn r23_a_second_browser_is_let_in_or_refused_on_the_page_that_shows_the_code() {
    let authority = Authority::new();
    let pair = authority.issue("gate", &["box.example"]);
    let address = nobodys_address();
    let port = address.port();
    let gate = Gate::at(
        address,
        &format!(
            "[server]\npublic_url = \"https://box.example:{port}\"\ntls = {{ cert = {:?}, key = {:?} }}\n",
            pair.cert, pair.key
        ),
    );
    gate.user("ada");
    let at = |target: &str| format!("https://box.example:{port}{target}");
    let (laptop, phone) = (Browser::trusting(&pair), Browser::trusting(&pair));
    laptop.open(&at("/login?returnTo=/pair/new"));
    laptop.fill("username", "ada");
    laptop.fill("passphrase", PASSPHRASE);
    laptop.press("Sign in");

    for allow in [false, true] {
        laptop.open(&at("/pair/new"));
        laptop.shows(&at("/pair/new"), "Point the phone's camera at this code.");
        look(&laptop, "pair-new", !allow);
        let link = laptop.run("return document.querySelector('#link').textContent");
        let link = link.as_str().unwrap();
        phone.open("about:blank");
        phone.open(link);
        phone.shows(&at("/pair"), "Sign in as ada?");
        // The code is out of the address before anything is sent, and in no other entry of the tab's past.
        assert_eq!(phone.url(), at("/pair"));
        look(&phone, "pair-confirm", !allow);
        phone.run("document.querySelector('[name=device_name]').value = ''");
        phone.fill("device_name", "Pixel 8");
        phone.press("Pair this device");
        phone.shows(&at("/pair/wait"), "Now allow it on the other device");
        look(&phone, "pair-wait", !allow);
        // Nobody presses anything on the laptop.
        laptop.shows(&at("/pair/new/"), "Pixel 8 wants to pair, from 127.0.0.1");
        look(&laptop, "pair-asks", !allow);
        let number = |browser: &Browser| browser.run("return document.querySelector('.tally').textContent");
        assert_eq!(number(&laptop), number(&phone));
        if allow {
            laptop.press("Allow");
            phone.shows(&at("/"), "Signed in as ada");
            laptop.shows(&at("/pair/new/"), "Pixel 8 is paired");
            laptop.looks_right("pair-done");
        } else {
            laptop.press("Refuse");
            laptop.shows(&at("/pair/new/"), "You refused Pixel 8");
            phone.shows(&at("/pair/wait"), "The other side refused");
            phone.looks_right("pair-refused");
            assert!(phone.cookie("__Host-fallgate").is_none());
        }
    }
    assert!(phone.cookie("__Host-fallgate").is_some());
    assert!(!gate.log().contains("pair#"), "{}", gate.log());
}

/// Each page once.
fn look(browser: &Browser, name: &str, is_first: bool) {
    if is_first {
        browser.looks_right(name);
    }
}
