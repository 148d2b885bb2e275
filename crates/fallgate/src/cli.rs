//! The command line, as it is typed.

mod access;
mod agents;
mod cutting;
mod plain;

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use fallgate_domain::clock::{InvalidTimestamp, Timestamp};
use fallgate_domain::credential::TokenName;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::scope::Scope;
use fallgate_domain::user::{DisplayName, Role, Username};

use fallgate_relay::ListenAt;

pub(crate) use self::access::{Login, Pair, Passwd, Where};
pub(crate) use self::agents::Agent;
pub(crate) use self::cutting::{Cut, Lift};

const LLMUX_STATE: &str = "llmux' state folder [default: $XDG_STATE_HOME/llmux, else ~/.local/state/llmux]";
const LLMUX_DATA: &str = "llmux' data folder [default: $XDG_DATA_HOME/llmux, else ~/.local/share/llmux]";

const VARIABLES: &str = "Variables, which beat the config file: FALLGATE_LISTEN, FALLGATE_PUBLIC_URL, FALLGATE_HOSTS (with commas between them).
Also: FALLGATE_CONFIG, FALLGATE_HOME, FALLGATE_ENCRYPTION_KEY (the root key), and FALLGATE_LOG, such as debug or
info,fallgate_relay=debug [default: info]";

/// An auth gateway that puts one login in front of everything you run.
///
/// Commands work on this machine's home folder directly; no daemon needs to run, and a running one sees every change
/// on its next request. With --server they work on a gate over HTTP, and print the same.
#[derive(Debug, Parser)]
#[command(name = "fallgate", version, arg_required_else_help = true, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

