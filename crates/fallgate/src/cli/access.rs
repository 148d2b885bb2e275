//! Where commands work, and signing in to gates.

use std::path::PathBuf;

use clap::{Args, Command};
use fallgate_domain::credential::TokenName;
use fallgate_domain::user::Username;

use super::Format;

const PLACE: &str = "Where it works";
const SERVER: &str = "On the gate at this address, over HTTP [default: $FALLGATE_SERVER, else on a home folder]. The credential is $FALLGATE_TOKEN, else what `fallgate login` has saved";
const HOME: &str = "On this folder of this machine, directly [default: $FALLGATE_HOME, else $XDG_DATA_HOME/fallgate, else ~/.local/share/fallgate]";

const CONFIG: &str = "The config file, whose policy commands on a home folder keep to [default: $FALLGATE_CONFIG, else fallgate/fallgate.toml in $XDG_CONFIG_HOME or ~/.config]";

/// For every command.
#[derive(Debug, Args)]
pub(crate) struct Where {
    #[arg(long, global = true, help_heading = PLACE, display_order = 97, value_name = "URL", help = SERVER)]
    pub(crate) server: Option<String>,
    /// Let secrets go to another machine over plain http://, where everybody on the way can read them.
    #[arg(long, global = true, help_heading = PLACE, display_order = 98)]
    pub(crate) insecure_http: bool,
    #[arg(long, global = true, help_heading = PLACE, display_order = 99, value_name = "DIR", help = HOME)]
    pub(crate) home: Option<PathBuf>,
    #[arg(long, global = true, help_heading = PLACE, display_order = 100, value_name = "FILE", help = CONFIG)]
    pub(crate) config: Option<PathBuf>,
}

const GATE: &str = "The gate, by its address [default: $FALLGATE_SERVER, else the one you are signed in to]";

/// What has no meaning on a home folder.
const ABOUT_A_GATE: &[&str] = &["login", "logout", "status", "passwd"];

/// Shows each command the places that it can work at. The others are understood all the same, and refused with the
/// reason or, like the home folder of what is about a gate only, without a meaning.
pub(super) fn show_places(command: Command) -> Command {
    let hidden: [(&[&str], &[&str]); 5] = [
        (&["serve", "import", "doctor"], &["server", "insecure_http"]),
        (&["internal-token", "key", "store", "reload"], &["server", "insecure_http", "config"]),
        (&["config"], &["server", "insecure_http", "home"]),
        (&["version", "completions", "man"], &["server", "insecure_http", "home", "config"]),
        (ABOUT_A_GATE, &["home", "config"]),
    ];
    let flags: Vec<_> = command.get_arguments().filter(|flag| flag.is_global_set()).cloned().collect();
    let nouns = hidden.into_iter().flat_map(|(nouns, hidden)| nouns.iter().map(move |noun| (*noun, hidden)));
    nouns.fold(command, |command, (noun, hidden)| {
        let flags = flags.iter().map(|flag| {
            let name = flag.get_id().as_str();
            let flag = flag.clone().hide(hidden.contains(&name));
            if name == "server" && ABOUT_A_GATE.contains(&noun) { flag.help(GATE) } else { flag }
        });
        command.mut_subcommand(noun, |noun| noun.args(flags))
    })
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// As whom [default: asked for].
    #[arg(long)]
    pub(crate) username: Option<Username>,
    /// What the list of your signed-in devices is to call it [default: this machine's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<TokenName>,
    /// Read the passphrase from stdin, up to the end of its first line.
    #[arg(long, requires = "username")]
    pub(crate) passphrase_stdin: bool,
    /// Without a passphrase: show a code that you approve in a browser where you are signed in. Also where there is no
    /// terminal to type on and nobody is named.
    #[arg(long, conflicts_with_all = ["username", "passphrase_stdin"])]
    pub(crate) device: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Pair {
    /// As whom the phone is to be signed in [default: on a home folder the first enabled admin, on a gate yourself].
    #[arg(long, visible_alias = "user", value_name = "USER")]
    pub(crate) username: Option<Username>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Passwd {
    /// Read from stdin: the passphrase as it is on the first line, the new one on the second.
    #[arg(long)]
    pub(crate) passphrase_stdin: bool,
    /// End your tokens too.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}
