//! The program. All of it is in the library, which the tests can reach.

use std::process::ExitCode;

fn main() -> ExitCode {
    fallgate::run()
}
