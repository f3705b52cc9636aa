//! The generated run: clients, calls on their way, and the shards' logs.

use super::calls::{Key, PER_TENANT, policy, tenant};
use super::record::{Record, Stage};
use super::tables::apply;
use super::{Plan, Rng};
use crate::history::{
    Basis, Call, ErrorCode, Get, List, Name, Operation, Phase, Policy, Reply, Row, StateKind, Witness,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Log time when the run begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct Shard {
    index: u64,
    time_ms: u64,
    /// The last entries' index and log time.
    recent: VecDeque<(u64, u64)>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Its answer is lost, or an error that says nothing comes instead.
    Unknown {
        answered_us: Option<u64>,
        takes_effect: bool,
    },
    /// It is refused at once, with this.
    Refused(ErrorCode),
}

/// A frame under way: its calls share one entry of a shard's log.
#[derive(Debug)]
struct Frame {
    client: u32,
    key_of: Vec<u32>,
    operations: Vec<Operation>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Act(u32),
    Arrive(usize),
}

/// A run.
pub(super) struct Run<'a, S> {
    plan: &'a Plan,
    sink: &'a mut S,
    rng: Rng,
    now_us: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    next_id: u64,
    next_batch: u64,
    shards: Vec<Shard>,
    policies: Vec<Policy>,
    clients: Vec<Name>,
    /// The addresses in use.
    keys: Vec<Key>,
    next_key: u32,
    /// By the number of its address.
    records: Vec<Option<Record>>,
    names: Vec<Option<(Name, usize)>>,
    acknowledged: Vec<bool>,
    frames: Vec<Option<Frame>>,
    free: Vec<usize>,
    /// What a client sends again.
    again: Vec<Option<(u32, Call)>>,
}

impl<'a, S: FnMut(Operation)> Run<'a, S> {
    pub(super) fn new(plan: &'a Plan, sink: &'a mut S) -> Self {
        let shard = |_| Shard { index: 7, time_ms: EPOCH_MS + 1000, recent: VecDeque::new() };
        let mut run = Self {
            plan,
            sink,
            rng: Rng::new(plan.seed),
            now_us: 1_000_000,
            events: BinaryHeap::new(),
            numbered: 0,
            next_id: 1,
            next_batch: 1,
            shards: (0..plan.shards).map(shard).collect(),
            policies: (0..6).map(policy).collect(),
            clients: (0..plan.clients).map(|client| format!("client-{client}").into()).collect(),
            keys: Vec::new(),
            next_key: 0,
            records: Vec::new(),
            names: Vec::new(),
            acknowledged: Vec::new(),
            frames: Vec::new(),
            free: Vec::new(),
            again: vec![None; plan.clients as usize],
        };
        for _ in 0..plan.addresses {
            let key = run.fresh_key();
            run.keys.push(key);
        }
        run
    }

    fn fresh_key(&mut self) -> Key {
        let key = Key::new(self.plan, self.next_key, &mut self.rng);
        self.next_key += 1;
        self.records.push(None);
        self.acknowledged.push(false);
        self.names.push(Some((key.address.clone(), key.operation)));
        key
    }

