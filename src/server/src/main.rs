//! The `hapax` program.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Measured against the system's: docs/decisions/0008-fast-path.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hapax_server::main()
}
