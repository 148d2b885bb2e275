//! Pairing a phone: a code on one screen, a question, a sign-in on another. By pages, by the API, on a terminal.

mod terminal;

use serde_json::{Value, json};

use crate::support::{Gate, PASSPHRASE, Response, SignIn, Visit, Visitor, nobodys_address};

/// A gate that other machines know by a name, with two people.
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

    fn host(&self) -> String {
        format!("box.example:{}", self.port)
    }

    fn visitor(&self) -> Visitor {
        Visitor::of(self.gate.address())
    }

    #[track_caller]
    fn signed_in(&self, username: &str) -> Visitor {
        let mut visitor = self.visitor();
        let login = visitor.visit(&self.url("/login"));
        let home = visitor.sign_in(&login, username, PASSPHRASE);
        assert!(home.answer.text().contains("Signed in as"), "{}", home.answer.text());
        visitor
    }

    /// A code on somebody's page: the code, and the pairing's id.
    #[track_caller]
    fn code(&self, visitor: &mut Visitor) -> (String, String) {
        let page = visitor.open(&self.url("/pair/new"));
        assert_eq!(page.status, 200, "{}", page.text());
        let link = self.url("/pair#");
        let code = between(&page.text(), &link, "<");
        (code, between(&page.text(), "/pair/new/", "\""))
    }

    /// A phone shows a code and is asked.
    fn asked(&self, phone: &mut Visitor, code: &str) -> Response {
        phone.send(&self.url("/pair"), "/pair", &[("code", code)])
    }

    /// A phone shows a code and goes on.
    fn confirmed(&self, phone: &mut Visitor, code: &str, leaving: &str, name: &str) -> Visit {
        let fields = [("code", code), ("confirmed", "yes"), ("leaving", leaving), ("device_name", name)];
        phone.submit(&self.url("/pair"), "/pair", &fields)
    }

    fn actions(&self) -> Vec<String> {
        let events = self.gate.fallgate(&["audit", "list", "--json"]).ok().json();
        let events = events["events"].as_array().unwrap();
        events.iter().rev().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
    }

    fn start(&self, login: &SignIn) -> Value {
        let started = self.gate.ask("POST /api/pairings", &login.sent_by_page(), &Value::Null);
        // No body, and so no type, is needed.
        assert_eq!(started.status, 201, "{}", started.text());
        started.json()
    }

    fn pair(&self, body: &Value) -> Response {
        self.gate.ask("POST /api/pair", "", body)
    }
}

#[track_caller]
fn between(text: &str, before: &str, after: &str) -> String {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before}: {text}"));
    rest.split_once(after).unwrap().0.to_owned()
}

