//! A history sorted by address, once for all tiers.

use crate::history::{Call, History, Name, Operation, Policy, Reply, StateKind, View};
use std::collections::HashMap;

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

static ABSENT: View = View {
    state: StateKind::Absent,
    token: 0,
    attempt: 0,
    since_ms: None,
    until_ms: None,
    marked: false,
    class: None,
    detail: None,
};

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
        for operation in &history.operations {
            add_missing_rows(operation, &mut groups);
        }
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
fn add_missing_rows<'h>(operation: &'h Operation, groups: &mut [Group<'h>]) {
    let (Call::List(list), Reply::Page { rows, next: None }) = (&operation.call, &operation.reply) else {
        return;
    };
    if list.after.is_some() || list.state.is_some() {
        return;
    }
    for group in groups.iter_mut().filter(|group| group.shard == Some(list.shard)) {
        let mut parts = group.address.as_str().split('|');
        let in_range = parts.next() == Some(list.tenant.as_str())
            && list.operation.as_ref().is_none_or(|operation| parts.next() == Some(operation.as_str()));
        if in_range && !rows.iter().any(|row| row.address == *group.address) {
            group.touches.push(Touch { operation, row: Some(&ABSENT) });
        }
    }
}
