//! The search against the enumeration of everything that may be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use super::search::{End, Search};
use super::{Bounds, Possible, Replay, STATES_MAX, known};
use crate::generate::{Plan, Rng};
use crate::history::{
    Basis, Call, Claim, ErrorCode, Get, Hash16, Header, History, Operation, Phase, Policy, Reply, StateKind,
    View, Witness,
};
use crate::index::{Group, Index};
use crate::model::Cell;
use std::collections::HashSet;

/// The number of the reply that no state allows, if there is one, by all states that may be at each;
/// an error where there are more than `most`.
fn enumerate<'h>(replay: &mut Replay<'_, 'h>, group: &Group<'h>, most: usize) -> Result<Option<usize>, ()> {
    let mut states = vec![Possible { cell: Cell::ABSENT, used: 0, at: 0 }];
    let mut found = Vec::new();
    for (reply, (touch, gap)) in known(group).iter().enumerate() {
        let mut seen: HashSet<_> = states.iter().copied().collect();
        let mut done = 0;
        while done < states.len() {
            replay.let_loose(&states[done], *gap, true, &mut found);
            states.extend(found.drain(..).filter(|state| seen.insert(*state)));
            done += 1;
            if states.len() > most {
                return Err(());
            }
        }
        for state in &states {
            replay.apply(state, touch, &mut found);
        }
        let mut seen = HashSet::new();
        states = found.drain(..).filter(|state| seen.insert(*state)).collect();
        if states.is_empty() {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

fn search<'h>(replay: &mut Replay<'_, 'h>, group: &Group<'h>) -> (Result<Option<usize>, ()>, usize) {
    let mut search = Search::new(STATES_MAX);
    let end = match search.run(replay, &known(group)) {
        End::Possible => Ok(None),
        End::Impossible { reply, .. } => Ok(Some(reply)),
        End::TooMany => Err(()),
    };
    (end, search.states())
}

/// Forgets what some operations were answered, makes plain claims with nonces of their own of some of
/// those, takes out a few operations and gives the replies of a few to others of their kind.
fn disturb(history: &mut History, rng: &mut Rng) {
    for _ in 0..history.operations.len() / 2 {
        let at = rng.index(history.operations.len());
        let operation = &mut history.operations[at];
        operation.reply = Reply::Error { code: ErrorCode::Deadline, definite: false };
        operation.witness = None;
        if let (Call::Claim(claim), true) = (&mut operation.call, rng.per_mille(700)) {
            let (address, fingerprint) = (claim.address.clone(), claim.fingerprint);
            let nonce = Hash16::of(&operation.id.to_le_bytes());
            **claim = Claim { address, fingerprint, nonce, ..Claim::default() };
        }
    }
    for _ in 0..rng.below(4) {
        let at = rng.index(history.operations.len());
        history.operations.remove(at);
    }
    for _ in 0..rng.below(8) {
        let (one, other) = (rng.index(history.operations.len()), rng.index(history.operations.len()));
        let reply = history.operations[one].reply.clone();
        if reply.kind() == history.operations[other].reply.kind() {
            history.operations[other].reply = reply;
        }
    }
}

#[test]
fn the_search_says_what_the_enumeration_says() {
    let (mut possible, mut impossible, mut loose, mut alike, mut many) = (0, 0, 0, 0, 0);
    for seed in 0..800 {
        let plan = Plan { addresses: 2, clients: 6, ..Plan::new(seed, 60) };
        let mut history = plan.history();
        disturb(&mut history, &mut Rng::new(seed));
        let defaults = Policy::default();
        let index = Index::new(&history, &defaults);
        let bounds = Bounds::new(&history);
        for group in &index.groups {
            let mut replay = Replay::new(&index, group, &bounds);
            let Ok(expected) = enumerate(&mut replay, group, 3000) else {
                many += 1;
                continue;
            };
            assert_eq!(search(&mut replay, group).0, Ok(expected), "seed {seed}, {}", group.address);
            *(if expected.is_none() { &mut possible } else { &mut impossible }) += 1;
            loose += usize::from(replay.loose.len() > 1);
            alike += usize::from(replay.loose.iter().enumerate().any(|(at, loose)| loose.kind != at));
        }
    }
    println!("{possible} possible, {impossible} impossible, {many} too many, {loose} loose, {alike} alike");
    assert!(possible > 300 && impossible > 100 && loose > 300 && alike > 30);
}

/// A claim that is granted, `lost` claims without an answer while it runs, and long after them a get that
/// finds what `attempt` says: nothing, or a running claim.
pub(crate) fn with_lost_claims(lost: u64, attempt: u32, lease_ms: impl Fn(u64) -> u64) -> History {
    let mut history = History::new(Header::new("told", 0));
    let operation = |id, call, reply| Operation {
        id,
        client: "c".into(),
        node: Some(1),
        phase: Phase::Faults,
        invoke_us: id * 1000,
        return_us: None,
        batch: None,
        principal: "p".into(),
        not_after_ms: None,
        call,
        reply,
        witness: None,
    };
    for id in 1..=lost {
        let nonce = Hash16::of(&id.to_le_bytes());
        let claim =
            Claim { address: "t|o|k".into(), nonce, lease_ms: Some(lease_ms(id)), ..Claim::default() };
        history.operations.push(operation(id, Call::Claim(Box::new(claim)), Reply::None));
    }
    let state = if attempt == 0 { StateKind::Absent } else { StateKind::Claimed };
    let view = View { state, token: u64::from(attempt), attempt, ..View::ABSENT };
    let get = Call::Get(Get { address: "t|o|k".into(), ..Get::default() });
    let log_time_ms = 1_000_000_000_000;
    let witness = Witness { shard: 0, index: 90, position: 0, log_time_ms, basis: Basis::Read };
    let id = lost + 1;
    let got = operation(id, get, Reply::State(Box::new(view)));
    let return_us = Some(10_000_000);
    history.operations.push(Operation { return_us, witness: Some(witness), ..got });
    history
}

fn search_lost_claims(
    lost: u64,
    attempt: u32,
    lease_ms: impl Fn(u64) -> u64,
) -> (Result<Option<usize>, ()>, usize) {
    let history = with_lost_claims(lost, attempt, lease_ms);
    let defaults = Policy::default();
    let index = Index::new(&history, &defaults);
    let bounds = Bounds::new(&history);
    search(&mut Replay::new(&index, &index.groups[0], &bounds), &index.groups[0])
}

#[test]
fn claims_that_need_not_have_taken_effect_cost_no_states() {
    for lost in [8, 12, 16, 100] {
        assert_eq!(search_lost_claims(lost, 0, |id| 1000 + id), (Ok(None), 2), "{lost} claims");
    }
}

#[test]
fn claims_that_are_alike_cost_states_by_their_number_not_by_their_orders() {
    for lost in [8, 12, 16] {
        let (end, states) = search_lost_claims(lost, 99, |_| 1000);
        println!("{lost} claims that are alike, all tried: {states} states");
        assert_eq!(end, Ok(Some(0)), "{lost} claims");
        assert!(states as u64 <= lost * lost * lost, "{lost} claims: {states} states");
    }
}

#[test]
fn a_history_that_is_too_much_is_undecided() {
    let (end, _) = search_lost_claims(12, 99, |id| 1000 + id);
    assert_eq!(end, Err(()));
}
