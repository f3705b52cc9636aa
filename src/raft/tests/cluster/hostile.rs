//! What the peer port may bring: the node stays up, answers what it can, and serves on.

use crate::asks::{claim, token_of};
use crate::harness::{Cluster, Setup};
use crate::node::CLUSTER;
use bytes::BytesMut;
use hapax_core::ErrorCode;
use hapax_raft::env::Env;
use hapax_raft::ids::NodeId;
use hapax_raft::peer::connection::{HandshakeError, Introduction, dial, next_frame};
use hapax_wire::client::Error;
use hapax_wire::peer::{
    Append, AppendOutcome, AppendReply, Ballot, Beat, Beats, Channel, Digests, DigestsAsk, DigestsOf, Entry,
    PeerBody, PeerFrame, PeerHello, Position, Refused, SnapshotChunk, Transfer, TransferReply, Vote,
    VoteReply,
};
use hapax_wire::version::Versions;
use hapax_wire::{ClusterId, Decoder, Message, limits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

fn stranger() -> Introduction {
    Introduction { cluster: CLUSTER, node: NodeId::from_u64(99 << 20), name: "stranger".to_owned() }
}

fn hello(cluster: Option<ClusterId>, versions: Versions) -> BytesMut {
    let channel = Channel::Control;
    let mut out = BytesMut::new();
    PeerHello { versions, cluster, node: 99 << 20, name: "stranger".to_owned(), channel }
        .put(&mut out)
        .unwrap();
    out
}

/// Sends bytes and reads until the node closes, which it must do soon.
async fn spit(addr: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let _may_be_closed_already = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
    assert!(closed.is_ok(), "the node closes a connection that makes no sense");
    heard
}

/// The refusal in what a node said before it closed.
fn refusal(heard: &[u8]) -> ErrorCode {
    let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
    decoder.push(heard);
    Error::take(&decoder.poll().unwrap().unwrap()).unwrap().refusal.code
}

async fn still_serves(cluster: &Cluster, name: &str) {
    for i in 0..cluster.nodes.len() {
        token_of(&cluster.ask(i, claim(&format!("{name}-{i}"), 1, 0)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_before_the_handshake_is_refused_and_costs_nothing() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let addr = cluster.peer_addr(0);
    let random = Env::real();
    for length in [1, 11, 12, 13, 64, 5_000, 100_000] {
        let mut bytes = vec![0; length];
        random.entropy.fill(&mut bytes);
        spit(addr, &bytes).await;
    }
    let good = hello(Some(CLUSTER), Versions::SPOKEN);
    let started = Instant::now();
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        // It says no more; the node waits for as long as a handshake may take.
        assert!(spit(addr, &good[..cut]).await.is_empty());
    }
    assert!(started.elapsed() < Duration::from_secs(4 * 3));
    let mut oversized = good.clone();
    oversized[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    spit(addr, &oversized).await;
    oversized[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    spit(addr, &oversized).await;
    let other = spit(addr, &hello(Some(ClusterId([1; 16])), Versions::SPOKEN)).await;
    assert_eq!(refusal(&other), ErrorCode::WrongCluster);
    let none = spit(addr, &hello(None, Versions::SPOKEN)).await;
    assert_eq!(refusal(&none), ErrorCode::WrongCluster, "a peer must say to which cluster it belongs");
    let newer = Versions { min: 900, max: 901 };
    assert_eq!(refusal(&spit(addr, &hello(Some(CLUSTER), newer)).await), ErrorCode::Version);
    let wrong = Introduction { cluster: ClusterId([1; 16]), ..stranger() };
    let refused = dial(addr, &wrong, Channel::Snapshot, Duration::from_secs(5)).await;
    assert!(matches!(refused, Err(HandshakeError::Refused(_))), "{refused:?}");
    still_serves(&cluster, "after").await;
}

/// A connection that has been let in.
struct Inside {
    stream: TcpStream,
    decoder: Decoder,
}

impl Inside {
    async fn new(addr: &str, channel: Channel) -> Self {
        let (stream, decoder, _) = dial(addr, &stranger(), channel, Duration::from_secs(5)).await.unwrap();
        Self { stream, decoder }
    }

    async fn ask(&mut self, body: impl Into<PeerBody>) -> PeerBody {
        let mut out = BytesMut::new();
        PeerFrame { rpc: 5, body: body.into() }.put(&mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
        self.hear().await
    }

    async fn hear(&mut self) -> PeerBody {
        let frame = timeout(Duration::from_secs(5), next_frame(&mut self.stream, &mut self.decoder)).await;
        PeerFrame::take(&frame.unwrap().unwrap().unwrap()).unwrap().body
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_the_handshake_ends_the_connection_and_nothing_else() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let addr = cluster.peer_addr(0);
    let random = Env::real();
    for channel in [Channel::Control, Channel::Snapshot] {
        for length in [12, 100, 70_000] {
            let mut inside = Inside::new(addr, channel).await;
            let mut bytes = vec![0; length];
            random.entropy.fill(&mut bytes);
            // A length over every bound, so that it is no frame whatever follows.
            bytes[..4].copy_from_slice(&[0xff; 4]);
            let _may_be_closed_already = inside.stream.write_all(&bytes).await;
            let mut rest = Vec::new();
            let closed = timeout(Duration::from_secs(10), inside.stream.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "{channel:?} {length}");
        }
    }
    // Whole frames that nobody asked for, or that are of no known kind.
    let mut inside = Inside::new(addr, Channel::Control).await;
    let chunk = SnapshotChunk { seq: 0, crc: 0, bytes: "x".into() };
    assert!(matches!(inside.ask(chunk.clone()).await, PeerBody::Refused(_)));
    assert!(matches!(inside.ask(VoteReply::Gone).await, PeerBody::Refused(_)));
    let mut unknown = BytesMut::new();
    PeerFrame { rpc: 6, body: chunk.clone().into() }.put(&mut unknown).unwrap();
    unknown[4] = 250;
    inside.stream.write_all(&unknown).await.unwrap();
    let heard = timeout(Duration::from_secs(5), next_frame(&mut inside.stream, &mut inside.decoder)).await;
    assert!(heard.is_ok(), "a frame of an unknown kind is answered, or ends the connection");
    let mut inside = Inside::new(addr, Channel::Snapshot).await;
    let mut out = BytesMut::new();
    PeerFrame { rpc: 7, body: chunk.into() }.put(&mut out).unwrap();
    inside.stream.write_all(&out).await.unwrap();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(10), inside.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    still_serves(&cluster, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_make_no_sense_to_a_group_are_refused_and_its_consensus_lives() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let follower = (leader + 1) % 3;
    let replica = |i: usize| cluster.homes[i].id.replica(0).as_u64();
    let status = cluster.replica(follower, 0).unwrap();
    let mut inside = Inside::new(cluster.peer_addr(follower), Channel::Control).await;
    let to = replica(follower);
    let old = Ballot { term: 0, replica: replica(leader), committed: true };
    let now = Ballot { term: status.term, replica: replica(leader), committed: true };
    let entry = |term, index| Entry { term, index, payload: bytes::Bytes::from_static(&[0]).into() };
    let at = |term, index| Some(Position { term, index });
    let append =
        |ballot, prev, entries| Append { shard: 0, from: 1, to, ballot, prev, committed: None, entries };
    // Of a shard or replica that is not here.
    let beat = Beat { shard: 7, from: 1, to, ballot: now, prev: None, committed: None };
    let PeerBody::BeatReplies(beaten) = inside.ask(Beats { beats: vec![beat] }).await else { panic!() };
    assert_eq!(beaten.replies[0].outcome, AppendOutcome::Gone);
    let vote = Vote { shard: 0, from: 1, to: to + 1, ballot: now, last: None, pre: false, handover: false };
    assert_eq!(inside.ask(vote).await, VoteReply::Gone.into());
    let transfer = Transfer { shard: 3, from: 1, to, ballot: now, last: None };
    assert_eq!(inside.ask(transfer).await, TransferReply::Gone.into());
    // Entries with holes, out of order, at the end of all numbers, or that do not decode.
    let far = status.last_index + 1_000;
    for entries in [
        vec![entry(1, far + 2)],
        vec![entry(1, far + 1), entry(1, far + 3)],
        vec![entry(1, far + 1), entry(1, far + 1)],
        vec![entry(5, far + 1), entry(4, far + 2)],
        vec![Entry { payload: bytes::Bytes::from_static(&[9, 9]).into(), ..entry(1, far + 1) }],
    ] {
        let reply = inside.ask(append(now, at(1, far), entries.clone())).await;
        assert!(matches!(reply, PeerBody::Refused(Refused { .. })), "{entries:?}: {reply:?}");
    }
    let end = inside.ask(append(now, at(1, u64::MAX), vec![entry(1, 0)])).await;
    assert!(matches!(end, PeerBody::Refused(_)), "{end:?}");
    // A leader of long ago, and a log that is not this one.
    let PeerBody::AppendReply(AppendReply { outcome }) = inside.ask(append(old, None, vec![])).await else {
        panic!("an append is answered")
    };
    assert!(matches!(outcome, AppendOutcome::HigherBallot(_)), "{outcome:?}");
    let PeerBody::AppendReply(AppendReply { outcome }) =
        inside.ask(append(now, at(status.term, far), vec![entry(status.term, far + 1)])).await
    else {
        panic!("an append is answered")
    };
    assert_eq!(outcome, AppendOutcome::Conflict);
    let ask = DigestsAsk { shards: vec![DigestsOf { shard: 9, indexes: vec![u64::MAX] }] };
    assert_eq!(inside.ask(ask).await, Digests { shards: vec![] }.into());
    still_serves(&cluster, "after").await;
    assert!(cluster.homes.iter().all(|home| home.observer.anomalies.lock().is_empty()), "no group has died");
    cluster.check_agreement().await;
}
