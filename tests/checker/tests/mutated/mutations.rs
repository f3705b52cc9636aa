//! The mistakes: each makes one change that no cluster which keeps the protocol can have answered.

use crate::site::{Site, fresh, granted, replay, state};
use hapax_checker::history::*;

/// A mistake; none where the history has no place for it.
pub(crate) type Mistake = fn(&mut Site<'_>) -> Option<()>;

/// All of them, with the tiers that must find it wherever it is made: `s`can, `w`itness, `b`lind.
pub(crate) const ALL: &[(&str, &str, Mistake)] = &[
    ("two replays swapped", "swb", swap_replays),
    ("a byte of a replay changed", "swb", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        replay(site.at(at))?.result.digest.0[7] ^= 16;
        Some(())
    }),
    ("the metadata of a replay changed", "swb", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        replay(site.at(at))?.metadata.0[0] ^= 1;
        Some(())
    }),
    ("a replay expires at another time", "w", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        let Reply::Replayed(replayed) = &mut site.at(at).reply else { return None };
        replayed.expires_at_ms += 1;
        Some(())
    }),
    ("a token raised", "s", |site| raise(site, 3 << 12)),
    ("a token lowered", "s", |site| raise(site, 0_u64.wrapping_sub(3 << 12))),
    ("a token given twice", "swb", |site| {
        let (one, two) = site.pick_two(|one, two| fresh(one).is_some() && fresh(two).is_some())?;
        let token = granted(site.at(one))?.token;
        granted(site.at(two))?.token = token;
        Some(())
    }),
    ("an attempt too many", "w", |site| {
        let at = site.pick(|it| fresh(it).is_some())?;
        granted(site.at(at))?.attempt += 1;
        Some(())
    }),
    ("a recovery point left out", "w", |site| {
        let at = site.pick(|it| fresh(it).is_some_and(|granted| granted.checkpoint.is_some()))?;
        granted(site.at(at))?.checkpoint = None;
        Some(())
    }),
    ("a fence dropped for a complete", "w", |site| {
        let at = site.pick(|it| it.call.verb() == "complete" && it.reply == Reply::Fenced)?;
        let until = site.at(at).witness?.log_time_ms + 900;
        let Call::Complete(complete) = &mut site.at(at).call else { return None };
        (complete.outcome.class, complete.retention_ms) = (Class::Success, None);
        site.at(at).reply = Reply::Completed { late: false, expires_at_ms: until };
        Some(())
    }),
    ("a fence dropped for a renewal", "w", |site| {
        let at = site.pick(|it| it.call.verb() == "renew" && it.reply == Reply::Fenced)?;
        let now = site.at(at).witness?.log_time_ms;
        site.at(at).reply = Reply::Renewed { deadline_ms: now + 150, lease_left_ms: 150, marked: false };
        Some(())
    }),
    ("a fence dropped for a release", "w", |site| {
        let at = site.pick(|it| it.call.verb() == "release" && it.reply == Reply::Fenced)?;
        site.at(at).reply = Reply::Released;
        Some(())
    }),
    ("an own token fenced", "w", |site| {
        let at = site.pick(|it| it.call.verb() == "renew" && it.reply.kind() == "renewed")?;
        site.at(at).reply = Reply::Fenced;
        Some(())
    }),
    ("a second complete taken", "sw", |site| {
        let at = site.pick(|it| it.reply == Reply::Conflict)?;
        let until = site.at(at).witness?.log_time_ms + 900;
        let Call::Complete(complete) = &mut site.at(at).call else { return None };
        (complete.outcome.class, complete.retention_ms) = (Class::Success, None);
        site.at(at).reply = Reply::Completed { late: false, expires_at_ms: until };
        Some(())
    }),
    ("another outcome said to be the same", "w", |site| {
        let at = site.pick(|it| it.reply == Reply::Conflict)?;
        site.at(at).reply = Reply::AlreadyCompleted;
        Some(())
    }),
    ("two log places swapped", "s", |site| {
        let applied = |it: &Operation| it.witness.is_some_and(|witness| witness.basis == Basis::Applied);
        let (one, two) = site.pick_two(|one, two| applied(one) && applied(two))?;
        let (a, b) = (site.at(one).witness, site.at(two).witness);
        (site.at(one).witness, site.at(two).witness) = (b, a);
        Some(())
    }),
    ("two log times swapped", "s", |site| {
        let time = |it: &Operation| it.witness.map_or(0, |witness| witness.log_time_ms);
        let (one, two) = site.pick_two(|one, two| time(one) + 3 < time(two))?;
        let (a, b) = (site.at(one).witness?.log_time_ms, site.at(two).witness?.log_time_ms);
        site.at(one).witness.as_mut()?.log_time_ms = b;
        site.at(two).witness.as_mut()?.log_time_ms = a;
        Some(())
    }),
    ("a complete called refused that is replayed", "swb", |site| {
        let (one, _) = site.pick_two(|one, two| {
            let (Call::Complete(given), Reply::Replayed(shown)) = (&one.call, &two.reply) else {
                return false;
            };
            one.reply.kind() == "completed" && given.outcome == shown.outcome
        })?;
        refuse(site, one);
        only_offer(site, one)
    }),
    ("a grant called refused whose token is taken", "swb", |site| {
        let (one, _) = site.pick_two(|one, two| {
            let token = fresh(one).map(|granted| granted.token);
            let Call::Complete(complete) = &two.call else { return false };
            token == Some(complete.token) && two.reply.kind() == "completed"
        })?;
        refuse(site, one);
        Some(())
    }),
    ("granted while somebody runs", "wb", |site| {
        let at = site.pick(|it| it.reply.kind() == "in_flight")?;
        let Reply::InFlight { attempt, .. } = site.at(at).reply else { return None };
        site.grant(at, attempt + 1);
        Some(())
    }),
    ("granted while the result is kept", "sw", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        site.grant(at, 1);
        Some(())
    }),
    ("granted while it is remembered", "w", |site| {
        let at = site.pick(|it| it.reply.kind() == "spent")?;
        site.grant(at, 1);
        Some(())
    }),
    ("granted while in doubt", "swb", |site| {
        let at = site.pick(|it| it.reply.kind() == "in_doubt")?;
        let Reply::InDoubt { attempt, .. } = site.at(at).reply else { return None };
        site.grant(at, attempt + 1);
        Some(())
    }),
    ("a retry that waits for itself", "wb", |site| {
        let at = site.pick(|it| matches!(&it.reply, Reply::Granted(granted) if granted.recovered))?;
        let (attempt, lease_left_ms) =
            granted(site.at(at)).map(|granted| (granted.attempt, granted.lease_left_ms))?;
        site.at(at).reply = Reply::InFlight { attempt, lease_left_ms };
        Some(())
    }),
    ("a grant handed to another call", "swb", |site| {
        let (one, two) = site.pick_two(|one, two| {
            let attempt = fresh(one).map(|granted| granted.attempt);
            matches!(two.reply, Reply::InFlight { attempt: of, .. } if Some(of) == attempt)
                && two.witness.map(|it| it.index) > one.witness.map(|it| it.index)
        })?;
        let mut again = granted(site.at(one))?.clone();
        let Reply::InFlight { lease_left_ms, .. } = site.at(two).reply else { return None };
        (again.recovered, again.lease_left_ms) = (true, lease_left_ms);
        site.at(two).reply = Reply::Granted(Box::new(again));
        Some(())
    }),
    ("a replay to another request", "swb", |site| {
        let (one, two) =
            site.pick_two(|one, two| one.reply.kind() == "replayed" && two.reply.kind() == "mismatch")?;
        let reply = site.at(one).reply.clone();
        site.at(two).reply = reply;
        Some(())
    }),
    ("bytes of another tenant", "s", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        replay(site.at(at))?.result.owner.as_mut()?.address = address("shop-x", "pay", b"k");
        Some(())
    }),
    ("bytes made for another request", "s", |site| {
        let at = site.pick(|it| it.reply.kind() == "replayed")?;
        replay(site.at(at))?.result.owner.as_mut()?.fingerprint.digest.0[0] ^= 1;
        Some(())
    }),
    ("a mismatch names what was not asked", "swb", |site| {
        let at = site.pick(|it| it.reply.kind() == "mismatch")?;
        let Reply::Mismatch { fields, .. } = &mut site.at(at).reply else { return None };
        fields.push("secret".into());
        Some(())
    }),
    ("a mismatch for the same request", "wb", |site| {
        let at = site.pick(|it| it.reply.kind() == "in_flight")?;
        site.at(at).reply = Reply::Mismatch { algorithm: false, fields: Vec::new() };
        Some(())
    }),
    ("an acknowledged result lost in the final scan", "swb", |site| {
        let at = site.pick(|it| {
            it.phase == Phase::Final && state(it).is_some_and(|view| view.state == StateKind::Completed)
        })?;
        site.at(at).reply = Reply::State(Box::new(View::ABSENT));
        Some(())
    }),
    ("a read that goes back", "w", |site| {
        // The same reply where it was then, and where another one is now.
        let (one, two) = site.pick_two(|one, two| {
            let (Some(old), Some(new)) = (state(one), state(two)) else { return false };
            old.token < new.token && two.phase != Phase::Final
        })?;
        let reply = site.at(one).reply.clone();
        site.at(two).reply = reply;
        Some(())
    }),
    ("a read from before what had been answered", "sb", |site| {
        let (one, two) = site.pick_two(|one, two| {
            let (Some(old), Some(new)) = (state(one), state(two)) else { return false };
            let fresh = [one, two].iter().all(|it| it.witness.is_some_and(|at| at.basis == Basis::Read));
            old.token < new.token && fresh
        })?;
        let (reply, witness) = (site.at(one).reply.clone(), site.at(one).witness);
        (site.at(two).reply, site.at(two).witness) = (reply, witness);
        Some(())
    }),
    ("a page that shows a later moment", "wb", |site| page(site, Wrong::Later)),
    ("a page that leaves out a record", "wb", |site| page(site, Wrong::Missing)),
    ("a page that shows another tenant", "s", |site| page(site, Wrong::Foreign)),
    ("a lease longer than it is", "w", |site| {
        let at = site.pick(|it| it.reply.kind() == "in_flight")?;
        let Reply::InFlight { lease_left_ms, .. } = &mut site.at(at).reply else { return None };
        *lease_left_ms += 5000;
        Some(())
    }),
    ("done past its not_after", "s", |site| {
        let at = site.pick(|it| matches!(it.reply.kind(), "completed" | "renewed" | "released"))?;
        site.at(at).not_after_ms = Some(site.at(at).witness?.log_time_ms - 1);
        Some(())
    }),
    ("granted without the log", "s", |site| {
        let at = site.pick(|it| fresh(it).is_some())?;
        site.at(at).witness.as_mut()?.basis = Basis::Read;
        Some(())
    }),
    ("the commands of a frame in another order", "s", |site| {
        let effect = |it: &Operation| it.witness.is_some_and(|at| at.basis == Basis::Applied);
        let frames: Vec<(usize, usize)> = (1..site.history.operations.len())
            .map(|at| (at - 1, at))
            .filter(|(one, two)| {
                let (one, two) = (&site.history.operations[*one], &site.history.operations[*two]);
                let same = one.batch.is_some() && one.batch == two.batch;
                same && one.call.address() == two.call.address() && effect(one) && effect(two)
            })
            .collect();
        let (one, two) = *frames.get(site.rng.index(frames.len()))?;
        let (a, b) = (site.at(one).id, site.at(two).id);
        (site.at(one).id, site.at(two).id) = (b, a);
        Some(())
    }),
];

