//! One conformance suite, run over every engine.

mod records_support;

use bytes::Bytes;
use hapax_core::LogTime;
use hapax_store::records::engine::{BatchRow, EngineSpace, EngineView, RecordEngine, open_engine};
use hapax_store::records::{MemoryEngine, StoreError};
use records_support::{Home, batch, claim, complete, token};
use std::ops::Bound;
use std::sync::Arc;

fn put(key: &[u8], value: &[u8]) -> BatchRow {
    (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)))
}

fn remove(key: &[u8]) -> BatchRow {
    (Bytes::copy_from_slice(key), None)
}

/// Runs a test over every engine, each on an empty directory.
fn each(test: impl Fn(&str, &dyn Fn() -> Arc<dyn RecordEngine>)) {
    for (name, home) in Home::all() {
        let dir = home.dir.join("engine");
        if name != "memory" {
            std::fs::create_dir_all(&dir).expect("a directory");
        }
        test(name, &|| open_engine(&home.config.kind, &dir, &home.config.engine).expect("it opens"));
    }
}

fn all_rows(view: &dyn EngineView) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = view.rows(Bound::Unbounded, Bound::Unbounded);
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("a row")).collect()
}

fn get(space: &dyn EngineSpace, key: &[u8]) -> Option<Vec<u8>> {
    space.get(key).expect("a read").map(|value| value.to_vec())
}

#[test]
fn a_batch_puts_and_removes_in_one_space_only() {
    each(|name, open| {
        let engine = open();
        let (one, two) = (engine.space("one").expect("made"), engine.space("two").expect("made"));
        one.write(&[put(b"\x00a", b"1"), put(b"\x00b", b"2")]).expect("written");
        two.write(&[put(b"\x00a", b"other")]).expect("written");
        one.write(&[remove(b"\x00a"), put(b"\x00b", b"3"), remove(b"\x00c")]).expect("written");
        assert_eq!(get(one.as_ref(), b"\x00a"), None, "{name}");
        assert_eq!(get(one.as_ref(), b"\x00b").as_deref(), Some(&b"3"[..]), "{name}");
        assert_eq!(get(two.as_ref(), b"\x00a").as_deref(), Some(&b"other"[..]), "{name}");
        let rows = all_rows(one.view().expect("a view").as_ref());
        assert_eq!(rows, vec![(b"\x00b".to_vec(), b"3".to_vec())], "{name}");
    });
}

#[test]
fn a_view_gives_rows_in_order_and_between_its_bounds() {
    each(|name, open| {
        let space = open().space("s").expect("made");
        let rows: Vec<_> = (0u8..50).map(|n| put(&[0, n, n], &[n])).collect();
        space.write(&rows).expect("written");
        let view = space.view().expect("a view");
        let keys = |from: Bound<&[u8]>, to: Bound<&[u8]>| -> Vec<u8> {
            view.rows(from, to).map(|row| row.expect("a row").0[1]).collect()
        };
        assert_eq!(keys(Bound::Unbounded, Bound::Unbounded), (0..50).collect::<Vec<_>>(), "{name}");
        let (from, to): (&[u8], &[u8]) = (&[0, 10, 10], &[0, 13, 13]);
        assert_eq!(keys(Bound::Included(from), Bound::Excluded(to)), vec![10, 11, 12], "{name}");
        assert_eq!(keys(Bound::Excluded(from), Bound::Included(to)), vec![11, 12, 13], "{name}");
    });
}

#[test]
fn a_view_holds_still_or_holds_writes_up() {
    each(|name, open| {
        let space = open().space("s").expect("made");
        space.write(&[put(b"\x00a", b"1")]).expect("written");
        let view = space.view().expect("a view");
        match space.write(&[put(b"\x00a", b"2"), put(b"\x00b", b"2")]) {
            Ok(()) => assert_ne!(name, "sled", "sled keeps no versions"),
            Err(StoreError::Pinned) => assert_eq!(name, "sled"),
            Err(error) => panic!("{name}: {error}"),
        }
        assert_eq!(all_rows(view.as_ref()), vec![(b"\x00a".to_vec(), b"1".to_vec())], "{name}");
        let rows = view.rows(Bound::Unbounded, Bound::Unbounded);
        drop(view);
        assert_eq!(rows.count(), 1, "{name}: an iterator keeps the view alive");
        space.write(&[put(b"\x00a", b"3")]).expect("no view is open");
        assert_eq!(get(space.as_ref(), b"\x00a").as_deref(), Some(&b"3"[..]), "{name}");
    });
}

