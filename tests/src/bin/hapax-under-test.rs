//! The `hapax` binary under another name: cargo builds it for the tests of this package. A node that it runs
//! can be given wrong clocks and failing disks; see `hapax_tests::inject`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hapax_server::cli::run_in(std::env::args_os(), hapax_tests::inject::world).into()
}
