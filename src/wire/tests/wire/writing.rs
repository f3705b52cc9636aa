//! Writers fill frames to their limits, never over them, and leave nothing half-written.

use crate::round_trip::only_frame;
use crate::samples;
use bytes::BytesMut;
use hapax_core::{Ask, Blob, LogTime, Outcome, OutcomeClass, Request, request::CompleteAsk};
use hapax_wire::client::{Call, Calls, CallsFrame, Push, ReplicaRef, ShardEntry, ShardTable, Table};
use hapax_wire::limits::{
    APPEND_BYTES, CALL_HEAD_BYTES, CALLS, CHUNK_BYTES, CLIENT_FRAME_BYTES, ENTRIES, GROUPS, HEADER_BYTES,
    NODES, PEER_FRAME_BYTES, REPLICAS,
};
use hapax_wire::peer::{
    self, Append, AppendOutcome, Ballot, Beat, BeatReplies, BeatReply, Beats, Entry, PeerBody, PeerFrame,
    Position, Roster, RosterNode, RosterReply, RosterShard, SnapshotChunk,
};
use hapax_wire::status::{EngineStatus, Figure, Match, NodeStatus, ShardRole, ShardStatus};
use hapax_wire::{ClusterId, Decoder, EncodeFault, Message, limits};

fn completes(id: u64, result_bytes: usize) -> Call {
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: vec![7; result_bytes].into(),
        metadata: hapax_core::Metadata::default(),
    };
    let ask = CompleteAsk { address: samples::address(), token: id.into(), outcome, retention_ms: None };
    Call { id, deadline_ms: 1_000, request: Request { not_after: Some(LogTime(1)), ask: Ask::Complete(ask) } }
}

/// Writes all calls as a connection's writer does, and returns the frames' sizes in calls.
fn write_all(calls: &[Call], out: &mut BytesMut) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut rest = calls.iter().peekable();
    while rest.peek().is_some() {
        let mut frame = CallsFrame::start(out);
        while let Some(call) = rest.peek() {
            match frame.push(call.id, call.deadline_ms, &call.request) {
                Push::Taken => drop(rest.next()),
                Push::Full => break,
                Push::Refused(fault) => panic!("{fault}"),
            }
        }
        sizes.push(frame.finish());
    }
    sizes
}

fn read_all(bytes: &[u8]) -> Vec<Call> {
    let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
    decoder.push(bytes);
    let mut calls = Vec::new();
    while let Some(frame) = decoder.poll().unwrap() {
        let taken = Calls::take(&frame).unwrap();
        assert!(taken.malformed.is_empty());
        calls.extend(taken.calls);
    }
    assert!(!decoder.is_midway());
    calls
}

#[test]
fn many_small_calls_are_cut_by_their_number() {
    let calls: Vec<Call> = (1..=2_500).map(samples::call).collect();
    let mut out = BytesMut::from(&b""[..]);
    assert_eq!(write_all(&calls, &mut out), [CALLS, CALLS, 2_500 - 2 * CALLS]);
    assert_eq!(read_all(&out), calls);
}

#[test]
fn large_calls_are_cut_by_their_bytes() {
    let calls: Vec<Call> = (1..=9).map(|id| completes(id, 256 * 1024)).collect();
    let mut out = BytesMut::new();
    assert_eq!(write_all(&calls, &mut out), [3, 3, 3]);
    assert_eq!(read_all(&out), calls);
}

#[test]
fn a_frame_of_calls_is_the_message_of_the_same_calls() {
    let calls: Vec<Call> = (1..=3).map(samples::call).collect();
    let (mut filled, mut put) = (BytesMut::new(), BytesMut::new());
    write_all(&calls, &mut filled);
    Calls { calls, malformed: Vec::new() }.put(&mut put).unwrap();
    assert_eq!(filled, put);
}

#[test]
fn a_call_that_fits_no_frame_is_refused_and_the_frame_goes_on_without_it() {
    let mut out = BytesMut::from(&b"before"[..]);
    let mut frame = CallsFrame::start(&mut out);
    let huge = completes(1, CLIENT_FRAME_BYTES);
    assert!(matches!(frame.push(1, 0, &huge.request), Push::Refused(EncodeFault::TooLarge { .. })));
    let small = samples::call(2);
    assert!(matches!(frame.push(2, 1_000, &small.request), Push::Taken));
    // Behind another call it might yet fit a frame of its own; there it is refused.
    assert!(matches!(frame.push(1, 0, &huge.request), Push::Full));
    assert_eq!((frame.len(), frame.is_empty()), (1, false));
    let size_bytes = frame.size_bytes();
    assert_eq!(frame.finish(), 1);
    assert_eq!(out.len(), b"before".len() + size_bytes);
    assert_eq!(read_all(&out[b"before".len()..]), [small]);
}

