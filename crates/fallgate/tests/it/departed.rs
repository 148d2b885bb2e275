//! Users who are shut out or gone: every kind of credential of theirs, and whoever comes under their name later.

use serde_json::{Value, json};

use crate::support::llmux::Llmux;
use crate::support::{Gate, Home, PASSPHRASE, SignIn};

/// What somebody can come in with.
struct Credentials {
    token: String,
    child: String,
    login: SignIn,
    by_old_token: String,
}

impl Credentials {
    /// Of ada, who moved in from llmux.
    fn of_ada(gate: &Gate, old: String) -> Self {
        let login = gate.sign_in("ada");
        let mint = |header: &str| {
            let body = json!({"name": "x", "scopes": ["tokens:write", "routes:use"]});
            let made = gate.ask("POST /api/tokens", header, &body);
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()["secret"].as_str().unwrap().to_owned()
        };
        let token = mint(&login.bearer());
        let child = mint(&bearer(&token));
        Self { token, child, login, by_old_token: old }
    }

    /// As headers, by every carrier.
    fn presented(&self) -> Vec<String> {
        let Self { token, child, login, by_old_token } = self;
        let mut all: Vec<_> = [token, child, by_old_token, &login.secret].map(|secret| bearer(secret)).into();
        all.push(login.cookie());
        all
    }
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

fn statuses(gate: &Gate, presented: &[String]) -> Vec<u16> {
    presented.iter().map(|headers| gate.ask("GET /api/whoami", headers, &Value::Null).status).collect()
}

/// A gate with an admin `root` and with `ada`, who has an old token too, which is given.
fn moved_in() -> (Gate, String) {
    let home = Home::new();
    home.admin("root");
    let (_, old, _) = Llmux::peopled(&home);
    home.import_llmux(&[]).ok();
    home.fallgate_with(&["user", "reset-passphrase", "ada", "--passphrase-stdin"], PASSPHRASE).ok();
    (Gate::on(home, ""), old)
}

#[test]
fn r57_nothing_of_a_disabled_users_counts_and_only_what_was_not_revoked_comes_back() {
    let (gate, old) = moved_in();
    let ada = Credentials::of_ada(&gate, old);
    let ended = gate.sign_in("ada");
    assert_eq!(statuses(&gate, &ada.presented()), [200; 5]);
    gate.fallgate(&["user", "disable", "ada"]).ok();
    assert_eq!(statuses(&gate, &ada.presented()), [401; 5]);
    assert_eq!(gate.ask("POST /api/logout", &ada.login.sent_by_page(), &Value::Null).status, 401);
    // Neither do they come in anew, nor is it told why.
    let shut_out = gate.try_sign_in("ada", PASSPHRASE);
    let wrong = gate.try_sign_in("ada", "not the passphrase");
    assert_eq!((shut_out.status, &shut_out.body), (401, &wrong.body));
    assert_eq!(shut_out.header("set-cookie"), None);
    // Whoever holds a secret may end it all the same.
    let body = json!({"token": ended.secret});
    assert_eq!(gate.ask("POST /api/tokens/revoke", "", &body).status, 204);
    gate.fallgate_with(&["token", "revoke", "--stdin"], &ada.token).ok();

    gate.fallgate(&["user", "enable", "ada"]).ok();
    assert_eq!(statuses(&gate, &[bearer(&ended.secret)]), [401]);
    // The child fell with its parent.
    assert_eq!(statuses(&gate, &ada.presented()), [401, 401, 200, 200, 200]);
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 200);
}

#[test]
fn r31_a_new_user_of_an_old_name_inherits_no_token_no_sign_in_and_no_passphrase() {
    let (gate, old) = moved_in();
    let ada = Credentials::of_ada(&gate, old);
    let made_for_others = {
        let admin = gate.token_with("root", &["--scope", "admin"]);
        let made = gate.ask("POST /api/tokens", &admin.header(), &json!({"name": "x", "username": "ada"}));
        bearer(made.json()["secret"].as_str().unwrap())
    };
    gate.fallgate(&["user", "delete", "ada", "--yes"]).ok();
    let mut presented = ada.presented();
    presented.push(made_for_others);
    assert_eq!(statuses(&gate, &presented), [401; 6]);
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 401);

    let another = "heron copper lantern drift 57";
    gate.fallgate_with(&["user", "create", "ada", "--admin", "--passphrase-stdin"], another).ok();
    assert_eq!(statuses(&gate, &presented), [401; 6]);
    assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 401);
    let login = SignIn::of(&gate.try_sign_in("ada", another));
    let get = |line: &str| gate.ask(line, &login.bearer(), &Value::Null).json();
    assert_eq!(get("GET /api/logins")["logins"].as_array().unwrap().len(), 1);
    let tokens = get("GET /api/tokens")["tokens"].as_array().unwrap().clone();
    assert!(tokens.iter().all(|token| token["username"] != "ada"), "{tokens:?}");
    // A move from llmux does not bring the old ones back either.
    gate.import_llmux(&[]).ok();
    assert_eq!(statuses(&gate, &presented), [401; 6]);
    let gate = Gate::on(gate.kill(), "");
    assert_eq!(statuses(&gate, &presented), [401; 6], "after a restart");
    assert_eq!(statuses(&gate, &[login.cookie()]), [200]);
}

#[test]
fn nobody_is_called_what_the_machine_itself_is_called() {
    let gate = Gate::start();
    gate.admin("root");
    let create = ["user", "create", "internal", "--passphrase-stdin"];
    let refused = gate.fallgate_with(&create, PASSPHRASE);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("the machine itself"), "{}", refused.stderr);
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let body = json!({"username": "internal", "passphrase": PASSPHRASE});
    let refused = gate.ask("POST /api/users", &admin.header(), &body);
    assert!(refused.status == 400 && refused.text().contains("the machine itself"), "{}", refused.text());
    assert_eq!(gate.usernames(), ["root"]);
}
