//! Frames that are whole and whose bodies are not what they claim: each gives a fault that names
//! what is wrong, keeps the id to answer, and never a panic or a large reservation.

use crate::frames::frame_of;
use crate::round_trip::only_frame;
use crate::samples::{self, Sample};
use bincode::config::standard;
use bytes::BytesMut;
use hapax_core::{ErrorCode, Reply};
use hapax_wire::client::{Answer, Calls, Hello, Table, ToClient, ToServer};
use hapax_wire::peer::{PeerFrame, PeerHello, PeerWelcome};
use hapax_wire::{Frame, Message, MessageFault, kind, limits};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

/// Whatever any side makes of the frame. What is taken must be a message like any other: it can be
/// sent again and is then taken as the same.
pub(crate) fn take_everywhere(frame: &Frame) {
    let again = |taken: Sample, put: &mut dyn FnMut(&mut BytesMut)| {
        let mut out = BytesMut::new();
        put(&mut out);
        assert_eq!(taken.take(&only_frame(&out)).unwrap(), taken);
    };
    if let Ok(message) = ToServer::take(frame)
        && !matches!(&message, ToServer::Calls(calls) if !calls.malformed.is_empty())
    {
        again(Sample::ToServer(message.clone()), &mut |out| message.put(out).unwrap());
    }
    if let Ok(message) = ToClient::take(frame) {
        again(Sample::ToClient(message.clone()), &mut |out| message.put(out).unwrap());
    }
    if let Ok(message) = PeerHello::take(frame) {
        again(Sample::PeerHello(message.clone()), &mut |out| message.put(out).unwrap());
    }
    if let Ok(message) = PeerWelcome::take(frame) {
        again(Sample::PeerWelcome(message.clone()), &mut |out| message.put(out).unwrap());
    }
    let _ = PeerFrame::take(frame);
}

fn frame(kind: u8, body: &[u8]) -> Frame {
    Frame { kind, body: bytes::Bytes::copy_from_slice(body) }
}

/// A number as the codec writes it inside a value.
fn varint(number: u64) -> Vec<u8> {
    bincode::encode_to_vec(number, standard()).unwrap()
}

#[test]
fn every_byte_of_every_message_set_to_every_value() {
    for (name, sample) in samples::all() {
        let whole = only_frame(&sample.frame());
        for at in 0..whole.body.len() {
            let mut body = whole.body.to_vec();
            for value in [0, 1, 2, 3, 6, 9, 23, 99, 250, 251, 252, 253, 254, 255] {
                body[at] = value;
                if let Ok(taken) = sample.take(&frame(whole.kind, &body)) {
                    // What passes is a message: it has the form of its kind.
                    assert_eq!(std::mem::discriminant(&taken), std::mem::discriminant(&sample), "{name}");
                }
            }
        }
    }
}

#[test]
fn every_body_cut_short_is_a_fault_or_a_shorter_list() {
    // Bodies that run to the end of the frame: cut between two of their parts, they are whole.
    let listed = [kind::CALLS, kind::APPEND, kind::FORWARD, kind::FORWARD_REPLIES, kind::SNAPSHOT_CHUNK];
    for (name, sample) in samples::all() {
        let whole = only_frame(&sample.frame());
        for cut in 0..whole.body.len() {
            let taken = sample.take(&frame(whole.kind, &whole.body[..cut]));
            let listed = listed.contains(&whole.kind);
            assert!(taken.is_err() || (listed && taken.as_ref() != Ok(&sample)), "{name} cut at {cut}");
        }
    }
}