#[test]
fn a_call_of_exactly_the_limit_fits_and_one_byte_more_does_not() {
    let overhead =
        bincode::encode_to_vec(completes(1, 70_000).request, bincode::config::standard()).unwrap().len();
    let fits = CLIENT_FRAME_BYTES - HEADER_BYTES - CALL_HEAD_BYTES - (overhead - 70_000);
    let mut out = BytesMut::new();
    let mut frame = CallsFrame::start(&mut out);
    assert!(matches!(frame.push(1, 0, &completes(1, fits + 1).request), Push::Refused(_)));
    assert!(matches!(frame.push(1, 0, &completes(1, fits).request), Push::Taken));
    frame.finish();
    assert_eq!(out.len(), CLIENT_FRAME_BYTES);
    assert_eq!(read_all(&out).len(), 1);
}

#[test]
fn an_unfinished_or_empty_frame_leaves_nothing() {
    let mut out = BytesMut::from(&b"before"[..]);
    let mut frame = CallsFrame::start(&mut out);
    assert!(matches!(frame.push(2, 0, &samples::call(2).request), Push::Taken));
    drop(frame);
    assert_eq!(out, b"before"[..]);
    assert_eq!(CallsFrame::start(&mut out).finish(), 0);
    assert_eq!(out, b"before"[..]);
}

#[test]
fn a_message_over_its_limit_leaves_the_buffer_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let calls = Calls { calls: vec![completes(1, CLIENT_FRAME_BYTES)], malformed: Vec::new() };
    let fault = calls.put(&mut out).unwrap_err();
    assert!(matches!(fault, EncodeFault::TooLarge { limit_bytes: CLIENT_FRAME_BYTES, .. }));
    assert_eq!(fault.refusal().code, hapax_core::ErrorCode::TooLarge);
    let chunk = SnapshotChunk { seq: 0, crc: 0, bytes: vec![0; CHUNK_BYTES + 1].into() };
    assert!(matches!(peer::put(1, &chunk, &mut out), Err(EncodeFault::Bound { field: "bytes", .. })));
    assert_eq!(out, b"before"[..]);
}

fn top_ballot() -> Ballot {
    Ballot { term: u64::MAX, replica: u64::MAX, committed: true }
}

fn top_position() -> Option<Position> {
    Some(Position { term: u64::MAX, index: u64::MAX })
}

fn top_append(entries: Vec<Entry>) -> Append {
    Append {
        shard: u32::MAX,
        from: u64::MAX,
        to: u64::MAX,
        ballot: top_ballot(),
        prev: top_position(),
        committed: top_position(),
        entries,
    }
}

fn entry(size_bytes: usize) -> Entry {
    let payload = vec![3; size_bytes - limits::ENTRY_HEAD_BYTES].into();
    Entry { term: u64::MAX, index: u64::MAX, payload }
}

#[test]
fn entries_up_to_the_bound_always_fit_an_append() {
    let shares = [vec![APPEND_BYTES], vec![APPEND_BYTES / ENTRIES; ENTRIES], vec![APPEND_BYTES / 2; 2]];
    for sizes in shares {
        let append = top_append(sizes.into_iter().map(entry).collect());
        assert!(append.entries.iter().map(Entry::size_bytes).sum::<usize>() <= APPEND_BYTES);
        let mut out = BytesMut::new();
        peer::put(u64::MAX, &append, &mut out).unwrap();
        assert!(out.len() <= PEER_FRAME_BYTES);
        let taken = PeerFrame::take(&only_frame(&out)).unwrap();
        assert_eq!(taken, PeerFrame { rpc: u64::MAX, body: append.into() });
    }
    let over = top_append(vec![entry(PEER_FRAME_BYTES)]);
    assert!(matches!(peer::put(1, &over, &mut BytesMut::new()), Err(EncodeFault::TooLarge { .. })));
    let over = top_append(vec![entry(limits::ENTRY_HEAD_BYTES); ENTRIES + 1]);
    let fault = peer::put(1, &over, &mut BytesMut::new()).unwrap_err();
    assert!(matches!(fault, EncodeFault::Bound { field: "entries", .. }));
}