impl Cli {
    /// What was typed. A mistake, like a call for help, ends the process.
    pub(crate) fn typed() -> Self {
        let mut tree = Self::tree();
        let matches = tree.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut tree).exit())
    }

    /// All commands, as they are parsed, explained and written down.
    pub(crate) fn tree() -> Command {
        plain::plain(access::show_places(Self::command()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Run the gate until it is told to stop.
    ///
    /// Nothing needs to be configured. The first SIGINT or SIGTERM lets requests under way end, a second one ends the
    /// gate at once.
    #[command(after_help = VARIABLES)]
    Serve(Serve),
    /// Make, list, change and delete the people who may sign in.
    #[command(subcommand, arg_required_else_help = true)]
    User(User),
    /// Make, list, change and revoke tokens.
    #[command(subcommand, arg_required_else_help = true)]
    Token(Token),
    /// Make, list, disable and delete agents: the names that programs run under, each for its owner.
    #[command(subcommand, arg_required_else_help = true)]
    Agent(Agent),
    /// Show or replace the token by which this machine's own programs come in.
    #[command(subcommand, arg_required_else_help = true)]
    InternalToken(InternalToken),
    /// Move in from another program.
    #[command(subcommand, arg_required_else_help = true)]
    Import(Import),
    /// Stop somebody, something or everything at once, until it is lifted.
    ///
    /// What is cut is refused, with the reason, and its open connections through a running gate are closed. Nothing is
    /// deleted: what is not revoked meanwhile works again once the cut is lifted. A cut on everything closes public
    /// paths too, and spares an admin's sign-in for lifting it and nothing else.
    #[command(
        after_help = "Example: fallgate cut user:bob --reason 'lost laptop, call me' --for 12h",
        arg_required_else_help = true
    )]
    Cut(Cut),
    /// List the cuts that stand; on a gate those of your own, to an admin all.
    Cuts {
        #[command(flatten)]
        format: Format,
    },
    /// Lift a cut.
    #[command(
        after_help = "Example: fallgate lift 0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b",
        arg_required_else_help = true
    )]
    Lift(Lift),
    /// Read and check the audit trail.
    #[command(subcommand, arg_required_else_help = true)]
    Audit(Audit),
    /// List and change the keys under which secrets are sealed and tokens are signed.
    #[command(subcommand, arg_required_else_help = true)]
    Key(Key),
    /// Back up, restore and tidy the database.
    #[command(subcommand, arg_required_else_help = true)]
    Store(Store),
    /// List what is open now: `WebSockets`, event streams, tunnels, and bodies that flow for more than five seconds.
    ///
    /// A running gate is asked. Over HTTP it tells of one's own streams, and an admin of everybody's.
    Live {
        #[command(flatten)]
        format: Format,
    },
    /// Have the running gate read its config again.
    ///
    /// It counts from the next request on, and what it does not allow any more is closed. A config that makes no sense
    /// changes nothing. SIGHUP does the same, and opens the access log's file anew, for whoever has moved it away.
    Reload {
        #[command(flatten)]
        format: Format,
    },
    /// Check a config file, and see what it means.
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
    /// Look for what goes wrong most, and say what to do about each.
    ///
    /// It looks at the user and its limits, the home folder, the store, the clock, the config, the port, and what
    /// stands behind the gate, and changes nothing but wrong file modes. Exit code 1 when something is broken.
    Doctor {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        format: Format,
    },
    /// Sign in to a gate, so that commands with --server need no token.
    ///
    /// The sign-in is saved for this user of this machine, in fallgate/credentials.toml in `$XDG_CONFIG_HOME`
    /// or ~/.config, and takes the place of the one before, which ends. It is listed as one of your devices.
    /// Without --server it is the gate you are signed in to already, else the one on this machine, at 127.0.0.1:7400.
    #[command(after_help = "Example: fallgate login --server https://gate.example --username alice")]
    Login(Login),
    /// Sign a phone in: show a QR code, and ask before whoever scans it is let in.
    ///
    /// The code is good once, for two minutes, and is no credential: this asks on the terminal, with the device's name,
    /// its address and a number that it shows too. Ctrl+C ends the code. A running gate is needed.
    #[command(after_help = "Example: fallgate pair --username alice")]
    Pair(Pair),
    /// End the saved sign-in to a gate, there and here.
    Logout,
    /// Say who you are at a gate, and with which credential. Exit code 1 when you are not signed in.
    Status {
        #[command(flatten)]
        format: Format,
    },
    /// Change your own passphrase at a gate.
    ///
    /// Your other sign-ins end; this one stays, and so do your tokens unless --revoke-tokens is given.
    Passwd(Passwd),
    /// Say which version this is.
    Version {
        #[command(flatten)]
        format: Format,
    },
    /// Print a script that makes a shell complete these commands.
    #[command(
        after_help = "Example: fallgate completions bash > ~/.local/share/bash-completion/completions/fallgate"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write a manual page for each command into a folder.
    #[command(after_help = "Example: fallgate man ~/.local/share/man/man1")]
    Man {
        /// The folder, made when there is none.
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Whom the pairing QR is for that a terminal shows at start [default: the first enabled admin].
    #[arg(long, value_name = "USER", conflicts_with = "no_qr")]
    pub(crate) qr_owner: Option<Username>,
    /// Show no QR at start.
    #[arg(long)]
    pub(crate) no_qr: bool,
}

