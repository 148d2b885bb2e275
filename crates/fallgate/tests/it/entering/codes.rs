//! What a code is good for, and what not.

use super::{Site, location};
use crate::support::{Client, PASSPHRASE, Response};

/// It is refused, in words, with a way to try again, and nobody is signed in by it.
#[track_caller]
fn refused(answer: &Response, way: &str) {
    assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().contains(&format!("href=\"{way}\">Try again")), "{}", answer.text());
}

#[test]
fn r20_a_code_is_good_once_on_its_host_and_for_the_browser_that_asked() {
    let site = Site::new();
    let mut ada = site.entered();
    let host = site.host("app");

    // Once.
    ada.forget(&host);
    let entry = site.code_for(&mut ada, "app", "/wanted");
    let mut later = ada.clone();
    assert_eq!(location(&ada.open(&entry)), "/wanted");
    refused(&later.open(&entry), "/");
    refused(&ada.open(&entry), "/");

    // Not in another browser, which has no cookie of ours there, or one of its own.
    ada.forget(&host);
    let entry = site.code_for(&mut ada, "app", "/wanted");
    refused(&site.visitor().open(&entry), "/");
    // And not after somebody else tried.
    refused(&ada.open(&entry), "/");
    ada.forget(&host);
    let entry = site.code_for(&mut ada, "app", "/wanted");
    let mut eve = site.visitor();
    eve.open(&site.url("app", "/"));
    refused(&eve.open(&entry), "/");

    // Not on another host.
    ada.forget(&host);
    let entry = site.code_for(&mut ada, "app", "/wanted");
    ada.open(&site.url("wiki", "/"));
    let knock = ada.cookie(&host, "fallgate-enter").unwrap().to_owned();
    ada.keep(&site.host("wiki"), "fallgate-enter", &knock);
    refused(&ada.open(&entry.replace("app.example", "wiki.example")), "/");
    refused(&ada.open(&entry), "/");

    // Not on our own, nor without, nor twice, nor what is none.
    ada.forget(&host);
    let entry = site.code_for(&mut ada, "app", "/wanted");
    assert_eq!(ada.open(&entry.replace("app.example", "box.example")).status, 404);
    assert_eq!(ada.open(&site.url("app", "/.fallgate/enter")).status, 400);
    let twice = format!("{entry}&code=x");
    assert_eq!(ada.open(&twice).status, 400);
    refused(&ada.open(&site.url("app", "/.fallgate/enter?code=fgc_x")), "/");
    assert_eq!(location(&ada.open(&entry)), "/wanted");

    // A program hears it as a problem.
    let request = format!("GET /.fallgate/enter?code=x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let told = Client::exchange(site.gate.address(), request);
    assert_eq!((told.status, told.header("content-type")), (403, Some("application/problem+json")));
}

#[test]
fn r20_what_is_entered_anew_ends_what_was_there_and_tabs_opened_together_all_get_in() {
    let site = Site::new();
    let mut ada = site.entered();
    let before = ada.cookie(&site.host("app"), "fallgate").unwrap().to_owned();
    // Another tab that was sent to sign in before the first came back.
    let mut tab = ada.clone();
    tab.keep(&site.host("app"), "fallgate", "fgl_bad");
    let entry = site.code_for(&mut tab, "app", "/tab");
    assert_eq!(location(&ada.open(&entry)), "/tab");
    assert_eq!(site.whoami(&before).status, 401);
    assert_eq!(site.whoami(ada.cookie(&site.host("app"), "fallgate").unwrap()).status, 200);
    assert_eq!(site.whoami(ada.cookie(&site.host("box"), "fallgate").unwrap()).status, 200);
}

#[test]
fn r31_nobody_enters_by_a_sign_in_that_has_ended() {
    let site = Site::new();
    let mut ada = site.entered();
    ada.forget(&site.host("app"));
    let entry = site.code_for(&mut ada, "app", "/wanted");
    let mut elsewhere = ada.clone();
    elsewhere.submit(&site.url("box", "/"), "/logout", &[]);
    let told = ada.open(&entry);
    assert_eq!((told.status, told.header("set-cookie")), (403, None));
    assert!(told.text().contains("sign in again"), "{}", told.text());
    // Nor one whose user was shut out meanwhile, in another process.
    let mut ada = site.entered();
    ada.forget(&site.host("app"));
    let entry = site.code_for(&mut ada, "app", "/wanted");
    site.gate.admin("root");
    site.gate.fallgate(&["user", "disable", "ada"]).ok();
    assert_eq!(ada.open(&entry).status, 403);
}

#[test]
fn r57_whoever_a_route_does_not_admit_is_told_so_and_gets_no_code() {
    let site = Site::with("allow = [\"user:bob\"]");
    let mut ada = site.visitor();
    let login = ada.visit(&site.url("app", "/x"));
    let told = ada.sign_in(&login, "ada", PASSPHRASE);
    assert_eq!(told.answer.status, 403, "{:?}", told.way);
    assert!(told.answer.text().contains("does not name you"), "{}", told.answer.text());
    assert!(told.way.iter().all(|url| !url.contains("code=")), "{:?}", told.way);
    // Signed in they are; wiki is open to them.
    assert_eq!(ada.visit(&site.url("wiki", "/")).answer.status, 200);
    assert_eq!(site.upstream.requests().len(), 1);
}
