//! The `hapax` binary.
fn main() {}
