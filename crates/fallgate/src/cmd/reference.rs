//! `fallgate completions` and `fallgate man`: the command line, written down for shells and for readers.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::tree(), "fallgate", &mut script);
    output::data(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(folder: &Path) -> Result<(), Failure> {
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::tree(), folder));
    written.map_err(|error| {
        Failure::failed(format_args!(
            "cannot write to {}: {error}; name a folder of your own",
            folder.display()
        ))
    })?;
    output::say(format_args!(
        "Wrote the manual pages to {}; `man fallgate` shows the first",
        folder.display()
    ));
    Ok(())
}
