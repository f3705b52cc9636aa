//! Runs the fuzz targets over their corpus: what a fuzzer once found stays found, on any compiler.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use hapax_fuzz::Seen;
use hapax_fuzz::driver::worker::corpus;
use hapax_fuzz::targets::named;
use std::collections::HashSet;
use std::path::Path;

/// Runs a target over its corpus and its seeds; gives how many inputs held something, and how many features they
/// reached together.
fn run(name: &str) -> (usize, usize) {
    let target = named(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut inputs = corpus(&folder).unwrap();
    inputs.extend((target.seeds)().into_iter().map(|seed| ("a seed".into(), seed)));
    let (mut held, mut features) = (0, HashSet::new());
    for (path, input) in inputs {
        let mut seen = Seen::default();
        let taken = (target.run)(&input, &mut seen);
        let is_bad = path.file_name().unwrap().to_string_lossy().starts_with("bad_");
        assert!(taken == 0 || !is_bad, "{} holds nothing", path.display());
        held += usize::from(taken > 0);
        features.extend(seen.features().iter().copied());
    }
    (held, features.len())
}

#[test]
fn client_frames() {
    assert!(run("client_frame").0 >= 35);
}

#[test]
fn peer_frames() {
    assert!(run("peer_frame").0 >= 25);
}

#[test]
fn handshakes() {
    assert!(run("handshake").0 >= 5);
}

#[test]
fn damaged_logs_tell_the_truth_or_are_quarantined() {
    let (held, features) = run("log_open");
    assert!(held >= 48 && features >= 60, "{held} logs held something, {features} features");
}

#[test]
fn damaged_snapshots_are_refused() {
    let (held, features) = run("snapshot_open");
    assert!(held >= 3 && features >= 15, "{held} were whole, {features} features");
}

#[test]
fn stored_values() {
    assert!(run("stored_value").0 >= 15);
}

#[test]
fn whatever_decodes_as_a_batch_can_be_applied() {
    assert!(run("batch_apply").0 >= 7);
}

#[test]
fn small_files_of_a_node() {
    assert!(run("node_file").0 >= 7);
}

#[test]
fn a_refused_configuration_names_its_fields() {
    assert!(run("config").0 >= 3);
}