fn swap_replays(site: &mut Site<'_>) -> Option<()> {
    let one = site.pick(|it| it.reply.kind() == "replayed")?;
    let theirs = site.at(one).call.address()?.clone();
    let two = site.pick(|it| it.reply.kind() == "replayed" && it.call.address() != Some(&theirs))?;
    let (a, b) = (replay(site.at(one))?.clone(), replay(site.at(two))?.clone());
    (*replay(site.at(one))?, *replay(site.at(two))?) = (b, a);
    Some(())
}

fn raise(site: &mut Site<'_>, by: u64) -> Option<()> {
    let at = site.pick(|it| fresh(it).is_some())?;
    let granted = granted(site.at(at))?;
    granted.token = granted.token.wrapping_add(by);
    Some(())
}

fn refuse(site: &mut Site<'_>, at: usize) {
    let operation = site.at(at);
    operation.reply = Reply::Error { code: ErrorCode::Unavailable, definite: true };
    operation.witness = None;
}

/// Whether nobody else offers the outcome of this complete.
fn only_offer(site: &Site<'_>, at: usize) -> Option<()> {
    let Call::Complete(mine) = &site.history.operations[at].call else { return None };
    let offers = |it: &&Operation| match &it.call {
        Call::Complete(complete) => complete.outcome == mine.outcome,
        Call::Resolve(resolve) => resolve.outcome.as_ref() == Some(&mine.outcome),
        _ => false,
    };
    (site.history.operations.iter().filter(offers).count() == 1).then_some(())
}

