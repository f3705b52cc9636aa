//! What a record is once deadlines have passed, however many and whoever looked.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::policy::OnLapse;
use hapax_core::record::{OpenCause, State};
use hapax_core::{Access, Blob, LogTime, Record, StateKind, content_digest};

/// A claim of 1000..1100 with a checkpoint and perhaps a mark, under these rules.
fn lapsing(on_lapse: OnLapse, marked: bool) -> Record {
    let mut world = World::new();
    let token = world.grant(1000, &claim_with(1, |claim| claim.terms.on_lapse = on_lapse));
    world.run(1000, &checkpoint(token, 1, "half"));
    if marked {
        world.run(1000, &mark(token, 2));
    }
    world.record().unwrap().clone()
}

#[test]
fn a_lapse_leads_where_on_lapse_and_the_mark_say() {
    use OnLapse::{AlwaysInDoubt, AlwaysTakeover, TakeoverUnlessMarked};
    let cases = [
        (TakeoverUnlessMarked, false, StateKind::Open),
        (TakeoverUnlessMarked, true, StateKind::InDoubt),
        (AlwaysInDoubt, false, StateKind::InDoubt),
        (AlwaysInDoubt, true, StateKind::InDoubt),
        (AlwaysTakeover, false, StateKind::Open),
        (AlwaysTakeover, true, StateKind::Open),
    ];
    for (on_lapse, marked, kind) in cases {
        let record = lapsing(on_lapse, marked);
        assert_eq!(record.kind_at(LogTime(1099)), StateKind::Claimed, "{on_lapse:?}");
        assert_eq!(record.kind_at(LogTime(1100)), kind, "{on_lapse:?} {marked}");
        let settled = record.settle(LogTime(1500)).unwrap().into_owned();
        match settled.state {
            State::Open(open) => {
                assert_eq!((open.cause, open.since), (OpenCause::Lapsed, LogTime(1100)));
                assert_eq!((open.checkpoint, open.marked), (Blob::from("half"), marked));
            }
            State::InDoubt(doubt) => {
                assert_eq!((doubt.claimed_at, doubt.since), (LogTime(1000), LogTime(1100)));
                assert_eq!((doubt.checkpoint, doubt.marked), (Blob::from("half"), marked));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lapsed_record_loses_its_checkpoint_first_and_itself_when_a_success_would_be_forgotten() {
    let record = lapsing(OnLapse::TakeoverUnlessMarked, false);
    let checkpoint_at = |time| match record.settle(LogTime(time)).unwrap().into_owned().state {
        State::Open(open) => open.checkpoint,
        other => panic!("{other:?}"),
    };
    assert_eq!(checkpoint_at(1099 + ABANDONED), Blob::from("half"));
    assert_eq!(checkpoint_at(1100 + ABANDONED), Blob::default());
    assert_eq!(record.kind_at(LogTime(1099 + RETENTION + MEMORY)), StateKind::Open);
    assert_eq!(record.kind_at(LogTime(1100 + RETENTION + MEMORY)), StateKind::Absent);
}

#[test]
fn released_and_resolved_records_are_absent_after_abandoned() {
    for (at, since) in [(Stage::Released, 1020), (Stage::ResolvedRelease, 1200)] {
        let staged = stage(at);
        assert_eq!(staged.world.kind(since + ABANDONED - 1), StateKind::Open, "{at:?}");
        assert_eq!(staged.world.kind(since + ABANDONED), StateKind::Absent, "{at:?}");
    }
}

#[test]
fn a_completed_record_is_spent_after_its_retention_and_absent_after_its_memory() {
    let staged = stage(Stage::Completed);
    let (expires, forgotten) = (1020 + RETENTION, 1020 + RETENTION + MEMORY);
    assert_eq!(staged.world.kind(expires - 1), StateKind::Completed);
    assert_eq!(staged.world.kind(expires), StateKind::Spent);
    assert_eq!(staged.world.kind(forgotten - 1), StateKind::Spent);
    assert_eq!(staged.world.kind(forgotten), StateKind::Absent);
    let settled = staged.world.record().unwrap().settle(LogTime(expires)).unwrap().into_owned();
    assert_eq!((&settled.label, &settled.first_trace), (&None, &None));
    assert!(settled.fields.is_empty());
    assert_eq!((settled.token, settled.nonce), (staged.token, nonce(1)));
    let State::Spent(spent) = &settled.state else { panic!() };
    assert_eq!(spent.digest, success().digest());
}

#[test]
fn without_memory_a_completed_record_is_absent_at_once() {
    let mut world = World::new();
    let token = world.grant(1000, &claim_with(1, |claim| claim.terms.memory_ms = 0));
    world.run(1010, &complete(token));
    assert_eq!(world.kind(1009 + RETENTION), StateKind::Completed);
    assert_eq!(world.kind(1010 + RETENTION), StateKind::Absent);
}

#[test]
fn in_doubt_never_ends_by_itself() {
    let staged = stage(Stage::InDoubt);
    assert_eq!(staged.world.kind(u64::MAX), StateKind::InDoubt);
    let record = staged.world.record().unwrap();
    assert_eq!(record.next_deadline(LogTime(5000)), None);
    assert_eq!(record.absent_at(), None);
}

#[test]
fn what_a_record_is_follows_from_the_time_and_not_from_who_looked_before() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let staged = stage(at);
        let record = staged.world.record().unwrap();
        let end = RETENTION + MEMORY + 5_000;
        let times: Vec<u64> = (0..=end).step_by(490).chain([u64::MAX]).map(|t| t.max(staged.now)).collect();
        for (i, early) in times.iter().enumerate() {
            let seen = record.settle(LogTime(*early)).map(|seen| seen.into_owned());
            for late in &times[i..] {
                let direct = record.settle(LogTime(*late)).map(|seen| seen.into_owned());
                let twice = seen.as_ref().and_then(|seen| seen.settle(LogTime(*late)));
                assert_eq!(twice.map(|seen| seen.into_owned()), direct, "{at:?} {early} {late}");
            }
        }
    }
}

#[test]
fn a_record_through_which_no_deadline_has_passed_is_not_copied() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let staged = stage(at);
        let now = LogTime(staged.now);
        let settled = staged.world.record().unwrap().settle(now).unwrap().into_owned();
        assert!(matches!(settled.settle(now), Some(std::borrow::Cow::Borrowed(_))), "{at:?}");
    }
}

