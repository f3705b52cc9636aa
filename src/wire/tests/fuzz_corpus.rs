//! Runs the fuzz targets over their corpus: what a fuzzer once found stays found, on any compiler.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by failing")]

#[path = "../../../tests/fuzz/src/targets.rs"]
#[expect(unreachable_pub, reason = "it is a library's module where the fuzzers build it")]
mod targets;

use std::path::{Path, PathBuf};

/// The inputs of one target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Runs a target over its corpus and returns how many inputs held a message.
fn run(target: &str, function: fn(&[u8]) -> usize) -> usize {
    let took = |(path, input): (PathBuf, Vec<u8>)| {
        let taken = function(&input);
        if path.file_name().unwrap().to_string_lossy().starts_with("bad_") {
            assert_eq!(taken, 0, "{} holds no message", path.display());
        }
        taken
    };
    corpus(target).into_iter().map(took).filter(|taken| *taken > 0).count()
}

#[test]
fn client_frames() {
    assert!(run("client_frame", targets::client_frame) >= 35);
}

#[test]
fn peer_frames() {
    assert!(run("peer_frame", targets::peer_frame) >= 25);
}

#[test]
fn handshakes() {
    assert!(run("handshake", targets::handshake) >= 5);
}
