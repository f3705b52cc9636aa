//! Generated histories are right, and accepted as they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use hapax_checker::generate::Plan;
use hapax_checker::{Options, check};

#[test]
fn generated_histories_are_accepted_by_every_tier() {
    let crowded = |seed| Plan { addresses: 25, clients: 30, ..Plan::new(seed, 4000) };
    let plans = (0..40).map(|seed| Plan::new(seed, 4000)).chain((100..112).map(crowded));
    for plan in plans {
        let verdict = check(&plan.history(), &Options::default());
        assert!(verdict.is_accepted(), "{plan:?}: {verdict}");
    }
}
