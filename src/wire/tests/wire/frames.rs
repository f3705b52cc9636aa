//! The decoder gives the frames that were sent, however the stream was cut, and stops for good at
//! the first byte that is not a frame's.

use crate::samples;
use hapax_wire::limits::{CLIENT_FRAME_BYTES, HANDSHAKE_BYTES, HEADER_BYTES, PEER_FRAME_BYTES};
use hapax_wire::{Decoder, Frame, FrameFault};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

/// A frame with a body of `length` bytes, made by hand from the table in the frame module.
pub(crate) fn frame_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header_of(u32::try_from(body.len()).unwrap(), kind, 1);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), body);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A header whose own check passes; the body's checksum is left zero.
pub(crate) fn header_of(length: u32, kind: u8, form: u8) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, form]);
    let check = crc32c::crc32c(&bytes).to_le_bytes();
    bytes.extend_from_slice(&check[..2]);
    bytes.extend([0; 4]);
    bytes
}

fn drain(decoder: &mut Decoder) -> Vec<Frame> {
    std::iter::from_fn(|| decoder.poll().unwrap()).collect()
}

fn stream() -> (Vec<u8>, Vec<u8>) {
    let frames: Vec<_> = samples::all().into_iter().map(|(_, sample)| sample.frame()).collect();
    (frames.concat(), frames.iter().map(|frame| frame[4]).collect())
}

#[test]
fn byte_by_byte_every_frame_comes_when_its_last_byte_does() {
    let (bytes, kinds) = stream();
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    let mut seen = Vec::new();
    for byte in &bytes {
        decoder.push(&[*byte]);
        seen.extend(decoder.poll().unwrap().map(|frame| frame.kind));
        assert_eq!(decoder.poll().unwrap(), None, "one byte ends at most one frame");
    }
    assert_eq!(seen, kinds);
    assert!(!decoder.is_midway());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(cuts in proptest::collection::vec(any::<Index>(), 0..30)) {
        let (bytes, kinds) = stream();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::new(PEER_FRAME_BYTES);
        let mut seen = Vec::new();
        for pair in cuts.windows(2) {
            // Every other piece by way of the buffer that sockets read into.
            if pair[0] % 2 == 0 {
                decoder.push(&bytes[pair[0]..pair[1]]);
            } else {
                decoder.buffer().extend_from_slice(&bytes[pair[0]..pair[1]]);
            }
            seen.extend(drain(&mut decoder).into_iter().map(|frame| frame.kind));
        }
        prop_assert_eq!(seen, kinds);
        prop_assert!(!decoder.is_midway());
    }

    #[test]
    fn garbage_never_makes_a_frame(garbage in proptest::collection::vec(any::<u8>(), 12..400)) {
        let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
        decoder.push(&garbage);
        prop_assert!(!matches!(decoder.poll(), Ok(Some(_))));
    }

    #[test]
    fn any_body_comes_back(kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
        decoder.push(&frame_of(kind, &body));
        let frame = decoder.poll().unwrap().unwrap();
        prop_assert_eq!((frame.kind, &frame.body[..]), (kind, &body[..]));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let frame = frame_of(5, b"a body of a frame");
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
        decoder.push(&flipped);
        let fault = decoder.poll().expect_err("a flipped bit passed");
        let expected = if bit < 8 * 8 { FrameFault::NotAFrame } else { FrameFault::Checksum };
        assert_eq!(fault, expected, "bit {bit}");
    }
}

#[test]
fn other_protocols_are_told_from_frames_by_their_first_bytes() {
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x52];
    for other in
        [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\n", b"SSH-2.0-OpenSSH_9.2", &tls, &[0; 12]]
    {
        let mut decoder = Decoder::new(HANDSHAKE_BYTES);
        decoder.push(other);
        assert_eq!(decoder.poll(), Err(FrameFault::NotAFrame));
    }
}

#[test]
fn a_fault_is_for_good() {
    let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
    let mut bytes = frame_of(1, b"good");
    bytes.extend_from_slice(&[0xff; 40]);
    decoder.push(&bytes);
    assert!(decoder.poll().unwrap().is_some(), "what came before the fault is given");
    assert_eq!(decoder.poll(), Err(FrameFault::NotAFrame));
    decoder.push(&frame_of(1, b"good"));
    assert_eq!(decoder.poll(), Err(FrameFault::NotAFrame));
}

#[test]
fn another_form_is_a_version_error() {
    let mut decoder = Decoder::new(CLIENT_FRAME_BYTES);
    decoder.push(&header_of(4, 1, 2));
    let fault = decoder.poll().unwrap_err();
    assert_eq!(fault, FrameFault::Form { form: 2 });
    assert_eq!(fault.refusal().code, hapax_core::ErrorCode::Version);
}

