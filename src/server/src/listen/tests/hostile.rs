//! What a client may do wrong, each with the reason that it is told; the node serves on.

use super::*;
use hapax_core::ErrorCode;
use hapax_wire::client::Pong;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn garbage_instead_of_a_hello() {
    let rig = Rig::start(settings()).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 64],
        &[0xff; 64],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut peer = rig.dial().await;
        peer.write(garbage).await;
        if garbage.len() < hapax_wire::limits::HEADER_BYTES {
            // Not even a header: only the end of the handshake's time tells.
            continue;
        }
        let refusal = peer.refusal().await;
        assert_eq!((refusal.code, refusal.definite), (ErrorCode::Invalid, true), "{garbage:?}");
        assert_eq!(refusal.field.as_deref(), Some("frame"));
    }
    assert!(rig.metric(r#"hapax_connections_closed_total{code="invalid"}"#) >= 3.0);
    rig.assert_serves().await;
}

#[tokio::test]
async fn garbage_after_the_hello_spoils_nothing_that_came_before() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    let mut damaged = bytes(calls(&[2]));
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    peer.write(&[&bytes(calls(&[1]))[..], &damaged].concat()).await;
    assert_eq!(peer.answer().await.0, 1);
    assert_eq!(peer.refusal().await.code, ErrorCode::Invalid);
    assert_eq!(*rig.fake.batches.lock(), [1], "the damaged frame was not acted on");
    rig.assert_serves().await;
}

#[tokio::test]
async fn a_message_that_no_client_sends() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    let mut out = BytesMut::new();
    (Pong { nonce: 1 }).put(&mut out).unwrap();
    peer.write(&out).await;
    let refusal = peer.refusal().await;
    assert_eq!((refusal.code, refusal.field.as_deref()), (ErrorCode::Invalid, Some("kind")));
    let mut peer = rig.connect().await;
    peer.send(hello()).await;
    assert_eq!(peer.refusal().await.field.as_deref(), Some("hello"));
}

#[tokio::test]
async fn a_first_frame_that_is_no_hello() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.call(&[1]).await;
    assert_eq!(peer.refusal().await.code, ErrorCode::Invalid);
    assert!(rig.fake.batches.lock().is_empty());
}

/// The header of a frame with a body of so many bytes, with its own check right.
fn announcing(body_bytes: usize) -> Vec<u8> {
    let mut header = u32::try_from(body_bytes).unwrap().to_le_bytes().to_vec();
    header.extend_from_slice(&[hapax_wire::kind::CALLS, hapax_wire::frame::FORM]);
    let check = crc32c::crc32c(&header);
    header.extend_from_slice(&check.to_le_bytes()[..2]);
    header.extend_from_slice(&[0; 4]);
    header
}

#[tokio::test]
async fn frames_over_the_limit_are_refused_by_their_announced_length() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.write(&announcing(64 * 1024)).await;
    let refusal = peer.refusal().await;
    assert_eq!(refusal.code, ErrorCode::TooLarge, "before the handshake 4 KiB are allowed: {refusal}");
    let mut peer = rig.connect().await;
    peer.write(&announcing(1024 * 1024)).await;
    assert_eq!(peer.refusal().await.code, ErrorCode::TooLarge);
    let mut peer = rig.connect().await;
    peer.write(&announcing(u32::MAX as usize)).await;
    assert_eq!(peer.refusal().await.code, ErrorCode::TooLarge);
    rig.assert_serves().await;
}

#[tokio::test]
async fn a_slow_handshake_is_ended() {
    let rig = Rig::start(settings()).await;
    let mut silent = rig.dial().await;
    let mut half = rig.dial().await;
    half.write(&bytes(hello())[..10]).await;
    let (first, second) = tokio::join!(silent.refusal(), half.refusal());
    assert_eq!((first.code, second.code), (ErrorCode::Deadline, ErrorCode::Deadline));
    rig.assert_serves().await;
}

#[tokio::test]
async fn another_cluster_and_another_version() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.dial().await;
    peer.send(Hello { cluster: Some(ClusterId([8; 16])), ..hello() }).await;
    assert_eq!(peer.refusal().await.code, ErrorCode::WrongCluster);
    let mut peer = rig.dial().await;
    peer.send(Hello { versions: Versions { min: 900, max: 901 }, ..hello() }).await;
    assert_eq!(peer.refusal().await.code, ErrorCode::Version);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let rig = Rig::start(Settings { calls_per_connection: 4096, ..settings() }).await;
    rig.fake.result_bytes.store(60_000, Ordering::Relaxed);
    let mut peer = rig.connect().await;
    // 60 MB of replies: far more than the buffers of two sockets and this port may hold.
    for frame in 0..100u64 {
        let ids: Vec<u64> = (0..10).map(|call| frame * 10 + call).collect();
        if peer.stream.write_all(&bytes(calls(&ids))).await.is_err() {
            break;
        }
    }
    until("it is cut off", || rig.metric(r#"hapax_connections_closed_total{code="overloaded"}"#) == 1.0)
        .await;
    until("its connection is gone", || rig.metric(r#"hapax_connections{kind="client"}"#) == 0.0).await;
    rig.fake.result_bytes.store(0, Ordering::Relaxed);
    rig.assert_serves().await;
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_told_so() {
    let rig = Rig::start(Settings { connections: 2, ..settings() }).await;
    let (first, _second) = (rig.connect().await, rig.connect().await);
    let refusal = rig.dial().await.refusal().await;
    assert_eq!((refusal.code, refusal.definite), (ErrorCode::Overloaded, true));
    drop(first);
    until("there is room again", || rig.metric(r#"hapax_connections{kind="client"}"#) == 1.0).await;
    rig.assert_serves().await;
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_frame_hurts_nobody() {
    let rig = Rig::start(settings()).await;
    let mut peer = rig.connect().await;
    let frame = bytes(calls(&[1]));
    peer.write(&frame[..frame.len() - 1]).await;
    drop(peer);
    until("the connection is gone", || rig.metric(r#"hapax_connections{kind="client"}"#) == 0.0).await;
    assert!(rig.fake.batches.lock().is_empty(), "half a frame was acted on");
    rig.assert_serves().await;
}
