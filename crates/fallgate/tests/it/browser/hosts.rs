//! One passphrase, three hosts: our own and those of two routes.

use crate::support::{Browser, Gate, PASSPHRASE, Upstream, nobodys_address};

#[test]
fn r15_r19_r20_one_passphrase_opens_every_host_and_signing_out_anywhere_closes_them_all() {
    let (upstream, address) = (Upstream::echo(), nobodys_address());
    let (url, port) = (upstream.url(), address.port());
    let gate = Gate::at(
        address,
        &format!(
            "[server]\npublic_url = \"http://box.example:{port}\"\n\
             [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {url:?}\n\
             [[route]]\nname = \"wiki\"\nhost = \"wiki.example\"\nupstream = {url:?}\n"
        ),
    );
    gate.user("ada");
    let at = |name: &str, target: &str| format!("http://{name}.example:{port}{target}");
    let browser = Browser::start();

    browser.open(&at("app", "/x?y=z"));
    browser.shows(&at("box", "/login?returnTo="), "Sign in");
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&at("app", "/x?y=z"), "GET /x?y=z HTTP/1.1");
}
