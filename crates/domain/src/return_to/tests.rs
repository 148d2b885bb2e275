use proptest::prelude::*;

use super::*;

const APP: &str = "https://app.example";
const PORT: &str = "http://wiki.example:7400";

fn allowed(origin: &str) -> bool {
    [APP, PORT].contains(&origin)
}

fn read(text: &str) -> String {
    ReturnTo::read(text, allowed).location()
}

/// Where a browser that stands on one of our pages ends up.
fn followed(location: &str) -> Url {
    Url::parse("https://box.example/login?returnTo=x").unwrap().join(location).unwrap()
}

fn stays_with_us(location: &str) -> bool {
    let url = followed(location);
    let origin = url.origin().ascii_serialization();
    url.username().is_empty()
        && url.password().is_none()
        && (origin == "https://box.example" || allowed(&origin))
}

#[test]
fn r17_pages_of_ours_and_of_routes_are_gone_back_to() {
    for text in [
        "/",
        "/tokens",
        "/tokens?user=ada&all",
        "/a/b/c;v=1?x=%2F%2Fevil.example",
        "/x?next=https://evil.example/",
        "/x?next=//evil.example",
        "/a//b",
        "/a/%2e%2e%2fb",
        "/x#section",
        "/@evil.example",
        "/:80",
        "/login?returnTo=%2F%2Fevil.example",
        "https://app.example/",
        "https://app.example/x/y?z=1#w",
        "https://app.example//x",
        "https://app.example/@evil.example",
        "http://wiki.example:7400/",
        "http://wiki.example:7400/a?b",
    ] {
        let taken = text != "https://app.example//x";
        assert_eq!(read(text), if taken { text } else { "/" }, "{text}");
    }
    assert_eq!(read("https://app.example"), "https://app.example/");
    assert_eq!(read(&format!("/{}", "x".repeat(LONGEST - 1))).len(), LONGEST);
}

/// What sends a browser elsewhere if it is believed, or is read in two ways by two parsers.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "x",
    "./x",
    "../x",
    "?x",
    "#x",
    "//",
    "///",
    "////evil.example",
    "//evil.example",
    "//evil.example/",
    "//evil.example/%2e%2e",
    "///evil.example",
    "///evil.example/%2f..",
    "//evil.example@app.example",
    "//app.example",
    "//app.example/x",
    "//box.example/",
    "//https://app.example/",
    "//\\evil.example",
    "//google.com/%2f..",
    "/\\evil.example",
    "/\\/evil.example",
    "/\\\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\r\n/evil.example",
    "/\0/evil.example",
    "/\u{b}/evil.example",
    "/\u{c}/evil.example",
    "\t//evil.example",
    "\n//evil.example",
    " //evil.example",
    "\u{1}//evil.example",
    "/ /evil.example",
    "//evil\u{3002}example",
    "/\u{2215}evil.example",
    "/\u{ff0f}evil.example",
    "\u{ff0f}\u{ff0f}evil.example",
    "/x\r\nLocation: https://evil.example",
    "/x\nSet-Cookie: fallgate=1",
    "/x\r\n\r\n<script>alert(1)</script>",
    "/x y",
    "/x\u{202e}y",
    "/\u{e9}",
    "/x\"y",
    "/x<y>",
    "/.",
    "/..",
    "/../",
    "/../x",
    "/a/..",
    "/a/../../x",
    "/./x",
    "/..//evil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "/%2e%2e//evil.example",
    "/%2e//evil.example",
    "/%2E%2e/%2e/evil.example",
    "/.%2e//evil.example",
    "/a\\..\\..\\evil.example",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    " javascript:alert(1)",
    "javascript://app.example/%0aalert(1)",
    "javascript://https://app.example/%0aalert(1)",
    "javascript:%61lert(1)",
    "\u{1}javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "file://app.example/x",
    "blob:https://app.example/0",
    "filesystem:https://app.example/temporary/x",
    "about:blank",
    "view-source:https://app.example/",
    "intent://app.example/#Intent;scheme=http;end",
    "mailto:ada@app.example",
    "tel:1",
    "ftp://app.example/",
    "ws://app.example/",
    "wss://app.example/",
    "http://app.example/",
    "http://app.example:443/",
    "https://wiki.example:7400/",
    "http://wiki.example/",
    "http://wiki.example:7401/",
    "http://wiki.example:07400/",
    "https://app.example:443/",
    "https://app.example:444/",
    "https://app.example:/",
    "https://app.example:80/",
    "https://app.example:0443/",
    "https://app.example:443@evil.example/",
    "https://app.example:@evil.example/",
    "https://app.example@evil.example/",
    "https://app.example%40evil.example/",
    "https://app.example%2f@evil.example/",
    "https://evil.example@app.example/",
    "https://user:pass@app.example/",
    "https://:@app.example/",
    "https://@app.example/",
    "https://app.example\\@evil.example/",
    "https://app.example\\.evil.example/",
    "https://app.example/\\evil.example",
    "https://evil.example\\@app.example/",
    "https://evil.example/https://app.example/",
    "https://evil.example/?https://app.example/",
    "https://evil.example/#https://app.example/",
    "https://evil.example#@app.example/",
    "https://evil.example?@app.example/",
    "https://evil.example;@app.example/",
    "https://evil.example&@app.example/",
    "https://evil.example/",
    "https://evil.example",
    "https://app.example.evil.example/",
    "https://app.exampleevil.example/",
    "https://evil-app.example/",
    "https://evilapp.example/",
    "https://sub.app.example/",
    "https://example/",
    "https://app.example./",
    "https://app.example../",
    "https://.app.example/",
    "https://app..example/",
    "https://APP.EXAMPLE/",
    "HTTPS://app.example/",
    "hTTps://app.example/",
    "https:app.example/",
    "https:/app.example/",
    "https:///app.example/",
    "https:////app.example/",
    "https:\\\\app.example/",
    "https:/\\app.example/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http:evil.example",
    "http:/evil.example",
    "http:///evil.example",
    "https://\u{ff41}pp.example/",
    "https://app\u{3002}example/",
    "https://app\u{ff0e}example/",
    "https://app.ex\u{430}mple/",
    "https://app.example\u{2044}evil.example/",
    "https://app.example\u{2100}.evil.example/",
    "https://app\u{ad}.example/",
    "https://%61pp.example/",
    "https://app%2eexample/",
    "https://app.example%00.evil.example/",
    "https://app.example%23.evil.example/",
    "https://app.example%5c.evil.example/",
    "https://app.example\0.evil.example/",
    "https://app.example\t/",
    "https://app\n.example/",
    "https://app.example /",
    "https:// app.example/",
    " https://app.example/",
    "https://app.example/ ",
    "\thttps://app.example/",
    "https://[app.example]/",
    "https://[::1]/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0/",
    "https://localhost/",
    "https://box.example/",
    "https://own.invalid/",
    "https://own.invalid//evil.example",
    "https://",
    "https://?",
    "https://#",
    "https://:443/",
    "https:",
    "://app.example/",
    ":",
    "@app.example",
    "app.example",
    "app.example/x",
    "https://app.example//evil.example",
    "https://app.example/..//evil.example",
    "https://app.example/../x",
    "https://app.example/%2e%2e/x",
    "https://app.example/x y",
    "https://app.example/\u{e9}",
    "https://app.example/x\r\nSet-Cookie: a=b",
    "https://app.example?x",
    "https://app.example#x",
    "https://app.example/,https://evil.example/",
    "%2F%2Fevil.example",
    "%2Fx",
    "/%0d%0a/../..//evil.example",
    "https%3A%2F%2Fapp.example%2F",
    "<https://app.example/>",
    "\"https://app.example/\"",
    "null",
    "undefined",
    "[object Object]",
];

