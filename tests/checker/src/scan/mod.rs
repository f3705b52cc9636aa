//! Linear scanners: each looks for one kind of lie, in one pass, without the model.
//!
//! They know less than the replay and the search do, and so share no mistake with them; and they say
//! more plainly what went wrong.

mod batches;
mod definite;
mod facts;
mod fencing;
mod final_scan;
mod kinds;
mod leaks;
mod order;
mod reruns;
mod results;
mod retries;
mod tokens;

use crate::index::Index;
use crate::report::Report;
use facts::Facts;

pub(crate) use final_scan::FinalScan;

/// Runs every scanner.
pub(crate) fn check(index: &Index<'_>, report: &mut Report) -> FinalScan {
    order::scan(index.history, report);
    kinds::scan(index, report);
    let mut scanned = FinalScan::new(index.history);
    for group in &index.groups {
        let facts = Facts::new(index, group);
        tokens::scan(&facts, report);
        batches::scan(&facts, report);
        retries::scan(&facts, report);
        reruns::scan(&facts, report);
        results::scan(&facts, report);
        fencing::scan(&facts, report);
        leaks::scan(&facts, report);
        definite::scan(&facts, report);
        scanned.scan(&facts, report);
    }
    scanned
}
