//! What the top level holds.

use crate::{all_keep, root};
use std::fs;

/// What may stand at the top level.
const TOP: [&str; 23] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "benches",
    "deploy",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "justfile",
    "deny.toml",
    "clippy.toml",
    "rustfmt.toml",
    "rust-toolchain.toml",
    ".ci",
    ".cargo",
    ".git",
    ".gitignore",
    ".gitattributes",
    ".dockerignore",
];

#[test]
fn the_top_level_holds_nothing_else() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let foreign: Vec<String> =
        names.filter(|name| !TOP.contains(&name.as_str()) && !is_ignored(name)).collect();
    all_keep("the top level holds only what the layout says", &foreign);
}

#[test]
fn the_binary_is_what_cargo_run_starts() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["default-members"].as_array().unwrap();
    assert_eq!(members, &vec![toml::Value::from("src/server")]);
}
