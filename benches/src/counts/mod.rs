//! How many instructions each case of [`crate::micro`] takes, held against a table that is checked in.
//!
//! Times on shared machines tell nothing smaller than a factor; instructions are the same each time. Callgrind runs
//! this program and counts inside of the one function that runs a case, and nowhere else.
//!
//! Contract:
//! - Counted are the instructions of the program itself and its calls of the allocator. What the C library does inside
//!   of them (copying bytes, finding memory) is not: it is chosen by the processor's model, and differs by distribution.
//! - Nothing that is counted may hang on a hasher's seed, an address or the processor: a case that did would fail at
//!   random.
//! - The table holds for one target, one compiler and one profile: x86-64, the toolchain of the repository, and the
//!   profile of development, which CI has built anyway. The program refuses to compare anything else.

pub mod callgrind;
pub mod table;

use crate::micro;
use anyhow::{Context as _, Result};
use std::path::Path;

/// What one run of a case takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Instructions of the program itself.
    pub instructions: u64,
    /// Calls of the allocator that ask for memory.
    pub allocations: u64,
}

/// Runs before counting: what is made once, is made in them.
const WARM_UP: u64 = 2;

/// Runs that are counted.
const RUNS: u64 = 10;

/// Runs a case inside of the function in which callgrind counts: what `program` does when it is run by [`count_all`].
///
/// # Errors
/// There is no such case.
pub fn run_case(name: &str) -> Result<()> {
    let mut case = micro::all()
        .into_iter()
        .find(|case| case.name == name)
        .with_context(|| format!("no case {name:?}"))?;
    for _ in 0..WARM_UP {
        case.run();
    }
    counted(&mut case);
    Ok(())
}

/// Callgrind finds this function by its name.
#[inline(never)]
fn counted(case: &mut micro::Case) {
    for _ in 0..RUNS {
        case.run();
    }
}

/// Counts every case, each in a process of its own, so that none sees what another left in the allocator. `program`
/// must call [`run_case`] with the name that follows `arguments`.
///
/// # Errors
/// Callgrind is not there, or did not count.
pub fn count_all(program: &Path, arguments: &[&str]) -> Result<table::Table> {
    let dir = tempfile::tempdir().context("a directory for what callgrind writes")?;
    let out = dir.path().join("callgrind");
    let mut table = table::Table::default();
    for case in micro::all() {
        let total = callgrind::count(program, arguments, &case.name, &out)
            .with_context(|| format!("counting {:?}", case.name))?;
        let count = Count {
            instructions: total.instructions.div_ceil(RUNS),
            allocations: total.allocations.div_ceil(RUNS),
        };
        table.insert(case.name, count);
    }
    Ok(table)
}
