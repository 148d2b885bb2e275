//! Help as a terminal shows it: what marks code in our sources is of no use there.

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// The same commands, whose help has no Markdown in it.
pub(super) fn plain(mut command: Command) -> Command {
    if let Some(text) = command.get_about().map(bare) {
        command = command.about(text);
    }
    if let Some(text) = command.get_long_about().map(bare) {
        command = command.long_about(text);
    }
    if let Some(text) = command.get_after_help().map(bare) {
        command = command.after_help(text);
    }
    command.mut_args(plain_argument).mut_subcommands(plain)
}

fn plain_argument(mut argument: Arg) -> Arg {
    if let Some(text) = argument.get_help().map(bare) {
        argument = argument.help(text);
    }
    if let Some(text) = argument.get_long_help().map(bare) {
        argument = argument.long_help(text);
    }
    argument
}

fn bare(text: &StyledStr) -> StyledStr {
    text.to_string().replace('`', "").into()
}
