//! The three targets as plain functions, so that the corpus runs without a fuzzer too.
//!
//! An input that begins with 0 is, behind that byte, a stream of frames as a socket brings it: its
//! checksums are checked. Any other first byte is the kind of a frame, and the rest its body: a
//! fuzzer need not find a checksum to reach the messages. Every target returns how many messages
//! were taken, and fails when a message that was taken is not the same after another round.

use bytes::{Bytes, BytesMut};
use hapax_wire::client::{Error, Hello, ToClient, ToServer, Welcome};
use hapax_wire::limits::{CLIENT_FRAME_BYTES, HANDSHAKE_BYTES, PEER_FRAME_BYTES};
use hapax_wire::peer::{PeerBody, PeerFrame, PeerHello, PeerWelcome};
use hapax_wire::{Decoder, EncodeFault, Frame, FrameFault, Message, MessageFault, Versions};
use std::fmt::Debug;

/// Frames between a client and a node, both ways.
pub fn client_frame(input: &[u8]) -> usize {
    let frames = frames(input, CLIENT_FRAME_BYTES);
    frames.iter().map(|frame| to_server(frame) + to_client(frame)).sum()
}

/// Frames between nodes.
pub fn peer_frame(input: &[u8]) -> usize {
    frames(input, PEER_FRAME_BYTES).iter().map(peer).sum()
}

/// The first frames of any connection.
pub fn handshake(input: &[u8]) -> usize {
    let mut taken = 0;
    for frame in &frames(input, HANDSHAKE_BYTES) {
        let hello = Hello::take(frame).inspect(|hello| agree(hello.versions));
        let peer_hello = PeerHello::take(frame).inspect(|hello| agree(hello.versions));
        taken += again(hello, Hello::take, |message, out| message.put(out));
        taken += again(peer_hello, PeerHello::take, |message, out| message.put(out));
        taken += again(Welcome::take(frame), Welcome::take, |message, out| message.put(out));
        taken += again(PeerWelcome::take(frame), PeerWelcome::take, |message, out| message.put(out));
        taken += again(Error::take(frame), Error::take, |message, out| message.put(out));
    }
    taken
}

fn to_server(frame: &Frame) -> usize {
    let taken = ToServer::take(frame);
    if let Ok(ToServer::Calls(calls)) = &taken
        && !calls.malformed.is_empty()
    {
        // Only ever received: it cannot be sent again.
        assert!(calls.malformed.iter().all(|call| call.refusal.definite && call.refusal.field.is_some()));
        return 0;
    }
    again(taken, ToServer::take, |message, out| message.put(out))
}

fn to_client(frame: &Frame) -> usize {
    again(ToClient::take(frame), ToClient::take, |message, out| message.put(out))
}

fn peer(frame: &Frame) -> usize {
    let taken = PeerFrame::take(frame);
    if let Err(fault) = &taken
        && frame.body.len() >= 8
    {
        assert!(fault.id().is_some(), "a peer's request could not be answered");
    }
    if let Ok(PeerFrame { body: PeerBody::Forward(forward), .. }) = &taken
        && !forward.malformed.is_empty()
    {
        return 0;
    }
    again(taken, PeerFrame::take, |message, out| message.put(out))
}

/// Two sides agree on a version that both speak, or on none, whoever asks.
fn agree(versions: Versions) {
    let agreed = Versions::SPOKEN.agree(versions);
    assert_eq!(agreed.as_ref().ok(), versions.agree(Versions::SPOKEN).as_ref().ok());
    assert!(agreed.is_ok_and(|version| versions.contains(version)) || agree_on_none(versions));
}

fn agree_on_none(versions: Versions) -> bool {
    !(0..=u16::MAX).any(|version| versions.contains(version) && Versions::SPOKEN.contains(version))
}

/// Sends what was taken once more and takes it again. Returns 1 for a message, 0 for a fault.
fn again<T: PartialEq + Debug>(
    taken: Result<T, MessageFault>,
    take: impl Fn(&Frame) -> Result<T, MessageFault>,
    put: impl Fn(&T, &mut BytesMut) -> Result<(), EncodeFault>,
) -> usize {
    let message = match taken {
        Ok(message) => message,
        Err(fault) => {
            assert!(fault.refusal().definite);
            return 0;
        }
    };
    let mut out = BytesMut::new();
    match put(&message, &mut out) {
        Ok(()) => {}
        // The body of an input is not held against a frame's limit.
        Err(EncodeFault::TooLarge { .. }) => return 0,
        Err(fault) => panic!("taken, but cannot be put: {fault}"),
    }
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    decoder.push(&out);
    let frame = decoder.poll().expect("our own frame").expect("a whole frame");
    assert_eq!(take(&frame).expect("our own message"), message);
    1
}

/// The frames of an input.
fn frames(input: &[u8], limit_bytes: usize) -> Vec<Frame> {
    match input.split_first() {
        None => Vec::new(),
        Some((0, stream)) => {
            let whole = decode(stream, stream.len().max(1), limit_bytes);
            let bytewise = decode(stream, 1, limit_bytes);
            assert_eq!(whole, bytewise, "what a stream means depends on how it was cut");
            whole.0
        }
        Some((kind, body)) => vec![Frame { kind: *kind, body: Bytes::copy_from_slice(body) }],
    }
}

/// The frames of a stream that comes in pieces of `piece_bytes`, and how it ends.
fn decode(stream: &[u8], piece_bytes: usize, limit_bytes: usize) -> (Vec<Frame>, Option<FrameFault>, bool) {
    let mut decoder = Decoder::new(limit_bytes);
    let mut frames = Vec::new();
    for piece in stream.chunks(piece_bytes) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.poll() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Some(fault), false),
            }
        }
    }
    (frames, None, decoder.is_midway())
}
