//! The pages for tokens and accounts, as a browser without scripts has them.

use crate::support::{Clerk, Client, Gate, PASSPHRASE, Response, Visit, Visitor, wait_for};

fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

#[track_caller]
fn signed_in(gate: &Gate, username: &str) -> Visitor {
    let mut visitor = Visitor::of(gate.address());
    let login = visitor.visit(&url("/login"));
    assert_eq!(visitor.sign_in(&login, username, PASSPHRASE).answer.status, 200);
    visitor
}

#[track_caller]
fn shows(answer: &Response, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "without {text:?}: {}", answer.text());
}

/// The field by which a form is known.
#[track_caller]
fn once(page: &Visit) -> String {
    let html = page.answer.text();
    let (_, rest) = html.split_once("name=\"once\" value=\"").unwrap_or_else(|| panic!("no form: {html}"));
    rest.split_once('"').unwrap().0.to_owned()
}

#[track_caller]
fn mint(visitor: &mut Visitor, fields: &[(&str, &str)]) -> Response {
    let page = visitor.visit(&url("/tokens/new"));
    let key = once(&page);
    let fields: Vec<_> = fields.iter().copied().chain([("once", &*key)]).collect();
    visitor.send(&page.url, "/tokens", &fields)
}

#[test]
fn a_user_sees_their_own_tokens_only_and_mints_for_nobody_else() {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    let (theirs, own) =
        (gate.token_with("root", &["--name", "of root"]), gate.token_with("ada", &["--name", "of ada"]));
    let mut ada = signed_in(&gate, "ada");
    let list = ada.open(&url("/tokens"));
    shows(&list, 200, "of ada");
    for hidden in ["of root", ">Owner<", "Everybody", &*theirs.id] {
        assert!(!list.text().contains(hidden), "{hidden}: {}", list.text());
    }
    shows(&ada.open(&url("/tokens?owner=root")), 200, "of ada");
    shows(&ada.open(&url("/tokens/new")), 200, "<select id=\"username\" name=\"username\" disabled");
    shows(&ada.open(&url("/tokens/new?scope=admin")), 200, "Use all routes");
    assert!(!ada.open(&url("/tokens/new")).text().contains("value=\"admin\""));
    for act in ["rename", "revoke"] {
        shows(&ada.open(&url(&format!("/tokens/{}/{act}", theirs.id))), 403, "another");
        let sent = ada.send(&url("/tokens"), &format!("/tokens/{}/{act}", theirs.id), &[("name", "x")]);
        assert_eq!(sent.status, 403, "{}", sent.text());
        shows(&ada.open(&url(&format!("/tokens/{}/{act}", own.id))), 200, "of ada");
    }
    // What a form says of another owner is not heard.
    let made =
        mint(&mut ada, &[("name", "x"), ("username", "root"), ("scope", "live:read"), ("expires", "7d")]);
    shows(&made, 201, "This is the only time");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let listed = gate.fallgate(&["token", "list", "--user", "ada", "--json"]).ok().json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2, "{listed}");
    let refused = mint(&mut ada, &[("name", "x"), ("scope", "admin"), ("expires", "7d")]);
    shows(&refused, 403, "id=\"scope-trouble\" role=\"alert\"");
    for path in ["/admin/users", "/admin/users/ada", "/admin/new-user"] {
        shows(&ada.open(&url(path)), 403, "<h1>");
    }
    // An admin sees everybody's, and whose they are.
    let mut root = signed_in(&gate, "root");
    let all = root.open(&url("/tokens"));
    shows(&all, 200, "of ada");
    shows(&all, 200, "of root");
    assert!(!all.text().contains("from 127.0.0.1"), "{}", all.text());
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&own)).status, 200);
    wait_for("the last use", || root.open(&url("/tokens")).text().contains("from 127.0.0.1").then_some(()));
    // What ends within two weeks is marked.
    gate.token_with("root", &["--expires", "13d"]);
    shows(&root.open(&url("/tokens")), 200, "Ends soon");
    shows(&all, 200, "<td data-label=\"Owner\"><bdi>ada</bdi></td>");
    let adas = root.open(&url("/tokens?owner=ada")).text();
    assert!(adas.contains("of ada") && !adas.contains("of root"), "{adas}");
    let made = mint(
        &mut root,
        &[("name", "for ada"), ("username", "ada"), ("scope", "live:read"), ("expires", "never")],
    );
    shows(&made, 201, "<dt>Owner</dt><dd>ada</dd>");
}

