//! Histories told by hand: good ones must be accepted, bad ones rejected by the tiers that they name.
//!
//! A story is a file of `stories/`; it holds cases, each headed by `== good: what it shows` or
//! `== bad(scan,witness,blind): what it shows`. What the tiers between the brackets must find, the others
//! must not: so the table of what each tier can see is exact. `== void(why)` is a run that proves nothing. `rule` of a bad case names the scanners'
//! rule. The lines are explained in `story.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod story;

use hapax_checker::{Options, Tier, check};
use std::collections::BTreeSet;
use story::Case;

fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/told/stories");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| story::parse(&std::fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn told_histories_are_judged_as_they_say() {
    let (mut good, mut bad, mut void, mut wrong) = (0, 0, 0, Vec::new());
    for case in cases() {
        let options = Options { final_scan: case.final_scan, ..Options::default() };
        let verdict = check(&case.history, &options);
        let expected: BTreeSet<Tier> = case.tiers.iter().copied().collect();
        match (&case.void, expected.is_empty()) {
            (Some(_), _) => void += 1,
            (None, true) => good += 1,
            (None, false) => bad += 1,
        }
        let voided = match &case.void {
            None => verdict.void.is_empty(),
            Some(why) => verdict.void.len() == 1 && verdict.void[0].contains(why.as_str()),
        };
        let rules: Vec<_> = verdict.counts.keys().cloned().collect();
        let named = case.rules.iter().all(|rule| rules.iter().any(|found| found.contains(rule.as_str())));
        if verdict.tiers() != expected || !named || !voided || !verdict.unknown.is_empty() {
            wrong.push(format!("{}\n  expected {expected:?} {:?}\n  {verdict}", case.title, case.rules));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(good >= 40 && bad >= 75 && void >= 7, "{good} good, {bad} bad, {void} void histories are told");
}
