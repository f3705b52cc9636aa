//! Seeded bugs stay out of the product: no crate enables them, and without the feature there is
//! nothing that could be switched on.

use crate::crates::manifest;
use crate::source::files;
use crate::{all_keep, root};
use std::fs;

const FEATURE: &str = "seeded-bugs";
const CRATES: [&str; 5] = ["src/core", "src/store", "src/raft", "src/server", "tests"];
/// The selector, which is compiled with the feature alone.
pub(crate) const SELECTOR: &str = "src/core/src/seeded/select.rs";

/// The text of a manifest's tables that decide which features are on by default.
fn enables_by_default(folder: &str) -> bool {
    let manifest = manifest(folder);
    let default = manifest.get("features").and_then(|features| features.get("default"));
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let used = tables.iter().filter_map(|table| manifest.get(*table));
    default.into_iter().chain(used).any(|value| value.to_string().contains(FEATURE))
}

#[test]
fn no_crate_enables_seeded_bugs() {
    let folders = [".", "src/core", "src/wire", "src/store", "src/raft", "src/server", "src/client"];
    let folders = folders.iter().chain(&["tests", "benches"]);
    let mut breaches: Vec<String> = folders
        .filter(|folder| enables_by_default(folder))
        .map(|folder| format!("{folder}/Cargo.toml"))
        .collect();
    let shared = manifest(".")["workspace"]["dependencies"].to_string();
    if shared.contains(FEATURE) {
        breaches.push("the shared dependencies".to_owned());
    }
    for folder in CRATES {
        let has = manifest(folder).get("features").is_some_and(|it| it.get(FEATURE).is_some());
        if !has {
            breaches.push(format!("{folder} does not pass the feature on"));
        }
    }
    all_keep("seeded bugs are enabled by the tests that want them, by name", &breaches);
}

#[test]
fn without_the_feature_nothing_can_be_switched_on() {
    let path = root().join("src/core/src/seeded.rs");
    let text = fs::read_to_string(path).expect("the module is there");
    let gated = "#[cfg(feature = \"seeded-bugs\")]\nmod select;";
    assert!(text.contains(gated), "the selector is compiled with the feature alone");
    assert!(
        text.contains("pub const fn active(_bug: Bug) -> bool {\n    false\n}"),
        "the check is a constant"
    );
    let state = ["thread_local!", "Cell::new", "AtomicU", "AtomicBool", "Mutex", "std::env", "OnceLock"];
    let product = files(&["src/core/src"], ".rs").into_iter().filter(|source| source.path != SELECTOR);
    let places: Vec<String> =
        product.filter(|it| it.path.contains("seeded")).flat_map(|it| it.places(&state)).collect();
    all_keep("what is compiled without the feature has no state", &places);
    let product = files(&["src"], ".rs").into_iter().filter(|it| it.is_product() && it.path != SELECTOR);
    let choosing = ["choose_here", "HAPAX_TEST_BUG"];
    let places: Vec<String> = product
        .flat_map(|it| it.places(&choosing))
        .filter(|place| !place.starts_with("src/core/src/seeded.rs"))
        .collect();
    all_keep("the product chooses no bug", &places);
}

#[test]
fn every_seeded_bug_has_a_spot() {
    let text = fs::read_to_string(root().join("src/core/src/seeded.rs")).expect("the module is there");
    let listed = text.split("\nbugs! {").nth(1).and_then(|rest| rest.split('}').next()).expect("the list");
    let bugs: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(bugs.len() >= 17, "the list was not found: {bugs:?}");
    let product = files(&["src"], ".rs").into_iter().filter(|it| it.is_product());
    let code: String = product
        .flat_map(|it| it.code().into_iter().map(|(_, line)| line.to_owned()).collect::<Vec<_>>())
        .collect();
    let missing = bugs.iter().filter(|bug| !code.contains(&format!("seeded::active(Bug::{bug})")));
    let missing: Vec<String> = missing.map(|bug| (*bug).to_owned()).collect();
    all_keep("every seeded bug is switched on somewhere", &missing);
}
