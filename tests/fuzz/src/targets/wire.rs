//! What travels: frames between clients and nodes, between nodes, and handshakes.
//!
//! An input that begins with 0 is, behind that byte, a stream of frames as a socket brings it: its
//! checksums are checked. Any other first byte is the kind of a frame, and the rest its body: a
//! fuzzer need not find a checksum to reach the messages. A target fails when a message
//! that was taken is not the same after another round.

use bytes::{Bytes, BytesMut};
use hapax_wire::client::{Error, Hello, ToClient, ToServer, Welcome};
use hapax_wire::limits::{CLIENT_FRAME_BYTES, HANDSHAKE_BYTES, HEADER_BYTES, PEER_FRAME_BYTES};
use hapax_wire::peer::{PeerBody, PeerFrame, PeerHello, PeerWelcome};
use hapax_wire::{Decoder, EncodeFault, Frame, FrameFault, Message, MessageFault, Versions};
use std::fmt::Debug;

use crate::seen::Seen;

/// The form of the frames that are written today.
const FORM: u8 = 1;

/// Frames between a client and a node, both ways.
pub(super) fn client_frame(input: &[u8], seen: &mut Seen) -> usize {
    let frames = frames(input, CLIENT_FRAME_BYTES, seen);
    frames.iter().map(|frame| to_server(frame, seen) + to_client(frame, seen)).sum()
}

/// Frames between nodes.
pub(super) fn peer_frame(input: &[u8], seen: &mut Seen) -> usize {
    frames(input, PEER_FRAME_BYTES, seen).iter().map(|frame| peer(frame, seen)).sum()
}

/// The first frames of any connection.
pub(super) fn handshake(input: &[u8], seen: &mut Seen) -> usize {
    let mut taken = 0;
    for frame in &frames(input, HANDSHAKE_BYTES, seen) {
        let hello = Hello::take(frame).inspect(|hello| agree(hello.versions));
        let peer_hello = PeerHello::take(frame).inspect(|hello| agree(hello.versions));
        taken += again(hello, Hello::take, |message, out| message.put(out), seen);
        taken += again(peer_hello, PeerHello::take, |message, out| message.put(out), seen);
        taken += again(Welcome::take(frame), Welcome::take, |message, out| message.put(out), seen);
        taken += again(PeerWelcome::take(frame), PeerWelcome::take, |message, out| message.put(out), seen);
        taken += again(Error::take(frame), Error::take, |message, out| message.put(out), seen);
    }
    taken
}

fn to_server(frame: &Frame, seen: &mut Seen) -> usize {
    let taken = ToServer::take(frame);
    if let Ok(ToServer::Calls(calls)) = &taken
        && !calls.malformed.is_empty()
    {
        // Only ever received: it cannot be sent again.
        assert!(calls.malformed.iter().all(|call| call.refusal.definite && call.refusal.field.is_some()));
        return 0;
    }
    again(taken, ToServer::take, |message, out| message.put(out), seen)
}

fn to_client(frame: &Frame, seen: &mut Seen) -> usize {
    again(ToClient::take(frame), ToClient::take, |message, out| message.put(out), seen)
}

fn peer(frame: &Frame, seen: &mut Seen) -> usize {
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
    again(taken, PeerFrame::take, |message, out| message.put(out), seen)
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
    seen: &mut Seen,
) -> usize {
    let message = match taken {
        Ok(message) => message,
        Err(fault) => {
            assert!(fault.refusal().definite);
            seen.text(&fault);
            return 0;
        }
    };
    seen.shape(&message);
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
fn frames(input: &[u8], limit_bytes: usize, seen: &mut Seen) -> Vec<Frame> {
    match input.split_first() {
        None => Vec::new(),
        Some((0, stream)) => {
            let whole = decode(stream, stream.len().max(1), limit_bytes);
            let bytewise = decode(stream, 1, limit_bytes);
            assert_eq!(whole, bytewise, "what a stream means depends on how it was cut");
            seen.shape(&(&whole.1, whole.2));
            seen.note(("frames", whole.0.len().min(4)));
            whole.0
        }
        Some((kind, body)) => vec![Frame { kind: *kind, body: Bytes::copy_from_slice(body) }],
    }
}

/// Makes a stream's headers fit what stands behind them; a body without a stream has none.
pub(super) fn repair(input: &mut [u8]) {
    if input.first() != Some(&0) {
        return;
    }
    let mut rest = &mut input[1..];
    while let Some((header, behind)) = rest.split_first_chunk_mut::<HEADER_BYTES>() {
        let announced = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let length = announced.min(behind.len());
        header[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        header[5] = FORM;
        let check = crc32c::crc32c(&header[..6]).to_le_bytes();
        header[6..8].copy_from_slice(&check[..2]);
        let (body, next) = behind.split_at_mut(length);
        let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), body);
        header[8..].copy_from_slice(&sum.to_le_bytes());
        rest = next;
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