#[test]
fn r17_nothing_hostile_leads_anywhere_but_home() {
    assert!(HOSTILE.len() >= 120);
    for text in HOSTILE {
        // A comma belongs to a path.
        let harmless = "https://app.example/,https://evil.example/";
        let wanted = if *text == harmless { harmless } else { "/" };
        assert_eq!(read(text), wanted, "{text:?}");
        assert!(stays_with_us(&read(text)));
    }
    assert_eq!(read(&format!("/{}", "x".repeat(LONGEST))), "/");
}

#[test]
fn r17_without_routes_only_paths_are_left() {
    for text in [APP, "https://app.example/", "https://own.invalid/x"] {
        assert_eq!(ReturnTo::read(text, |_| false), ReturnTo::home());
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (origin, target, written) in [
        (None, "/", Some("/")),
        (None, "/x?y=z", Some("/x?y=z")),
        (None, "/x?q='a'|b", Some("/x?q=%27a%27|b")),
        (None, "/a/../b", Some("/b")),
        (None, "//evil.example", None),
        (None, "/..//evil.example", None),
        (Some(APP), "/x?y", Some("https://app.example/x?y")),
        (Some(APP), "/\u{e9}", Some("https://app.example/%C3%A9")),
        (Some(PORT), "/", Some("http://wiki.example:7400/")),
        (Some(APP), "//x", None),
        (Some(APP), "@evil.example/", None),
        (Some(APP), ".evil.example/", None),
    ] {
        assert_eq!(ReturnTo::write(origin, target).as_deref(), written, "{origin:?} {target}");
    }
}

proptest! {
    #[test]
    fn r17_whatever_is_read_stays_on_our_origin_or_an_allowed_one(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "/", "//", "\\", "@", ":", "?", "#", ".", "..", "%2e", "%2f", "%5c", "%00", "https:", "http:", "javascript:",
                "app.example", "evil.example", "wiki.example", ":7400", ":443", "https://app.example", "\t", "\n", "\r", " ",
                "\u{3002}", "\u{ff0f}", "[", "]", "[::1]", ";", "&", "=", "%", "x",
            ]).prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ], 0..12),
    ) {
        let text = pieces.concat();
        let location = read(&text);
        prop_assert!(stays_with_us(&location), "{text:?} leads to {}", followed(&location));
        let with_slash = text.clone() + "/";
        prop_assert!(["/", &text, &with_slash].contains(&location.as_str()), "{text:?} becomes {location:?}");
        // And it is taken again as it is.
        prop_assert_eq!(read(&location), location);
    }

    #[test]
    fn r17_whatever_is_written_leads_where_it_was_written_for(target in "/[!-~]{0,40}") {
        for origin in [None, Some(APP)] {
            if let Some(text) = ReturnTo::write(origin, &target) {
                let back = ReturnTo::read(&text, allowed);
                prop_assert_eq!(back.origin(), origin);
                prop_assert!(stays_with_us(&back.location()));
            }
        }
    }
}
