//! Every door with every kind of credential, against one table; and the order in which a request is refused.

mod ends;
mod every;
mod given_back;
mod order;
mod table;
mod tokens;
mod users;
mod ways;
mod workers;

use self::ways::{bearer, token_with_scopes, unknown, wrong_checksum};
use crate::support::Response;

const CHALLENGE: &str = "Bearer realm=\"fallgate\"";

/// All that was answered, but when.
fn whole(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = response.headers.iter().filter(|(name, _)| name != "date");
    (response.status, headers.cloned().collect(), response.body.clone())
}
