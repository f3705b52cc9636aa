//! A node: its replicas, and the way of every call to the right one.
//!
//! A call goes to the local leader of its shard; where another node leads, it is passed on once.
//! Every call is answered exactly once, through its connection's sink.

use crate::call::{Call, Caller};
use crate::config::NodeConfig;
use crate::context::{Context, Placement};
use crate::env::Env;
use crate::group::Group;
use crate::group::maintain::is_caught_up;

use crate::group::shard::Shard;
use crate::ids::{NodeId, ReplicaId};
use crate::layout::Layout;
use crate::observe::Observer;
use crate::peer::acceptor::PeerAcceptor;
use crate::peer::links::Links;
use crate::serve::cold;
use crate::serve::outbox::Outbox;
use crate::serve::pending::{Pending, Work};
use crate::slot::{Slot, supervise};
use crate::status;
use crate::stop::StopFlag;
use crate::time::keep::Keeper;
use crate::types::RaftLogId;
use futures_util::future::join_all;
use hapax_core::policy::Policies;
use hapax_core::seeded::{self, Bug};
use hapax_core::{Answer, Basis, ErrorCode, LeaderHint, Refusal, Reply, Resolved, Witness, resolve_request};
use hapax_store::disk::Disk;
use hapax_store::log::Log;
use hapax_store::records::RecordStore;
use hapax_wire::client::ShardTable;
use hapax_wire::peer::ShardTime;
use hapax_wire::status::NodeStatus;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policies break their rules.
    #[error(transparent)]
    Policy(#[from] hapax_core::policy::PolicyError),
}

/// Whether a node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Every replica runs and knows a leader.
    Ready,
    /// Not yet, or not any more.
    NotReady {
        /// Why, for people.
        reasons: Vec<String>,
    },
}

/// What a node keeps, open.
pub struct Stored<'a> {
    /// The log of all groups.
    pub log: Log,
    /// The records of all groups.
    pub records: RecordStore,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory, for what is neither log nor records.
    pub dir: &'a Path,
}

/// A running node.
pub struct Node {
    context: Arc<Context>,
    layout: Layout,
    slots: BTreeMap<u32, Arc<Slot>>,
    /// Who leads shards of which this node has no replica, as others have told.
    told: Arc<Mutex<HashMap<u32, NodeId>>>,
    /// Counts the times that a node asked for a shard turned out not to lead it.
    turn: AtomicUsize,
    acceptor: Arc<PeerAcceptor>,
    table_changes: watch::Sender<u64>,
    /// The tasks that keep the replicas running; each stops its own at the end.
    supervisors: Mutex<Vec<JoinHandle<()>>>,
    stop: StopFlag,
}