#[test]
fn what_was_synced_is_there_after_opening_again() {
    each(|name, open| {
        let engine = open();
        let space = engine.space("s").expect("made");
        for n in 0..200u8 {
            space.write(&[put(&[0, n], &vec![n; 1000])]).expect("written");
        }
        engine.sync().expect("synced");
        drop((space, engine));
        let engine = open();
        assert_eq!(engine.space_names().expect("names"), vec!["s".to_owned()], "{name}");
        let space = engine.space("s").expect("opened");
        for n in 0..200u8 {
            assert_eq!(get(space.as_ref(), &[0, n]), Some(vec![n; 1000]), "{name}");
        }
        assert!(engine.size_bytes() > 0, "{name}");
    });
}

#[test]
fn a_dropped_space_is_gone_and_its_name_starts_empty() {
    each(|name, open| {
        let engine = open();
        let space = engine.space("s").expect("made");
        space.write(&[put(b"\x00a", b"1")]).expect("written");
        engine.sync().expect("synced");
        engine.drop_space("s").expect("dropped");
        engine.drop_space("never there").expect("no error");
        drop(space);
        assert!(engine.space_names().expect("names").is_empty(), "{name}");
        let space = engine.space("s").expect("made");
        assert_eq!(get(space.as_ref(), b"\x00a"), None, "{name}");
        engine.sync().expect("synced");
        drop((space, engine));
        let space = open().space("s").expect("opened");
        assert_eq!(get(space.as_ref(), b"\x00a"), None, "{name}: not even after opening again");
    });
}

#[test]
fn a_crash_of_memory_keeps_a_prefix_of_what_was_not_synced() {
    let engine = MemoryEngine::new();
    let space = engine.space("s").expect("made");
    space.write(&[put(b"\x00a", b"0")]).expect("written");
    engine.sync().expect("synced");
    for n in 1..=3u8 {
        space.write(&[put(b"\x00a", &[n]), put(&[0, n], &[n])]).expect("written");
    }
    assert_eq!(engine.unsynced(), 3);
    for keep in 0..=3u8 {
        let crashed = engine.crash(usize::from(keep));
        let space = crashed.space("s").expect("opened");
        let expected = if keep == 0 { b"0".to_vec() } else { vec![keep] };
        assert_eq!(get(space.as_ref(), b"\x00a"), Some(expected));
        assert_eq!(all_rows(space.view().expect("a view").as_ref()).len(), 1 + usize::from(keep));
    }
}

#[test]
fn the_whole_store_works_over_each_engine() {
    for (name, home) in Home::all() {
        let mut replica = home.replica();
        assert_eq!(replica.shard.applied().position, None, "{name}");
        replica.apply(&batch(10, (0..50).map(|key| claim(key, key + 1, 10_000)).collect()));
        replica.write();
        replica.apply(&batch(
            20,
            (0..50u32).map(|key| complete(key.into(), token(1, key), b"done", 5_000)).collect(),
        ));
        replica.sync();
        let (before, state) = (replica.contents(), replica.state);
        assert_eq!(before.len(), 50, "{name}");
        assert_eq!(replica.shard.stats().counts.completed, 50, "{name}");
        drop(replica);
        let replica = home.replica();
        assert_eq!(replica.state, state, "{name}");
        assert_eq!(replica.contents(), before, "{name}");
        assert_eq!(replica.shard.stats().counts.completed, 50, "{name}");
        assert_eq!(replica.settled(LogTime(1_000_000)).len(), 0, "{name}: all ended by then");
    }
}
