//! Rules for every source file.

use crate::all_keep;
use crate::source::{Source, files, rust};

/// No file has more lines.
const LINES_MAX: usize = 800;
/// Files over this are told, so that they are looked at.
const LINES_MANY: usize = 500;

#[test]
fn no_file_is_longer_than_800_lines() {
    let lines = |source: &Source| source.text.lines().count();
    let over = |limit: usize| {
        let sources = rust();
        let long = sources.iter().filter(|source| lines(source) > limit);
        long.map(|source| format!("{}: {} lines", source.path, lines(source))).collect::<Vec<_>>()
    };
    let many = over(LINES_MANY);
    if !many.is_empty() {
        println!("over {LINES_MANY} lines, worth a look:\n  {}", many.join("\n  "));
    }
    all_keep("no file has more than 800 lines", &over(LINES_MAX));
}

#[test]
fn every_lint_exception_has_its_reason() {
    let mut breaches = Vec::new();
    for source in rust() {
        for opening in ["[allow(", "[expect("] {
            for (at, _) in source.text.match_indices(opening) {
                let before = source.text[..at].trim_end_matches('!');
                let end = source.text[at..].find(")]").map_or(source.text.len(), |end| at + end);
                if before.ends_with('#') && !source.text[at..end].contains("reason = \"") {
                    breaches.push(format!("{}:{}", source.path, before.matches('\n').count() + 1));
                }
            }
        }
    }
    all_keep("every allow and expect of a lint has a reason", &breaches);
}

#[test]
fn nothing_is_left_to_be_done() {
    let needles = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["TO", "DO"], ["X", "XX:"]];
    let needles: Vec<String> = needles.iter().map(|parts| parts.concat()).collect();
    let mut all = rust();
    all.extend(files(&["src", "tests", "deploy", ".ci"], ".toml"));
    all.extend(files(&["docs", "deploy"], ".md"));
    let mut breaches = Vec::new();
    for source in &all {
        for (number, line) in (1..).zip(source.text.lines()) {
            if let Some(needle) = needles.iter().find(|needle| line.contains(needle.as_str())) {
                breaches.push(format!("{}:{number}: {needle}", source.path));
            }
        }
    }
    all_keep("nothing is left to be done later", &breaches);
}

#[test]
fn no_test_is_switched_off_and_none_sleeps_a_thread() {
    let off = ["ig", "nore ="].concat();
    let off_unsaid = ["#[ig", "nore]"].concat();
    let sleep = ["thread::", "sleep"].concat();
    // Not a test but what a test runs as a child process, to kill it.
    let child = format!("#[{off} \"other tests run it as a process of its own\"]");
    let mut places = Vec::new();
    for source in rust() {
        places.extend(source.places(&[&off_unsaid]));
        let off = source.code().into_iter().filter(|(_, line)| line.contains(&off) && line.trim() != child);
        places.extend(off.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
        // An example measures, and is no test.
        if !source.path.contains("/examples/") {
            places.extend(source.places(&[&sleep]));
        }
    }
    all_keep("no test is switched off, nothing waits by sleeping a thread", &places);
}

#[test]
fn every_module_begins_with_its_contract() {
    let unsaid = |source: &&Source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        source.is_product() && !first.is_some_and(|line| line.starts_with("//!"))
    };
    let sources = rust();
    let breaches: Vec<String> = sources.iter().filter(unsaid).map(|source| source.path.clone()).collect();
    all_keep("every module of the product begins with its contract", &breaches);
}
