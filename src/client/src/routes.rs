//! Where each shard is led from, as far as this client knows.
//!
//! What is known comes from three sources: the shard table of whichever node was asked, tables that
//! nodes send unasked when leaders change, and the hints of `not_leader`. All of it is only advice:
//! a wrong guess costs a redirect, never a wrong answer.

use hapax_core::LeaderHint;
use hapax_core::limits::SHARDS;
use hapax_wire::client::ShardTable;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// A node's address for clients.
pub(crate) type Addr = Arc<str>;

/// The shard table as last learnt.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    table: Option<Arc<ShardTable>>,
    /// By shard.
    leaders: Vec<Option<Addr>>,
    replicas: Vec<Vec<Addr>>,
    nodes: Vec<Addr>,
    /// Rises with every table taken over.
    generation: u64,
}

impl Routes {
    /// Takes a table over, unless it is older than the one at hand or not a table at all.
    pub(crate) fn learn(&self, table: &ShardTable) {
        if table.shards.is_empty() {
            // A cluster that is just forming.
            return;
        }
        if !is_whole(table) {
            tracing::warn!(version = table.version, "a node sent a shard table with holes; ignored");
            return;
        }
        let mut state = self.state.write();
        if let Some(known) = &state.table {
            if known.shards.len() != table.shards.len() {
                tracing::warn!("a node sent a shard table of another cluster's size; ignored");
                return;
            }
            if known.version > table.version {
                return;
            }
        }
        *state = State::of(table, &state);
    }

    /// The table, once there is one.
    pub(crate) fn table(&self) -> Option<Arc<ShardTable>> {
        self.state.read().table.clone()
    }

    /// The number of data shards; 0 until a table is known.
    pub(crate) fn shards(&self) -> u32 {
        u32::try_from(self.state.read().leaders.len()).unwrap_or(0)
    }

    /// Rises whenever a table is taken over.
    pub(crate) fn generation(&self) -> u64 {
        self.state.read().generation
    }

    /// Every node of the table.
    pub(crate) fn nodes(&self) -> Vec<Addr> {
        self.state.read().nodes.clone()
    }

    /// Whom to ask about `shard`: its leader; without one, its replicas in turn and then any node,
    /// since a node forwards for a client that does not know. Not `avoid`, which just failed, if
    /// there is another: a table may go on naming a dead leader until a new one is elected.
    pub(crate) fn pick(&self, shard: u32, tries: usize, avoid: Option<&Addr>) -> Option<Addr> {
        let state = self.state.read();
        let at = usize::try_from(shard).ok()?;
        if let Some(leader) = state.leaders.get(at)?
            && avoid != Some(leader)
        {
            return Some(Arc::clone(leader));
        }
        let others: Vec<&Addr> =
            (state.replicas.get(at)?.iter().chain(&state.nodes)).filter(|addr| avoid != Some(addr)).collect();
        match others.get(tries % others.len().max(1)) {
            Some(addr) => Some(Arc::clone(addr)),
            None => avoid.cloned(),
        }
    }

    /// Whom to ask where any replica will do: each in turn, and not `avoid` if there is another.
    pub(crate) fn any_replica(&self, shard: u32, turn: usize, avoid: Option<&Addr>) -> Option<Addr> {
        let state = self.state.read();
        let replicas = state.replicas.get(usize::try_from(shard).ok()?)?;
        let others: Vec<&Addr> = replicas.iter().filter(|addr| avoid != Some(addr)).collect();
        let picked = others.get(turn % others.len().max(1)).copied().cloned();
        drop(state);
        picked.or_else(|| self.pick(shard, turn, avoid))
    }

    /// A node said who leads.
    pub(crate) fn hint(&self, shard: u32, hint: &LeaderHint) {
        self.set_leader(shard, |leader| *leader = Some(hint.client_addr.as_str().into()));
    }

    /// The node at `addr` does not lead `shard`, or cannot be reached.
    pub(crate) fn not_there(&self, shard: u32, addr: &Addr) {
        self.set_leader(shard, |leader| {
            if leader.as_ref() == Some(addr) {
                *leader = None;
            }
        });
    }

    fn set_leader(&self, shard: u32, set: impl FnOnce(&mut Option<Addr>)) {
        let mut state = self.state.write();
        if let Some(leader) = usize::try_from(shard).ok().and_then(|at| state.leaders.get_mut(at)) {
            set(leader);
        }
    }
}