#[test]
fn bytes_behind_a_message_are_a_fault() {
    for (name, sample) in samples::all() {
        let whole = only_frame(&sample.frame());
        if whole.kind == kind::SNAPSHOT_CHUNK {
            continue; // Its part runs to the end of the frame.
        }
        let body = [&whole.body[..], &[0xee]].concat();
        assert!(sample.take(&frame(whole.kind, &body)).is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn any_body_under_any_kind_is_a_message_or_a_fault(
        kind in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        take_everywhere(&frame(kind, &body));
    }

    #[test]
    fn an_unknown_kind_keeps_the_id_of_a_peers_request(rpc in any::<u64>(), kind in 200_u8..) {
        let fault = PeerFrame::take(&frame(kind, &rpc.to_le_bytes())).unwrap_err();
        prop_assert_eq!(fault, MessageFault::UnknownKind { kind, id: Some(rpc) });
        let refusal = fault.refusal();
        prop_assert_eq!((refusal.code, refusal.definite), (ErrorCode::Invalid, true));
        prop_assert_eq!(refusal.field.as_deref(), Some("kind"));
    }

    #[test]
    fn a_malformed_body_keeps_the_id_of_a_peers_request(
        rpc in any::<u64>(),
        kind in 66_u8..87,
        rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let body = [&rpc.to_le_bytes()[..], &rest].concat();
        match PeerFrame::take(&frame(kind, &body)) {
            Ok(taken) => prop_assert_eq!(taken.rpc, rpc),
            Err(fault) => prop_assert_eq!(fault.id(), Some(rpc)),
        }
    }

    #[test]
    fn a_malformed_answer_keeps_the_id_of_its_call(id in any::<u64>(), rest in proptest::collection::vec(any::<u8>(), 0..60)) {
        let body = [&id.to_le_bytes()[..], &rest].concat();
        match Answer::take(&frame(kind::ANSWER, &body)) {
            Ok(taken) => prop_assert_eq!(taken.id, id),
            Err(fault) => prop_assert_eq!(fault.id(), Some(id)),
        }
    }

    #[test]
    fn a_request_of_any_bytes_is_answered_and_spoils_no_neighbour(
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut body = sections(&[(1, None), (2, Some(&garbage)), (3, None)]);
        let taken = Calls::take(&frame(kind::CALLS, &body)).unwrap();
        prop_assert_eq!(taken.calls.first(), Some(&samples::call(1)));
        prop_assert_eq!(taken.calls.last(), Some(&samples::call(3)));
        prop_assert_eq!(taken.calls.len() + taken.malformed.len(), 3);
        body.push(0);
        prop_assert!(Calls::take(&frame(kind::CALLS, &body)).is_err());
    }
}

/// The body of a frame of calls: each a good one, or one whose request has these bytes.
fn sections(calls: &[(u64, Option<&[u8]>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, request) in calls {
        let good = bincode::encode_to_vec(samples::call(*id).request, standard()).unwrap();
        let request = request.unwrap_or(&good);
        body.extend(u32::try_from(request.len() + 12).unwrap().to_le_bytes());
        body.extend(id.to_le_bytes());
        body.extend(1_000_u32.to_le_bytes());
        body.extend(request);
    }
    body
}

/// What a frame of one call with this request says is wrong with it.
fn field_of(request: &[u8]) -> String {
    let mut taken = Calls::take(&frame(kind::CALLS, &sections(&[(9, Some(request))]))).unwrap();
    assert!(taken.calls.is_empty(), "it was taken for a request");
    let malformed = taken.malformed.remove(0);
    assert_eq!(malformed.id, 9);
    assert_eq!((malformed.refusal.code, malformed.refusal.definite), (ErrorCode::Invalid, true));
    malformed.refusal.field.unwrap()
}

#[test]
fn a_malformed_request_names_the_field_at_fault() {
    let get = |address: &[u8]| [&[0, 7][..], &varint(address.len() as u64), address, &[0, 0, 0]].concat();
    let good = samples::address();
    assert!(
        Calls::take(&frame(kind::CALLS, &sections(&[(9, Some(&get(good.canonical())))])))
            .unwrap()
            .malformed
            .is_empty()
    );
    assert_eq!(field_of(&get(b"")), "address");
    assert_eq!(field_of(&get(&[0, 1, b'T', 1, b'o', b'k'])), "tenant");
    assert_eq!(field_of(&get(&[0, 1, b't', 1, b'O', b'k'])), "operation");
    assert_eq!(field_of(&get(&[0, 1, b't', 1, b'o'])), "key");
    assert_eq!(field_of(&get(&[&[0, 1, b't', 1, b'o'][..], &[0; 256]].concat())), "key");
    assert_eq!(field_of(&[0, 99]), "request");
    assert_eq!(field_of(&[]), "request");
}

#[test]
fn more_calls_than_a_frame_may_hold_are_a_fault_of_the_frame() {
    let call = |id| (id, None);
    let many: Vec<_> = (0..limits::CALLS as u64).map(call).collect();
    assert_eq!(Calls::take(&frame(kind::CALLS, &sections(&many))).unwrap().calls.len(), 1024);
    let over: Vec<_> = (0..=limits::CALLS as u64).map(call).collect();
    let fault = Calls::take(&frame(kind::CALLS, &sections(&over))).unwrap_err();
    assert_eq!(fault, MessageFault::Malformed { kind: kind::CALLS, field: "calls", id: None });
}

#[test]
fn a_section_that_lies_about_its_length_is_a_fault_of_the_frame() {
    let body = sections(&[(1, None), (2, None)]);
    for length in [0_u32, 1, 11, 10_000, u32::MAX] {
        let mut body = body.clone();
        body[..4].copy_from_slice(&length.to_le_bytes());
        assert!(Calls::take(&frame(kind::CALLS, &body)).is_err(), "length {length}");
    }
}

#[test]
fn a_count_without_its_elements_is_refused_before_anything_is_reserved() {
    // Reserving for these counts would end the process.
    for count in [limits::GROUPS as u64 + 1, u64::from(u32::MAX), u64::MAX / 64, u64::MAX] {
        let table = [&7_u64.to_le_bytes()[..], &varint(1), &varint(count)].concat();
        let fault = Table::take(&frame(kind::TABLE, &table)).unwrap_err();
        assert_eq!(fault, MessageFault::Malformed { kind: kind::TABLE, field: "shards", id: Some(7) });
        let beats = [&7_u64.to_le_bytes()[..], &varint(count)].concat();
        let fault = PeerFrame::take(&frame(kind::BEATS, &beats)).unwrap_err();
        assert_eq!(fault, MessageFault::Malformed { kind: kind::BEATS, field: "beats", id: Some(7) });
        // A list of the shared types, which has no bound of its own: the body's budget holds it.
        let page = [&7_u64.to_le_bytes()[..], &[21], &varint(count)].concat();
        assert!(Answer::take(&frame(kind::ANSWER, &page)).is_err());
        let blob = [&7_u64.to_le_bytes()[..], &[5, 1, 1, 1], &varint(count)].concat();
        assert!(Answer::take(&frame(kind::ANSWER, &blob)).is_err());
    }
}

#[test]
fn a_name_over_its_bound_is_named() {
    let mut hello = samples::hello();
    hello.name = "n".repeat(limits::NAME_BYTES + 1);
    // The bytes of a longer name, which our own writer refuses.
    let mut body = bincode::encode_to_vec((1_u16, 1_u16, None::<u8>), standard()).unwrap();
    body.extend(bincode::encode_to_vec((&hello.name, None::<u8>), standard()).unwrap());
    let fault = Hello::take(&frame(kind::HELLO, &body)).unwrap_err();
    assert_eq!(fault, MessageFault::Malformed { kind: kind::HELLO, field: "name", id: None });
    let mut out = BytesMut::new();
    assert!(matches!(hello.put(&mut out), Err(hapax_wire::EncodeFault::Bound { field: "name", .. })));
    assert!(out.is_empty());
}

#[test]
fn grants_nested_without_end_do_not_exhaust_the_stack() {
    // Each level: the tag of a grant, eight fields at their smallest, and a shadow of another grant.
    let level = [1, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let body = [&5_u64.to_le_bytes()[..], &level.repeat(100_000)].concat();
    let fault = Answer::take(&frame(kind::ANSWER, &body)).unwrap_err();
    assert_eq!(fault, MessageFault::Malformed { kind: kind::ANSWER, field: "shadow_of", id: Some(5) });
}

#[test]
fn the_fullest_listing_of_the_smallest_rows_is_within_the_budget() {
    let rows = vec![samples::bare_row(); hapax_core::limits::LIST_ROWS as usize];
    let reply = Reply::Page(hapax_core::view::Page { rows, next: None });
    let answer = Answer { id: 1, answer: hapax_core::Answer { reply, witness: None } };
    let mut out = BytesMut::new();
    answer.put(&mut out).unwrap();
    assert_eq!(Answer::take(&only_frame(&out)).unwrap(), answer);
}

#[test]
fn faults_never_echo_a_payload() {
    let marker = b"SECRETSECRET";
    for kind in 0..=u8::MAX {
        let frame = only_frame(&frame_of(kind, &marker.repeat(4)));
        let faults = [
            ToServer::take(&frame).err(),
            ToClient::take(&frame).err(),
            PeerHello::take(&frame).err(),
            PeerFrame::take(&frame).err(),
        ];
        for fault in faults.into_iter().flatten() {
            let text = format!("{fault} {fault:?} {:?}", fault.refusal());
            assert!(!text.contains("SECRET"), "{text}");
        }
        assert!(!format!("{frame:?}").contains("SECRET"));
    }
}
