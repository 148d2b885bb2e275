//! Worker tokens, minted over HTTP as programs mint them.

use serde_json::{Value, json};

use super::client::Response;
use super::gate::Gate;
use super::home::Token;

/// A worker token, and the token that minted it.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) token: Token,
    pub(crate) minter: Token,
}

impl Gate {
    /// A worker token of somebody's own agent, for these audiences, with these scopes.
    pub(crate) fn worker(&self, owner: &str, scopes: &[&str], audience: &[&str]) -> Worker {
        let also = ["agents:write"].iter().chain(scopes).flat_map(|scope| ["--scope", scope]);
        let minter = self.token_with(owner, &also.collect::<Vec<_>>());
        let order = json!({ "scopes": scopes, "audience": audience });
        let token = Worker::token_of(&self.mint_worker(&minter, owner, &order));
        Worker { token, minter }
    }

    /// Asks for a worker token.
    pub(crate) fn mint_worker(&self, minter: &Token, agent: &str, order: &Value) -> Response {
        self.ask(&format!("POST /api/agents/{agent}/tokens"), &minter.header(), order)
    }

    /// Asks for another one in the place of this.
    pub(crate) fn renew_worker(&self, token: &Token) -> Response {
        self.ask("POST /api/workers/renew", &token.header(), &Value::Null)
    }

    /// Ends it by another process.
    pub(crate) fn revoke_worker(&self, token: &Token) {
        self.fallgate(&["token", "revoke", &token.id]).ok();
    }
}

impl Worker {
    /// What a mint or a renewal answered.
    #[track_caller]
    pub(crate) fn token_of(answer: &Response) -> Token {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let answer = answer.json();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Token { id: text("id"), secret: text("secret") }
    }
}