/// Whether `part` lies inside `whole`: shared, not copied.
fn is_slice_of(part: &Blob, whole: &[u8]) -> bool {
    let (whole, part) = (whole.as_ptr_range(), part.as_slice().as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[test]
fn entries_and_chunks_are_slices_of_the_frame() {
    let mut out = BytesMut::new();
    peer::put(1, &samples::append(), &mut out).unwrap();
    let frame = only_frame(&out);
    let PeerBody::Append(append) = PeerFrame::take(&frame).unwrap().body else { panic!("not an append") };
    assert!(is_slice_of(&append.entries[0].payload, &frame.body));
    let mut out = BytesMut::new();
    peer::put(1, &SnapshotChunk { seq: 0, crc: 0, bytes: vec![1; 1_000].into() }, &mut out).unwrap();
    let frame = only_frame(&out);
    let PeerBody::SnapshotChunk(chunk) = PeerFrame::take(&frame).unwrap().body else { panic!("not a chunk") };
    assert!(is_slice_of(&chunk.bytes, &frame.body));
}

fn wide_status() -> NodeStatus {
    let figures = |count| vec![Figure { name: "f".repeat(64), value: u64::MAX }; count];
    let shard = ShardStatus {
        shard: u32::MAX,
        replica: u64::MAX,
        role: ShardRole::Leader,
        leader: Some(u64::MAX),
        term: u64::MAX,
        last_index: u64::MAX,
        committed_index: u64::MAX,
        applied_index: u64::MAX,
        purged_index: u64::MAX,
        time: LogTime(u64::MAX),
        records: u64::MAX,
        in_doubt: u64::MAX,
        digest: [0xff; 16],
        matches: vec![Match { replica: u64::MAX, index: u64::MAX }; REPLICAS],
    };
    NodeStatus {
        node: u64::MAX,
        name: "n".repeat(64),
        software: "s".repeat(64),
        uptime_ms: u64::MAX,
        shards: vec![shard; GROUPS],
        engine: EngineStatus { name: "e".repeat(64), figures: figures(64) },
        log: figures(64),
    }
}

fn wide_table() -> ShardTable {
    let replicas = vec![ReplicaRef { node: u64::MAX, replica: u64::MAX }; REPLICAS];
    let node = hapax_wire::client::NodeEntry {
        id: u64::MAX,
        name: "n".repeat(64),
        client_addr: "h".repeat(260),
        zone: "z".repeat(64),
    };
    ShardTable {
        version: u64::MAX,
        shards: vec![ShardEntry { shard: u32::MAX, leader: Some(u64::MAX), replicas }; GROUPS],
        nodes: vec![node; NODES],
    }
}

#[test]
fn the_widest_table_and_status_fit_a_client_frame() {
    let table = Table { id: u64::MAX, table: wide_table() };
    let mut out = BytesMut::new();
    table.put(&mut out).unwrap();
    assert_eq!(Table::take(&only_frame(&out)).unwrap(), table);
    let status = hapax_wire::client::Status { id: u64::MAX, status: wide_status() };
    let mut out = BytesMut::new();
    status.put(&mut out).unwrap();
    assert_eq!(hapax_wire::client::Status::take(&only_frame(&out)).unwrap(), status);
}

#[test]
fn the_widest_bodies_of_all_groups_fit_a_peer_frame() {
    let beat = Beat {
        shard: u32::MAX,
        from: u64::MAX,
        to: u64::MAX,
        ballot: top_ballot(),
        prev: top_position(),
        committed: top_position(),
    };
    let reply =
        BeatReply { shard: u32::MAX, to: u64::MAX, outcome: AppendOutcome::HigherBallot(top_ballot()) };
    let roster = Roster {
        cluster: ClusterId([0xff; 16]),
        shards: u32::MAX,
        replication: u8::MAX,
        version: u64::MAX,
        nodes: vec![RosterNode { id: u64::MAX, name: "n".repeat(64) }; NODES],
        table: vec![RosterShard { shard: u32::MAX, replicas: vec![u64::MAX; REPLICAS] }; GROUPS],
    };
    let bodies: [PeerBody; 3] = [
        Beats { beats: vec![beat; GROUPS] }.into(),
        BeatReplies { replies: vec![reply; GROUPS] }.into(),
        RosterReply { node: u64::MAX, name: "n".repeat(64), roster: Some(roster) }.into(),
    ];
    for body in bodies {
        let frame = PeerFrame { rpc: u64::MAX, body };
        let mut out = BytesMut::new();
        frame.put(&mut out).unwrap();
        assert_eq!(PeerFrame::take(&only_frame(&out)).unwrap(), frame);
    }
}

#[test]
fn every_reply_to_a_peer_is_told_from_a_request_by_its_kind() {
    let mut replies = Vec::new();
    for (name, sample) in samples::all() {
        if let samples::Sample::Peer(PeerFrame { body, .. }) = sample {
            assert_eq!(
                body.is_reply(),
                name.contains("repl")
                    || ["peer_status", "peer_refused", "peer_digests"].contains(&name.as_str())
            );
            replies.push(body.is_reply());
        }
    }
    assert!(replies.contains(&true) && replies.contains(&false));
}
