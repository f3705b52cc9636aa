//! Generated histories with one mistake in each: what every tier finds.
//!
//! The table of mistakes and tiers is printed (`--nocapture`). A mistake must be found by some tier
//! wherever it is made, and by those that its row names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod mutations;
mod site;

use hapax_checker::generate::{Plan, Rng};
use hapax_checker::{Options, Tier, check};
use site::{Ground, Site};
use std::fmt::Write;

/// So often each mistake is made, in a place of its own.
const PLACES: u64 = 8;
const TIERS: [(Tier, char); 3] = [(Tier::Scan, 's'), (Tier::Witness, 'w'), (Tier::Blind, 'b')];

#[test]
fn every_mistake_in_a_history_is_found() {
    let grounds: Vec<_> = (1..=4).map(|seed| Ground::new(Plan::new(seed, 2200).history())).collect();
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (name, must, mistake) in mutations::ALL {
        let (mut made, mut found, mut any) = (0, [0; 3], 0);
        for place in 0..PLACES {
            let ground = &grounds[usize::try_from(place % 4).unwrap()];
            let mut site = Site::new(ground, Rng::new(place * 7919 + 1));
            if mistake(&mut site).is_none() {
                continue;
            }
            made += 1;
            let tiers = check(&site.history, &Options::default()).tiers();
            any += u64::from(!tiers.is_empty());
            for (count, (tier, _)) in found.iter_mut().zip(TIERS) {
                *count += u64::from(tiers.contains(&tier));
            }
        }
        let [scan, witness, blind] = found;
        writeln!(table, "| {name} | {made} | {scan} | {witness} | {blind} | {any} |").unwrap();
        let by_row =
            TIERS.iter().zip(found).all(|((_, letter), found)| !must.contains(*letter) || found == made);
        if made < 2 || any != made || !by_row {
            wrong.push(format!("{name}: made {made}, found {found:?}, by any {any}, must {must}"));
        }
    }
    println!("| mistake | made | scan | witness | blind | any |\n|---|---|---|---|---|---|\n{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
