//! A connection's writer: what is queued leaves in as few writes as there are.

use super::handshake::error_frame;
use super::outbox::{End, Item, Next, Outbox};
use super::service::Service;
use bytes::BytesMut;
use hapax_core::Reply;
use hapax_wire::Message as _;
use hapax_wire::client::{Answer, Pong, Status, Table};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// About so much is encoded before it is written.
const WRITE_BYTES: usize = 256 * 1024;
/// How long one write may take: a reader that takes nothing for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long the reason for closing may take to be written.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Writes until the connection ends, and says whether its end was told.
pub(super) async fn run<S: Service>(mut out: impl AsyncWrite + Unpin, outbox: &Outbox, service: &S) {
    let mut buffer = BytesMut::new();
    let mut tables = service.table_changes();
    loop {
        let next = tokio::select! {
            next = outbox.next() => next,
            Ok(()) = tables.changed() => Next::Items(vec![Item::Table(0)]),
        };
        let items = match next {
            Next::Items(items) => items,
            Next::End(end) => return finish(&mut out, end).await,
        };
        for item in items {
            encode(item, service, &mut buffer);
            if buffer.len() >= WRITE_BYTES && !write(&mut out, &mut buffer).await {
                return outbox.end(End::Gone);
            }
        }
        if !write(&mut out, &mut buffer).await {
            return outbox.end(End::Gone);
        }
        outbox.wrote();
    }
}

async fn write(out: &mut (impl AsyncWrite + Unpin), buffer: &mut BytesMut) -> bool {
    if buffer.is_empty() {
        return true;
    }
    let written = tokio::time::timeout(WRITE_WITHIN, out.write_all(buffer)).await;
    buffer.clear();
    matches!(written, Ok(Ok(())))
}

async fn finish(out: &mut (impl AsyncWrite + Unpin), end: End) {
    let told = async {
        if let End::Refused(refusal) = &end {
            out.write_all(&error_frame(refusal)).await?;
        }
        out.shutdown().await
    };
    // Whoever does not read cannot be told.
    let _gone = tokio::time::timeout(END_WITHIN, told).await;
}

/// Appends one frame. What fits no frame is answered with the reason instead.
fn encode<S: Service>(item: Item, service: &S, buffer: &mut BytesMut) {
    let put = match item {
        Item::Answer(id, answer) => {
            let witness = answer.witness;
            (Answer { id, answer }).put(buffer).or_else(|fault| {
                let reply = Reply::Error(fault.refusal());
                (Answer { id, answer: hapax_core::Answer { reply, witness } }).put(buffer)
            })
        }
        Item::Table(id) => (Table { id, table: service.table() }).put(buffer),
        Item::Status(id, status) => (Status { id, status: *status }).put(buffer),
        Item::Pong(nonce) => (Pong { nonce }).put(buffer),
    };
    if let Err(fault) = put {
        tracing::error!(%fault, "a reply fits no frame");
    }
}