#[test]
fn the_limit_holds_to_the_byte_and_can_be_raised_after_the_handshake() {
    let fits = frame_of(1, &vec![7; HANDSHAKE_BYTES - HEADER_BYTES]);
    let over = frame_of(1, &vec![7; HANDSHAKE_BYTES - HEADER_BYTES + 1]);
    let mut decoder = Decoder::new(HANDSHAKE_BYTES);
    decoder.push(&fits);
    assert!(decoder.poll().unwrap().is_some());
    decoder.set_limit(CLIENT_FRAME_BYTES);
    decoder.push(&over);
    assert!(decoder.poll().unwrap().is_some());
    decoder.set_limit(HANDSHAKE_BYTES);
    decoder.push(&over);
    let fault = decoder.poll().unwrap_err();
    assert_eq!(fault, FrameFault::TooLarge { frame_bytes: 4097, limit_bytes: 4096 });
    let refusal = fault.refusal();
    assert_eq!((refusal.code, refusal.definite), (hapax_core::ErrorCode::TooLarge, true));
    assert_eq!(refusal.field.as_deref(), Some("frame"));
}

#[test]
fn four_gigabytes_announced_are_refused_on_the_header_and_cost_nothing() {
    for limit in [HANDSHAKE_BYTES, CLIENT_FRAME_BYTES, PEER_FRAME_BYTES] {
        let mut decoder = Decoder::new(limit);
        decoder.push(&header_of(u32::MAX, 4, 1));
        let frame_bytes = u64::from(u32::MAX) + 12;
        assert_eq!(decoder.poll(), Err(FrameFault::TooLarge { frame_bytes, limit_bytes: limit }));
        assert!(decoder.buffer().capacity() <= 64 * 1024);
    }
}

#[test]
fn memory_follows_the_bytes_that_came_not_the_length_announced() {
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    let length = u32::try_from(PEER_FRAME_BYTES - HEADER_BYTES).unwrap();
    decoder.push(&header_of(length, 4, 1));
    let mut came = HEADER_BYTES;
    while came < 2 * 1024 * 1024 {
        assert_eq!(decoder.poll(), Ok(None));
        assert!(decoder.is_midway());
        let capacity = decoder.buffer().capacity();
        assert!(capacity <= 4 * came + 128 * 1024, "{capacity} bytes of room for {came}");
        decoder.push(&[0; 16 * 1024]);
        came += 16 * 1024;
    }
}

#[test]
fn there_is_always_room_to_read_into() {
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    for chunk in frame_of(66, &vec![1; 300_000]).chunks(1_000) {
        assert_eq!(decoder.poll(), Ok(None));
        let buffer = decoder.buffer();
        assert!(buffer.capacity() - buffer.len() >= 1_000);
        buffer.extend_from_slice(chunk);
    }
    assert_eq!(decoder.poll().unwrap().unwrap().body.len(), 300_000);
}

/// How many reads of what is offered a stream takes, and the most room that was held for it.
fn read_through(stream: &[u8]) -> (usize, usize) {
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    let (mut rest, mut reads, mut room_bytes) = (stream, 0, 0);
    while !rest.is_empty() {
        let buffer = decoder.buffer();
        room_bytes = room_bytes.max(buffer.capacity());
        let (read, later) = rest.split_at(rest.len().min(buffer.capacity() - buffer.len()));
        buffer.extend_from_slice(read);
        (rest, reads) = (later, reads + 1);
        drain(&mut decoder);
    }
    (reads, room_bytes)
}

#[test]
fn a_busy_connection_reads_much_at_once_and_an_idle_one_holds_little() {
    let frame = frame_of(5, &[1; 200]);
    let (reads, room_bytes) = read_through(&frame);
    assert!(reads == 1 && room_bytes <= 16 * 1024, "{reads} reads, {room_bytes} bytes");
    let (reads, room_bytes) = read_through(&frame.repeat(50_000));
    assert!(reads <= 500 && room_bytes <= 256 * 1024, "{reads} reads, {room_bytes} bytes");
}

#[test]
fn every_cut_of_every_frame_is_waited_for() {
    for (name, sample) in samples::all() {
        let frame = sample.frame();
        for cut in 1..frame.len() {
            let mut decoder = Decoder::new(PEER_FRAME_BYTES);
            decoder.push(&frame[..cut]);
            assert_eq!(decoder.poll(), Ok(None), "{name} cut at {cut}");
            assert!(decoder.is_midway());
        }
    }
}
