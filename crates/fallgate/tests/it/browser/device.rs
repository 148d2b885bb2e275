//! A box without a browser is signed in: `fallgate login` on it, a person at another machine.

use crate::support::terminal::Terminal;
use crate::support::{Browser, Gate, Home, PASSPHRASE, Run, nobodys_address};

#[test]
fn r62_a_box_without_a_browser_is_signed_in_by_whoever_approves_it_in_one() {
    let address = nobodys_address();
    let port = address.port();
    let gate = Gate::at(address, &format!("[server]\npublic_url = \"http://box.example:{port}\"\n"));
    gate.user("ada");
    let at = |target: &str| format!("http://box.example:{port}{target}");
    let (rack, server) = (Home::new(), format!("http://{address}"));
    let on_rack = |words: &[&str]| {
        let mut command = rack.command(words);
        command.env_remove("FALLGATE_HOME");
        command
    };
    let browser = Browser::new();
    for approve in [false, true] {
        let login = on_rack(&["login", "--device", "--server", &server, "--device-name", "rack 7"]);
        let mut terminal = Terminal::open(&login);
        let code = terminal.shows("type the code ").split_once('.').unwrap().0.to_owned();
        let link = at(&format!("/device?user_code={code}"));
        terminal.shows("look whether the page shows the same code:");
        assert_eq!(terminal.shows(&at("/device?user_code=")), code);
        assert!(terminal.shown().contains("\u{1b}[30;107m"), "no QR: {}", terminal.shown());
        if approve {
            // By the code, typed as people type.
            browser.open(&at("/device"));
            browser.looks_right("device-code");
            browser.fill("user_code", &code.replace('-', " ").to_lowercase());
            browser.press("Go on");
        } else {
            // By the link: whoever is not signed in does so first.
            browser.open(&link);
            browser.fill("username", "ada");
            browser.fill("passphrase", PASSPHRASE);
            browser.press("Sign in");
        }
        browser.shows(&at("/device?user_code="), "Sign in rack 7 as you?");
        browser.shows(&at("/device?user_code="), &code);
        browser.shows(&at("/device?user_code="), "127.0.0.1");
        browser.looks_right("device-confirm");
        if approve {
            browser.press("Approve");
            browser.shows(&at("/account"), "The device is approved.");
            assert_eq!(terminal.ended(), Some(0), "{}", terminal.shown());
            assert!(terminal.shown().contains("Signed in to"), "{}", terminal.shown());
            browser.open(&at("/account"));
            browser.shows(&at("/account"), "rack 7");
            browser.looks_right("device-listed");
        } else {
            browser.press("Refuse");
            browser.shows(&at("/device"), "The device is refused.");
            assert_eq!(terminal.ended(), Some(1), "{}", terminal.shown());
            assert!(terminal.shown().contains("refused"), "{}", terminal.shown());
        }
        assert!(!terminal.shown().contains("fgd_") && !terminal.shown().contains("fgl_"));
    }
    let status = Run::of(on_rack(&["status", "--server", &server]), b"").ok().stdout;
    assert!(status.contains("ada") && status.contains("rack 7"), "{status}");
}