enum Wrong {
    Later,
    Missing,
    Foreign,
}

fn page(site: &mut Site<'_>, wrong: Wrong) -> Option<()> {
    let count = site.history.operations.len();
    let start = site.rng.index(count);
    for at in (0..count).map(|at| (at + start) % count) {
        let listed = site.history.operations[at].clone();
        let (Call::List(list), Reply::Page { rows, next }) = (&listed.call, &listed.reply) else { continue };
        let whole = next.is_none() && list.after.is_none() && list.state.is_none();
        for (number, row) in rows.iter().enumerate() {
            let later = site.history.operations.iter().find(|it| {
                let after = listed.return_us.is_some_and(|at| at < it.invoke_us);
                let moved = state(it).is_some_and(|view| view.token > row.view.token);
                after && moved && it.call.address() == Some(&row.address) && site.is_clear(it)
            });
            let later = later.and_then(state).cloned();
            let Reply::Page { rows, .. } = &mut site.history.operations[at].reply else { continue };
            match (&wrong, later) {
                (Wrong::Later, Some(view)) => rows[number].view = View { detail: None, ..view },
                (Wrong::Missing, Some(_)) if whole => drop(rows.remove(number)),
                (Wrong::Foreign, _) => rows[number].address = address("shop-x", "pay", b"k"),
                _ => continue,
            }
            return Some(());
        }
    }
    None
}
