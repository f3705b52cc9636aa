//! The jumps of log time that a run was allowed: the protocol permits one where no quorum of a shard's voters has
//! run since its last entry. Nodes log each jump with the entry that it follows, and when a replica first knew the
//! time in its life.
//!
//! Nobody says when an entry was made, but it was not before any call that was applied up to it had been sent. So who
//! knew the time already when the last such call was sent, and still runs at the jump, has run since the last entry. A
//! jump over a quorum of such replicas is wrong, whatever the clocks were; over fewer, nothing is known. The rule is
//! as sharp as the load is dense: entries without calls of the load (ticks, probes) only make it see less. A replica
//! that runs without having heard of any entry is not seen either: see `docs/verification.md`.

use super::fleet::Fleet;
use crate::spec::name;
use anyhow::{Context as _, Result};
use hapax_checker::history::{Basis, Operation, Window};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// What a node logs of a jump.
const JUMPED: &str = "log time goes on after a cold start";
/// What it logs of a replica that knows the time from now on, as it does after a jump, and of those that do no more.
const KNOWS: [&str; 2] = ["the replica knows the log time", JUMPED];
const ENDED: [&str; 2] = ["the replica failed and is started again", "the replica stays stopped"];
/// What may lie between the clock of the history and that of the logs, and between what happens and its line.
const SLACK_US: i64 = 1_000_000;
/// A longer jump is that of a shard that never had an entry.
const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;

/// A jump that a node made.
#[derive(Clone, Copy, Debug)]
struct Jump {
    at_us: i64,
    shard: u32,
    by_ms: u64,
    /// The last entry before it.
    index: u64,
}

/// A call that was applied.
#[derive(Clone, Copy, Debug)]
struct Applied {
    shard: u32,
    index: u64,
    sent_us: i64,
}

/// Something after which nothing of a node, or of one of its replicas, runs on from before.
#[derive(Clone, Copy, Debug)]
struct Turn {
    at_us: i64,
    node: usize,
    /// All where absent.
    shard: Option<u32>,
    /// Whether the replica runs from here, and knows the time.
    runs: bool,
}

/// A replica from when it ran to when it did not any more, if that came.
#[derive(Clone, Copy, Debug)]
struct Life {
    node: usize,
    shard: u32,
    from_us: i64,
    to_us: Option<i64>,
}

/// The jumps of all nodes as the checker takes them, and what is wrong with any. `began` is when the history's
/// clock showed 0.
///
/// # Errors
/// When a line of a log is not what it should be.
pub fn jumps(fleet: &Fleet, said: &[Operation], began: SystemTime) -> Result<(Vec<Window>, Vec<String>)> {
    let mut turns = Vec::new();
    for (node, at) in fleet.turns() {
        turns.push(Turn { at_us: since(began, at)?, node, shard: None, runs: false });
    }
    let mut jumps = Vec::new();
    for node in 0..fleet.len() {
        for line in fleet.log(node).lines() {
            turns.extend(turn(line, node, began).with_context(|| line.to_owned())?);
            if line.contains(JUMPED) {
                jumps.push((node, jump(line, began).with_context(|| line.to_owned())?));
            }
        }
    }
    // One by nothing is none, and a shard that never had an entry begins anywhere.
    jumps.retain(|(_, jump)| (1..=LONGEST_MS).contains(&jump.by_ms));
    let (lives, applied) = (lives(turns), said.iter().filter_map(applied).collect::<Vec<_>>());
    let (mut windows, mut wrong) = (Vec::new(), Vec::new());
    for (node, jump) in jumps {
        let ran_on = ran_on(&jump, &applied, &lives);
        if ran_on.len() > fleet.len() / 2 {
            let who: Vec<String> = ran_on.into_iter().map(name).collect();
            wrong.push(format!("{}: {jump:?} although {} had run on", name(node), who.join(", ")));
        }
        windows.push(Window {
            from_us: u64::try_from(jump.at_us - SLACK_US).unwrap_or_default(),
            to_us: u64::try_from(jump.at_us + SLACK_US).unwrap_or_default(),
            by_ms: jump.by_ms,
            shard: Some(jump.shard),
        });
    }
    Ok((windows, wrong))
}

