//! JupyterLab behind a route by host, with its token put in by us: somebody signs in once and works in a notebook. A cut
//! closes the sockets of its kernel.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::servers::Server;
use crate::support::tls::Authority;
use crate::support::{Browser, Gate, Home, PASSPHRASE, nobodys_address, wait_up_to};

const NOTEBOOK_TOKEN: &str = "the-notebooks-own-token-that-nobody-sees";
/// A kernel is a whole Python, and the page is many files.
const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn r15_r22_r46_somebody_works_in_jupyterlab_by_one_sign_in_and_a_cut_closes_the_kernels_sockets() {
    let (home, address) = (Home::new(), nobodys_address());
    let (notebooks, port) = (home.beside().join("notebooks"), address.port());
    fs::create_dir(&notebooks).unwrap();
    fs::write(notebooks.join("sum.ipynb"), notebook("print('six times seven is', 6 * 7)").to_string())
        .unwrap();
    let token = home.beside().join("token");
    fs::write(&token, NOTEBOOK_TOKEN).unwrap();
    let jupyter = Server::jupyter(&notebooks, NOTEBOOK_TOKEN);
    let authority = Authority::new();
    let pair = authority.issue("gate", &["box.example", "lab.example"]);
    home.user("ada");
    let config = format!(
        "[server]\npublic_url = \"https://box.example:{port}\"\ntls = {{ cert = {:?}, key = {:?} }}\n\
         [[route]]\nname = \"lab\"\nhost = \"lab.example\"\nupstream = {:?}\nauthorization = \"pass\"\n\
         inject = {{ authorization = \"token ${{file:{}}}\" }}\n",
        pair.cert,
        pair.key,
        jupyter.url(),
        token.display()
    );
    let gate = Gate::at_home(home, address, &config, |_| ());
    let lab = format!("https://lab.example:{port}");
    let browser = Browser::trusting(&pair);

    browser.open(&format!("{lab}/lab/tree/sum.ipynb"));
    browser.shows(&format!("https://box.example:{port}/login"), "to go on to lab.example");
    browser.fill("username", "ada");
    browser.fill("passphrase", PASSPHRASE);
    browser.press("Sign in");
    browser.shows(&format!("{lab}/lab/tree/sum.ipynb"), "six times seven");
    // The page asks for a kernel by itself, and speaks to it over a WebSocket.
    let kernels = || browser.run("return await (await fetch('/api/kernels')).json()");
    let kernel = wait_up_to(WITHIN, "the kernel", || {
        let all = kernels();
        let idle = all[0]["execution_state"] == "idle" && all[0]["connections"].as_u64() > Some(0);
        idle.then(|| all[0]["id"].as_str().unwrap().to_owned())
    });
    browser.click(".jp-Notebook .jp-CodeCell .cm-content");
    browser.type_into(".jp-Notebook .jp-CodeCell .cm-content", SHIFT_ENTER);
    browser.shows(&lab, "six times seven is 42");

    // A socket to the same kernel of which the page tells how it ends.
    let opened = browser.run(&format!(
        "const socket = new WebSocket('wss://lab.example:{port}/api/kernels/{kernel}/channels');
         window.ended = new Promise(done => {{ socket.onclose = event => done(event.code); }});
         return await new Promise(done => {{ socket.onopen = () => done('open'); socket.onerror = () => done('no'); }});"
    ));
    assert_eq!(opened, "open");
    assert_eq!(kernels()[0]["connections"], 2);

    let cut: Value = gate.fallgate(&["cut", "user:ada", "--reason", "lunch", "--json"]).ok().json();
    assert_eq!(browser.run("return await window.ended"), 4403);
    assert_eq!(browser.run("return (await fetch('/api/kernels')).status"), 403);
    let upstream = jupyter.address();
    wait_up_to(WITHIN, "the kernel's end of its sockets", || {
        let request = format!(
            "GET /api/kernels HTTP/1.1\r\nHost: {upstream}\r\nAuthorization: token {NOTEBOOK_TOKEN}\r\n\r\n"
        );
        let all = crate::support::Client::exchange(upstream, request).json();
        (all[0]["connections"] == 0).then_some(())
    });
    // Lifted, it goes on as before: nothing was deleted.
    gate.fallgate(&["lift", cut["id"].as_str().unwrap()]).ok();
    browser.open(&format!("{lab}/lab/tree/sum.ipynb"));
    browser.shows(&lab, "six times seven");
    wait_up_to(WITHIN, "the kernel again", || (kernels()[0]["connections"].as_u64() > Some(0)).then_some(()));
    assert!(!gate.log().contains(NOTEBOOK_TOKEN));
}

const SHIFT_ENTER: &str = "\u{e008}\u{e007}\u{e000}";

fn notebook(code: &str) -> Value {
    json!({
        "cells": [{"cell_type": "code", "execution_count": null, "id": "sum", "metadata": {}, "outputs": [], "source": code}],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5
    })
}
