//! Docs say what is there: links lead somewhere, named tests exist, decisions are numbered.

use crate::source::{files, rust};
use crate::{all_keep, root};
use std::collections::BTreeSet;
use std::fs;

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_somewhere() {
    let mut breaches = Vec::new();
    let mut pages = files(&["docs", "deploy", "tests"], ".md");
    for name in ["README.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        pages.push(crate::source::Source { path: name.to_owned(), text });
    }
    for page in &pages {
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let is_foreign = file.is_empty() || file.contains("://") || file.contains(' ');
            let path = root().join(&page.path).parent().unwrap().join(file);
            if !is_foreign && !path.exists() {
                breaches.push(format!("{}: {link}", page.path));
            }
        }
    }
    all_keep("links in the docs lead somewhere", &breaches);
}

#[test]
fn what_verification_names_exists() {
    let text = fs::read_to_string(root().join("docs/verification.md")).unwrap();
    let sources = rust();
    let scripts: BTreeSet<String> = fs::read_dir(root().join("src/core/tests/scripts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let mut functions = BTreeSet::new();
    for source in &sources {
        for rest in source.text.split("fn ").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            functions.insert(rest[..end].to_owned());
        }
    }
    let is_name = |word: &str| {
        word.matches('_').count() >= 2
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut breaches = Vec::new();
    let mut named = 0;
    for word in quoted(&text) {
        if word.contains('/')
            && (word.ends_with(".rs") || word.starts_with("src/") || word.starts_with("tests/"))
        {
            named += 1;
            if !root().join(word).exists() {
                breaches.push(format!("no such file: {word}"));
            }
        } else if is_name(word) && !word.starts_with("hapax_") {
            named += 1;
            if !functions.contains(word) && !scripts.contains(word) {
                breaches.push(format!("no such test: {word}"));
            }
        }
    }
    assert!(named > 40, "only {named} names were found");
    all_keep("every test and file that verification.md names exists", &breaches);
}

#[test]
fn verification_covers_every_property() {
    let text = fs::read_to_string(root().join("docs/verification.md")).unwrap();
    let missing: Vec<String> =
        (1..=16).map(|n| format!("| S{n} ")).filter(|row| !text.contains(row.as_str())).collect();
    all_keep("verification.md has a row for every safety property", &missing);
}

#[test]
fn decisions_are_numbered_and_listed() {
    let index = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    let mut pages = files(&["docs/decisions"], ".md");
    pages.retain(|page| !page.path.ends_with("README.md"));
    let mut breaches = Vec::new();
    for (number, page) in (1..).zip(&pages) {
        let name = page.path.rsplit('/').next().unwrap_or_default();
        if !name.starts_with(&format!("{number:04}-")) {
            breaches.push(format!("{name} should be number {number:04}"));
        }
        if !page.text.starts_with("# ") {
            breaches.push(format!("{name} does not begin with its title"));
        }
        if !index.contains(&format!("({name})")) {
            breaches.push(format!("{name} is not in the index"));
        }
    }
    assert!(!pages.is_empty());
    all_keep("decisions are numbered without gaps, titled and listed", &breaches);
}

#[test]
fn the_readme_gives_one_test_command_and_the_one_command_start() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let tests: Vec<&str> = text.lines().filter(|line| line.starts_with("cargo test")).collect();
    assert_eq!(
        tests,
        ["cargo test --workspace --no-fail-fast"],
        "the one command that .ci/run takes from here"
    );
    assert!(text.lines().any(|line| line.starts_with("cargo run --release -- dev")));
}

#[test]
fn operations_names_every_metric_that_there_is_and_no_other() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let mut made = BTreeSet::new();
    for source in files(&["src/server/src/metrics"], ".rs").iter().filter(|source| source.is_product()) {
        made.extend(
            source.text.split('"').skip(1).step_by(2).filter(|word| is_metric(word)).map(str::to_owned),
        );
    }
    assert!(made.len() > 30, "the metrics were not found: {made:?}");
    let mut named = BTreeSet::new();
    for word in text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_') {
        if is_metric(word) {
            named.insert(word.to_owned());
        }
    }
    let mut breaches: Vec<String> = made.difference(&named).map(|name| format!("not told: {name}")).collect();
    breaches.extend(named.difference(&made).map(|name| format!("not made: {name}")));
    all_keep("operations.md names every metric, and no other", &breaches);
}

fn is_metric(word: &str) -> bool {
    word.strip_prefix("hapax_").is_some_and(|rest| rest.contains('_') || rest == "up" || rest == "records")
}

#[test]
fn operations_names_every_field_of_the_configuration() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let schema = fs::read_to_string(root().join("src/server/src/config/schema.rs")).unwrap();
    let fields = schema.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    let fields: Vec<&str> = fields.filter(|field| !field.contains(' ')).collect();
    assert!(fields.len() > 30, "the fields were not found: {fields:?}");
    let unsaid = fields.into_iter().filter(|field| !text.contains(field)).map(str::to_owned);
    all_keep("operations.md names every field of the configuration", &unsaid.collect::<Vec<_>>());
}
