//! The rules of the repository that no compiler checks. Each test is one rule and names every
//! place that breaks it.

mod crates;
mod docs;
mod layout;
mod seams;
mod seeded;
mod source;
mod text;

use std::path::PathBuf;

/// The top level of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the top level").to_owned()
}

/// Fails with every place that breaks a rule.
fn all_keep(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}