impl State {
    fn of(table: &ShardTable, known: &Self) -> Self {
        let addrs: HashMap<u64, Addr> =
            table.nodes.iter().map(|node| (node.id, node.client_addr.as_str().into())).collect();
        let leaders = table.shards.iter().enumerate().map(|(at, shard)| {
            // A node that knows of no leader does not unsay what another one hinted.
            let hinted = || known.leaders.get(at).cloned().flatten();
            shard.leader.and_then(|leader| addrs.get(&leader).cloned()).or_else(hinted)
        });
        let replicas = table.shards.iter().map(|shard| {
            shard.replicas.iter().filter_map(|replica| addrs.get(&replica.node).cloned()).collect()
        });
        Self {
            leaders: leaders.collect(),
            replicas: replicas.collect(),
            nodes: table.nodes.iter().filter_map(|node| addrs.get(&node.id).cloned()).collect(),
            table: Some(Arc::new(table.clone())),
            generation: known.generation + 1,
        }
    }
}

/// Whether the table names each shard once, in order.
fn is_whole(table: &ShardTable) -> bool {
    let numbered = (0_u32..).zip(&table.shards).all(|(number, shard)| shard.shard == number);
    numbered && u32::try_from(table.shards.len()).is_ok_and(|count| count <= SHARDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_wire::client::{NodeEntry, ReplicaRef, ShardEntry};

    fn table(version: u64, leaders: &[Option<u64>]) -> ShardTable {
        let node = |id: u64| NodeEntry {
            id,
            name: format!("n{id}"),
            client_addr: format!("n{id}:1"),
            zone: String::new(),
        };
        let shard = |(shard, leader): (u32, &Option<u64>)| ShardEntry {
            shard,
            leader: *leader,
            replicas: vec![ReplicaRef { node: 1, replica: 1 }, ReplicaRef { node: 2, replica: 2 }],
        };
        ShardTable {
            version,
            shards: (0..).zip(leaders).map(shard).collect(),
            nodes: (1..=3).map(node).collect(),
        }
    }

    fn leader(routes: &Routes, shard: u32) -> String {
        routes.pick(shard, 0, None).expect("somebody").to_string()
    }

    #[test]
    fn the_leader_is_asked_first_then_replicas_then_anybody() {
        let routes = Routes::default();
        assert_eq!(routes.pick(0, 0, None), None);
        routes.learn(&table(1, &[Some(2), None]));
        assert_eq!(leader(&routes, 0), "n2:1");
        let asked: Vec<String> =
            (0..6).filter_map(|turn| routes.pick(1, turn, None)).map(|a| a.to_string()).collect();
        assert_eq!(asked, ["n1:1", "n2:1", "n1:1", "n2:1", "n3:1", "n1:1"]);
        assert_eq!(routes.pick(2, 0, None), None);
        // Whoever just failed is left out while there is anybody else.
        let failed = Some(Addr::from("n2:1"));
        let asked: Vec<_> = (0..3).filter_map(|turn| routes.pick(0, turn, failed.as_ref())).collect();
        assert_eq!(asked.iter().map(|addr| &**addr).collect::<Vec<_>>(), ["n1:1", "n1:1", "n3:1"]);
    }

    #[test]
    fn hints_count_until_the_hinted_node_disappoints() {
        let routes = Routes::default();
        routes.learn(&table(1, &[Some(2)]));
        routes.hint(0, &LeaderHint { node: 3, client_addr: "n3:1".to_owned() });
        assert_eq!(leader(&routes, 0), "n3:1");
        routes.learn(&table(1, &[None]));
        assert_eq!(leader(&routes, 0), "n3:1");
        // A late failure of the node before it says nothing about this one.
        routes.not_there(0, &"n2:1".into());
        assert_eq!(leader(&routes, 0), "n3:1");
        routes.not_there(0, &"n3:1".into());
        assert_eq!(leader(&routes, 0), "n1:1");
        routes.hint(7, &LeaderHint { node: 3, client_addr: "n3:1".to_owned() });
    }

    #[test]
    fn older_broken_and_foreign_tables_are_ignored() {
        let routes = Routes::default();
        routes.learn(&table(5, &[Some(2), Some(2)]));
        routes.learn(&table(4, &[Some(1), Some(1)]));
        routes.learn(&table(9, &[Some(1)]));
        routes.learn(&table(9, &[]));
        let mut holes = table(9, &[Some(1), Some(1)]);
        holes.shards[1].shard = 2;
        routes.learn(&holes);
        assert_eq!((leader(&routes, 0), routes.generation()), ("n2:1".to_owned(), 1));
        routes.learn(&table(6, &[Some(1), Some(9)]));
        assert_eq!(leader(&routes, 0), "n1:1");
        assert_eq!(routes.table().map(|table| table.version), Some(6));
        assert_eq!(routes.shards(), 2);
    }
}
