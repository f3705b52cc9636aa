//! The writing half: whatever is queued becomes one frame and one write.

use super::{Outgoing, Shared};
use crate::env::Instant;
use crate::error::Error;
use bytes::BytesMut;
use hapax_core::ErrorCode;
use hapax_wire::client::{CallsFrame, Cancel, Ping, Push, StatusAsk, TableAsk};
use hapax_wire::{EncodeFault, Message, limits};
use std::iter::Peekable;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// What may be gathered before it is written.
const WRITE_BYTES: usize = limits::CLIENT_FRAME_BYTES;
/// A buffer that grew beyond this for one large write is given back.
const KEEP_BYTES: usize = 256 * 1024;

/// Writes until the stream fails or every handle is gone.
pub(super) async fn run(
    shared: &Shared,
    stream: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Outgoing>,
) -> Error {
    let mut taken = Vec::with_capacity(limits::CALLS);
    let mut out = BytesMut::new();
    loop {
        if queue.recv_many(&mut taken, limits::CALLS).await == 0 {
            return Error::definite(ErrorCode::Unavailable, "the connection was closed here");
        }
        // Whoever was woken together with the first one gets to ask: one frame and one write for all of them.
        tokio::task::yield_now().await;
        while taken.len() < limits::CALLS
            && let Ok(next) = queue.try_recv()
        {
            taken.push(next);
        }
        let mut items = taken.drain(..).peekable();
        while items.peek().is_some() {
            gather(&mut items, &mut out, shared);
            if let Err(error) = write(stream, &out).await {
                let text = format!("writing to the node failed: {}", error.kind());
                return Error::definite(ErrorCode::Unavailable, text);
            }
            out.clear();
        }
        if out.capacity() > KEEP_BYTES {
            out = BytesMut::new();
        }
    }
}

/// A stream of another network may hold bytes back until it is flushed.
async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Encodes items in their order until there are none left or the write is large enough.
fn gather<I: Iterator<Item = Outgoing>>(items: &mut Peekable<I>, out: &mut BytesMut, shared: &Shared) {
    let now = shared.env.now();
    while let Some(item) = items.peek() {
        match item {
            Outgoing::Call { .. } => gather_calls(items, out, shared, now),
            control => {
                put_control(control, out, shared);
                items.next();
            }
        }
        if out.len() >= WRITE_BYTES / 2 {
            return;
        }
    }
}

/// Fills one frame with the calls that come next.
fn gather_calls<I: Iterator<Item = Outgoing>>(
    items: &mut Peekable<I>,
    out: &mut BytesMut,
    shared: &Shared,
    now: Instant,
) {
    let mut frame = CallsFrame::start(out);
    while let Some(Outgoing::Call { id, deadline, request }) = items.peek() {
        let left_ms = u32::try_from(deadline.saturating_duration_since(now).as_millis()).unwrap_or(u32::MAX);
        if left_ms == 0 {
            shared.pending.fail(*id, Error::late(false));
        } else if shared.pending.send(*id) {
            match frame.push(*id, left_ms, request) {
                Push::Taken => {}
                Push::Full => break,
                Push::Refused(fault) => shared.pending.fail(*id, Error::from(fault.refusal())),
            }
        }
        items.next();
    }
    frame.finish();
}

fn put_control(item: &Outgoing, out: &mut BytesMut, shared: &Shared) {
    let put: Result<(), EncodeFault> = match item {
        Outgoing::Cancel { id } => Cancel { id: *id }.put(out),
        Outgoing::TableAsk { id } if shared.pending.send(*id) => TableAsk { id: *id }.put(out),
        Outgoing::StatusAsk { id } if shared.pending.send(*id) => StatusAsk { id: *id }.put(out),
        Outgoing::Ping { nonce } => Ping { nonce: *nonce }.put(out),
        _ => Ok(()),
    };
    if let Err(fault) = put {
        // These have a fixed size far below every bound.
        tracing::error!(%fault, "a control message could not be encoded");
    }
}