impl Node {
    /// Starts the node's replicas and lets peers in.
    ///
    /// # Errors
    /// [`StartError`]. A replica that cannot start does not keep the node from starting: it is out
    /// of service, shown so, and tried again where that makes sense.
    pub fn start(
        config: NodeConfig,
        env: Env,
        layout: Layout,
        stored: Stored<'_>,
        acceptor: Arc<PeerAcceptor>,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Self>, StartError> {
        let Stored { log, records, disk, dir } = stored;
        let policies = Policies::new(&config.policies)?;
        let has_quotas = has_quotas(&config.policies);
        let engine = config.engine;
        let links = Links::new(&config, &layout.nodes);
        let told: Arc<Mutex<HashMap<u32, NodeId>>> = Arc::default();
        let shards = layout.shards();
        let replicas = placements(&layout, config.node).map(|placement| placement.shard);
        let clocks = Arc::new(Keeper::open(disk, dir, &env, replicas));
        let slots: BTreeMap<u32, Arc<Slot>> = placements(&layout, config.node)
            .map(|placement| (placement.shard, Slot::new(placement)))
            .collect();
        let node = Arc::new_cyclic(|weak: &Weak<Self>| {
            let hints = {
                let weak = weak.clone();
                Arc::new(move |shard| weak.upgrade()?.leader_hint(shard))
            };
            let context = Arc::new(Context {
                config,
                policies,
                has_quotas,
                env,
                log,
                records,
                engine,
                links,
                readings: Arc::default(),
                clocks,
                waiters: Arc::new(AtomicUsize::new(0)),
                looks: cold::places(),
                hints,
                observer,
                shards,
            });
            Self {
                context,
                layout,
                slots,
                told,
                turn: AtomicUsize::new(0),
                acceptor,
                table_changes: watch::Sender::new(0),
                supervisors: Mutex::default(),
                stop: StopFlag::new(),
            }
        });
        node.acceptor.attach(&node);
        for slot in node.slots.values() {
            let supervisor = supervise(Arc::downgrade(&node), Arc::clone(slot), node.stop.subscribe());
            node.supervisors.lock().push(tokio::spawn(supervisor));
        }
        let context = node.context();
        let (clocks, clock) = (Arc::clone(&context.clocks), Arc::clone(&context.env.clock));
        tokio::spawn(crate::time::keep::run(clocks, clock, node.stop.subscribe()));
        tokio::spawn(crate::time::poll::run(Arc::downgrade(&node), node.stop.subscribe()));
        let every = Duration::from_millis(node.context.config.timing.maintain_ms);
        tokio::spawn(crate::group::compare::run(Arc::downgrade(&node), every, node.stop.subscribe()));
        Ok(node)
    }

    /// Takes calls of a client; never blocks.
    pub fn submit(self: &Arc<Self>, calls: Vec<Call>, caller: &Arc<Caller>) {
        self.route(calls, caller, true);
    }

    /// Takes calls that a peer passed on: they are served here or refused.
    pub fn submit_here(self: &Arc<Self>, calls: Vec<Call>, caller: &Arc<Caller>) {
        self.route(calls, caller, false);
    }

    fn route(self: &Arc<Self>, calls: Vec<Call>, caller: &Arc<Caller>, may_forward: bool) {
        let mut local: BTreeMap<u32, Vec<Pending>> = BTreeMap::new();
        let mut remote: HashMap<NodeId, Vec<Call>> = HashMap::new();
        for call in calls {
            let shard = call.request.ask.shard(self.context.shards);
            if shard >= self.context.shards {
                let invalid = hapax_core::Invalid::new("shard", "there is no such shard");
                self.answer_now(caller, shard, &call, Reply::Error(invalid.into()));
            } else if let Some(answer) = self.stale_answer(shard, &call) {
                self.deliver_now(caller, shard, &call, answer);
            } else if self.leads(shard) || !may_forward {
                if let Some(pending) = self.resolve(shard, call, caller) {
                    local.entry(shard).or_default().push(pending);
                }
            } else {
                match self.leader_node(shard) {
                    Some(node) if node != self.context.config.node => {
                        remote.entry(node).or_default().push(call)
                    }
                    _ => self.answer_now(caller, shard, &call, Reply::Error(no_leader())),
                }
            }
        }
        for (shard, pending) in local {
            self.submit_to(shard, pending);
        }
        for (node, calls) in remote {
            crate::forward::forward(self, node, calls, Arc::clone(caller));
        }
    }

    /// Resolves a request by policy; answers it at once where that suffices.
    fn resolve(&self, shard: u32, call: Call, caller: &Arc<Caller>) -> Option<Pending> {
        let arrived = Instant::now();
        let deadline = arrived + Duration::from_millis(u64::from(call.deadline_ms));
        let verb = call.request.ask.name();
        let (work, wait_ms) = match resolve_request(&call.request, caller.principal(), &self.context.policies)
        {
            Ok(Resolved::Command { command, wait_ms, quota }) => {
                (Work::Command { command: Box::new(command), quota }, wait_ms)
            }
            Ok(Resolved::Get { address, fingerprint, wait_ms, is_reader, stale: _ }) => {
                (Work::Get { address, fingerprint, is_reader }, wait_ms)
            }
            Ok(Resolved::List(ask)) => (Work::List(Box::new(ask)), 0),
            Ok(Resolved::Answer(reply)) => {
                self.answer_now(caller, shard, &call, reply);
                return None;
            }
            Err(refusal) => {
                self.answer_now(caller, shard, &call, Reply::Error(refusal));
                return None;
            }
        };
        let wait_until = (wait_ms > 0).then(|| wait_until(arrived, deadline, wait_ms));
        let caller = Arc::clone(caller);
        Some(Pending {
            caller,
            id: call.id,
            verb,
            arrived,
            deadline,
            wait_until,
            woken: false,
            number: 0,
            followers: None,
            work,
        })
    }

    /// What this follower may say by itself: a completed record, to a caller that asked for a stale
    /// read. Anything else goes to the leader; "not seen" is never answered stale.
    fn stale_answer(&self, shard: u32, call: &Call) -> Option<Answer> {
        let hapax_core::Ask::Get(ask) = &call.request.ask else { return None };
        if !ask.stale || self.leads(shard) {
            return None;
        }
        let group = self.slots.get(&shard)?.running.read().clone()?;
        let applied = group.shard().applied.lock();
        let now = applied.state.time;
        let found = group.shard().record(&ask.address).ok()??;
        // A snapshot replaces the records before the state that goes with them.
        if group.shard().records.applied().position != applied.position {
            return None;
        }
        let reply = hapax_core::read_get(
            Some(&found),
            ask.fingerprint.as_ref(),
            true,
            hapax_core::ReadAt { applied: now, stamp: now },
        )?;
        let is_completed =
            matches!(&reply, Reply::State(view) if view.state == hapax_core::StateKind::Completed);
        let basis = if seeded::active(Bug::StaleNotLabelled) { Basis::Read } else { Basis::Stale };
        let witness = Witness { basis, ..applied.read_witness() };
        is_completed.then_some(Answer { reply, witness: Some(witness) })
    }

    fn submit_to(&self, shard: u32, pending: Vec<Pending>) {
        let group = self.slots.get(&shard).and_then(|slot| slot.running.read().clone());
        let (refused, refusal) = match group {
            Some(group) => {
                let full = Refusal::definite(ErrorCode::Overloaded, "the shard's queue is full");
                (group.driver().submit(pending), full)
            }
            None => (pending, crate::serve::outbox::not_leader(self.leader_hint(shard))),
        };
        let mut outbox = Outbox::new(shard, &*self.context.observer);
        for call in refused {
            outbox.refuse(call, refusal.clone());
        }
    }

    /// Answers a call that needs no replica.
    fn answer_now(&self, caller: &Caller, shard: u32, call: &Call, reply: Reply) {
        self.deliver_now(caller, shard, call, Answer { reply, witness: None });
    }

    fn deliver_now(&self, caller: &Caller, shard: u32, call: &Call, answer: Answer) {
        self.context.observer.answered(shard, call.request.ask.name(), &answer, 0);
        caller.deliver(vec![(call.id, answer)]);
    }

    /// What all groups share.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Tells those who watch the table that a leader changed.
    pub(crate) fn leader_changed(&self) {
        self.table_changes.send_modify(|changes| *changes += 1);
    }

    /// A running replica of this node.
    #[must_use]
    pub fn group(&self, shard: u32, replica: u64) -> Option<Arc<Group>> {
        let slot = self.slots.get(&shard)?;
        if slot.placement.replica.as_u64() != replica {
            return None;
        }
        slot.running.read().clone()
    }

    /// What applied state a replica of this node has, or had when it was stopped for its digest.
    #[must_use]
    pub(crate) fn applied_of(&self, shard: u32) -> Option<Arc<Shard>> {
        let slot = self.slots.get(&shard)?;
        let running = slot.running.read().as_ref().map(|group| Arc::clone(group.shard()));
        running.or_else(|| slot.halted.lock().clone())
    }

    /// All running replicas, by shard.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.slots.values().filter_map(|slot| slot.running.read().clone()).collect()
    }

