//! What lags is moved forward so that old segments can be reused, and nothing is lost or made up by it.

mod log_support;

use bytes::Bytes;
use hapax_store::disk::SimDisk;
use hapax_store::log::{GroupId, GroupState};
use log_support::model::observe_group;
use log_support::{IdleMark, Node, at, dir, entries, entry, gid, read_all, segments, small};

/// Traffic of one group that purges behind itself: several times what all segments hold.
fn traffic(node: &Node, id: GroupId) {
    let group = node.group(id);
    let first = group.state().expect("state").last.map_or(1, |last| last.index + 1);
    for index in first..first + 120 {
        node.append(&group, vec![entry(id, 1, index, 8000)]).expect("appended");
        node.run(group.purge_to(at(1, index - 1))).expect("purged");
    }
}

#[test]
fn a_start_takes_no_more_space_than_what_was_written_before_it() {
    let disk = SimDisk::new();
    let mut config = small();
    config.live_segments_max = 100;
    for life in 1..=20 {
        let node = Node::open(&disk, config.clone(), IdleMark::Never).expect("it opens");
        let group = node.group(gid(1));
        node.append(&group, entries(gid(1), 1, life..life + 1, 1000)).expect("appended");
        drop(node);
        disk.crash(life);
        let held: usize =
            segments(&disk).iter().filter_map(|path| disk.contents(path)).map(|b| b.len()).sum();
        let small_ones = usize::try_from(life).expect("it is small") * (8 << 10);
        assert!(
            held <= (128 << 10) + small_ones,
            "life {life}: {held} bytes in {} segments",
            segments(&disk).len()
        );
    }
    let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
    assert_eq!(read_all(&node.group(gid(1))).expect("read").len(), 20);
}

#[test]
fn each_fact_of_a_silent_group_moves_on_and_survives() {
    type Deed = fn(&Node);
    let deeds: [(&str, Deed); 5] = [
        ("a vote", |node| node.run(node.group(gid(1)).save_vote(Bytes::from_static(b"v"))).expect("saved")),
        ("a purge point", |node| node.run(node.group(gid(1)).purge_to(at(3, 7))).expect("purged")),
        ("entries", |node| {
            node.append(&node.group(gid(1)), entries(gid(1), 1, 1..20, 1000)).expect("appended");
        }),
        ("a commit hint", |node| {
            let group = node.group(gid(1));
            node.append(&group, entries(gid(1), 1, 1..2, 10)).expect("appended");
            group.save_committed(Some(at(1, 1))).expect("noted");
        }),
        ("entries behind a truncation", |node| {
            let group = node.group(gid(1));
            node.append(&group, entries(gid(1), 1, 1..9, 1000)).expect("appended");
            node.run(group.truncate_after(Some(3))).expect("truncated");
            node.append(&group, entries(gid(1), 2, 4..6, 1000)).expect("appended");
        }),
    ];
    for (what, deed) in deeds {
        let disk = SimDisk::new();
        let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
        deed(&node);
        let expected = observe_group(&node.group(gid(1)));
        let committed = node.group(gid(1)).state().expect("state").committed;
        traffic(&node, gid(2));
        let stats = node.log.stats();
        assert!(stats.rewritten_bytes > 0 && stats.segments_live <= 4, "{what}: {stats:?}");
        assert!(
            disk.contents(&dir().join("0000000000000001.log")).is_none(),
            "{what}: the first segment went"
        );
        drop(node);
        disk.crash(1);
        for _ in 0..2 {
            let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
            assert_eq!(observe_group(&node.group(gid(1))), expected, "{what}");
            assert_eq!(node.group(gid(1)).state().expect("state").committed, committed, "{what}");
            traffic(&node, gid(2));
        }
    }
}

#[test]
fn a_removed_group_holds_no_segment_and_stays_removed() {
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    node.append(&node.group(gid(1)), entries(gid(1), 1, 1..20, 1000)).expect("appended");
    let group = node.group(gid(1));
    node.run(async {
        // A vote that is still on its way when the group goes: its record must not count as live for ever.
        let mut vote = std::pin::pin!(group.save_vote(Bytes::from_static(b"v")));
        std::future::poll_fn(|context| {
            assert!(vote.as_mut().poll(context).is_pending(), "queued, not yet durable");
            std::task::Poll::Ready(())
        })
        .await;
        node.log.remove_group(gid(1)).await.expect("removed");
    });
    traffic(&node, gid(2));
    let stats = node.log.stats();
    assert!(stats.segments_live <= 4, "{stats:?}");
    assert_eq!(stats.rewritten_bytes, 0, "there was nothing to move");
    drop(node);
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    assert_eq!(node.log.groups(), vec![gid(2)]);
    assert_eq!(node.group(gid(1)).state().expect("state"), GroupState::default());
}

#[test]
fn a_log_that_is_mostly_live_grows_instead_of_copying() {
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    let all = entries(gid(1), 1, 1..101, 8000);
    for entry in &all {
        node.append(&node.group(gid(1)), vec![entry.clone()]).expect("appended");
    }
    assert_eq!(node.log.stats().rewritten_bytes, 0);
    assert!(segments(&disk).len() > 6);
    // Once it is purged, the files are set aside or removed.
    node.run(node.group(gid(1)).purge_to(at(1, 99))).expect("purged");
    node.settle();
    let stats = node.log.stats();
    assert!(stats.segments_live <= 2 && stats.segments_free == 2, "{stats:?}");
    assert_eq!(read_all(&node.group(gid(1))).expect("read"), all[99..]);
}

#[test]
fn an_entry_that_took_a_truncated_place_is_not_mixed_up_with_it() {
    // The first entry 3 is being written when it is truncated and another entry 3 is queued: the news of where
    // the first one stands must not be taken for the place of the second.
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    let (group, other) = (node.group(gid(1)), node.group(gid(2)));
    node.append(&group, entries(gid(1), 1, 1..3, 100)).expect("appended");
    let second = entry(gid(1), 2, 3, 8000);
    let (reader, expected) = (group.clone(), second.clone());
    let (sender, seen) = std::sync::mpsc::channel();
    let done = Box::new(move |_| {
        let read = reader.read(3, 4, usize::MAX).expect("readable");
        sender.send(read == [expected]).expect("kept");
    });
    group.try_append(vec![entry(gid(1), 1, 3, 8000)], done).expect("queued");
    // Enough to fill the write, so that the second entry 3 comes with a later one.
    other.try_append(entries(gid(2), 1, 1..4, 8000), Box::new(|_| {})).expect("queued");
    node.run(async {
        let mut truncate = std::pin::pin!(group.truncate_after(Some(2)));
        std::future::poll_fn(|context| {
            assert!(truncate.as_mut().poll(context).is_pending(), "queued, not yet durable");
            std::task::Poll::Ready(())
        })
        .await;
        group.try_append(vec![second.clone()], Box::new(|_| {})).expect("queued");
        truncate.await.expect("truncated");
    });
    assert_eq!(seen.recv(), Ok(true), "after the first write");
    node.settle();
    assert_eq!(group.read(3, 4, usize::MAX).expect("readable"), std::slice::from_ref(&second));
    drop((group, other, node));
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    assert_eq!(node.group(gid(1)).read(3, 4, usize::MAX).expect("readable"), [second]);
}
