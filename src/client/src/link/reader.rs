//! The reading half: answers to their callers, and a watch over the connection's life.

use super::{Outgoing, Shared, unexpected};
use crate::env;
use crate::error::Error;
use hapax_core::{ErrorCode, Refusal};
use hapax_wire::client::ToClient;
use hapax_wire::{Decoder, MessageFault};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads until the stream ends, is silent for too long, or carries what is not of this protocol.
pub(super) async fn run(
    shared: &Shared,
    stream: &mut (impl AsyncRead + Unpin),
    mut decoder: Decoder,
) -> Error {
    let mut asked = false;
    let mut told = Vec::new();
    loop {
        if let Err(error) = take_all(shared, &mut decoder, &mut told) {
            return error;
        }
        let patience = if asked { shared.bounds.ping_timeout } else { shared.bounds.ping_after };
        match env::by(shared.env.now() + patience, stream.read_buf(decoder.buffer())).await {
            Some(Ok(0)) => return unavailable("the node closed the connection"),
            Some(Ok(_)) => asked = false,
            Some(Err(error)) => {
                return unavailable(&format!("reading from the node failed: {}", error.kind()));
            }
            None if asked => return unavailable("the node fell silent"),
            None => {
                asked = true;
                if let Some(queue) = shared.queue.upgrade() {
                    // A full queue is a sign of the same silence; the answer is waited for anyway.
                    let _best_effort = queue.try_send(Outgoing::Ping { nonce: 1 });
                }
            }
        }
    }
}

/// Hands out every whole frame that has come.
fn take_all(
    shared: &Shared,
    decoder: &mut Decoder,
    told: &mut Vec<(u64, Result<ToClient, Error>)>,
) -> Result<(), Error> {
    let result = loop {
        match decoder.poll() {
            Ok(None) => break Ok(()),
            Ok(Some(frame)) => match ToClient::take(&frame) {
                Ok(ToClient::Error(error)) => break Err(gave_up("the node gave it up", &error.refusal)),
                Ok(message) => sort(shared, message, told),
                Err(MessageFault::UnknownKind { .. }) => {}
                Err(fault) => match fault.id() {
                    Some(id) => told.push((id, Err(unexpected()))),
                    None => break Err(gave_up("the node sent a broken message", &fault.refusal())),
                },
            },
            Err(fault) => break Err(gave_up("the node sent a broken frame", &fault.refusal())),
        }
    };
    // What came before a broken frame is as good as ever.
    shared.pending.settle(told.drain(..));
    result
}

fn sort(shared: &Shared, message: ToClient, told: &mut Vec<(u64, Result<ToClient, Error>)>) {
    match message {
        ToClient::Table(table) if table.id == 0 => shared.routes.learn(&table.table),
        ToClient::Answer(answer) => told.push((answer.id, Ok(ToClient::Answer(answer)))),
        ToClient::Table(table) => told.push((table.id, Ok(ToClient::Table(table)))),
        ToClient::Status(status) => told.push((status.id, Ok(ToClient::Status(status)))),
        // A pong has done its work by arriving.
        ToClient::Pong(_) | ToClient::Welcome(_) | ToClient::Error(_) => {}
    }
}

/// The connection ends, whatever the reason: to the calls on it that is `unavailable`.
fn gave_up(who: &str, refusal: &Refusal) -> Error {
    unavailable(&format!("{who} ({}): {}", refusal.code.name(), refusal.text))
}

fn unavailable(text: &str) -> Error {
    Error::definite(ErrorCode::Unavailable, text)
}