    fn at(&mut self, time_us: u64, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((time_us, self.numbered, event)));
    }

    /// Runs until enough was called, then scans every address that completed, from every node.
    pub(super) fn run(mut self) {
        for client in 0..self.plan.clients {
            let at = self.now_us + self.rng.below(20_000);
            self.at(at, Event::Act(client));
        }
        while let Some(Reverse((time_us, _, event))) = self.events.pop() {
            self.now_us = time_us;
            match event {
                Event::Act(client) if self.next_id <= self.plan.operations => self.act(client),
                Event::Act(_) => (),
                Event::Arrive(frame) => self.arrive(frame),
            }
        }
        self.scan();
    }

    fn phase(&self) -> Phase {
        match self.next_id * 10 / self.plan.operations.max(1) {
            0 => Phase::WarmUp,
            1..8 => Phase::Faults,
            _ => Phase::Healed,
        }
    }

    /// A client sends its next frame.
    fn act(&mut self, client: u32) {
        let now_ms = EPOCH_MS + self.now_us / 1000;
        let mut calls: Vec<(u32, Call)> = Vec::new();
        if let Some(again) = self.again[client as usize].take() {
            calls.push(again);
        } else {
            let count = if self.rng.per_mille(80) { self.rng.between(2, 4) } else { 1 };
            let hot = self.keys.len().min(12);
            let mut at =
                if self.rng.per_mille(150) { self.rng.index(hot) } else { self.rng.index(self.keys.len()) };
            for _ in 0..count {
                let listing = count == 1 && self.rng.per_mille(12);
                let key = &mut self.keys[at];
                let call = if listing {
                    key.list(&mut self.rng)
                } else {
                    key.call(&mut self.rng, self.now_us, now_ms)
                };
                calls.push((key.number, call));
                key.left = key.left.saturating_sub(1);
                if key.left == 0 {
                    let fresh = self.fresh_key();
                    self.keys[at] = fresh;
                }
                // A frame stays within a shard, and often on one address.
                if self.rng.per_mille(500) {
                    let shard = calls[0].0 % self.plan.shards;
                    let other = self.rng.index(self.keys.len());
                    if self.keys[other].shard == shard {
                        at = other;
                    }
                }
                if self.keys[at].shard != calls[0].0 % self.plan.shards {
                    break;
                }
            }
        }
        self.send(client, calls);
    }

    fn send(&mut self, client: u32, calls: Vec<(u32, Call)>) {
        let fate = self.fate(&calls);
        let batch = (calls.len() > 1).then(|| {
            self.next_batch += 1;
            self.next_batch
        });
        let phase = self.phase();
        let node = Some(u32::try_from(self.rng.between(1, 3)).unwrap_or(1));
        let mut frame = Frame { client, key_of: Vec::new(), operations: Vec::new(), fate };
        for (key, call) in calls {
            let mutates = !matches!(call, Call::Get(_) | Call::List(_));
            let now_ms = EPOCH_MS + self.now_us / 1000;
            let not_after_ms = (mutates && self.rng.per_mille(30)).then(|| now_ms + self.rng.below(6));
            frame.key_of.push(key);
            frame.operations.push(Operation {
                id: self.next_id,
                client: self.clients[client as usize].clone(),
                node,
                phase,
                invoke_us: self.now_us,
                return_us: None,
                batch,
                principal: Name::default(),
                not_after_ms,
                call,
                reply: Reply::None,
                witness: None,
            });
            self.next_id += 1;
        }
        self.dispatch(frame);
    }

    fn fate(&mut self, calls: &[(u32, Call)]) -> Fate {
        match self.rng.below(1000) {
            0..20 => Fate::Unknown { answered_us: None, takes_effect: self.rng.per_mille(600) },
            20..30 => {
                let answered_us = Some(self.now_us + self.rng.between(200, 9000));
                Fate::Unknown { answered_us, takes_effect: self.rng.per_mille(500) }
            }
            30..42 => Fate::Refused(match self.rng.below(3) {
                0 => ErrorCode::NotLeader,
                1 => ErrorCode::Overloaded,
                _ => ErrorCode::Unavailable,
            }),
            _ => {
                debug_assert!(!calls.is_empty(), "a frame holds a call");
                Fate::Answered
            }
        }
    }

    fn dispatch(&mut self, mut frame: Frame) {
        let client = frame.client;
        let (mut free_us, mut arrives_us) = (self.now_us, None);
        match frame.fate {
            Fate::Answered => arrives_us = Some(self.now_us + self.rng.between(80, 2500)),
            Fate::Unknown { answered_us, takes_effect } => {
                free_us = answered_us.unwrap_or_else(|| self.now_us + self.rng.between(10_000, 40_000));
                // A few arrive long after their caller has given up.
                let most = if self.rng.per_mille(250) { 300_000 } else { 6000 };
                arrives_us = takes_effect.then(|| self.now_us + self.rng.between(80, most));
                for operation in &mut frame.operations {
                    operation.return_us = answered_us;
                    if answered_us.is_some() {
                        operation.reply = Reply::Error { code: ErrorCode::Deadline, definite: false };
                    }
                }
                if frame.operations.len() == 1 && self.rng.per_mille(700) {
                    let call = frame.operations[0].call.clone();
                    self.again[client as usize] = Some((frame.key_of[0], call));
                }
            }
            Fate::Refused(code) => {
                free_us = self.now_us + self.rng.between(80, 2000);
                for operation in &mut frame.operations {
                    operation.return_us = Some(free_us);
                    operation.reply = Reply::Error { code, definite: true };
                }
            }
        }
        if frame.fate != Fate::Answered {
            let pause = self.rng.below(1000);
            self.at(free_us + pause, Event::Act(client));
        }
        match arrives_us {
            None => frame.operations.into_iter().for_each(&mut *self.sink),
            Some(at) => self.store(at, frame),
        }
    }

    fn store(&mut self, at: u64, frame: Frame) {
        let slot = self.free.pop().unwrap_or(self.frames.len());
        if slot == self.frames.len() {
            self.frames.push(None);
        }
        self.frames[slot] = Some(frame);
        self.at(at, Event::Arrive(slot));
    }

    /// A frame reaches the leader of its shard.
    fn arrive(&mut self, slot: usize) {
        let Some(mut frame) = self.frames[slot].take() else { return };
        self.free.push(slot);
        if self.waits_on(&frame) {
            let again = self.now_us + self.rng.between(1000, 8000);
            return self.store(again, frame);
        }
        let shard = frame.key_of[0] % self.plan.shards;
        let stamp_ms = self.shards[shard as usize].time_ms.max(EPOCH_MS + self.now_us / 1000);
        let reads = frame.operations.len() == 1 && self.rng.per_mille(600);
        let read = reads.then(|| self.read(shard, frame.key_of[0], &frame.operations[0], stamp_ms)).flatten();
        let answers = match read {
            Some(answer) => vec![answer],
            None => self.propose(shard, stamp_ms, &frame),
        };
        let mut free_us = self.now_us;
        let answered = frame.fate == Fate::Answered;
        for ((operation, key), (reply, witness)) in
            frame.operations.iter_mut().zip(&frame.key_of).zip(answers)
        {
            if !answered {
                continue;
            }
            let returned = self.now_us + self.rng.between(50, 1500);
            free_us = free_us.max(returned);
            self.learn(*key, operation, &reply, returned);
            (operation.reply, operation.witness, operation.return_us) =
                (reply, Some(witness), Some(returned));
        }
        if answered {
            let pause = if self.rng.per_mille(30) { self.rng.below(60_000) } else { self.rng.below(1500) };
            self.at(free_us + pause, Event::Act(frame.client));
        }
        frame.operations.into_iter().for_each(&mut *self.sink);
    }

    fn learn(&mut self, number: u32, operation: &Operation, reply: &Reply, known_us: u64) {
        if let Reply::Completed { .. } = reply {
            self.acknowledged[number as usize] = true;
        }
        let token = match reply {
            Reply::Granted(granted) if granted.token != 0 => granted.token,
            Reply::InDoubt { token, .. } => *token,
            _ => return,
        };
        let Call::Claim(claim) = &operation.call else { return };
        if let Some(key) = self.keys.iter_mut().find(|key| key.number == number) {
            key.learn(token, claim.fingerprint, known_us);
        }
    }

    fn operation_of(&self, key: u32) -> usize {
        self.names[key as usize].as_ref().map_or(0, |(_, operation)| *operation)
    }

    fn record_at(&self, key: u32, now_ms: u64) -> Option<Record> {
        let policy = &self.policies[self.operation_of(key)];
        self.records[key as usize].clone().and_then(|record| record.at(policy, now_ms))
    }

    /// Whether a claim is held until the running one ends.
    fn waits_on(&self, frame: &Frame) -> bool {
        let ([operation], [key]) = (frame.operations.as_slice(), frame.key_of.as_slice()) else {
            return false;
        };
        let Call::Claim(claim) = &operation.call else { return false };
        let over = self.now_us >= operation.invoke_us + claim.wait_ms * 1000;
        let running = self.record_at(*key, EPOCH_MS + self.now_us / 1000).is_some_and(|record| {
            let own = record.claim.nonce == claim.nonce || record.claim.fingerprint != claim.fingerprint;
            matches!(record.stage, Stage::Claimed { .. }) && !own
        });
        running && !over && frame.fate == Fate::Answered
    }

    /// Answers without an entry, where the same reply follows at the shard's log time and at the stamp.
    fn read(
        &mut self,
        shard: u32,
        key: u32,
        operation: &Operation,
        stamp_ms: u64,
    ) -> Option<(Reply, Witness)> {
        let (index, time_ms) = (self.shards[shard as usize].index, self.shards[shard as usize].time_ms);
        let mut witness = Witness { shard, index, position: 0, log_time_ms: time_ms, basis: Basis::Read };
        if operation.not_after_ms.is_some() {
            return None;
        }
        if let Call::List(list) = &operation.call {
            return Some((self.page(list, time_ms), witness));
        }
        let policy = &self.policies[self.operation_of(key)];
        let answer = |now_ms| {
            let record = self.record_at(key, now_ms);
            apply(record, &operation.call, policy, now_ms, u64::MAX, self.plan.everyone_reads).0
        };
        let (then, now) = (answer(time_ms), answer(stamp_ms));
        let reads = match (&then, &now) {
            (Reply::Granted(then), Reply::Granted(now)) => {
                then.recovered && now.recovered || then.token == 0 && alike(&then.shadow_of, &now.shadow_of)
            }
            (Reply::InFlight { .. }, Reply::InFlight { .. }) => true,
            (
                Reply::State(_)
                | Reply::Replayed(_)
                | Reply::Mismatch { .. }
                | Reply::InDoubt { .. }
                | Reply::Spent { .. }
                | Reply::Ended(_)
                | Reply::TooOld,
                _,
            ) => then == now,
            _ => false,
        };
        if let (true, Call::Get(Get { stale: true, .. }), Reply::State(view)) = (reads, &operation.call, &now)
            && view.state == StateKind::Completed
        {
            let since = view.since_ms.unwrap_or(u64::MAX);
            let behind = self.shards[shard as usize].recent.iter().find(|(_, time)| *time > since)?;
            (witness.index, witness.log_time_ms, witness.basis) = (behind.0, behind.1, Basis::Stale);
        }
        reads.then_some((now, witness))
    }

    /// Applies all calls of a frame in one entry.
    fn propose(&mut self, shard: u32, stamp_ms: u64, frame: &Frame) -> Vec<(Reply, Witness)> {
        let state = &mut self.shards[shard as usize];
        state.index += 1;
        state.time_ms = stamp_ms;
        state.recent.push_back((state.index, stamp_ms));
        if state.recent.len() > 32 {
            state.recent.pop_front();
        }
        let index = state.index;
        let mut answers = Vec::with_capacity(frame.operations.len());
        for (position, (operation, key)) in (0u32..).zip(frame.operations.iter().zip(&frame.key_of)) {
            let basis = Basis::Applied;
            let witness = Witness { shard, index, position, log_time_ms: stamp_ms, basis };
            let reply = match &operation.call {
                Call::List(list) => self.page(list, stamp_ms),
                _ if operation.not_after_ms.is_some_and(|end| stamp_ms > end) => {
                    Reply::Error { code: ErrorCode::TooLate, definite: true }
                }
                call => {
                    let token = index << 12 | u64::from(position);
                    let record = self.record_at(*key, stamp_ms);
                    let policy = &self.policies[self.operation_of(*key)];
                    let everyone = self.plan.everyone_reads;
                    let (reply, after) = apply(record, call, policy, stamp_ms, token, everyone);
                    self.records[*key as usize] = after;
                    reply
                }
            };
            answers.push((reply, witness));
        }
        answers
    }

    fn page(&self, list: &List, now_ms: u64) -> Reply {
        let first = list.tenant.as_str().rsplit_once('-').and_then(|(_, it)| it.parse::<u32>().ok());
        let first = first.unwrap_or(0) * PER_TENANT;
        let mut rows = Vec::new();
        for number in first..(first + PER_TENANT).min(self.next_key) {
            let Some((name, operation)) = &self.names[number as usize] else { continue };
            let in_shard = number % self.plan.shards == list.shard;
            let wanted = list.operation.as_ref().is_none_or(|it| *it == super::calls::name_of(*operation));
            if !in_shard || !wanted || list.after.as_ref().is_some_and(|after| name <= after) {
                continue;
            }
            let Some(record) = self.record_at(number, now_ms) else { continue };
            let mut view = record.view(None, true);
            if list.state.is_some_and(|state| state != view.state) {
                continue;
            }
            view.detail = None;
            rows.push(Row { address: name.clone(), view });
        }
        rows.sort_by(|a, b| a.address.cmp(&b.address));
        let limit = list.limit as usize;
        let cut = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| cut).map(|row| row.address.clone());
        debug_assert_eq!(list.tenant.as_str(), tenant(first), "a listing is of one tenant");
        Reply::Page { rows, next }
    }

    /// Reads every address that completed from each of three nodes.
    fn scan(&mut self) {
        let scanner = Name::from("scanner");
        for number in 0..self.next_key {
            if !self.acknowledged[number as usize] {
                continue;
            }
            let Some((address, _)) = self.names[number as usize].clone() else { continue };
            for node in 1..=3 {
                let invoke_us = self.now_us;
                self.now_us += 300;
                let call = Call::Get(Get { address: address.clone(), ..Get::default() });
                let mut operation = Operation {
                    id: self.next_id,
                    client: scanner.clone(),
                    node: Some(node),
                    phase: Phase::Final,
                    invoke_us,
                    return_us: Some(self.now_us + 200),
                    batch: None,
                    principal: Name::default(),
                    not_after_ms: None,
                    call,
                    reply: Reply::None,
                    witness: None,
                };
                self.next_id += 1;
                let shard = number % self.plan.shards;
                let stamp_ms = self.shards[shard as usize].time_ms.max(EPOCH_MS + self.now_us / 1000);
                let (reply, witness) = match self.read(shard, number, &operation, stamp_ms) {
                    Some(answer) => answer,
                    None => {
                        let operations = vec![operation.clone()];
                        let frame =
                            Frame { client: 0, key_of: vec![number], operations, fate: Fate::Answered };
                        self.propose(shard, stamp_ms, &frame).swap_remove(0)
                    }
                };
                (operation.reply, operation.witness) = (reply, Some(witness));
                self.now_us += 300;
                (self.sink)(operation);
            }
        }
    }
}

/// Whether two shadows stand for the same refusal, but for what is left of somebody's lease.
fn alike(then: &Option<Box<Reply>>, now: &Option<Box<Reply>>) -> bool {
    match (then.as_deref(), now.as_deref()) {
        (Some(Reply::InFlight { .. }), Some(Reply::InFlight { .. })) => true,
        (then, now) => then == now,
    }
}