    /// The replicas that do not run, with the reason.
    #[must_use]
    pub fn troubles(&self) -> Vec<(Placement, String)> {
        let trouble = |slot: &Arc<Slot>| Some((slot.placement.clone(), slot.trouble.lock().clone()?));
        self.slots.values().filter_map(trouble).collect()
    }

    /// Whether this node's replica leads and may propose.
    #[must_use]
    pub fn leads(&self, shard: u32) -> bool {
        self.slots
            .get(&shard)
            .and_then(|slot| slot.running.read().clone())
            .is_some_and(|group| group.shard().lead().is_some())
    }

    /// Notes that a node leads a shard, as a peer's refusal told.
    pub(crate) fn note_leader(&self, shard: u32, node: NodeId) {
        self.told.lock().insert(shard, node);
    }

    /// The node that leads a shard: as the own replica knows, else as others told, else one that has
    /// a replica and can be reached, the preferred one first.
    #[must_use]
    pub fn leader_node(&self, shard: u32) -> Option<NodeId> {
        if let Some(group) = self.slots.get(&shard).and_then(|slot| slot.running.read().clone()) {
            let leader = group.raft().server_metrics().borrow_watched().current_leader;
            return leader.map(|leader| ReplicaId::from_u64(leader).node());
        }
        let told = self.told.lock().get(&shard).copied();
        if let Some(told) = told.filter(|told| self.is_up(*told)) {
            return Some(told);
        }
        let replicas = self.layout.table.get(usize::try_from(shard).ok()?)?;
        let others = replicas.iter().map(|replica| replica.node());
        let others: Vec<NodeId> = others.filter(|node| self.is_up(*node)).collect();
        let turn = self.turn.load(Ordering::Relaxed);
        others.get(turn.checked_rem(others.len())?).copied()
    }

