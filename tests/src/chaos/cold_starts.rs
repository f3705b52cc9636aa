//! The jumps of log time that a run was allowed: the protocol permits one where no quorum of a shard's voters has
//! run since its last entry. Nodes log each; whether it was in place is judged here by when nodes were started.

use super::fleet::Fleet;
use crate::spec::name;
use anyhow::{Context as _, Result};
use hapax_checker::history::Window;
use std::time::{Duration, SystemTime};

/// What a node logs.
const SAID: &str = "log time goes on after a cold start";
/// Between the start of a process and what it says first, and between a jump and its line in the log.
const SLACK: Duration = Duration::from_millis(1000);
/// A longer jump is that of a shard that never had an entry.
const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;

/// A jump that a node made.
#[derive(Debug)]
struct Jump {
    at: SystemTime,
    shard: u32,
    by_ms: u64,
}

/// The jumps of all nodes as the checker takes them, and what is wrong with any. `began` is when the history's
/// clock showed 0.
///
/// # Errors
/// When a line of a log is not what it should be.
pub fn jumps(fleet: &Fleet, began: SystemTime) -> Result<(Vec<Window>, Vec<String>)> {
    let (mut windows, mut wrong) = (Vec::new(), Vec::new());
    let us = |at: SystemTime| at.duration_since(began).unwrap_or_default().as_micros();
    for node in 0..fleet.len() {
        for line in fleet.log(node).lines().filter(|line| line.contains(SAID)) {
            let jump = parse(line).with_context(|| line.to_owned())?;
            if jump.by_ms > LONGEST_MS {
                continue;
            }
            let last_entry = jump.at - Duration::from_millis(jump.by_ms) - SLACK;
            let started = (0..fleet.len()).filter(|other| fleet.started_between(*other, last_entry, jump.at));
            if started.count() <= fleet.len() / 2 {
                wrong.push(format!("{} jumped although a quorum had run on: {line}", name(node)));
            }
            windows.push(Window {
                from_us: u64::try_from(us(jump.at - SLACK))?,
                to_us: u64::try_from(us(jump.at + SLACK))?,
                by_ms: jump.by_ms,
                shard: Some(jump.shard),
            });
        }
    }
    Ok((windows, wrong))
}

fn parse(line: &str) -> Result<Jump> {
    let field = |field: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(field));
        found.and_then(|number| number.parse::<u64>().ok()).with_context(|| format!("no {field}"))
    };
    let at = moment(line.split_whitespace().next().unwrap_or_default()).context("no time")?;
    Ok(Jump { at, shard: u32::try_from(field("shard=")?)?, by_ms: field("by_ms=")? })
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

    #[test]
    fn a_line_of_a_node_is_read() {
        let line = "2026-11-24T14:25:18.363655Z  INFO hapax_raft::group::lead: log time goes on after a cold \
                    start shard=3 by_ms=1108";
        let jump = parse(line).unwrap();
        let since = jump.at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((since.as_secs(), since.subsec_millis()), (1_795_530_318, 363));
        assert_eq!((jump.shard, jump.by_ms), (3, 1108));
        let leap = moment("2024-02-29T00:00:01.0Z").unwrap();
        assert_eq!(leap.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_709_164_801);
    }
}
