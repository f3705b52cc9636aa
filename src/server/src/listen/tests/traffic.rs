//! What well-behaved clients see.

use super::*;
use hapax_core::{ErrorCode, Reply};
use hapax_wire::client::{Cancel, Ping, StatusAsk, TableAsk};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_hello_is_welcomed_with_the_bounds() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.send(Hello { cluster: None, ..hello() }).await;
    let welcome = welcome_limits(peer.receive().await);
    assert_eq!((welcome.cluster, welcome.node, welcome.node_name.as_str()), (CLUSTER, 1 << 16, "node-1"));
    assert_eq!((welcome.limits.in_flight, welcome.table_version), (8, 1));
}

#[tokio::test]
async fn frames_that_arrived_together_are_submitted_as_one() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    let together = [bytes(calls(&[1])), bytes(calls(&[2, 3])), bytes(calls(&[4]))].concat();
    peer.write(&together).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(peer.answer().await.0);
    }
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(*rig.fake.batches.lock(), [4]);
}

#[tokio::test]
async fn frames_may_come_in_pieces_of_any_size() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.stream.set_nodelay(true).unwrap();
    let all = [bytes(hello()), bytes(calls(&[1]))].concat();
    for piece in all.chunks(7) {
        peer.write(piece).await;
        tokio::task::yield_now().await;
    }
    assert!(matches!(peer.receive().await, Some(ToClient::Welcome(_))));
    assert_eq!(peer.answer().await.0, 1);
}

#[tokio::test]
async fn calls_may_come_with_the_hello() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.write(&[bytes(hello()), bytes(calls(&[1, 2]))].concat()).await;
    assert!(matches!(peer.receive().await, Some(ToClient::Welcome(_))));
    assert_eq!((peer.answer().await.0, peer.answer().await.0), (1, 2));
}

#[tokio::test]
async fn questions_are_answered() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    peer.send(Ping { nonce: 5 }).await;
    assert!(matches!(peer.receive().await, Some(ToClient::Pong(pong)) if pong.nonce == 5));
    peer.send(TableAsk { id: 6 }).await;
    assert!(matches!(peer.receive().await, Some(ToClient::Table(table)) if table.id == 6));
    peer.send(StatusAsk { id: 7 }).await;
    assert!(
        matches!(peer.receive().await, Some(ToClient::Status(s)) if s.id == 7 && s.status.name == "node-1")
    );
}

#[tokio::test]
async fn a_new_table_is_told_unasked() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    // A question first: the writer that would tell the change is there once it is answered.
    peer.send(Ping { nonce: 1 }).await;
    assert!(matches!(peer.receive().await, Some(ToClient::Pong(_))));
    rig.fake.tables.send_replace(2);
    let told = peer.receive().await;
    assert!(
        matches!(&told, Some(ToClient::Table(table)) if table.id == 0 && table.table.version == 2),
        "{told:?}"
    );
}

#[tokio::test]
async fn more_calls_in_flight_than_allowed_are_overloaded() {
    let rig = Rig::start(settings()).await;
    rig.fake.holds.store(true, Ordering::Relaxed);
    let mut peer = rig.connect().await;
    peer.call(&[1, 2, 3, 4, 5]).await;
    peer.call(&[6, 7, 8, 9, 10]).await;
    for id in [9, 10] {
        let (answered, answer) = peer.answer().await;
        let Reply::Error(refusal) = answer.reply else { panic!("{answer:?}") };
        assert_eq!((answered, refusal.code, refusal.definite), (id, ErrorCode::Overloaded, true));
    }
    assert_eq!(rig.metric(r#"hapax_errors_total{code="overloaded",definite="true"}"#), 2.0);
    rig.fake.release();
    for _ in 0..8 {
        assert!(matches!(peer.answer().await.1.reply, Reply::Replayed(_)));
    }
    rig.fake.holds.store(false, Ordering::Relaxed);
    peer.call(&[11]).await;
    assert_eq!(peer.answer().await.0, 11, "there is room again");
}

#[tokio::test]
async fn a_cancel_reaches_the_node_after_its_call() {
    let rig = Rig::start(settings()).await;
    rig.fake.holds.store(true, Ordering::Relaxed);
    let mut peer = rig.connect().await;
    peer.write(&[bytes(calls(&[1, 2])), bytes(Cancel { id: 2 })].concat()).await;
    until("the cancel arrives", || *rig.fake.cancelled.lock() == [2]).await;
    let held = rig.fake.held.lock();
    let wanted: Vec<bool> = held.iter().map(|(id, caller)| caller.wants(*id)).collect();
    assert_eq!(wanted, [true, false]);
}

#[tokio::test]
async fn a_client_that_is_gone_wants_nothing_more() {
    let rig = Rig::start(settings()).await;
    rig.fake.holds.store(true, Ordering::Relaxed);
    let mut peer = rig.connect().await;
    peer.call(&[1, 2]).await;
    until("both calls are held", || rig.fake.held.lock().len() == 2).await;
    drop(peer);
    until("its calls are not wanted", || !rig.fake.held.lock()[0].1.wants(1)).await;
    assert_eq!(rig.port.drained(Duration::from_secs(10)).await, 0, "they are not in flight any more");
    rig.fake.release();
    assert_eq!(rig.port.drained(Duration::from_secs(1)).await, 0, "and are not counted twice");
    until("the connection is gone", || rig.metric(r#"hapax_connections{kind="client"}"#) == 0.0).await;
}

#[tokio::test]
async fn a_stopping_node_answers_what_is_in_flight_and_then_says_so() {
    let rig = Rig::start(settings()).await;
    rig.fake.holds.store(true, Ordering::Relaxed);
    let mut peer = rig.connect().await;
    peer.call(&[1]).await;
    until("the call is held", || rig.fake.held.lock().len() == 1).await;
    rig.port.drain();
    assert_eq!(rig.port.drained(Duration::from_millis(20)).await, 1);
    rig.fake.release();
    assert_eq!(rig.port.drained(Duration::from_secs(10)).await, 0);
    assert_eq!(peer.answer().await.0, 1);
    let (refusal, ()) = tokio::join!(peer.refusal(), rig.port.close(Duration::from_secs(10)));
    assert_eq!((refusal.code, refusal.definite), (ErrorCode::Unavailable, false));
    let refused = TcpStream::connect(rig.addr).await;
    assert!(refused.is_err(), "a new connection is not taken");
}