/// The same code with another last digit.
fn wrong(code: &str) -> String {
    let (rest, last) = code.split_at(code.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

fn code_of(started: &Value) -> String {
    started["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
}

#[test]
fn r23_r26_a_phone_is_signed_in_once_the_other_side_allows_it() {
    let site = Site::new();
    let (mut laptop, mut phone) = (site.signed_in("ada"), site.visitor());
    let shown = laptop.open(&site.url("/pair/new"));
    assert!(shown.text().contains("<svg role=\"img\""), "{}", shown.text());
    let (code, id) = site.code(&mut laptop);
    assert!(code.len() == 28 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");

    let page = phone.open(&site.url("/pair"));
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'nonce-") && !policy.contains("unsafe"), "{policy}");
    let asked = site.asked(&mut phone, &format!(" {code} "));
    assert_eq!(asked.status, 200, "{}", asked.text());
    let text = asked.text();
    assert!(text.contains("Sign in as <bdi>ada</bdi>?") && text.contains(&site.host()), "{text}");
    assert!(text.contains("value=\"Firefox on Linux\"") && !text.contains("passphrase"), "{text}");
    // Looking does no harm; names are looked at.
    let long = "x".repeat(81);
    for name in ["", long.as_str()] {
        let refused = site.confirmed(&mut phone, &code, "", name);
        assert_eq!(refused.answer.status, 400);
        assert!(refused.answer.text().contains("role=\"alert\""), "{}", refused.answer.text());
    }
    let waiting = site.confirmed(&mut phone, &code, "", "Pixel <8>");
    assert_eq!(waiting.url, site.url("/pair/wait"), "{}", waiting.answer.text());
    let number = between(&waiting.answer.text(), "aria-label=\"Number\">", "<");
    assert_eq!(phone.cookie(&site.host(), "fallgate"), None, "signed in before anybody allowed it");
    // Asking again changes nothing.
    assert!(phone.submit(&waiting.url, "/pair/wait", &[]).answer.text().contains(&number));
    assert_eq!(phone.open(&site.url("/pair/wait/status")).json(), json!({"status": "asked"}));

    let question = laptop.open(&site.url(&format!("/pair/new/{id}"))).text();
    assert!(
        question.contains("<em><bdi>Pixel &#60;8&#62;</bdi></em> wants to pair, from 127.0.0.1"),
        "{question}"
    );
    assert!(question.contains(&format!("aria-label=\"Number\">{number}<")), "{number}: {question}");
    let path = format!("/pair/new/{id}");
    let allowed = laptop.submit(&site.url(&path), &path, &[("answer", "allow")]);
    assert!(allowed.answer.text().contains("is allowed"), "{}", allowed.answer.text());
    let home = phone.submit(&waiting.url, "/pair/wait", &[]);
    assert_eq!(home.url, site.url("/"));
    assert!(home.answer.text().contains("Signed in as <strong><bdi>ada</bdi></strong>"));
    assert_eq!(phone.cookie(&site.host(), "fallgate-pair"), None);
    assert!(laptop.open(&site.url(&path)).text().contains("is paired"));

    let login = phone.cookie(&site.host(), "fallgate").unwrap().to_owned();
    let header = format!("Cookie: fallgate={login}\r\n");
    let logins = site.gate.ask("GET /api/logins", &header, &Value::Null).json();
    let names: Vec<_> = logins["logins"].as_array().unwrap().iter().map(|login| &login["name"]).collect();
    assert_eq!(names, ["Firefox on Linux", "Pixel <8>"]);
    // It hangs on nothing: the laptop signs out, the phone stays.
    laptop.submit(&site.url("/"), "/logout", &[]);
    assert_eq!(site.gate.ask("GET /api/whoami", &header, &Value::Null).status, 200);
    let told: Vec<_> = site.actions().into_iter().filter(|action| action.starts_with("pair.")).collect();
    assert_eq!(told, ["pair.start", "pair.start", "pair.redeem", "pair.allow"]);
    let trail = site.gate.fallgate(&["audit", "list", "--json"]).ok().stdout;
    assert!(!trail.contains(&code) && !site.gate.log().contains(&code));
}

#[test]
fn r20_whoever_is_signed_in_as_somebody_else_is_asked_first_and_that_sign_in_ends() {
    let site = Site::new();
    let (mut laptop, mut phone) = (site.signed_in("ada"), site.signed_in("bob"));
    let (code, id) = site.code(&mut laptop);
    let asked = site.asked(&mut phone, &code).text();
    assert!(asked.contains("This browser is signed in as <strong><bdi>bob</bdi></strong>"), "{asked}");
    assert!(asked.contains("Sign bob out and pair"), "{asked}");
    // A consent that names nobody, or somebody else, is none.
    for leaving in ["", "eve"] {
        let again = site.confirmed(&mut phone, &code, leaving, "phone");
        assert_eq!(again.answer.status, 409);
        assert!(again.answer.text().contains("Sign bob out and pair"), "{}", again.answer.text());
    }
    let before = phone.cookie(&site.host(), "fallgate").unwrap().to_owned();
    let waiting = site.confirmed(&mut phone, &code, "bob", "phone");
    assert_eq!(waiting.url, site.url("/pair/wait"));
    let path = format!("/pair/new/{id}");
    laptop.submit(&site.url(&path), &path, &[("answer", "allow")]);
    let home = phone.submit(&waiting.url, "/pair/wait", &[]);
    assert!(home.answer.text().contains("Signed in as <strong><bdi>ada</bdi></strong>"));
    let old = site.gate.ask("GET /api/whoami", &format!("Cookie: fallgate={before}\r\n"), &Value::Null);
    assert_eq!(old.status, 401);
    // The same person again is told so, and has one sign-in on that phone after it.
    let (code, _) = site.code(&mut laptop);
    assert!(site.asked(&mut phone, &code).text().contains("signed in as <bdi>ada</bdi> already"));
}

#[test]
fn codes_that_come_to_nothing_each_say_why() {
    let site = Site::new();
    let ada = site.gate.sign_in("ada");
    let mut phone = site.visitor();
    let shows = |page: &Response, status: u16, words: &str| {
        assert_eq!(page.status, status, "{}", page.text());
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text().contains(words), "{words}: {}", page.text());
    };
    for nothing in ["", "x", "0000000000000000000000000000"] {
        shows(&site.asked(&mut phone, nothing), 404, "This is no pairing code of this gate");
        assert_eq!(site.pair(&json!({"code": nothing})).status, 404);
    }
    shows(&phone.open(&site.url("/pair/wait")), 404, "This is no pairing code of this gate");

    // Used twice.
    let started = site.start(&ada);
    let (code, id) = (code_of(&started), started["id"].as_str().unwrap().to_owned());
    let claim = site.pair(&json!({"code": code, "device_name": "first"}));
    assert_eq!(claim.status, 202, "{}", claim.text());
    shows(&site.asked(&mut phone, &code), 409, "This code was used already");
    assert_eq!(site.pair(&json!({"code": code})).status, 409);
    // Refused.
    let refused =
        site.gate.ask(&format!("POST /api/pairings/{id}"), &ada.sent_by_page(), &json!({"allow": false}));
    assert_eq!((refused.status, &refused.json()["status"]), (200, &json!("refused")), "{}", refused.text());
    let secret = claim.json()["claim"].as_str().unwrap().to_owned();
    phone.keep(&site.host(), "fallgate-pair", &secret);
    shows(&phone.open(&site.url("/pair/wait")), 403, "The other side refused");
    shows(&phone.send(&site.url("/pair/wait"), "/pair/wait", &[]), 403, "The other side refused");
    assert_eq!(site.pair(&json!({"claim": secret})).status, 403);
    let again =
        site.gate.ask(&format!("POST /api/pairings/{id}"), &ada.sent_by_page(), &json!({"allow": true}));
    assert_eq!(again.status, 403, "a refusal was taken back: {}", again.text());
    assert!(site.actions().contains(&"pair.refuse".to_owned()));

    // Wrong five times: that code has ended, another goes on.
    let (worn, other) = (code_of(&site.start(&ada)), code_of(&site.start(&ada)));
    for _ in 0..4 {
        assert_eq!(site.pair(&json!({"code": wrong(&worn)})).status, 404);
    }
    shows(&site.asked(&mut phone, &wrong(&worn)), 429, "Too many wrong tries");
    shows(&site.asked(&mut phone, &worn), 429, "Too many wrong tries");

    // Taken back.
    let started = site.start(&ada);
    let line = format!("DELETE /api/pairings/{}", started["id"].as_str().unwrap());
    assert_eq!(site.gate.ask(&line, &ada.sent_by_page(), &Value::Null).status, 204);
    shows(&site.asked(&mut phone, &code_of(&started)), 410, "This code was taken back");
    assert_eq!(site.pair(&json!({"code": other})).status, 202);

    // And who tries on and on has to wait.
    let mut last = site.pair(&json!({"code": "x"}));
    for _ in 0..30 {
        if last.status == 429 {
            break;
        }
        last = site.pair(&json!({"code": "x"}));
    }
    assert_eq!(last.status, 429);
    assert!(last.header("retry-after").is_some(), "{}", last.text());
}

#[test]
fn r28_only_the_sign_in_that_made_a_code_sees_it_and_lets_a_device_in() {
    let site = Site::new();
    let (ada, elsewhere, bob) =
        (site.gate.sign_in("ada"), site.gate.sign_in("ada"), site.gate.sign_in("bob"));
    let token = site.gate.token("ada");
    for headers in [token.header(), String::new()] {
        let refused = site.gate.ask("POST /api/pairings", &headers, &Value::Null);
        assert!([401, 403].contains(&refused.status), "{}", refused.text());
    }
    let started = site.start(&ada);
    let (code, id) = (code_of(&started), started["id"].as_str().unwrap().to_owned());
    let allow = json!({"allow": true});
    let line = format!("POST /api/pairings/{id}");
    assert_eq!(site.gate.ask(&line, &ada.sent_by_page(), &allow).status, 409, "nobody asks yet");
    let claim = site.pair(&json!({"code": code, "device_name": "phone"})).json();
    assert!((10..=99).contains(&claim["number"].as_u64().unwrap()), "{claim}");
    for other in [&elsewhere, &bob] {
        assert_eq!(site.gate.ask(&line, &other.sent_by_page(), &allow).status, 404);
        let look = format!("GET /api/pairings/{id}");
        assert_eq!(site.gate.ask(&look, &other.sent_by_page(), &Value::Null).status, 404);
    }
    let seen = site.gate.ask(&format!("GET /api/pairings/{id}"), &ada.cookie(), &Value::Null).json();
    assert_eq!(
        (&seen["status"], &seen["device_name"], &seen["number"], &seen["ip"]),
        (&json!("asked"), &json!("phone"), &claim["number"], &json!("127.0.0.1"))
    );
    let collect = json!({"claim": claim["claim"]});
    assert_eq!(site.pair(&collect).status, 202);
    assert_eq!(site.gate.ask(&line, &ada.sent_by_page(), &allow).status, 200);
    // Whoever let it in is signed out before it comes: their word is worth nothing any more.
    assert_eq!(site.gate.ask("POST /api/logout", &ada.sent_by_page(), &Value::Null).status, 204);
    let late = site.pair(&collect);
    assert_eq!((late.status, late.header("set-cookie")), (403, None), "{}", late.text());
    let logins = site.gate.ask("GET /api/logins", &elsewhere.cookie(), &Value::Null).json();
    assert_eq!(logins["logins"].as_array().unwrap().len(), 1, "{logins}");

    // With a program on both sides, and all well.
    let started = site.start(&elsewhere);
    let claim = site.pair(&json!({"code": code_of(&started)})).json();
    let line = format!("POST /api/pairings/{}", started["id"].as_str().unwrap());
    assert_eq!(site.gate.ask(&line, &elsewhere.sent_by_page(), &allow).status, 200);
    let signed_in = site.pair(&json!({"claim": claim["claim"]}));
    assert_eq!(SignIn::of(&signed_in).secret.len(), 53);
    assert_eq!(site.pair(&json!({"claim": claim["claim"]})).status, 409, "it was given twice");
    for body in [json!({}), json!({"code": "x", "claim": "y"}), json!({"claim": "y", "device_name": "z"})] {
        assert_eq!(site.pair(&body).status, 400, "{body}");
    }
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(site.gate.ask("POST /api/pair", foreign, &json!({"code": "x"})).status, 403);
}

#[test]
fn a_gate_on_its_own_machine_shows_a_link_with_the_port_it_took_and_no_picture() {
    let gate = Gate::start();
    gate.user("ada");
    let mut ada = Visitor::of(gate.address());
    let origin = format!("http://{}", gate.address());
    let login = ada.visit(&format!("{origin}/login"));
    ada.sign_in(&login, "ada", PASSPHRASE);
    for _ in 0..2 {
        let page = ada.open(&format!("{origin}/pair/new")).text();
        assert!(page.contains(&format!("{origin}/pair#")), "{page}");
        assert!(page.contains("set server.public_url") && !page.contains("<svg"), "{page}");
        gate.write_config("[server]\nhosts = [\"other.example\"]\n");
        gate.fallgate(&["reload"]).ok();
    }
}

#[test]
fn r15_what_a_waiting_phone_holds_reaches_no_upstream() {
    let upstream = crate::support::Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let cookie = "Cookie: a=b; fallgate-pair=fgp_x; __Host-fallgate-pair=fgp_x; c=d\r\n";
    let answer = gate.ask("GET /app/x", &(token.header() + cookie), &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = String::from_utf8_lossy(&upstream.bytes().concat()).into_owned();
    assert!(seen.contains("a=b; c=d") && !seen.contains("fgp_"), "{seen}");
}
