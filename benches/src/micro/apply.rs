//! What a command costs in the state machine, by what it finds; an entry; and what needs none.

use super::Case;
use super::commands::{BEGIN, claim, complete, fingerprint, forget, release, renew, resolve, whole_lives};
use super::records::{at, claimed, completed, doubtful, lapsed};
use hapax_core::{
    Address, At, Command, LogTime, ReadAt, Record, Records, ShardState, apply_batch, read_get, read_verb,
    transition,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

/// Keys in the entry that is applied: with their claims and completions as many commands as an entry may have.
const ENTRY_KEYS: u32 = 256;

/// Every case of the state machine.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = verbs();
    cases.extend([claim_replayed(), get_completed(), entry()]);
    cases
}

fn verbs() -> Vec<Case> {
    let (held, done, doubtful) = (claimed(), completed(), doubtful());
    let (token, doubted) = (held.token, doubtful.token);
    let late = lapsed();
    vec![
        one("claim, absent", None, claim(1, 1), at(1)),
        one("claim, running", Some(&held), claim(1, 2), at(2)),
        one("claim, its own again", Some(&held), claim(1, 1), at(2)),
        one("claim, completed", Some(&done), claim(1, 2), at(3)),
        one("claim, lapsed", Some(&held), claim(1, 2), late),
        one("claim, in doubt", Some(&doubtful), claim(1, 2), late),
        one("renew", Some(&held), renew(1, token, 1), at(2)),
        one("complete", Some(&held), complete(1, token), at(2)),
        one("complete, again", Some(&done), complete(1, token), at(3)),
        one("release", Some(&held), release(1, token), at(2)),
        one("resolve", Some(&doubtful), resolve(1, doubted), late),
        one("forget", Some(&done), forget(1, token), at(3)),
    ]
}

/// One command on one record.
fn one(name: &str, found: Option<&Arc<Record>>, command: Command, at: At) -> Case {
    let found = found.map(Arc::clone);
    Case::new(format!("apply/{name}"), 1, move || {
        transition(black_box(found.as_deref()), black_box(&command), at)
    })
}

fn read_at() -> ReadAt {
    ReadAt { applied: LogTime(BEGIN.0 + 3), stamp: LogTime(BEGIN.0 + 5) }
}

fn claim_replayed() -> Case {
    let (record, retry) = (completed(), claim(1, 2));
    Case::new("read/claim, completed", 1, move || {
        read_verb(black_box(Some(&record)), black_box(&retry), read_at())
    })
}

fn get_completed() -> Case {
    let (record, fingerprint) = (completed(), fingerprint());
    Case::new("read/get, completed", 1, move || {
        read_get(black_box(Some(&record)), Some(black_box(&fingerprint)), false, read_at())
    })
}

/// A whole entry over records in memory: lookups, the replies, and the digest over all effects.
fn entry() -> Case {
    let batch = whole_lives(ENTRY_KEYS, 1);
    Case::new(format!("apply/entry of {}", batch.commands.len()), batch.commands.len() as u64, move || {
        let (mut state, mut records) = (ShardState::new(0, 0), Kept::default());
        let replies = apply_batch(&mut state, black_box(&batch), 1, &mut records);
        (replies, state, records)
    })
}

/// Records in order: what is found does not hang on a hasher's seed.
#[derive(Default)]
struct Kept(BTreeMap<Address, Arc<Record>>);

impl Records for Kept {
    type Error = Infallible;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Infallible> {
        Ok(self.0.get(address).map(Arc::clone))
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Infallible> {
        match record {
            Some(record) => self.0.insert(address.clone(), record),
            None => self.0.remove(address),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::Reply;

    fn reply(found: Option<&Arc<Record>>, command: &Command, at: At) -> Reply {
        transition(found.map(|record| &**record), command, at).unwrap().reply
    }

    #[test]
    fn each_case_finds_what_it_is_named_after() {
        let (held, done, doubtful, late) = (claimed(), completed(), doubtful(), lapsed());
        let granted = |reply| matches!(reply, Reply::Granted(_));
        assert!(granted(reply(None, &claim(1, 1), at(1))));
        assert!(matches!(reply(Some(&held), &claim(1, 2), at(2)), Reply::InFlight(_)));
        assert!(granted(reply(Some(&held), &claim(1, 1), at(2))));
        assert!(granted(reply(Some(&held), &claim(1, 2), late)));
        assert!(matches!(reply(Some(&done), &claim(1, 2), at(3)), Reply::Replayed(_)));
        assert!(matches!(reply(Some(&doubtful), &claim(1, 2), late), Reply::InDoubt(_)));
        assert!(matches!(reply(Some(&held), &renew(1, held.token, 1), at(2)), Reply::Renewed(_)));
        assert_eq!(reply(Some(&done), &complete(1, done.token), at(3)), Reply::AlreadyCompleted);
        assert_eq!(reply(Some(&held), &release(1, held.token), at(2)), Reply::Released);
        assert_eq!(reply(Some(&doubtful), &resolve(1, doubtful.token), late), Reply::Resolved);
        assert_eq!(reply(Some(&done), &forget(1, done.token), at(3)), Reply::Forgotten);
        assert!(read_verb(Some(&done), &claim(1, 2), read_at()).is_some());
        assert!(read_get(Some(&done), Some(&fingerprint()), false, read_at()).is_some());
    }

    #[test]
    fn every_command_of_the_entry_takes_effect() {
        let mut records = Kept::default();
        let replies =
            apply_batch(&mut ShardState::new(0, 0), &whole_lives(ENTRY_KEYS, 1), 1, &mut records).unwrap();
        let effective = |reply: &&Reply| matches!(reply, Reply::Granted(_) | Reply::Completed(_));
        assert_eq!(replies.iter().filter(effective).count(), 512);
    }
}
