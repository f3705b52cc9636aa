//! A history sorted by address, once for all tiers.

use crate::history::{Call, History, Name, Operation, Policy, Reply, View};
use std::collections::{HashMap, HashSet};

/// One thing that happened to an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch<'h> {
    pub(crate) operation: &'h Operation,
    /// Set when it came as a row of a listing, or as the lack of one.
    pub(crate) row: Option<&'h View>,
}

/// The operations of a history by their address.
#[derive(Debug)]
pub(crate) struct Index<'h> {
    pub(crate) history: &'h History,
    pub(crate) groups: Vec<Group<'h>>,
    defaults: &'h Policy,
}

/// What happened to one address.
#[derive(Debug)]
pub(crate) struct Group<'h> {
    pub(crate) address: &'h Name,
    /// By invocation.
    pub(crate) touches: Vec<Touch<'h>>,
    /// By the first witness of an operation on it.
    pub(crate) shard: Option<u32>,
}

static ABSENT: View = View::ABSENT;

impl<'h> Index<'h> {
    pub(crate) fn new(history: &'h History, defaults: &'h Policy) -> Self {
        let mut by_address: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Group<'h>> = Vec::new();
        let mut add = |address: &'h Name, touch: Touch<'h>| {
            let at = *by_address.entry(address.as_str()).or_insert_with(|| {
                groups.push(Group { address, touches: Vec::new(), shard: None });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.shard = group.shard.or(touch.operation.witness.map(|witness| witness.shard));
            group.touches.push(touch);
        };
        for operation in &history.operations {
            if let Some(address) = operation.call.address() {
                add(address, Touch { operation, row: None });
            }
            if let Reply::Page { rows, .. } = &operation.reply {
                for row in rows {
                    add(&row.address, Touch { operation, row: Some(&row.view) });
                }
            }
        }
        add_missing_rows(history, &mut groups);
        for group in &mut groups {
            group.touches.sort_by_key(|touch| (touch.operation.invoke_us, touch.operation.id));
        }
        Self { history, groups, defaults }
    }

    /// The policy of an address.
    pub(crate) fn policy(&self, address: &Name) -> &'h Policy {
        let mut parts = address.as_str().split('|');
        let (tenant, operation) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let fits = |pattern: &Name, text: &str| pattern.as_str() == "*" || pattern.as_str() == text;
        let rows = &self.history.header.policies;
        rows.iter()
            .find(|row| fits(&row.tenant, tenant) && fits(&row.operation, operation))
            .map_or(self.defaults, |row| &row.policy)
    }
}

/// A listing that began at the beginning, came to the end and left out no state says of every address
/// of its range that it does not name: there is nothing.
fn add_missing_rows<'h>(history: &'h History, groups: &mut [Group<'h>]) {
    let mut ranges: HashMap<(u32, &str), Vec<usize>> = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        if let Some(shard) = group.shard {
            let tenant = group.address.as_str().split('|').next().unwrap_or_default();
            ranges.entry((shard, tenant)).or_default().push(number);
        }
    }
    for operation in &history.operations {
        let (Call::List(list), Reply::Page { rows, next: None }) = (&operation.call, &operation.reply) else {
            continue;
        };
        if list.after.is_some() || list.state.is_some() {
            continue;
        }
        let named: HashSet<&Name> = rows.iter().map(|row| &row.address).collect();
        for number in ranges.get(&(list.shard, list.tenant.as_str())).into_iter().flatten() {
            let group = &mut groups[*number];
            let is_of = |wanted: &Name| group.address.as_str().split('|').nth(1) == Some(wanted.as_str());
            if list.operation.as_ref().is_none_or(is_of) && !named.contains(group.address) {
                group.touches.push(Touch { operation, row: Some(&ABSENT) });
            }
        }
    }
}
