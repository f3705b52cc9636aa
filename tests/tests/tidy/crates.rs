//! Arrows between crates point down only, and what the lower ones may not know.

use crate::seeded::SELECTOR;
use crate::source::{files, rust};
use crate::{all_keep, root};
use std::fs;
use toml::Table;

/// Each crate and those of this workspace that it may depend on.
const ARROWS: [(&str, &str, &[&str]); 10] = [
    ("src/core", "hapax-core", &[]),
    ("src/wire", "hapax-wire", &["hapax-core"]),
    ("src/store", "hapax-store", &["hapax-core"]),
    ("src/raft", "hapax-raft", &["hapax-core", "hapax-wire", "hapax-store"]),
    ("src/client", "hapax-client", &["hapax-core", "hapax-wire"]),
    (
        "src/server",
        "hapax-server",
        &["hapax-core", "hapax-wire", "hapax-store", "hapax-raft", "hapax-client"],
    ),
    ("tests/checker", "hapax-checker", &[]),
    (
        "tests",
        "hapax-tests",
        &[
            "hapax-core",
            "hapax-wire",
            "hapax-store",
            "hapax-raft",
            "hapax-client",
            "hapax-server",
            "hapax-checker",
        ],
    ),
    ("tests/fuzz", "hapax-fuzz", &["hapax-core", "hapax-wire", "hapax-store", "hapax-raft", "hapax-server"]),
    (
        "benches",
        "hapax-bench",
        &["hapax-core", "hapax-wire", "hapax-store", "hapax-raft", "hapax-client", "hapax-server"],
    ),
];

/// Crates that the core may know: bytes, errors, hashes with a fixed key.
const CORE_KNOWS: [&str; 7] = ["bincode", "bytes", "serde", "sha2", "siphasher", "thiserror", "xxhash-rust"];

pub(crate) fn manifest(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).expect("every crate has a manifest").parse().expect("it is TOML")
}

fn dependencies(manifest: &Table, kinds: &[&str]) -> Vec<String> {
    let of = |kind: &&str| manifest.get(*kind).and_then(|it| it.as_table()).cloned().unwrap_or_default();
    kinds.iter().flat_map(|kind| of(kind).into_iter().map(|(name, _)| name)).collect()
}

#[test]
fn arrows_point_down_only() {
    let members = manifest(".")["workspace"]["members"].as_array().cloned().expect("a workspace");
    let members: Vec<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(members.len(), ARROWS.len(), "a crate is missing here: {members:?}");
    let mut breaches = Vec::new();
    for (folder, name, allowed) in ARROWS {
        let manifest = manifest(folder);
        assert_eq!(manifest["package"]["name"].as_str(), Some(name));
        for used in dependencies(&manifest, &["dependencies", "dev-dependencies", "build-dependencies"]) {
            if used.starts_with("hapax-") && !allowed.contains(&used.as_str()) {
                breaches.push(format!("{name} depends on {used}"));
            }
        }
    }
    all_keep("arrows between crates point down only", &breaches);
}

#[test]
fn consensus_stays_behind_one_crate() {
    let mut breaches = Vec::new();
    for (folder, name, _) in ARROWS {
        let used = dependencies(&manifest(folder), &["dependencies"]);
        if name != "hapax-raft" && used.iter().any(|used| used.starts_with("openraft")) {
            // hapax-store's tests may run openraft's own storage suite; its product code may not.
            breaches.push(format!("{name} depends on openraft"));
        }
    }
    for engine in ["fjall", "sled"] {
        for (folder, name, _) in ARROWS {
            if name != "hapax-store"
                && dependencies(&manifest(folder), &["dependencies"]).contains(&engine.into())
            {
                breaches.push(format!("{name} depends on {engine}"));
            }
        }
    }
    all_keep("openraft is known to hapax-raft alone, the engines to hapax-store alone", &breaches);
}

#[test]
fn the_core_knows_no_time_no_disk_no_network() {
    let used = dependencies(&manifest("src/core"), &["dependencies"]);
    let foreign: Vec<String> = used.into_iter().filter(|used| !CORE_KNOWS.contains(&used.as_str())).collect();
    all_keep("the core depends on bytes, errors and hashes alone", &foreign);
    let forbidden = [
        "tokio",
        "Instant",
        "SystemTime",
        "std::net",
        "std::fs",
        "std::io",
        "std::thread",
        "std::env",
        "std::process",
        "HashMap",
        "HashSet",
        "rand::",
        "getrandom",
        "async fn",
    ];
    // The selector of seeded bugs is no part of the product.
    let sources = files(&["src/core/src"], ".rs").into_iter().filter(|source| source.path != SELECTOR);
    let places: Vec<String> = sources.flat_map(|source| source.places(&forbidden)).collect();
    all_keep("the core has no clock, randomness, thread, I/O or unordered map", &places);
}

#[test]
fn the_wire_opens_no_socket() {
    let sources = files(&["src/wire/src"], ".rs");
    let forbidden = ["tokio", "std::net", "std::fs", "std::thread", "Instant", "SystemTime"];
    let places: Vec<String> = sources.iter().flat_map(|source| source.places(&forbidden)).collect();
    all_keep("the wire is a pure codec", &places);
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let lints = &manifest(".")["workspace"]["lints"]["rust"]["unsafe_code"];
    assert_eq!(lints.as_str(), Some("forbid"));
    let mut breaches = Vec::new();
    for (folder, name, _) in ARROWS {
        let inherits = manifest(folder).get("lints").and_then(|it| it.get("workspace")?.as_bool());
        if inherits != Some(true) {
            breaches.push(format!("{name} does not take the workspace's lints"));
        }
    }
    let keyword = ["unsafe", " {"].concat();
    let places = rust().into_iter().flat_map(|source| source.places(&[&keyword]));
    // The simulator owns the process's source of randomness, which takes the symbol of libc; no
    // part of the product is built with it.
    breaches.extend(places.filter(|place| !place.contains("tests/sim/src/entropy.rs")));
    all_keep("unsafe code is forbidden", &breaches);
}

#[test]
fn what_moves_between_versions_is_pinned() {
    let workspace = manifest(".");
    let pinned = ["openraft", "fjall", "sled", "hashring", "bincode"];
    let version = |name: &str| {
        let dependency = &workspace["workspace"]["dependencies"][name];
        dependency.as_str().or_else(|| dependency["version"].as_str()).unwrap_or_default().to_owned()
    };
    let loose = pinned.iter().filter(|name| !version(name).starts_with('='));
    let loose: Vec<String> = loose.map(|name| (*name).to_owned()).collect();
    all_keep("consensus, engines, placement and bytes are pinned exactly", &loose);
}