/// What decides how the gate runs; also for `config`, which then shows the same as `serve` would use.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Settings {
    /// Where to listen: an IP address and a port, or `unix:/path` [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<ListenAt>,
    /// The file that the global `--config` names.
    #[arg(skip)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Format {
    /// Print JSON in the API's shapes.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user.
    ///
    /// The passphrase is asked for twice on a terminal. It is never taken from the command line, where others could
    /// see it.
    #[command(after_help = "Example: fallgate user create alice --display-name 'Alice Liddell' --admin")]
    Create {
        /// How they sign in: a-z, 0-9, _ and -, at most 32 characters.
        username: Username,
        /// How they are shown [default: the username].
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// Let them do everything, for everyone.
        #[arg(long)]
        admin: bool,
        /// Read the passphrase from stdin, up to the end of its first line.
        #[arg(long)]
        passphrase_stdin: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List all users.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Change what a user may do at most.
    ///
    /// It counts on their next request, and what it no longer allows is cut off at once.
    SetRole {
        /// Whose.
        username: Username,
        /// Either admin, who may do everything for everyone, or user.
        role: Role,
        #[command(flatten)]
        format: Format,
    },
    /// Refuse every credential of a user from now on, and cut off what uses them.
    Disable {
        /// Whose.
        username: Username,
        #[command(flatten)]
        format: Format,
    },
    /// Let a disabled user in again, with the credentials that were not revoked.
    Enable {
        /// Who.
        username: Username,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a user, and end every credential of theirs for good.
    ///
    /// Whoever is made under the same name later inherits nothing.
    Delete {
        /// Who.
        username: Username,
        /// Do not ask. Needed where there is no terminal to ask on.
        #[arg(long)]
        yes: bool,
    },
    /// Give a user another passphrase.
    ///
    /// Their sign-ins end; their tokens stay unless --revoke-tokens is given. The passphrase is asked for twice on a
    /// terminal.
    ResetPassphrase {
        /// Whose.
        username: Username,
        /// Read the passphrase from stdin, up to the end of its first line.
        #[arg(long)]
        passphrase_stdin: bool,
        /// End their tokens too.
        #[arg(long)]
        revoke_tokens: bool,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print its secret, this once.
    ///
    /// The secret stands alone on stdout; all else is said on stderr.
    #[command(
        after_help = "Example: TOKEN=$(fallgate token create --username alice --name laptop --expires 30d)"
    )]
    Create {
        /// Whose it will be. Needed on a home folder; on a gate it is yours unless an admin says otherwise.
        #[arg(long, visible_alias = "user", value_name = "USER")]
        username: Option<Username>,
        /// What its owner will call it.
        #[arg(long)]
        name: Option<TokenName>,
        /// What it may be used for; can be given several times [default: identity:read routes:use sessions:read
        /// sessions:attach sessions:write].
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// How long it lasts: 90d, 12h, 30m, never, or an RFC 3339 time [default: 90d].
        #[arg(long, value_name = "WHEN")]
        expires: Option<Lifetime>,
        /// Show the secret on stderr as a QR code too, for a phone's camera.
        #[arg(long)]
        qr: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List tokens; on a gate your own, to an admin everybody's.
    List {
        /// This user's only.
        #[arg(long, visible_alias = "username")]
        user: Option<Username>,
        /// Also those that are expired or revoked.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        format: Format,
    },
    /// End tokens for good, and all that was minted from them.
    ///
    /// What uses them through a running gate is cut off at once. An id that is no token's here is taken for the `jti` of
    /// a worker token, which ends with all its renewals.
    #[command(after_help = "Example: fallgate token revoke 0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b")]
    Revoke {
        /// Their ids, as `fallgate token list` or, for worker tokens, `fallgate token inspect` shows them. Without any,
        /// give --all or --stdin.
        #[arg(value_name = "ID", conflicts_with_all = ["all", "stdin"])]
        ids: Vec<String>,
        /// All tokens: those of --user, else everybody's. On a gate that is for admins; a plain user names themselves,
        /// and keeps the token in use.
        #[arg(long, conflicts_with = "stdin")]
        all: bool,
        /// Whose, of all.
        #[arg(long, visible_alias = "username", requires = "all", conflicts_with_all = ["ids", "stdin"])]
        user: Option<Username>,
        /// Do not ask. Needed with --all where there is no terminal to ask on.
        #[arg(long, requires = "all", conflicts_with_all = ["ids", "stdin"])]
        yes: bool,
        /// The one whose secret is on stdin, up to the end of its first line.
        #[arg(long)]
        stdin: bool,
        /// Until when the end of a worker token must be remembered: its own end, for who knows it [default: 7 days and 10
        /// minutes from now, when every worker token of today is dead].
        #[arg(long, value_name = "TIME", requires = "ids", value_parser = parse_time)]
        expires_at: Option<Timestamp>,
        /// Remember it only until then, though it is earlier than a worker token of today can end.
        #[arg(long, requires = "expires_at")]
        force: bool,
    },
    /// Give a token another name.
    Rename {
        /// Its id, as `fallgate token list` shows it.
        id: String,
        /// What its owner will call it.
        name: TokenName,
        #[command(flatten)]
        format: Format,
    },
    /// Give a token another end. What has ended stays so.
    #[command(
        override_usage = "fallgate token expire [OPTIONS] --at <WHEN> <ID>",
        after_help = "Example: fallgate token expire 0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b --at 30d"
    )]
    Expire {
        /// Its id, as `fallgate token list` shows it.
        id: String,
        /// When it is to end: an RFC 3339 time, or 90d, 12h, 30m from now, or never.
        #[arg(long, value_name = "WHEN", required_unless_present = "misplaced")]
        at: Option<Lifetime>,
        // So that whoever leaves --at out is told of it.
        #[arg(hide = true)]
        misplaced: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Say whose a secret is and whether it is good. Reads it from stdin, up to the end of its first line.
    ///
    /// On a gate it says so of your own; of others' to an admin. Uses are counted about a minute late.
    #[command(after_help = "Example: printf %s \"$TOKEN\" | fallgate token inspect")]
    Inspect {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InternalToken {
    /// Print it.
    ///
    /// Programs on this machine may as well read the file internal-token in the home folder.
    Show,
    /// Make another one. The old one is refused from now on, by a running gate too.
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Take in the users and tokens of an llmux installation.
    ///
    /// Reads its auth.json, users.json and tokens.json, wherever of the two folders they lie, and changes nothing in
    /// them. What was taken once is not taken again, also when it was ended since.
    Llmux {
        #[arg(long, value_name = "DIR", help = LLMUX_STATE)]
        state_dir: Option<PathBuf>,
        #[arg(long, value_name = "DIR", help = LLMUX_DATA)]
        data_dir: Option<PathBuf>,
        /// Say what would be taken, and take nothing.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List events, newest first.
    #[command(after_help = "Example: fallgate audit list --user alice --action token.mint")]
    List {
        /// What this user did, and what was done to their account or with tokens for them.
        #[arg(long, visible_alias = "username")]
        user: Option<String>,
        /// This action only, such as token.mint.
        #[arg(long)]
        action: Option<String>,
        /// How many at most, up to 1000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only those before the event of this number.
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
        #[command(flatten)]
        format: Format,
    },
    /// Show the last events, and new ones as they come, until interrupted.
    Tail {
        /// Print each as one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Walk the whole trail, and name the first event that was changed or taken out.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// List the keys: what they are called, since when they are there, what they are good for. Shows no secret.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Seal everything under a new root key. The old one still opens until `--confirm`.
    ///
    /// A key that is kept in root.key is replaced there. The new one of a key that is kept in the environment is yours to
    /// make: name its file with --new-key-file, and set the variable to it afterwards.
    Rotate {
        /// The new key: 64 hex digits, as `openssl rand -hex 32` makes them, or base64 [default: one is made].
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
        /// End the old root key of the last rotation, once the new one is in its place.
        #[arg(long, conflicts_with = "new_key_file")]
        confirm: bool,
    },
    /// Let a new key sign. What the old one has signed is good until it expires.
    RotateSigning {
        /// The old key was stolen: what it, and any before it, has signed is good no more.
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Copy the database into a new file, whether or not a gate runs.
    ///
    /// The copy is whole and as of one moment, and only you can read it. Nothing is overwritten.
    Backup {
        /// Where to. Must not be there yet.
        file: PathBuf,
    },
    /// Go on with a database that was restored from a backup, and end every credential in it.
    ///
    /// What was revoked after the backup was made would stand again, so every token and every sign-in ends. Users, roles
    /// and passphrases stay as they were then. No gate may run meanwhile.
    Restore {
        /// Say that you know what ends.
        #[arg(long, required = true)]
        accept: bool,
    },
    /// Take away credentials that ended more than 30 days ago.
    ///
    /// A running gate does so by itself.
    Sweep,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the config, and say what is wrong with it if anything is.
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Print JSON, with what may not be meant.
        #[arg(long)]
        json: bool,
    },
    /// Show every setting, where it comes from, and the routes in the order in which they are tried.
    Explain {
        #[command(flatten)]
        settings: Settings,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn parse_time(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    Timestamp::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::tree().debug_assert();
    }

    #[test]
    fn every_command_has_help_that_says_what_it_is_for() {
        fn walk(command: &mut Command) {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "{name} says nothing about itself");
            let help = command.render_long_help().to_string();
            assert!(help.contains("Usage:"), "{name}: {help}");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{name}: {} is not explained", argument.get_id());
            }
            command.get_subcommands_mut().for_each(walk);
        }
        let mut command = Cli::tree();
        command.build();
        walk(&mut command);
    }

    #[test]
    fn a_passphrase_cannot_be_given_as_an_argument() {
        let typed = ["fallgate", "user", "create", "ada", "--passphrase", "x"];
        assert!(Cli::try_parse_from(typed).is_err());
    }
}
