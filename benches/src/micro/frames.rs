//! What a connection costs: a client writes calls and reads answers, a node reads calls and writes answers. Checksums
//! are in it, sockets are not.

use super::Case;
use super::commands::{BEGIN, address, fingerprint, nonce, outcome};
use bytes::BytesMut;
use hapax_core::reply::Replayed;
use hapax_core::request::ClaimAsk;
use hapax_core::{Answer, Ask, Basis, Fields, LogTime, Reply, Request, Witness};
use hapax_wire::client::{self, CallsFrame, ToClient, ToServer};
use hapax_wire::{Decoder, Frame, MessageFault, limits};
use std::hint::black_box;

/// Calls that travel together.
const CALLS: u64 = 32;

/// How long a caller waits, ms.
const DEADLINE_MS: u32 = 10_000;

/// Every case of the wire.
#[must_use]
pub fn cases() -> Vec<Case> {
    let requests: Vec<Request> = (0..CALLS).map(claim).collect();
    let answers: Vec<client::Answer> = (0..CALLS).map(replayed).collect();
    let (calls_sent, answers_sent) = (write_calls(&requests), write_answers(&answers));
    vec![
        Case::new(format!("wire/write {CALLS} calls"), CALLS, move || write_calls(black_box(&requests))),
        Case::new(format!("wire/read {CALLS} calls"), CALLS, move || {
            read(black_box(&calls_sent), ToServer::take)
        }),
        Case::new(format!("wire/write {CALLS} answers"), CALLS, move || write_answers(black_box(&answers))),
        Case::new(format!("wire/read {CALLS} answers"), CALLS, move || {
            read(black_box(&answers_sent), ToClient::take)
        }),
    ]
}

/// A claim of the `n`th key as a caller asks for it.
fn claim(n: u64) -> Request {
    let ask = ClaimAsk {
        address: address(n),
        fingerprint: Some(fingerprint()),
        fields: Fields::default(),
        nonce: nonce(n),
        lease_ms: None,
        wait_ms: 0,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
    };
    Request { not_after: None, ask: Ask::Claim(ask) }
}

/// The replay of the `n`th key's result.
fn replayed(n: u64) -> client::Answer {
    let outcome = outcome();
    let reply = Reply::Replayed(Replayed {
        class: outcome.class,
        result: outcome.result,
        metadata: outcome.metadata,
        completed_at: BEGIN,
        expires_at: LogTime(BEGIN.0 + 24 * 3600 * 1000),
        attempt: 1,
        first_trace: None,
    });
    let witness = Witness { shard: 3, index: 1_000_000 + n, position: 0, time: BEGIN, basis: Basis::Read };
    client::Answer { id: n + 1, answer: Answer { reply, witness: Some(witness) } }
}

/// All calls in one frame, as a client's writer drains its queue.
fn write_calls(requests: &[Request]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = CallsFrame::start(&mut out);
    for (id, request) in (1..).zip(requests) {
        let _always_taken = frame.push(id, DEADLINE_MS, request);
    }
    frame.finish();
    out
}

/// An answer is a frame of its own; many go into one write.
fn write_answers(answers: &[client::Answer]) -> BytesMut {
    use hapax_wire::Message as _;
    let mut out = BytesMut::new();
    for answer in answers {
        let _within_bounds = answer.put(&mut out);
    }
    out
}

/// Everything in a read of these bytes.
fn read<T>(bytes: &[u8], take: impl Fn(&Frame) -> Result<T, MessageFault>) -> Vec<T> {
    let mut decoder = Decoder::new(limits::CLIENT_FRAME_BYTES);
    decoder.push(bytes);
    let mut messages = Vec::new();
    while let Ok(Some(frame)) = decoder.poll() {
        messages.extend(take(&frame));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let requests: Vec<Request> = (0..CALLS).map(claim).collect();
        let read_calls = read(&write_calls(&requests), ToServer::take);
        let [ToServer::Calls(calls)] = &read_calls[..] else { unreachable!("{read_calls:?}") };
        assert_eq!(calls.calls.iter().map(|call| call.request.clone()).collect::<Vec<_>>(), requests);
        let answers: Vec<client::Answer> = (0..CALLS).map(replayed).collect();
        let read_answers = read(&write_answers(&answers), ToClient::take);
        assert_eq!(read_answers, answers.into_iter().map(ToClient::Answer).collect::<Vec<_>>());
    }
}
