//! The table of counts: as text, and against what is counted now.

use super::Count;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;

/// How far a case's instructions may move before somebody must look, per cent. What is counted is the same on each
/// run; the rest of the room is for what a change elsewhere does to inlining.
pub const TOLERANCE_PERCENT: u64 = 5;

const HEADING: &str = "\
# Instructions and allocations of one run of each case of the micro benchmarks: see benches/src/counts.
# Written by `target/debug/instruction-counts --write`; docs/performance.md tells when.
";

/// Each case and what it takes.
pub type Table = BTreeMap<String, Count>;

/// Reads a table.
///
/// # Errors
/// A line is not `INSTRUCTIONS ALLOCATIONS CASE`.
pub fn parse(text: &str) -> Result<Table> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let row = |line: &str| {
        let (instructions, rest) = line.trim().split_once(' ')?;
        let (allocations, name) = rest.trim_start().split_once(' ')?;
        let count =
            Count { instructions: instructions.parse().ok()?, allocations: allocations.parse().ok()? };
        Some((name.trim_start().to_owned(), count))
    };
    lines.map(|line| row(line).with_context(|| format!("not a row of the table: {line:?}"))).collect()
}

/// The table as it is checked in.
#[must_use]
pub fn text(table: &Table) -> String {
    let row = |(name, count): (&String, &Count)| {
        format!("{:9} {:6}  {name}\n", count.instructions, count.allocations)
    };
    HEADING.to_owned() + &table.iter().map(row).collect::<String>()
}

/// What must be looked at, a line a case: a case that costs more; one that costs less, so that the table is lowered and
/// the gain is held; one that is missing on either side.
#[must_use]
pub fn differences(expected: &Table, counted: &Table) -> Vec<String> {
    let mut told = Vec::new();
    for (name, now) in counted {
        match expected.get(name) {
            None => told.push(format!("{name}: not in the table")),
            Some(before) => told.extend(difference(*before, *now).map(|change| format!("{name}: {change}"))),
        }
    }
    let gone = expected.keys().filter(|name| !counted.contains_key(*name));
    told.extend(gone.map(|name| format!("{name}: in the table, but no case any more")));
    told
}

fn difference(before: Count, now: Count) -> Option<String> {
    let apart = before.instructions.abs_diff(now.instructions);
    if apart * 100 <= before.instructions * TOLERANCE_PERCENT && before.allocations == now.allocations {
        return None;
    }
    let percent = (now.instructions as f64 / before.instructions as f64 - 1.0) * 100.0;
    Some(format!(
        "{} instructions, the table has {} ({percent:+.1} %); {} allocations, the table has {}",
        now.instructions, before.instructions, now.allocations, before.allocations
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, u64, u64)]) -> Table {
        let row = |(name, instructions, allocations): &(&str, u64, u64)| {
            let count = Count { instructions: *instructions, allocations: *allocations };
            ((*name).to_owned(), count)
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let written = table(&[("apply/claim, absent", 1234, 5), ("wire/read 32 calls", 1_000_000, 0)]);
        assert_eq!(parse(&text(&written)).unwrap(), written);
        assert!(parse("12 claim").is_err() && parse("12 x claim").is_err());
    }

    #[test]
    fn more_and_less_are_told_and_what_is_within_the_tolerance_is_not() {
        let expected = table(&[("a", 1000, 3)]);
        for (instructions, allocations, is_told) in [
            (1000, 3, false),
            (1050, 3, false),
            (950, 3, false),
            (1051, 3, true),
            (949, 3, true),
            (1000, 4, true),
        ] {
            let told = differences(&expected, &table(&[("a", instructions, allocations)]));
            assert_eq!(!told.is_empty(), is_told, "{instructions} and {allocations}: {told:?}");
        }
    }

    #[test]
    fn a_case_that_is_on_one_side_only_is_told() {
        let (one, two) = (table(&[("a", 1, 1)]), table(&[("a", 1, 1), ("b", 1, 1)]));
        assert_eq!(differences(&one, &two).len(), 1);
        assert_eq!(differences(&two, &one).len(), 1);
    }
}