#[test]
fn r7_a_signed_in_device_is_shown_as_people_know_it_and_what_it_said_is_at_hand() {
    let gate = Gate::start();
    gate.user("ada");
    let body = serde_json::json!({"username": "ada", "passphrase": PASSPHRASE, "device_name": "rack 7"});
    let odd = format!("Mozilla/5.0 (<b>{})", "x".repeat(60));
    for agent in ["curl/8.5.0 (x86_64)", &odd] {
        let made = gate.ask("POST /api/login", &format!("User-Agent: {agent}\r\n"), &body);
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let mut ada = signed_in(&gate, "ada");
    let page = ada.open(&url("/account"));
    // A name that says the same is not said twice.
    assert_eq!(page.text().matches("Firefox on Linux").count(), 1, "{}", page.text());
    shows(&page, 200, "title=\"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\"");
    shows(&page, 200, ">curl/8.5.0 (x86_64)<");
    let shortened = format!(">Mozilla/5.0 (&#60;b&#62;{}…<", "x".repeat(24));
    shows(&page, 200, &shortened);
    shows(&ada.open(&url("/nothing")), 404, "<a href=\"/\">Home</a>");
}

#[test]
fn r33_a_form_with_mistakes_comes_back_as_it_was_and_says_what_they_are() {
    let gate = Gate::configured("[tokens]\nmax_lifetime = \"30d\"\n");
    gate.user("ada");
    let mut ada = signed_in(&gate, "ada");
    let page = ada.visit(&url("/tokens/new"));
    let form = page.answer.text();
    for (offered, value) in [(true, "7d"), (true, "30d"), (false, "90d"), (false, "never"), (true, "date")] {
        assert_eq!(form.contains(&format!("name=\"expires\" value=\"{value}\"")), offered, "{value}: {form}");
    }
    let key = once(&page);
    let send = |ada: &mut Visitor, fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().copied().chain([("once", &*key)]).collect();
        ada.send(&page.url, "/tokens", &fields)
    };
    let bad = send(&mut ada, &[("name", ""), ("scope", "live:read"), ("expires", "7d")]);
    shows(&bad, 400, "aria-invalid=\"true\" aria-describedby=\"name-trouble\" autofocus");
    shows(&bad, 400, "value=\"live:read\" checked");
    let bad = send(&mut ada, &[("name", "\"><b>"), ("expires", "date"), ("date", "2031-02-30")]);
    shows(&bad, 400, "value=\"&#34;&#62;&#60;b&#62;\"");
    for field in ["scope", "expires"] {
        shows(&bad, 400, &format!("id=\"{field}-trouble\" role=\"alert\""));
    }
    let bad = send(&mut ada, &[("name", "x"), ("scope", "live:read"), ("expires", "never")]);
    shows(&bad, 403, "at most 30d here");
    // The key was not used up by any of them; then it is.
    let good = [("name", "x"), ("scope", "live:read"), ("expires", "7d")];
    shows(&send(&mut ada, &good), 201, "This is the only time");
    let again = send(&mut ada, &good);
    shows(&again, 409, "This was done already");
    assert!(!again.text().contains("fgt_"), "{}", again.text());
    assert_eq!(ada.send(&page.url, "/tokens", &good).status, 400);
    let listed = gate.fallgate(&["token", "list", "--json"]).ok().json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn r20_r23_a_form_that_is_sent_after_signing_out_comes_back_without_its_secrets() {
    let gate = Gate::start();
    gate.admin("root");
    let mut root = signed_in(&gate, "root");
    let key = once(&root.visit(&url("/tokens/new")));
    root.forget("localhost");
    let back = |root: &mut Visitor, path: &str, fields: &[(&str, &str)]| {
        let sent = root.send(&url("/tokens/new"), path, fields);
        assert_eq!(sent.status, 303, "{}", sent.text());
        let login = sent.header("location").unwrap().to_owned();
        let wanted = login.strip_prefix("/login?returnTo=").unwrap_or_else(|| panic!("{login}")).to_owned();
        form_urlencoded::parse(format!("x={wanted}").as_bytes()).next().unwrap().1.into_owned()
    };
    let sent =
        [("name", "a & b"), ("scope", "cut"), ("scope", "live:read"), ("expires", "7d"), ("once", &*key)];
    assert_eq!(
        back(&mut root, "/tokens", &sent),
        "/tokens/new?name=a+%26+b&scope=cut&scope=live%3Aread&expires=7d"
    );
    let secret = [("current", PASSPHRASE), ("new", PASSPHRASE), ("again", PASSPHRASE), ("username", "root")];
    assert_eq!(back(&mut root, "/account/passphrase", &secret), "/account?username=root");
    let made =
        [("username", "ada"), ("display_name", "Ada"), ("choice", "typed"), ("passphrase", PASSPHRASE)];
    assert_eq!(back(&mut root, "/admin/users", &made), "/admin/new-user?username=ada&display_name=Ada");
    assert_eq!(back(&mut root, "/admin/users/root/enable", &[]), "/admin/users/root");
    // A secret in the wrong field does not get into an address.
    let misplaced = [("name", "fgt_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf00Z4sN"), ("expires", "7d")];
    assert_eq!(back(&mut root, "/tokens", &misplaced), "/tokens/new");
    let long = "x".repeat(5_000);
    assert_eq!(back(&mut root, "/tokens", &[("name", &long)]), "/tokens/new");
    // Another site's page has nothing filled in.
    let foreign = Client::exchange(
        gate.address(),
        "POST /tokens HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n\
         Sec-Fetch-Mode: navigate\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\n\
         name=evil&scope=admin&",
    );
    assert_eq!(foreign.header("location"), Some("/login?returnTo=%2Ftokens%2Fnew"));
    // And the way back ends where it began.
    let login =
        root.visit(&url("/login?returnTo=%2Ftokens%2Fnew%3Fname%3Dmine%26scope%3Dcut%26expires%3D7d"));
    let form = root.sign_in(&login, "root", PASSPHRASE);
    shows(&form.answer, 200, "value=\"mine\"");
    shows(&form.answer, 200, "value=\"cut\" checked");
}

#[test]
fn ones_account_is_renamed_and_gets_another_passphrase_by_its_page() {
    const OTHER: &str = "velvet harbour nine tulips";
    let gate = Gate::start();
    gate.user("ada");
    let token = gate.token("ada");
    let mut ada = signed_in(&gate, "ada");
    let other = gate.sign_in("ada");
    let page = url("/account");
    shows(&ada.send(&page, "/account", &[("display_name", " ")]), 400, "id=\"display_name-trouble\"");
    shows(
        &ada.submit(&page, "/account", &[("display_name", "<b>Ada")]).answer,
        200,
        "<bdi>&#60;b&#62;Ada</bdi>",
    );
    shows(&ada.open(&page), 200, "Changing it signs 1 other device out. You stay signed in here.");
    let change = |ada: &mut Visitor, current: &str, new: &str, again: &str| {
        ada.send(&page, "/account/passphrase", &[("current", current), ("new", new), ("again", again)])
    };
    for (answer, status, field) in [
        (change(&mut ada, PASSPHRASE, OTHER, "another"), 400, "again"),
        (change(&mut ada, PASSPHRASE, "adaadaadaada", "adaadaadaada"), 400, "new"),
        (change(&mut ada, "not the passphrase", OTHER, OTHER), 403, "current"),
    ] {
        shows(&answer, status, &format!("id=\"{field}-trouble\" role=\"alert\""));
        for typed in [PASSPHRASE, OTHER, "adaadaadaada", "not the passphrase"] {
            assert!(!answer.text().contains(typed), "{typed}: {}", answer.text());
        }
    }
    let fields = [("current", PASSPHRASE), ("new", OTHER), ("again", OTHER)];
    let done = ada.submit(&page, "/account/passphrase", &fields);
    shows(&done.answer, 200, "Your passphrase is changed. 1 other sign-in has ended.");
    assert_eq!(gate.ask("GET /api/whoami", &other.bearer(), &serde_json::Value::Null).status, 401);
    assert_eq!(gate.ask("GET /api/whoami", &token.header(), &serde_json::Value::Null).status, 200);
    assert_eq!(gate.try_sign_in("ada", OTHER).status, 200);
    // One of them by itself.
    let logins = gate.ask("GET /api/logins", &ada.cookies("localhost"), &serde_json::Value::Null).json();
    let logins = logins["logins"].as_array().unwrap();
    let id = logins.iter().find(|login| login["current"] == false).unwrap()["id"].as_str().unwrap();
    let path = format!("/account/devices/{id}/sign-out");
    shows(&ada.open(&url(&path)), 200, "Whoever uses it has to sign in again.");
    shows(&ada.submit(&page, &path, &[]).answer, 200, "The device is signed out.");
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 401);
}

