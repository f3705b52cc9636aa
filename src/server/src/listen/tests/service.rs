//! A node that answers at once, or holds calls until it is told.

use crate::listen::Service;
use hapax_core::outcome::{Metadata, OutcomeClass};
use hapax_core::reply::Replayed;
use hapax_core::{Answer, Blob, LogTime, Reply};
use hapax_raft::call::{Call, Caller};
use hapax_wire::client::ShardTable;
use hapax_wire::status::{EngineStatus, NodeStatus};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;

pub(super) struct Fake {
    /// Calls are held until `release`.
    pub(super) holds: AtomicBool,
    /// Each answer carries a result of so many bytes.
    pub(super) result_bytes: AtomicUsize,
    /// How many calls each submit had.
    pub(super) batches: Mutex<Vec<usize>>,
    pub(super) held: Mutex<Vec<(u64, Arc<Caller>)>>,
    pub(super) cancelled: Mutex<Vec<u64>>,
    pub(super) tables: watch::Sender<u64>,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            holds: AtomicBool::new(false),
            result_bytes: AtomicUsize::new(0),
            batches: Mutex::default(),
            held: Mutex::default(),
            cancelled: Mutex::default(),
            tables: watch::channel(1).0,
        })
    }

    /// Answers what is held.
    pub(super) fn release(&self) {
        for (id, caller) in std::mem::take(&mut *self.held.lock()) {
            caller.deliver(vec![(id, self.answer())]);
        }
    }

    fn answer(&self) -> Answer {
        let result = vec![b'x'; self.result_bytes.load(Ordering::Relaxed)];
        let reply = Reply::Replayed(Replayed {
            class: OutcomeClass::Success,
            result: Blob::from(result),
            metadata: Metadata::default(),
            completed_at: LogTime(1),
            expires_at: LogTime(2),
            attempt: 1,
            first_trace: None,
        });
        Answer { reply, witness: None }
    }
}

impl Service for Fake {
    fn submit(&self, calls: Vec<Call>, caller: &Arc<Caller>) {
        self.batches.lock().push(calls.len());
        if self.holds.load(Ordering::Relaxed) {
            self.held.lock().extend(calls.iter().map(|call| (call.id, Arc::clone(caller))));
        } else {
            caller.deliver(calls.iter().map(|call| (call.id, self.answer())).collect());
        }
    }

    fn cancel(&self, caller: &Arc<Caller>, id: u64) {
        assert!(self.held.lock().iter().any(|(held, _)| *held == id), "a cancel came before its call");
        caller.cancel(id);
        self.cancelled.lock().push(id);
    }

    fn table(&self) -> ShardTable {
        ShardTable { version: *self.tables.borrow(), shards: vec![], nodes: vec![] }
    }

    fn table_changes(&self) -> watch::Receiver<u64> {
        self.tables.subscribe()
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            node: 1 << 16,
            name: "node-1".to_owned(),
            software: "test".to_owned(),
            uptime_ms: 1,
            shards: vec![],
            engine: EngineStatus { name: "memory".to_owned(), figures: vec![] },
            log: vec![],
        }
    }
}
