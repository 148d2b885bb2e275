//! `fallgate completions` and `fallgate man`: the command line, written down for shells and for readers.

use std::path::Path;
use std::{fs, io};

use clap::{ArgAction, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::Cli;
use crate::cmd::version::VERSION;
use crate::failure::Failure;
use crate::home::quoted;
use crate::output;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::tree(), "fallgate", &mut script);
    output::data(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(folder: &Path) -> Result<(), Failure> {
    let mut command = Cli::tree().disable_help_subcommand(true);
    command.build();
    let written = fs::create_dir_all(folder).and_then(|()| pages(command, folder));
    written.map_err(|error| {
        Failure::failed(format_args!(
            "cannot write to {}: {error}; name a folder of your own",
            folder.display()
        ))
    })?;
    let first = folder.join("fallgate.1");
    output::say(format_args!(
        "Wrote the manual pages; the first: man {}",
        quoted(&first.display().to_string())
    ));
    Ok(())
}

/// A page for the command, and one for each below it.
fn pages(command: Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below.clone(), folder)?;
    }
    let synopsis = command.get_overridden_usage().map_or_else(|| synopsis(&command), ToString::to_string);
    let after = command.get_after_help().map(ToString::to_string);
    let has_subcommands = command.has_subcommands();
    let page = Man::new(command.override_usage(synopsis)).source(format!("fallgate {VERSION}"));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_subcommands {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = after {
        // What follows the help is an example, or says under which heading it stands.
        let (heading, rest) = after.split_once(": ").unwrap_or(("Notes", &after));
        let mut roff = Roff::new();
        roff.control("SH", [heading.to_uppercase().as_str()]);
        for line in rest.lines() {
            roff.text([roman(line)]);
        }
        roff.to_writer(&mut text)?;
    }
    fs::write(folder.join(page.get_filename()), text)
}

/// How the command is typed, with what its options take.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut words = vec![name.to_owned()];
    let (positional, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_hide_set()
                && !matches!(
                    argument.get_action(),
                    ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
                )
        })
        .partition(|argument| argument.is_positional());
    for argument in options.into_iter().chain(positional) {
        let values = argument.get_value_names().unwrap_or_default().join(" ");
        let mut word = match argument.get_long() {
            Some(long) if argument.get_action().takes_values() => format!("--{long} {values}"),
            Some(long) => format!("--{long}"),
            None => values,
        };
        if !argument.is_required_set() {
            word = format!("[{word}]");
        }
        let is_repeated = matches!(argument.get_action(), ArgAction::Append);
        words.push(if is_repeated { word + "..." } else { word });
    }
    if command.has_subcommands() {
        words.push("COMMAND ...".to_owned());
    }
    words.join(" ")
}