/// The nodes whose replica has certainly run since the last entry before a jump.
fn ran_on(jump: &Jump, applied: &[Applied], lives: &[Life]) -> BTreeSet<usize> {
    let before = |call: &&Applied| call.shard == jump.shard && call.index <= jump.index;
    let Some(not_earlier) = applied.iter().filter(before).map(|call| call.sent_us).max() else {
        return BTreeSet::new();
    };
    let has_run = |life: &&Life| {
        life.shard == jump.shard
            && life.from_us < not_earlier - SLACK_US
            && life.to_us.is_none_or(|to_us| to_us > jump.at_us + SLACK_US)
    };
    lives.iter().filter(has_run).map(|life| life.node).collect()
}

fn lives(mut turns: Vec<Turn>) -> Vec<Life> {
    turns.sort_by_key(|turn| turn.at_us);
    let mut lives: Vec<Life> = Vec::new();
    for turn in turns {
        let ends = |life: &&mut Life| {
            life.to_us.is_none()
                && life.node == turn.node
                && turn.shard.is_none_or(|shard| shard == life.shard)
        };
        lives.iter_mut().filter(ends).for_each(|life| life.to_us = Some(turn.at_us));
        if let (Some(shard), true) = (turn.shard, turn.runs) {
            lives.push(Life { node: turn.node, shard, from_us: turn.at_us, to_us: None });
        }
    }
    lives
}

fn applied(operation: &Operation) -> Option<Applied> {
    let witness = operation.witness.filter(|witness| witness.basis == Basis::Applied)?;
    let sent_us = i64::try_from(operation.invoke_us).ok()?;
    Some(Applied { shard: witness.shard, index: witness.index, sent_us })
}

fn turn(line: &str, node: usize, began: SystemTime) -> Result<Option<Turn>> {
    let is = |said: &[&str]| said.iter().any(|said| line.contains(said));
    let (runs, ended) = (is(&KNOWS), is(&ENDED));
    if !runs && !ended {
        return Ok(None);
    }
    let shard = Some(u32::try_from(number(line, "shard=")?)?);
    Ok(Some(Turn { at_us: at(line, began)?, node, shard, runs }))
}

fn jump(line: &str, began: SystemTime) -> Result<Jump> {
    Ok(Jump {
        at_us: at(line, began)?,
        shard: u32::try_from(number(line, "shard=")?)?,
        by_ms: number(line, "by_ms=")?,
        index: number(line, "index=")?,
    })
}

fn number(line: &str, field: &str) -> Result<u64> {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(field));
    found.and_then(|number| number.parse().ok()).with_context(|| format!("no {field}"))
}

/// When a line was written.
fn at(line: &str, began: SystemTime) -> Result<i64> {
    since(began, moment(line.split_whitespace().next().unwrap_or_default()).context("no time")?)
}

fn since(began: SystemTime, at: SystemTime) -> Result<i64> {
    Ok(match at.duration_since(began) {
        Ok(after) => i64::try_from(after.as_micros())?,
        Err(before) => -i64::try_from(before.duration().as_micros())?,
    })
}