#[test]
fn next_deadline_is_the_first_time_at_which_anything_changes() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let mut staged = stage(at);
        if at == Stage::Claimed {
            staged.world.run(staged.now, &checkpoint(staged.token, 1, "half"));
        }
        let record = staged.world.record().unwrap();
        let at_time = |time: u64| record.settle(LogTime(time)).map(|seen| seen.into_owned());
        let (mut now, mut changes) = (staged.now, 0);
        while let Some(deadline) = record.next_deadline(LogTime(now)) {
            assert!(deadline > LogTime(now), "{at:?}");
            assert_eq!(at_time(deadline.0 - 1), at_time(now), "{at:?}");
            assert_ne!(at_time(deadline.0), at_time(now), "{at:?}");
            (now, changes) = (deadline.0, changes + 1);
        }
        assert_eq!(at_time(u64::MAX), at_time(now), "{at:?}");
        assert_eq!(record.absent_at(), at_time(now).is_none().then_some(LogTime(now)), "{at:?}");
        let expected = match at {
            Stage::Claimed => 3,
            Stage::Marked | Stage::Released | Stage::Lapsed | Stage::ResolvedRelease => 1,
            Stage::Completed | Stage::ResolvedComplete => 2,
            Stage::Spent | Stage::Erased => 1,
            Stage::InDoubt | Stage::Absent => 0,
        };
        assert_eq!(changes, expected, "{at:?}");
    }
}

#[test]
fn the_content_digest_is_of_what_a_record_is_not_of_how_it_is_stored() {
    let staged = stage(Stage::Completed);
    let record = staged.world.record().unwrap();
    let later = LogTime(1020 + RETENTION);
    let shrunk = record.settle(later).unwrap().into_owned();
    assert_ne!(&shrunk, record);
    assert_eq!(content_digest(&address(), record, later), content_digest(&address(), &shrunk, later));
    assert_ne!(content_digest(&address(), record, LogTime(1030)), content_digest(&address(), record, later));
    assert_eq!(content_digest(&address(), record, LogTime(u64::MAX)), 0);
    let elsewhere = address_of("acme/m1", "pay", "order-2");
    assert_ne!(content_digest(&elsewhere, record, later), content_digest(&address(), record, later));
}

#[test]
fn a_view_shows_the_times_to_all_and_the_payload_to_those_who_may() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let staged = stage(at);
        let record = staged.world.record().unwrap();
        let now = LogTime(staged.now);
        let [outline, summary, full] =
            [Access::Outline, Access::Summary, Access::Full].map(|access| record.view(now, access));
        assert_eq!(outline.state, at.kind());
        assert_eq!(outline.token, staged.token);
        assert_eq!(outline.detail, None);
        assert_eq!(outline.class, None, "how it ended is not told to a stranger");
        let ended = at.kind() == StateKind::Completed || at == Stage::Spent;
        assert_eq!([summary.class.is_some(), full.class.is_some()], [ended; 2], "{at:?}");
        // A checkpoint was never kept here, so the view ends with the state itself.
        assert_eq!(outline.until, record.next_deadline(now), "{at:?}");
        let summary = summary.detail.unwrap();
        assert_eq!((summary.outcome, summary.checkpoint), (None, Blob::default()), "{at:?}");
        let full = full.detail.unwrap();
        assert_eq!(full.outcome.is_some(), at.kind() == StateKind::Completed, "{at:?}");
        assert_eq!(full.first_trace.is_some(), at.kind() != StateKind::Spent, "{at:?}");
    }
}

#[test]
fn a_view_is_of_its_log_time() {
    let staged = stage(Stage::Marked);
    let record = staged.world.record().unwrap();
    let running = record.view(LogTime(1109), Access::Full);
    let doubt = record.view(LogTime(1110), Access::Full);
    assert_eq!((running.state, running.since), (StateKind::Claimed, Some(LogTime(1000))));
    assert_eq!((doubt.state, doubt.since, doubt.until), (StateKind::InDoubt, Some(LogTime(1110)), None));
    assert!(running.marked && doubt.marked);
}
