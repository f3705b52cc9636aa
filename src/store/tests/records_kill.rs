//! A process that is killed with SIGKILL in the middle of its work leaves a store that opens at a position not
//! before the one that it was told to be durable, with exactly the records of that position.

mod records_support;

use hapax_core::{Batch, ShardState};
use hapax_store::records::{EngineKind, MemoryEngine};
use records_support::{Home, ID, Replica, apply_entry, batch, claim, complete, respawn, respawned, token};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

/// The log is a function of the index, so that parent and child know it without sharing it.
fn entry(index: u64) -> Batch {
    let keys = (index * 7) % 50..(index * 7) % 50 + 12;
    let mut commands: Vec<_> = keys.clone().map(|key| claim(key, index * 1_000 + key, 3_000)).collect();
    let earlier = index.saturating_sub(2).max(1);
    let done = ((earlier * 7) % 50..).take(12).zip(0u32..);
    let size = usize::try_from(index % 9).expect("small") * 300;
    commands.extend(done.map(|(key, at)| complete(key, token(earlier, at), &vec![1; size], 2_000)));
    batch(index * 40, commands)
}

/// Works until it is killed; says what it has been told to be durable.
#[test]
#[ignore = "other tests run it as a process of its own"]
fn child_works_until_it_is_killed() {
    let Some(home) = respawned() else { return };
    let (store, mut writer) = home.open().expect("it opens");
    let shard = store.shard(ID).expect("it opens");
    let mut state = records_support::state_of(ID, &shard.applied());
    let mut told = None;
    let mut now_ms = 0;
    loop {
        let index = state.index + 1;
        apply_entry(&shard, &mut state, &entry(index), index);
        // A batch every few entries, a sync every few batches.
        now_ms += 170;
        writer.step(now_ms).expect("it goes on");
        if shard.durable() != told {
            told = shard.durable();
            let index = told.map_or(0, |position| position.index);
            let mut out = std::io::stdout().lock();
            writeln!(out, "durable {index}").and_then(|()| out.flush()).expect("the parent listens");
        }
    }
}

/// What a replica that never restarts has at each position up to `last`.
fn references(last: u64) -> BTreeMap<u64, (ShardState, u128)> {
    let mut replica = Home::memory(MemoryEngine::new(), hapax_store::disk::SimDisk::new()).replica();
    let mut all = BTreeMap::new();
    all.insert(0, (replica.state, 0));
    for index in 1..=last {
        replica.apply(&entry(index));
        all.insert(index, (replica.state, content(&replica)));
    }
    all
}

fn content(replica: &Replica) -> u128 {
    let now = replica.state.time;
    let digest = |(address, record)| hapax_core::content_digest(address, record, now);
    replica.contents().iter().map(digest).fold(0, u128::wrapping_add)
}

fn kill_again_and_again(kind: EngineKind, kills: u64) {
    let home = Home::real(kind);
    let mut last = 0;
    for kill in 0..kills {
        let mut child =
            respawn("child_works_until_it_is_killed", &home).stdout(Stdio::piped()).spawn().expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Kill it after some word of it, each time after another one.
        let wanted = 1 + (kill * 5) % 7;
        let told = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok())
            .inspect(|index| last = *index)
            .take(usize::try_from(wanted).expect("small"))
            .count();
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert_eq!(told as u64, wanted, "the child ended by itself");
        let replica = home.replica();
        assert!(replica.state.index >= last, "kill {kill}: {last} was durable");
        let (state, digest) = references(replica.state.index)[&replica.state.index];
        assert_eq!(replica.state, state, "kill {kill}");
        assert_eq!(content(&replica), digest, "kill {kill}: the records of position {}", state.index);
    }
    assert!(last > 50, "only {last} entries were made");
}

#[test]
fn fjall_survives_kills() {
    kill_again_and_again(EngineKind::Fjall, 10);
}

#[test]
fn sled_survives_kills() {
    kill_again_and_again(EngineKind::Sled, 10);
}
