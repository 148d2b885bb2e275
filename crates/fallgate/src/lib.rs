//! The program `fallgate`: command line, config, assembly, life cycle.

mod access_log;
mod assemble;
mod cli;
mod client;
mod cmd;
mod config;
mod control;
mod desk;
mod failure;
mod first_run;
mod home;
mod internal;
mod lifecycle;
mod llmux;
mod neighbours;
mod output;
mod place;
mod qr;
mod reload;
mod root_key;
mod service_manager;
mod welcome;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::config::Environment;

/// Runs what the command line asks for. Exit code 0: done; 1: refused or failed, with one line on stderr; 2: usage.
pub fn run() -> ExitCode {
    let cli = Cli::typed();
    lifecycle::keep_new_files_private();
    match cmd::run(cli, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.exit_code()
        }
    }
}
