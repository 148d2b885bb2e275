//! Tokens in Chromium: made, used, renamed, revoked. And what others see of them.

use crate::support::{Browser, Client, Gate, Line, PASSPHRASE, Token, WebSocketUpstream, wait_for};

/// Keys, as WebDriver numbers them.
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
/// Ctrl+A, and Ctrl let go.
const SELECT_ALL: &str = "\u{e009}a\u{e000}";

/// Signs somebody in who has just come.
#[track_caller]
fn sign_in(browser: &Browser, gate: &Gate, username: &str) {
    let url = format!("http://{}/", gate.address());
    browser.open(&format!("{url}login"));
    browser.fill("username", username);
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&url, "Sign out");
}

#[test]
fn r23_r29_a_token_is_made_used_renamed_and_revoked_in_a_browser() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.admin("root");
    gate.user("ada");
    let url = |path: &str| format!("http://{}{path}", gate.address());
    let browser = Browser::new();
    sign_in(&browser, &gate, "root");
    browser.open(&url("/tokens"));
    browser.shows(&url("/tokens"), "Create the first token");
    browser.looks_right("tokens-none");
    browser.click("a[href='/tokens/new']");
    browser.shows(&url("/tokens/new"), "When it ends");
    assert_eq!(browser.run("return document.querySelector('#username').disabled"), false);
    browser.looks_right("token-new");
    // A day that is typed is the one that is meant.
    let chosen = "return document.querySelector('[name=expires]:checked').value";
    browser.type_into("#date", "12312030");
    assert_eq!(browser.run(chosen), "date");
    browser.click("[name=expires][value='90d']");
    browser.fill("name", "phone </script><img src=x>");
    browser.click("[value='route:app']");
    browser.press("Create token");
    browser.shows(&url("/tokens"), "This is the only time that the secret is shown");
    browser.looks_right("token-made");
    let secret = browser.run("return document.querySelector('#secret').textContent");
    let secret = secret.as_str().unwrap().to_owned();
    assert!(secret.starts_with("fgt_") && !gate.log().contains(&secret));
    assert_eq!(browser.run("return document.querySelector('.qr svg').checkVisibility()"), true);

    // Loaded again, the same form is sent again: nothing is made by it, and nothing shown.
    browser.run("location.reload()");
    browser.shows(&url("/tokens"), "This was done already");
    let listed = gate.fallgate(&["token", "list", "--all", "--json"]).ok().json();
    let listed = listed["tokens"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let token = Token { id: listed[0]["id"].as_str().unwrap().to_owned(), secret };
    assert!(!browser.run("return document.body.textContent").as_str().unwrap().contains(&token.secret));

    // It lets its holder in.
    let whoami = Client::get(gate.address(), "/api/whoami", Some(&token)).json();
    assert_eq!((&whoami["username"], &whoami["credential"]["name"]), (&"root".into(), &listed[0]["name"]));
    let _line = Line::ask_for_websocket(gate.address(), "/app/", &token).switched();
    wait_for("the upstream's connection", || (upstream.open() == 1).then_some(()));

    browser.open(&url("/tokens"));
    // By the keyboard alone: in, out again, in, and what is typed takes the place of what was there.
    let focus = "return document.activeElement.name ?? document.activeElement.tagName";
    let at = |wanted: &str| wait_for(wanted, || (browser.run(focus) == wanted).then_some(()));
    browser.type_into("details.inline summary", ENTER);
    at("name");
    browser.looks_right("token-rename");
    browser.type_into("tbody [name=name]", ESCAPE);
    at("SUMMARY");
    assert_eq!(browser.run("return document.querySelector('details.inline').open"), false);
    browser.type_into("details.inline summary", ENTER);
    at("name");
    assert_eq!(browser.run("return getSelection().toString()"), "phone </script><img src=x>");
    browser.type_into("tbody [name=name]", &format!("{SELECT_ALL}phone"));
    browser.press("Rename token");
    browser.shows(&url("/tokens?done=token-renamed"), "The token is renamed.");
    browser.shows(&url("/tokens"), "phone");
    browser.looks_right("tokens");

    // What a revocation closes is told first, and the hand comes back to where it was.
    browser.click("a[href$='/revoke']");
    browser.shows(&url("/tokens"), "1 open connection will be cut.");
    browser.looks_right("token-revoke");
    assert_eq!(browser.run("return document.querySelector('dialog').matches(':modal')"), true);
    // Enter at once ends nothing.
    let held = "return document.activeElement.textContent.trim()";
    assert_eq!(browser.run(held), "Go back");
    browser.click("dialog [data-back]");
    assert_eq!(
        browser.run("return document.activeElement.textContent").as_str().unwrap().trim(),
        "Revoke phone"
    );
    browser.click("a[href$='/revoke']");
    browser.shows(&url("/tokens"), "1 open connection will be cut.");
    browser.press("Revoke token");
    browser.shows(&url("/tokens?done=token-revoked"), "The token is revoked, and 1 open connection was cut.");
    wait_for("the upstream's end", || (upstream.open() == 0).then_some(()));
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&token)).status, 401);
    browser.open(&url("/tokens?ended=1"));
    browser.shows(&url("/tokens?ended=1"), "revoked");
    // Without a script it is a page, and the same.
    let token = gate.token("root");
    let page = url(&format!("/tokens/{}/revoke", token.id));
    browser.open(&page);
    browser.shows(&page, "No open connection will be cut.");
    assert_eq!(browser.run(held), "Go back");
}

