//! What the pages show, where they lead, and what browsers may do with them.

use super::{Site, asks, location};
use crate::support::{Gate, PASSPHRASE, Visitor, encoded, nobodys_address};

#[test]
fn r17_r52_the_sign_in_page_says_what_went_wrong_and_leads_nowhere_else() {
    let site = Site::new();
    let mut ada = site.visitor();
    let hostile = [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "http://app.example/",
        "/login?returnTo=/x",
        "http://app.example.evil.example/",
    ];
    for back in hostile {
        let page = ada.visit(&site.url("box", &format!("/login?returnTo={}", back.replace('&', "%26"))));
        asks(&page);
        let policy = page.answer.header("content-security-policy").unwrap();
        assert!(policy.ends_with("form-action 'self'"), "{policy}");
        // A form is not believed either.
        let fields = [("username", "ada"), ("passphrase", PASSPHRASE), ("returnTo", back)];
        assert_eq!(location(&ada.send(&page.url, "/login", &fields)), "/", "{back}");
        // Nor is an address, by whoever is signed in.
        assert_eq!(location(&ada.open(&page.url)), "/", "{back}");
        ada.submit(&site.url("box", "/"), "/logout", &[]);
    }
    let page = ada.visit(&site.url("app", "/x"));
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(policy.ends_with(&format!("form-action 'self' http://{}", site.host("app"))), "{policy}");
    let wrong = ada.send_sign_in(&page, "ada", "not the passphrase");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(wrong.text().contains("The username or the passphrase is wrong."), "{}", wrong.text());
    assert!(wrong.text().contains("value=\"ada\"") && !wrong.text().contains("not the passphrase"));
    let hostile = ada.send_sign_in(&page, "\"><img src=x>", "x");
    assert!(!hostile.text().contains("<img"), "{}", hostile.text());
    // Six wrong ones in a row, and one has to wait: in words, and by a header.
    let mut last = wrong;
    for _ in 0..6 {
        last = ada.send_sign_in(&page, "ada", "not the passphrase");
        if last.status == 429 {
            break;
        }
    }
    assert_eq!(last.status, 429);
    let seconds = last.header("retry-after").unwrap();
    assert!(last.text().contains(&format!("try again in {seconds} second")), "{}", last.text());
    assert!(last.text().contains("name=\"enter\""), "the way on is lost: {}", last.text());
}

#[test]
fn r17_no_hostile_address_takes_whoever_is_signed_in_anywhere_but_home() {
    let site = Site::new();
    let mut ada = site.entered();
    let hostile: Vec<String> =
        serde_json::from_str(include_str!("../../../../domain/src/return_to/hostile.json")).unwrap();
    assert!(hostile.len() >= 300);
    for back in hostile {
        let answer = ada.open(&site.url("box", &format!("/login?returnTo={}", encoded(&back))));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{back:?}");
    }
}

#[test]
fn r20_the_form_is_shown_only_to_whoever_is_signed_in_no_more() {
    let site = Site::new();
    let mut ada = site.entered();
    assert_eq!(location(&ada.open(&site.url("box", "/login?returnTo=%2Ftokens"))), "/tokens");
    // Without having been sent from there one is sent there first.
    let app = site.url("app", "/x");
    let login = site.url("box", &format!("/login?returnTo={app}"));
    assert_eq!(location(&ada.open(&login)), app);
    let host = site.host("box");
    ada.keep(&host, "fallgate", "fgl_bad");
    let page = ada.visit(&site.url("box", "/login"));
    asks(&page);
    assert_eq!(
        page.answer.header("set-cookie"),
        Some("fallgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    );
    assert_eq!(ada.cookie(&host, "fallgate"), None);
    // Signing in anew ends what came along.
    let mut other = site.entered();
    let before = other.cookie(&host, "fallgate").unwrap().to_owned();
    let fields = [("username", "ada"), ("passphrase", PASSPHRASE)];
    assert_eq!(location(&other.send(&site.url("box", "/login"), "/login", &fields)), "/");
    assert_eq!(site.whoami(&before).status, 401);
}

#[test]
fn r58_pages_may_do_nothing_but_be_shown_and_refusals_are_pages_for_browsers() {
    let site = Site::new();
    let mut ada = site.entered();
    let nobody = format!("http://{}/", nobodys_address());
    let home = ada.open(&site.url("box", "/"));
    assert!(home.text().contains("Signed in as <strong><bdi>ada</bdi></strong>"), "{}", home.text());
    for address in [site.url("app", "/"), site.url("wiki", "/"), "/ours/".to_owned()] {
        assert!(home.text().contains(&format!("href=\"{address}\">")), "{address}: {}", home.text());
    }
    assert!(!home.text().contains("href=\"/tools/\">"), "{}", home.text());
    let mut shown = vec![home, site.visitor().open(&site.url("box", "/login"))];
    for (host, target, status) in [
        ("box", "/nothing", 404),
        ("app", "/.fallgate/nothing", 404),
        ("app", "/.fallgate/enter", 400),
        ("box", "/a%2fb", 400),
        ("nowhere", "/", 421),
        ("box", "/tools/x", 401),
    ] {
        let page = ada.open(&site.url(host, target));
        assert_eq!(page.status, status, "{host}{target}");
        shown.push(page);
    }
    let down = Gate::configured(&format!(
        "[[route]]\nname = \"down\"\nhost = \"down.example\"\nupstream = \"{nobody}\"\npublic = [\"/\"]\n"
    ));
    let page = Visitor::of(down.address()).open("http://down.example/");
    assert_eq!(page.status, 502);
    shown.push(page);
    let mut nonces = std::collections::BTreeSet::new();
    for page in &shown {
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{}", page.text());
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'; style-src 'self'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.header("permissions-policy").is_some());
        let html = page.text();
        assert!(
            !html.contains("style=") && !html.contains("onerror=") && !html.contains("://evil"),
            "{html}"
        );
        // Our own scripts, named by a nonce of this very page, and no others.
        let nonce = policy.split_once("script-src 'nonce-").map(|(_, rest)| rest.split('\'').next().unwrap());
        for script in html.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap();
            assert!(tag.contains("src=\"/.fallgate/static/") && script.contains("></script>"), "{html}");
            assert!(tag.contains(&format!("nonce=\"{}\"", nonce.unwrap())), "{html}");
        }
        assert!(nonce.is_none_or(|nonce| nonces.insert(nonce.to_owned())), "{policy} twice");
    }
    for (host, path) in [("box", "/static/fallgate.css"), ("app", "/.fallgate/static/fallgate.css")] {
        let style = site.visitor().open(&site.url(host, path));
        assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    }
    assert_eq!(site.visitor().open(&site.url("box", "/static/other.css")).status, 404);
}
