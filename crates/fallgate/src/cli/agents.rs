//! Agents.

use std::time::Duration;

use clap::Subcommand;
use fallgate_domain::agent::AgentName;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scope;
use fallgate_domain::user::Username;
use fallgate_domain::worker::{Audience, LONGEST_LIFE};

use super::Format;

/// Of a worker token.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Make an agent.
    ///
    /// Its scopes and routes are set now: to change them, delete it, which ends its tokens, and make it anew.
    #[command(
        after_help = "Example: fallgate agent create nightly-build --owner alice --scope routes:use --route ci"
    )]
    Create {
        /// How it is called: a-z, 0-9, _ and -, at most 64 characters. No user and no other agent may be called so.
        name: AgentName,
        /// Whose it will be. Needed on a home folder; on a gate it is yours unless an admin says otherwise.
        #[arg(long, value_name = "USER")]
        owner: Option<Username>,
        /// What its tokens may be used for at most; can be given several times [default: identity:read routes:use
        /// sessions:read sessions:attach sessions:write].
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// A route that its tokens are good for unless another audience is asked for; can be given several times
        /// [default: none but Fallgate itself].
        #[arg(long = "route", value_name = "ROUTE")]
        routes: Vec<RouteName>,
        #[command(flatten)]
        format: Format,
    },
    /// List agents; on a gate your own, to an admin everybody's.
    List {
        /// This user's only.
        #[arg(long, value_name = "USER")]
        owner: Option<Username>,
        #[command(flatten)]
        format: Format,
    },
    /// Mint a worker token for an agent and print it, this once.
    ///
    /// It stands alone on stdout; all else is said on stderr. Everybody has an agent of their own name.
    #[command(after_help = "Example: TOKEN=$(fallgate agent token nightly-build --ttl 2h)")]
    Token {
        /// Which.
        name: AgentName,
        /// How long it lasts: 2h, 30m, at most 7d [default: as the config says, else 2h].
        #[arg(long, value_name = "DURATION", value_parser = parse_ttl, allow_hyphen_values = true)]
        ttl: Option<Duration>,
        /// What it may be used for; can be given several times [default: what the agent may].
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// Where it may be used: fallgate, route:NAME or egress; can be given several times [default: fallgate and the
        /// agent's routes].
        #[arg(long = "audience", value_name = "AUDIENCE")]
        audience: Vec<Audience>,
        #[command(flatten)]
        format: Format,
    },
    /// Refuse every token of an agent from now on, and cut off what uses them.
    Disable {
        /// Which.
        name: AgentName,
        #[command(flatten)]
        format: Format,
    },
    /// Let a disabled agent in again, with the tokens that are neither over nor revoked.
    Enable {
        /// Which.
        name: AgentName,
        #[command(flatten)]
        format: Format,
    },
    /// Delete an agent, and end every token of it for good.
    ///
    /// Whatever is made under the same name later inherits nothing.
    Delete {
        /// Which.
        name: AgentName,
        /// Do not ask. Needed where there is no terminal to ask on.
        #[arg(long)]
        yes: bool,
    },
}

fn parse_ttl(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(Lifetime::For(life)) if (SHORTEST_LIFE..=LONGEST_LIFE).contains(&life) => Ok(life),
        _ => Err("write a duration from 1s to 7d, such as 2h or 30m"),
    }
}
