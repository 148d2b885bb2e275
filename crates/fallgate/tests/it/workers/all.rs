//! All tokens of somebody at once: worker tokens too, which have no rows.

use serde_json::{Value, json};

use super::{gate, whoami};
use crate::support::{Gate, Line, PASSPHRASE, Token, Upstream, WebSocketUpstream, Worker};

/// Worker tokens of ada that hang on no token: by the command line, and by a sign-in.
fn of_nothing(gate: &Gate) -> [Token; 2] {
    let secret = gate.fallgate(&["agent", "token", "ada"]).ok().stdout.trim().to_owned();
    let by_command = Token { id: String::new(), secret };
    let order = json!({ "scopes": ["identity:read"] });
    let by_login = gate.ask("POST /api/agents/ada/tokens", &gate.sign_in("ada").bearer(), &order);
    [by_command, Worker::token_of(&by_login)]
}

fn statuses(gate: &Gate, tokens: &[Token]) -> Vec<u16> {
    tokens.iter().map(|token| whoami(gate, token).status).collect()
}

#[test]
fn r42_whoever_revokes_all_tokens_of_somebody_ends_their_worker_tokens_too() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.admin("root");
    gate.user("ada");
    let of_root = gate.worker("root", &["identity:read"], &["fallgate"]).token;
    let enders: [&dyn Fn(); 3] = [
        &|| drop(gate.fallgate(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok()),
        &|| {
            let admin = gate.token_with("root", &["--scope", "admin"]);
            let ended = gate.ask("DELETE /api/tokens?username=ada", &admin.header(), &Value::Null);
            assert_eq!(ended.status, 200);
        },
        &|| {
            let reset = ["user", "reset-passphrase", "ada", "--passphrase-stdin", "--revoke-tokens"];
            gate.fallgate_with(&reset, PASSPHRASE).ok();
        },
    ];
    for end in enders {
        let tokens = of_nothing(&gate);
        let renewed = Worker::token_of(&gate.renew_worker(&tokens[0]));
        assert_eq!(statuses(&gate, &tokens), [200, 200]);
        end();
        assert_eq!(statuses(&gate, &tokens), [401, 401]);
        assert_eq!((whoami(&gate, &renewed).status, gate.renew_worker(&renewed).status), (401, 401));
        assert_eq!(whoami(&gate, &of_root).status, 200, "nobody else's");
        // What is minted from now on is good.
        let later = of_nothing(&gate);
        assert_eq!(statuses(&gate, &later), [200, 200]);
    }
    gate.fallgate(&["token", "revoke", "--all", "--yes"]).ok();
    assert_eq!(whoami(&gate, &of_root).status, 401, "everybody's");
}

#[test]
fn r42_a_worker_token_that_revokes_all_others_stays_with_its_renewals() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.user("ada");
    let scopes = ["identity:read", "tokens:write", "agents:write"].join(" ");
    let order = json!({ "scopes": scopes.split(' ').collect::<Vec<_>>() });
    let mint = || {
        let login = gate.sign_in("ada");
        Worker::token_of(&gate.ask("POST /api/agents/ada/tokens", &login.bearer(), &order))
    };
    let (own, other) = (mint(), mint());
    let renewed = Worker::token_of(&gate.renew_worker(&own));
    assert_eq!(gate.ask("DELETE /api/tokens", &own.header(), &Value::Null).status, 200);
    assert_eq!(statuses(&gate, &[own, renewed, other]), [200, 200, 401]);
}

#[test]
fn r42_all_that_is_open_by_somebodys_worker_tokens_closes_with_them_and_a_start_knows_it() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let order = json!({ "scopes": ["identity:read", "routes:use"], "audience": ["fallgate", "route:app"] });
    let login = gate.sign_in("ada");
    let token = Worker::token_of(&gate.ask("POST /api/agents/ada/tokens", &login.bearer(), &order));
    let held = Line::ask_for_websocket(gate.address(), "/app/", &token).switched().watched();
    let revoked = gate.fallgate(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok();
    assert_eq!(revoked.stderr, "Revoked 0 tokens of ada, and all worker tokens of theirs\n");
    held.join().unwrap().assert_closed(4401, "token revoked");
    let again = Gate::on(gate.kill(), "");
    assert_eq!(whoami(&again, &token).status, 401);
    let secret = again.fallgate(&["agent", "token", "ada"]).ok().stdout.trim().to_owned();
    assert_eq!(whoami(&again, &Token { id: String::new(), secret }).status, 200);
}
