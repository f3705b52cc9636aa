//! Replicas that know an entry to be committed have the same entry there.

use crate::history::{LogDump, LogEntry};
use crate::report::Report;
use crate::violation::{Tier, Violation};
use std::collections::BTreeMap;

/// Compares all dumps of each shard, entry by entry, up to what each replica knows to be committed.
pub(crate) fn check(dumps: &[LogDump], report: &mut Report) {
    let mut agreed: BTreeMap<(u32, u64), (u32, LogEntry)> = BTreeMap::new();
    for dump in dumps {
        let gap = dump.entries.windows(2).any(|pair| pair[1].index != pair[0].index + 1);
        let falls = dump.entries.windows(2).any(|pair| pair[1].term < pair[0].term);
        if gap || falls {
            let what = format!("node {}: its log has a gap or a falling term", dump.node);
            report.add(violation(dump.shard, what));
        }
        for entry in dump.entries.iter().filter(|entry| entry.index <= dump.committed) {
            let (node, first) = agreed.entry((dump.shard, entry.index)).or_insert((dump.node, *entry));
            if first != entry {
                let (at, other) = (entry.index, dump.node);
                let what = format!("nodes {node} and {other} have different committed entries at {at}");
                report.add(violation(dump.shard, what));
                break;
            }
        }
    }
}

fn violation(shard: u32, what: String) -> Violation {
    Violation {
        tier: Tier::Witness,
        rule: "logs",
        about: format!("shard {shard}"),
        operations: Vec::new(),
        what,
    }
}
