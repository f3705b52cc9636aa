//! Small batches go through fjall's journal, large ones become tables at once: whichever way each goes, they take effect
//! in their order, and neither way keeps files for ever.

mod records_support;

use bytes::Bytes;
use hapax_store::records::EngineKind;
use hapax_store::records::engine::{BatchRow, EngineSpace, RecordEngine, open_engine};
use proptest::collection::vec;
use proptest::prelude::*;
use records_support::Home;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    /// A batch of these keys, each put or removed, with values of this size.
    Write { keys: Vec<(u8, bool)>, value_bytes: usize },
    /// A view from here on.
    View,
    /// The database is closed and opened.
    Reopen { synced: bool },
}

fn step() -> impl Strategy<Value = Step> {
    // 8 KiB make a table: one row of the large size, or none of the small.
    let value_bytes = prop_oneof![Just(10usize), Just(9_000)];
    let keys = vec((0u8..12, prop::bool::weighted(0.8)), 1..6);
    prop_oneof![
        8 => (keys, value_bytes).prop_map(|(keys, value_bytes)| Step::Write { keys, value_bytes }),
        2 => Just(Step::View),
        1 => any::<bool>().prop_map(|synced| Step::Reopen { synced }),
    ]
}

fn open(home: &Home) -> (Arc<dyn RecordEngine>, Arc<dyn EngineSpace>) {
    let dir = home.dir.join("engine");
    std::fs::create_dir_all(&dir).expect("a directory");
    let engine = open_engine(&home.config.kind, &dir, &home.config.engine).expect("it opens");
    let space = engine.space("s").expect("made");
    (engine, space)
}

fn rows_of(view: &dyn hapax_store::records::engine::EngineView) -> Rows {
    let rows = view.rows(Bound::Unbounded, Bound::Unbounded);
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("a row")).collect()
}

/// The batch, and what there is after it.
fn batch_of(keys: &[(u8, bool)], value: &[u8], expected: &mut Rows) -> Vec<BatchRow> {
    let keys: BTreeMap<u8, bool> = keys.iter().copied().collect();
    let row = |(key, is_put): (u8, bool)| {
        let key = vec![0, key];
        if is_put {
            expected.insert(key.clone(), value.to_vec());
        } else {
            expected.remove(&key);
        }
        (Bytes::from(key), is_put.then(|| Bytes::copy_from_slice(value)))
    };
    keys.into_iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_and_large_batches_take_effect_in_their_order(steps in vec(step(), 1..60)) {
        let home = Home::real(EngineKind::Fjall);
        let (mut engine, mut space) = open(&home);
        let mut expected = Rows::new();
        let mut views = Vec::new();
        for (step, n) in steps.iter().zip(0u8..) {
            match step {
                Step::Write { keys, value_bytes } => {
                    let rows = batch_of(keys, &vec![n; *value_bytes], &mut expected);
                    space.write(&rows).expect("written");
                }
                Step::View => views.push((space.view().expect("a view"), expected.clone())),
                Step::Reopen { synced } => {
                    for (view, then) in views.drain(..) {
                        prop_assert_eq!(rows_of(view.as_ref()), then, "a view holds still");
                    }
                    if *synced {
                        engine.sync().expect("synced");
                    }
                    drop((space, engine));
                    (engine, space) = open(&home);
                }
            }
            for key in 0..12u8 {
                let found = space.get(&[0, key]).expect("a read").map(|value| value.to_vec());
                prop_assert_eq!(found.as_ref(), expected.get(&vec![0, key]), "step {}: {:?}", n, step);
            }
        }
        prop_assert_eq!(rows_of(space.view().expect("a view").as_ref()), expected);
        for (view, then) in views {
            prop_assert_eq!(rows_of(view.as_ref()), then, "a view holds still");
        }
    }
}

fn journal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a directory");
    let journals =
        files.filter_map(Result::ok).filter(|file| file.file_name().to_string_lossy().ends_with(".jnl"));
    journals.map(|file| file.metadata().expect("there").len()).sum()
}

/// A table takes the memtable with it. The journal of what was in there must go all the same, however often the two
/// ways take turns and however little is in the memtable each time.
#[test]
fn the_journal_stays_bounded_while_small_and_large_batches_take_turns() {
    const SMALL: usize = 512 << 10;
    let mut home = Home::real(EngineKind::Fjall);
    (home.config.engine.memtable_bytes, home.config.engine.table_bytes_min) = (16 << 20, 1 << 20);
    let (engine, space) = open(&home);
    let value = |bytes: usize| Some(Bytes::from(vec![7; bytes]));
    let mut written = 0;
    for turn in 0..600u32 {
        let key = |n: u8| Bytes::from([&[0, n][..], &turn.to_be_bytes()[..]].concat());
        space.write(&[(key(0), value(SMALL))]).expect("written");
        written += SMALL;
        // Seldom enough that large tables are not what takes the time, often enough that the memtable is never full.
        if turn % 20 == 19 {
            space.write(&[(key(1), value(1 << 20))]).expect("written");
        }
    }
    engine.sync().expect("synced");
    let journals = journal_bytes(&home.dir.join("engine"));
    assert!(journals > 0, "no journal was found");
    let bound = 64_000_000 + home.config.engine.journal_bytes;
    assert!(journals < bound, "{journals} bytes of journals after {written} bytes of small batches");
}