    /// Whether there is a connection to a node; this one has none to itself.
    fn is_up(&self, node: NodeId) -> bool {
        self.context.links.get(node).is_some_and(|link| link.is_up())
    }

    /// Notes that a node did not lead a shard, or did not answer: next time another is asked.
    pub(crate) fn forget_leader(&self, shard: u32, node: NodeId) {
        let mut told = self.told.lock();
        if told.get(&shard) == Some(&node) {
            told.remove(&shard);
        }
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Who leads a shard, for a caller that asked the wrong node; never this node itself, which has
    /// just refused.
    #[must_use]
    pub fn leader_hint(&self, shard: u32) -> Option<LeaderHint> {
        let node = self.leader_node(shard)?;
        if node == self.context.config.node {
            return None;
        }
        let peer = self.context.links.config_of(node)?;
        Some(LeaderHint { node: node.as_u64(), client_addr: peer.client_addr.clone() })
    }

    /// What this node's replicas know of shards' log times.
    #[must_use]
    pub fn shard_times(&self, shards: &[u32]) -> Vec<ShardTime> {
        let boot_ms = self.context.env.clock.boot_ms();
        let time = |shard: &u32| {
            let group = self.slots.get(shard)?.running.read().clone()?;
            let leads = group.shard().lead().is_some();
            let median = group.shard().median_wall_ms();
            let mut clock = group.shard().clock.lock();
            let time = if leads { clock.shown(boot_ms, median) } else { clock.at_least(boot_ms) };
            let begun = clock.begun(self.context.clocks.up_ms(boot_ms));
            Some(ShardTime { shard: *shard, time, begun })
        };
        shards.iter().filter_map(time).collect()
    }

    /// Where the shards are and who leads them.
    #[must_use]
    pub fn table(&self) -> ShardTable {
        status::table(self, &self.layout)
    }

    /// Counts the changes of leaders that this node has seen.
    #[must_use]
    pub fn table_changes(&self) -> watch::Receiver<u64> {
        self.table_changes.subscribe()
    }

    /// How this node is.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        status::node(self, self.context.clocks.up_ms(self.context.env.clock.boot_ms()))
    }