#[test]
fn r20_signing_out_everywhere_ends_another_browser_on_its_next_click_and_going_back_shows_nothing() {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    gate.token("ada");
    let url = |path: &str| format!("http://{}{path}", gate.address());
    let (desk, phone) = (Browser::new(), Browser::new());
    sign_in(&desk, &gate, "ada");
    sign_in(&phone, &gate, "ada");
    phone.open(&url("/tokens/new"));
    phone.shows(&url("/tokens/new"), "Only admins make tokens for others.");
    assert_eq!(
        phone.run("const owner = document.querySelector('#username'); return [owner.disabled, owner.options.length, owner.value]"),
        serde_json::json!([true, 1, "ada"])
    );
    phone.fill("name", "kept name");
    phone.click("[name=scope][value='live:read']");

    desk.open(&url("/account"));
    desk.shows(&url("/account"), "This device");
    desk.looks_right("account");
    desk.click("a[href='/account/devices/sign-out']");
    desk.shows(&url("/account"), "1 other device is signed out; this one stays.");
    desk.press("Sign out everywhere else");
    desk.shows(&url("/account?done=devices-signed-out"), "1 other device is signed out.");

    // What was typed there is there again after signing in anew.
    phone.press("Create token");
    phone.shows(&url("/login?returnTo="), "Sign in");
    phone.fill("username", "ada");
    phone.fill("passphrase", PASSPHRASE);
    phone.press("Sign in");
    phone.shows(&url("/tokens/new"), "When it ends");
    assert_eq!(
        phone.run("return [document.querySelector('[name=name]').value, document.querySelector('[value=\"live:read\"]').checked]"),
        serde_json::json!(["kept name", true])
    );
    phone.press("Create token");
    phone.shows(&url("/tokens"), "This is the only time that the secret is shown");

    // Two tabs: signed out in one, the other is at its next click; and going back shows nobody's page.
    phone.open(&url("/tokens"));
    phone.shows(&url("/tokens"), "kept name");
    let first = phone.new_tab();
    phone.open(&url("/account"));
    phone.press("Sign out");
    phone.shows(&url("/login"), "Passphrase");
    phone.turn_to(first);
    phone.click("a[href='/tokens/new']");
    phone.shows(&url("/login?returnTo="), "Passphrase");
    phone.run("history.back()");
    phone.shows(&url("/login?returnTo="), "Passphrase");
    assert!(!phone.run("return document.body.textContent").as_str().unwrap().contains("kept name"));
}

#[test]
fn r58_accounts_are_made_changed_and_deleted_in_a_browser() {
    let gate = Gate::start();
    gate.admin("root");
    let url = |path: &str| format!("http://{}{path}", gate.address());
    let browser = Browser::new();
    sign_in(&browser, &gate, "root");
    browser.open(&url("/admin/users"));
    browser.shows(&url("/admin/users"), "root");
    browser.click("a[href='/admin/new-user']");
    browser.shows(&url("/admin/new-user"), "Generate one");
    browser.looks_right("user-new");
    browser.fill("username", "ada");
    browser.fill("display_name", "\u{202e}</script><img src=x onerror=alert(1)>");
    browser.press("Create account");
    browser.shows(&url("/admin/users"), "This is the only time that the passphrase is shown.");
    browser.looks_right("user-made");
    let drawn = browser.run("return document.querySelector('#secret').textContent");
    let drawn = drawn.as_str().unwrap();
    assert_eq!(gate.try_sign_in("ada", drawn).status, 200);

    browser.click("a[href='/admin/users/ada']");
    browser.shows(&url("/admin/users/ada"), "Disable account");
    browser.looks_right("user");
    browser.open(&url("/admin/users"));
    browser.looks_right("users");
    browser.open(&url("/admin/users/root"));
    browser.shows(&url("/admin/users/root"), "This is the last enabled admin");
    browser.open(&url("/admin/users/ada"));
    browser.click("a[href$='/disable']");
    browser.shows(&url("/admin/users/ada"), "until the account is enabled again");
    browser.click("dialog button");
    browser.shows(&url("/admin/users/ada?done=user-disabled"), "The account is disabled.");
    assert_eq!(gate.try_sign_in("ada", drawn).status, 401);
    browser.press("Enable account");
    browser.shows(&url("/admin/users/ada?done=user-enabled"), "The account is enabled.");
    browser.click("a[href$='/passphrase']");
    browser.shows(&url("/admin/users/ada/passphrase"), "1 sign-in of theirs will end.");
    browser.looks_right("user-passphrase");
    browser.click("a[href='/admin/users/ada']");
    browser.click("a[href$='/delete']");
    browser.shows(&url("/admin/users/ada"), "Type ada to confirm");
    assert_eq!(browser.run("return document.activeElement.name"), "typed");
    browser.looks_right("user-delete");
    browser.fill("typed", "ada");
    browser.click("dialog button");
    browser.shows(&url("/admin/users?done=user-deleted"), "The account is deleted.");
    assert_eq!(gate.usernames(), ["root"]);
}