#[test]
fn accounts_are_managed_by_their_pages_and_the_last_admin_stays() {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    let mut root = signed_in(&gate, "root");
    let held = gate.sign_in("ada");
    let page = url("/admin/users");
    shows(&root.open(&page), 200, "<a href=\"/admin/users/ada\">ada</a>");
    shows(&root.open(&url("/admin/users/root")), 200, "This is the last enabled admin");
    for (act, fields) in [("role", ("role", "user")), ("disable", ("x", "")), ("delete", ("typed", "root"))] {
        shows(&root.open(&url(&format!("/admin/users/root/{act}"))), 409, "the last enabled admin");
        let sent = root.send(&page, &format!("/admin/users/root/{act}"), &[fields]);
        shows(&sent, 409, "the last enabled admin");
    }
    let adas = "/admin/users/ada";
    shows(&root.open(&url("/admin/users/ada/role")), 200, "Make ada an admin?");
    let done = root.submit(&page, "/admin/users/ada/role", &[("role", "admin")]);
    shows(&done.answer, 200, "The role is changed.");
    assert_eq!(done.url, url("/admin/users/ada?done=role-changed"));
    shows(&root.send(&page, "/admin/users/ada/role", &[("role", "king")]), 400, "admin or user");
    shows(&root.submit(&page, adas, &[("display_name", "Ada L")]).answer, 200, "value=\"Ada L\"");
    shows(&root.submit(&page, "/admin/users/ada/disable", &[]).answer, 200, "The account is disabled.");
    assert_eq!(gate.ask("GET /api/whoami", &held.bearer(), &serde_json::Value::Null).status, 401);
    shows(&root.submit(&page, "/admin/users/ada/enable", &[]).answer, 200, "The account is enabled.");
    // A passphrase that is typed is not shown again; a drawn one is, once.
    let key = once(&root.visit(&url("/admin/users/ada/passphrase")));
    let weak = [("choice", "typed"), ("passphrase", "adaadaadaada"), ("once", &*key)];
    let refused = root.send(&page, "/admin/users/ada/passphrase", &weak);
    shows(&refused, 400, "id=\"passphrase-trouble\"");
    assert!(!refused.text().contains("adaadaadaada"));
    let drawn = [("choice", "drawn"), ("once", &*key)];
    shows(
        &root.send(&page, "/admin/users/ada/passphrase", &drawn),
        201,
        "only time that the passphrase is shown",
    );
    let again = root.submit(&page, "/admin/users/ada/passphrase", &drawn);
    shows(&again.answer, 200, "The passphrase is reset.");
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 401);
    let key = once(&root.visit(&url("/admin/new-user")));
    let taken = [("username", "ada"), ("role", "user"), ("choice", "drawn"), ("once", &*key)];
    shows(&root.send(&page, "/admin/users", &taken), 409, "id=\"username-trouble\"");
    let typed = [
        ("username", "bob"),
        ("role", "user"),
        ("choice", "typed"),
        ("passphrase", PASSPHRASE),
        ("once", &*key),
    ];
    shows(&root.submit(&page, "/admin/users", &typed).answer, 200, "The account is made.");
    assert_eq!(gate.try_sign_in("bob", PASSPHRASE).status, 200);
    shows(&root.send(&page, "/admin/users/ada/delete", &[("typed", "add")]), 400, "nothing was deleted");
    shows(
        &root.submit(&page, "/admin/users/ada/delete", &[("typed", "ada")]).answer,
        200,
        "The account is deleted.",
    );
    assert_eq!(gate.usernames(), ["bob", "root"]);
    gate.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn a_thousand_tokens_come_a_hundred_at_a_time() {
    let gate = Gate::start();
    gate.admin("root");
    let clerk = Clerk::of(&gate);
    let tokens: Vec<_> = (0..1_000).map(|_| clerk.mint("root")).collect();
    let mut root = signed_in(&gate, "root");
    let mut next = Some(url("/tokens"));
    let mut seen = Vec::new();
    while let Some(page) = next {
        let shown = root.open(&page).text();
        let ids: Vec<_> = shown.split("<tr id=\"t-").skip(1).map(|row| row[..36].to_owned()).collect();
        assert_eq!(ids.len(), 100, "{page}");
        seen.extend(ids);
        let older =
            shown.split_once("\">Show older ones").map(|(before, _)| before.rsplit_once('"').unwrap().1);
        next = older.map(|path| url(&path.replace("&#38;", "&")));
    }
    let mut youngest_first: Vec<_> = tokens.iter().map(|token| token.id.clone()).collect();
    youngest_first.sort_by(|one, other| other.cmp(one));
    assert!(seen == youngest_first, "{} of {} were listed, or not by age", seen.len(), tokens.len());
    shows(&root.submit(&url("/tokens"), "/tokens/revoke-all", &[]).answer, 200, "1000 tokens are revoked.");
    shows(&root.open(&url("/tokens")), 200, "There is no token yet.");
}
