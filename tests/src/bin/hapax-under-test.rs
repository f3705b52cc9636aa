//! The `hapax` binary under another name: cargo builds it for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    hapax_server::cli::run(std::env::args_os()).into()
}
