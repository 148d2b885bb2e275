//! Signing in a device without a browser (RFC 8628): by the API, by pages, by `fallgate login`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::oauth::{error_of, form};
use crate::support::{
    Client, Gate, Home, PASSPHRASE, Response, Run, Visitor, nobodys_address, wait_for, wait_up_to,
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A gate that is known by a name, with two people.
struct Site {
    gate: Gate,
    port: u16,
}

impl Site {
    fn new() -> Self {
        let address = nobodys_address();
        let port = address.port();
        let gate = Gate::at(address, &format!("[server]\npublic_url = \"http://box.example:{port}\"\n"));
        gate.user("ada");
        gate.user("bob");
        Self { gate, port }
    }

    fn url(&self, target: &str) -> String {
        format!("http://box.example:{}{target}", self.port)
    }

    #[track_caller]
    fn signed_in(&self, username: &str) -> Visitor {
        let mut visitor = Visitor::of(self.gate.address());
        let login = visitor.visit(&self.url("/login"));
        let home = visitor.sign_in(&login, username, PASSPHRASE);
        assert!(home.answer.text().contains("Signed in as"), "{}", home.answer.text());
        visitor
    }

    fn try_begin(&self) -> Response {
        form(&self.gate, "/oauth/device", "", &[("client_id", "cli <1>"), ("device_name", "rack <7>")])
    }

    /// A device asks: its device code and its user code.
    #[track_caller]
    fn begin(&self) -> (String, String) {
        let begun = self.try_begin();
        assert_eq!(begun.status, 200, "{}", begun.text());
        let told = |name: &str| begun.json()[name].as_str().unwrap().to_owned();
        (told("device_code"), told("user_code"))
    }

    fn look(&self, device_code: &str) -> Response {
        let fields = [("grant_type", DEVICE_CODE), ("client_id", "cli <1>"), ("device_code", device_code)];
        form(&self.gate, "/oauth/token", "", &fields)
    }

    fn page(&self, visitor: &mut Visitor, code: &str) -> Response {
        visitor.open(&self.url(&format!("/device?user_code={code}")))
    }

    fn answer(&self, visitor: &mut Visitor, code: &str, answer: &str) -> Response {
        visitor.send(&self.url("/device"), "/device", &[("user_code", code), ("answer", answer)])
    }
}

#[test]
fn r62_a_device_is_signed_in_as_whoever_approves_it_once() {
    let site = Site::new();
    let begun = site.try_begin();
    assert_eq!((begun.status, begun.header("cache-control")), (200, Some("no-store")), "{}", begun.text());
    let told = begun.json();
    let (secret, code) = (told["device_code"].as_str().unwrap(), told["user_code"].as_str().unwrap());
    assert!(secret.starts_with("fgd_") && secret.len() == 53, "256 random bits: {secret}");
    assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
    assert_eq!(told["verification_uri"], site.url("/device"));
    assert_eq!(told["verification_uri_complete"], site.url(&format!("/device?user_code={code}")));
    assert_eq!((&told["expires_in"], &told["interval"]), (&json!(600), &json!(2)));

    assert_eq!(error_of(&site.look(secret)), "authorization_pending");
    assert_eq!(error_of(&site.look(secret)), "slow_down");

    let mut ada = site.signed_in("ada");
    assert!(ada.open(&site.url("/device")).text().contains("Code that it shows"));
    let typed = code.replace('-', "").to_lowercase();
    let page = site.page(&mut ada, &typed);
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    for shown in [
        "Sign in <em><bdi>rack &#60;7&#62;</bdi></em> as you?",
        "calls itself <bdi>cli &#60;1&#62;</bdi>",
        "<dd>127.0.0.1</dd>",
        code,
        "Approve it only if you began this yourself",
        "<li>Manage tokens</li>",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("<li>Everything</li>"), "no scope that their role has not: {text}");
    assert_eq!(error_of(&site.look(secret)), "slow_down", "looking at the page is no consent");
    let approved = site.answer(&mut ada, &format!(" {typed}"), "approve");
    assert_eq!(
        (approved.status, approved.header("location")),
        (303, Some("/account?done=device-approved")),
        "{}",
        approved.text()
    );
    for answer in ["approve", "refuse"] {
        assert_eq!(site.answer(&mut ada, code, answer).status, 409);
    }
    assert_eq!(site.page(&mut site.signed_in("bob"), code).status, 409);

    let another = [("grant_type", DEVICE_CODE), ("client_id", "other"), ("device_code", secret)];
    assert_eq!(error_of(&form(&site.gate, "/oauth/token", "", &another)), "invalid_grant");
    let granted = site.look(secret);
    assert_eq!((granted.status, granted.header("cache-control")), (200, Some("no-store")));
    let granted = granted.json();
    assert_eq!(granted["token_type"], "Bearer");
    assert!(granted["expires_in"].as_u64().unwrap() > 86_400, "{granted}");
    let scope = granted["scope"].as_str().unwrap();
    assert!(scope.contains("tokens:write") && !scope.contains("admin"), "{scope}");
    let token = granted["access_token"].as_str().unwrap();
    let header = format!("Authorization: Bearer {token}\r\n");
    let me = site.gate.ask("GET /api/whoami", &header, &Value::Null).json();
    assert_eq!((&me["username"], &me["credential"]["kind"]), (&json!("ada"), &json!("login")));
    let logins = site.gate.ask("GET /api/logins", &header, &Value::Null).json();
    let names: Vec<_> = logins["logins"].as_array().unwrap().iter().map(|login| &login["name"]).collect();
    assert!(names.contains(&&json!("rack <7>")), "{logins}");
    assert_eq!(error_of(&site.look(secret)), "invalid_grant", "it was given twice");
    // It hangs on nothing: whoever approved it signs out, the box stays.
    ada.submit(&site.url("/"), "/logout", &[]);
    assert_eq!(site.gate.ask("GET /api/whoami", &header, &Value::Null).status, 200);

    let trail = site.gate.fallgate(&["audit", "list", "--json"]).ok();
    let events = trail.json();
    let event = |action: &str| {
        let found = events["events"].as_array().unwrap().iter().find(|event| event["action"] == action);
        found.unwrap_or_else(|| panic!("no {action}: {events}")).clone()
    };
    let approval = event("device.approve");
    assert_eq!((&approval["actor"], &approval["detail"]["from"]), (&json!("ada"), &json!("127.0.0.1")));
    assert_eq!(approval["detail"]["client"], "cli <1>");
    assert_eq!(event("login")["detail"]["name"], "rack <7>");
    assert!(
        ![secret, token]
            .iter()
            .any(|secret| trail.stdout.contains(secret) || site.gate.log().contains(secret))
    );
}

#[test]
fn r62_nobody_but_a_signed_in_person_on_our_own_page_approves_and_a_refusal_is_final() {
    let site = Site::new();
    let (secret, code) = site.begin();
    let strange = Visitor::of(site.gate.address()).open(&site.url(&format!("/device?user_code={code}")));
    let back = format!("/login?returnTo=%2Fdevice%3Fuser_code%3D{code}");
    assert_eq!((strange.status, strange.header("location")), (303, Some(&*back)));
    let answer = format!("user_code={code}&answer=approve");
    let post = |headers: &str| {
        let length = answer.len();
        Client::exchange(
            site.gate.address(),
            format!(
                "POST /device HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {length}\r\n\r\n{answer}"
            ),
        )
    };
    let login = site.gate.sign_in("ada");
    let everything = site.gate.token_with("ada", &["--scope", "tokens:write", "--scope", "identity:read"]);
    assert_eq!(post("").status, 401);
    assert_eq!(post(&everything.header()).status, 403);
    for foreign in ["Sec-Fetch-Site: cross-site\r\n", "Origin: http://evil.example\r\n", ""] {
        assert_eq!(post(&(login.cookie() + foreign)).status, 403, "{foreign}");
    }
    assert_eq!(error_of(&site.look(&secret)), "authorization_pending");
    let mut ada = site.signed_in("ada");
    assert_eq!(site.answer(&mut ada, &code, "perhaps").status, 400);
    assert_eq!(
        site.answer(&mut ada, &code, "refuse").header("location"),
        Some("/device?done=device-refused")
    );
    assert_eq!(site.answer(&mut ada, &code, "approve").status, 409, "a refusal was taken back");
    assert_eq!(error_of(&site.look(&secret)), "access_denied");
    let trail = site.gate.fallgate(&["audit", "list", "--json"]).ok().stdout;
    assert!(trail.contains("device.refuse"), "{trail}");
}

#[test]
fn r62_the_word_of_whoever_is_shut_out_before_the_device_comes_is_worth_nothing() {
    let site = Site::new();
    site.gate.user("eve");
    let approved = |username: &str| {
        let (secret, code) = site.begin();
        let mut visitor = site.signed_in(username);
        assert_eq!(site.answer(&mut visitor, &code, "approve").status, 303);
        (secret, visitor)
    };
    let (by_ada, mut ada) = approved("ada");
    ada.submit(&site.url("/"), "/logout", &[]);
    let (by_bob, _) = approved("bob");
    site.gate.fallgate(&["user", "disable", "bob"]).ok();
    let (by_eve, _) = approved("eve");
    site.gate.fallgate(&["cut", "user:eve"]).ok();
    for secret in [by_ada, by_bob, by_eve] {
        assert_eq!(error_of(&site.look(&secret)), "access_denied");
        assert_eq!(error_of(&site.look(&secret)), "access_denied");
    }
    site.gate.fallgate(&["user", "enable", "bob"]).ok();
    let logins = site.gate.ask("GET /api/logins", &site.gate.sign_in("bob").bearer(), &Value::Null).json();
    assert!(!logins.to_string().contains("rack"), "{logins}");
}

#[test]
fn r62_guessing_and_asking_are_throttled_and_no_success_gives_a_try_back() {
    let site = Site::new();
    let mut ada = site.signed_in("ada");
    let (secret, code) = site.begin();
    assert_eq!(site.answer(&mut ada, &code, "approve").status, 303);
    assert_eq!(site.look(&secret).status, 200);
    // One of twenty is used up. However slow this machine is, one more comes every six seconds only.
    let mut statuses = Vec::new();
    for guess in ["bcdf-ghjk", "nothing", ""].iter().cycle().take(40) {
        let page = site.page(&mut ada, guess);
        statuses.push(page.status);
        if page.status == 429 {
            assert!(page.header("retry-after").is_some(), "{}", page.text());
            assert!(page.text().contains("role=\"alert\""), "{}", page.text());
            break;
        }
    }
    let free = statuses.iter().take_while(|status| **status == 404).count();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert!(free >= 19, "{statuses:?}");
    let asked: Vec<_> = (0..30).map(|_| site.try_begin()).take_while(|begun| begun.status == 200).collect();
    assert!((9..20).contains(&asked.len()), "{}", asked.len());
    let refused = site.try_begin();
    assert_eq!((refused.status, error_of(&refused)), (429, "temporarily_unavailable".to_owned()));
    assert!(refused.header("retry-after").is_some());
    // Wrong device codes have a budget of their own.
    let wrong = wait_up_to(std::time::Duration::from_secs(30), "the end of all tries", || {
        Some(site.look("fgd_x")).filter(|answer| answer.status == 429)
    });
    assert_eq!(error_of(&wrong), "temporarily_unavailable");
    let guesses = "wrong-user-code";
    wait_up_to(std::time::Duration::from_secs(90), "the count of wrong codes", || {
        site.gate.fallgate(&["audit", "list", "--json"]).ok().stdout.contains(guesses).then_some(())
    });
}

#[test]
fn a_device_is_told_what_is_wrong_with_what_it_asks() {
    let site = Site::new();
    let begin = |fields: &[(&str, &str)]| error_of(&form(&site.gate, "/oauth/device", "", fields));
    assert_eq!(begin(&[]), "invalid_request");
    assert_eq!(begin(&[("client_id", "")]), "invalid_request");
    assert_eq!(begin(&[("client_id", "a"), ("client_id", "a")]), "invalid_request");
    assert_eq!(begin(&[("client_id", "a"), ("device_name", &"x".repeat(81))]), "invalid_request");
    assert_eq!(begin(&[("client_id", "a"), ("scope", "admin")]), "invalid_scope");
    let with_unknown = [("client_id", "a"), ("scope", ""), ("unknown", "x")];
    assert_eq!(form(&site.gate, "/oauth/device", "", &with_unknown).status, 200);
    let token = |fields: &[(&str, &str)]| error_of(&form(&site.gate, "/oauth/token", "", fields));
    assert_eq!(token(&[]), "invalid_request");
    assert_eq!(token(&[("grant_type", "password"), ("username", "ada")]), "unsupported_grant_type");
    assert_eq!(token(&[("grant_type", DEVICE_CODE)]), "invalid_request");
    assert_eq!(token(&[("grant_type", DEVICE_CODE), ("device_code", "x")]), "invalid_request");
    let nobodys = [("grant_type", DEVICE_CODE), ("device_code", "x"), ("client_id", "a")];
    assert_eq!(token(&nobodys), "invalid_grant");
    let empty = Gate::start();
    let early = form(&empty, "/oauth/device", "", &[("client_id", "a")]);
    assert_eq!((early.status, error_of(&early)), (503, "temporarily_unavailable".to_owned()));
}

#[test]
fn r62_where_there_is_no_terminal_login_shows_a_code_and_saves_what_comes_of_it() {
    let site = Site::new();
    let machine = Home::new();
    let server = format!("http://{}", site.gate.address());
    let command = |words: &[&str]| {
        let mut command = machine.command(words);
        command.env_remove("FALLGATE_HOME");
        command
    };
    let mut login = command(&["login", "--server", &server, "--json"]);
    let log = machine.beside().join("login.log");
    login.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let child = login.spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let code =
        wait_for("a code", || Some(said().split_once("type the code ")?.1.split_once('.')?.0.to_owned()));
    let mut ada = site.signed_in("ada");
    assert_eq!(site.answer(&mut ada, &code, "approve").status, 303);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said());
    let me: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&me["username"], &me["credential"]["kind"]), (&json!("ada"), &json!("login")));
    let machine_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(me["credential"]["name"], machine_name);
    assert!(
        said().contains("Signed in to") && !said().contains("fgl_") && !said().contains("fgd_"),
        "{}",
        said()
    );
    let minted = Run::of(command(&["token", "create", "--server", &server, "--json"]), b"").ok().json();
    assert_eq!(minted["username"], "ada");

    // Whoever is named has a passphrase to type; both at once make no sense.
    let refused = Run::of(command(&["login", "--server", &server, "--username", "ada"]), b"").refused(2);
    assert!(refused.contains("no terminal"), "{refused}");
    let both = Run::of(command(&["login", "--server", &server, "--username", "ada", "--device"]), b"");
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{}", both.stderr);
}
