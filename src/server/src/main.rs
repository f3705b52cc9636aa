//! The `hapax` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hapax_server::main()
}