/// A moment as nodes log it: `2026-01-31T23:59:59.123456Z`.
fn moment(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':');
    let (hours, minutes) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    let seconds = time.next()?.parse::<f64>().ok()?;
    // Years begin in March here, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let whole = Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60);
    Some(SystemTime::UNIX_EPOCH + whole + Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const JUMP: Jump = Jump { at_us: 100 * SECOND, shard: 3, by_ms: 4507, index: 50 };

    /// Three replicas, each of which runs since then.
    fn since_then(from: [i64; 3]) -> Vec<Life> {
        let started = |(node, from): (usize, i64)| {
            let begins = Turn { at_us: from * SECOND - 1, node, shard: None, runs: false };
            [begins, Turn { at_us: from * SECOND, node, shard: Some(3), runs: true }]
        };
        let first = (0..3).map(|node| Turn { at_us: 0, node, shard: Some(3), runs: true });
        lives(first.chain(from.into_iter().enumerate().flat_map(started)).collect())
    }

    fn sent(at: i64, index: u64) -> Applied {
        Applied { shard: 3, index, sent_us: at * SECOND }
    }

    fn who(applied: &[Applied], lives: &[Life]) -> Vec<usize> {
        ran_on(&JUMP, applied, lives).into_iter().collect()
    }

    #[test]
    fn a_jump_though_a_quorum_ran_on_is_found_whatever_its_length() {
        // The last entry is of 90 s or later; two have run since 80 s.
        assert_eq!(who(&[sent(70, 40), sent(90, 50)], &since_then([80, 80, 95])), [0, 1]);
        // Calls of other shards, and later ones, say nothing of it.
        let other = Applied { shard: 2, index: 9, sent_us: 99 * SECOND };
        assert_eq!(who(&[sent(90, 50), other, sent(99, 51)], &since_then([80, 95, 80])), [0, 2]);
    }

    #[test]
    fn a_jump_after_a_majority_was_started_is_in_place_whatever_its_length() {
        assert_eq!(who(&[sent(90, 50)], &since_then([95, 95, 10])), [2]);
        // It may have been made by somebody who is gone, long after the last call that was heard of.
        assert_eq!(who(&[sent(60, 30)], &since_then([80, 80, 80])), [0_usize; 0]);
        // What was started at about the time of the call may have been started after the entry.
        assert_eq!(who(&[sent(90, 50)], &since_then([89, 91, 90])), [0_usize; 0]);
        assert_eq!(who(&[], &since_then([1, 1, 1])), [0_usize; 0]);
    }

    #[test]
    fn a_replica_that_failed_or_whose_process_is_gone_has_not_run_on() {
        let mut turns: Vec<Turn> =
            (0..3).map(|node| Turn { at_us: 0, node, shard: Some(3), runs: true }).collect();
        turns.push(Turn { at_us: 95 * SECOND, node: 0, shard: Some(3), runs: false });
        turns.push(Turn { at_us: 96 * SECOND, node: 1, shard: None, runs: false });
        // Of another shard.
        turns.push(Turn { at_us: 97 * SECOND, node: 2, shard: Some(1), runs: false });
        assert_eq!(who(&[sent(90, 50)], &lives(turns)), [2]);
    }

    #[test]
    fn the_lines_of_a_node_are_read() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_530_318);
        let jumped = "2026-11-24T14:25:18.363655Z  INFO hapax_raft::group::lead: log time goes on after a cold \
                      start shard=3 by_ms=1108 index=77";
        let jump = jump(jumped, began).unwrap();
        assert_eq!((jump.at_us, jump.shard, jump.by_ms, jump.index), (363_655, 3, 1108, 77));
        let runs = "2026-11-24T14:25:17.900000Z  INFO hapax_raft::group::shard: the replica knows the log time shard=2";
        let runs = turn(runs, 1, began).unwrap().unwrap();
        assert_eq!((runs.at_us, runs.node, runs.shard, runs.runs), (-100_000, 1, Some(2), true));
        let failed = "2026-11-24T14:25:19.000000Z ERROR hapax_raft::slot: the replica failed and is started again \
                      shard=2 why=\"the records are damaged\"";
        let failed = turn(failed, 1, began).unwrap().unwrap();
        assert_eq!((failed.at_us, failed.shard, failed.runs), (SECOND, Some(2), false));
        let leap = moment("2024-02-29T00:00:01.0Z").unwrap();
        assert_eq!(leap.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_709_164_801);
    }
}