    /// The shards of which this node has a replica.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.slots.values().map(|slot| &slot.placement)
    }

    /// Whether every replica of this node runs and knows a leader, and the log can be written.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.stop.is_up() {
            return Readiness::NotReady { reasons: vec!["the node is stopping".to_owned()] };
        }
        let mut reasons = Vec::new();
        if self.context.log.waits_for_room() {
            reasons.push("the disk has no room for another segment of the log".to_owned());
        }
        for slot in self.slots.values() {
            let shard = slot.placement.shard;
            match slot.running.read().as_ref() {
                None => {
                    let why = slot.trouble.lock().clone().unwrap_or_else(|| "it is starting".to_owned());
                    reasons.push(format!("shard {shard}: {why}"));
                }
                Some(group) if group.raft().server_metrics().borrow_watched().current_leader.is_none() => {
                    reasons.push(format!("shard {shard}: no leader is known"));
                }
                Some(_) => {}
            }
        }
        if reasons.is_empty() { Readiness::Ready } else { Readiness::NotReady { reasons } }
    }

    /// Hands over every lead of this node to a replica that has the whole log; returns how many
    /// leads are left when none is any more, or `within` has passed.
    pub async fn hand_over(&self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        loop {
            let led: Vec<_> =
                self.groups().into_iter().filter(|group| group.shard().lead().is_some()).collect();
            if led.is_empty() || Instant::now() >= deadline {
                return led.len();
            }
            for group in &led {
                let others =
                    group.placement().members.iter().filter(|member| **member != group.placement().replica);
                if let Some(to) = others.into_iter().find(|member| is_caught_up(group, **member)) {
                    let _tried_again = group.raft().trigger().transfer_leader(to.as_u64()).await;
                }
            }
            // A transfer takes an election; asking again sooner would only restart it.
            let mut changes = self.table_changes.subscribe();
            let _either = timeout(Duration::from_millis(300), changes.changed()).await;
        }
    }

    /// Stops serving: peers are let go, every replica leaves its group, whatever waits is refused.
    pub async fn shutdown(&self) {
        self.stop.raise();
        let supervisors = std::mem::take(&mut *self.supervisors.lock());
        for ended in join_all(supervisors).await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task that kept a replica running has failed");
            }
        }
        self.context.clocks.save(self.context.env.clock.as_ref());
        self.acceptor.stop();
    }
}

fn placements(layout: &Layout, node: NodeId) -> impl Iterator<Item = Placement> {
    (0u32..).zip(&layout.table).filter_map(move |(shard, members)| {
        let replica = members.iter().find(|member| member.node() == node)?;
        Some(Placement { shard, replica: *replica, members: members.clone() })
    })
}

fn has_quotas(table: &hapax_core::PolicyTable) -> bool {
    let has = |policy: &hapax_core::Policy| policy.max_inflight.is_some() || policy.max_records.is_some();
    has(&table.default) || table.rules.iter().any(|rule| has(&rule.policy))
}

/// A wait ends early enough before the deadline that its answer still arrives.
fn wait_until(arrived: Instant, deadline: Instant, wait_ms: u64) -> Instant {
    let wait = Duration::from_millis(wait_ms);
    let margin = Duration::from_millis(200).min(wait / 4);
    (arrived + wait).min(deadline.checked_sub(margin).unwrap_or(deadline))
}

/// Nobody is known to lead, and nothing was proposed.
pub(crate) fn no_leader() -> Refusal {
    Refusal::definite(ErrorCode::Unavailable, "no leader of the shard is known")
}

/// The index of an optional log id; 0 when there is none.
#[must_use]
pub fn index_of(id: Option<&RaftLogId>) -> u64 {
    id.map_or(0, |id| id.index)
}

/// Callers held on this node.
#[must_use]
pub fn waiters(node: &Node) -> usize {
    node.context.waiters.load(Ordering::Relaxed)
}
