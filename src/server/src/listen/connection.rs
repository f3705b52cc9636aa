//! One client connection: its reader, and how it begins and ends.

use super::handshake::{self, NoHandshake};
use super::outbox::{End, Item, Outbox, Sink};
use super::service::Service;
use super::{Phase, Shared, writer};
use hapax_core::{Answer, ErrorCode, Principal, Refusal, Reply};
use hapax_raft::call::{Call, Caller};
use hapax_raft::env::net::TcpStream;
use hapax_wire::Decoder;
use hapax_wire::client::{Calls, ToServer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;

/// A connection without a frame and without a call in flight for so long is closed.
const IDLE: Duration = Duration::from_secs(900);

/// Serves the connection to its end.
pub(super) async fn run<S: Service>(
    mut stream: TcpStream,
    shared: &Arc<Shared<S>>,
    phases: watch::Receiver<Phase>,
) {
    // A reply must not wait for a bigger one; where this fails, so will the next read.
    let _broken = stream.set_nodelay(true);
    let table_version = || shared.service.table().version;
    let (decoder, hello) = match handshake::greet(&mut stream, &shared.settings, table_version).await {
        Ok(greeted) => greeted,
        Err(NoHandshake::Gone) => return,
        Err(NoHandshake::Refused(refusal)) => {
            tracing::debug!(code = refusal.code.name(), "a client's handshake was refused");
            shared.metrics.closed(refusal.code.name());
            return handshake::farewell(stream, &refusal).await;
        }
    };
    tracing::debug!(client = hello.name.escape_debug().to_string(), "a client connected");
    let outbox = Outbox::new(shared.settings.reply_bytes_per_connection);
    let caller = Caller::new(Principal::default(), Box::new(sink(&outbox, shared)));
    let (mut reading, writing) = stream.into_split();
    let mut reader = Reader { shared, decoder, caller: Arc::clone(&caller), outbox: Arc::clone(&outbox) };
    let write = writer::run(writing, &outbox, shared.service.as_ref());
    tokio::pin!(write);
    let end = tokio::select! {
        end = reader.run(&mut reading, phases) => Some(end),
        // It gave up, or told the end that the outbox came to.
        () = &mut write => None,
    };
    caller.close();
    shared.in_flight.fetch_sub(outbox.forget(), Ordering::AcqRel);
    let discard = handshake::discard_for_a_while(&mut reading);
    match end {
        Some(end) => {
            if let End::Refused(refusal) = &end {
                shared.metrics.closed(refusal.code.name());
            }
            outbox.end(end);
            tokio::join!(write, discard);
        }
        None => {
            shared.metrics.closed(ErrorCode::Overloaded.name());
            discard.await;
        }
    }
}

fn sink<S: Service>(outbox: &Arc<Outbox>, shared: &Arc<Shared<S>>) -> Sink {
    let shared = Arc::clone(shared);
    let answered = move |calls| {
        shared.in_flight.fetch_sub(calls, Ordering::AcqRel);
    };
    Sink { outbox: Arc::clone(outbox), answered: Box::new(answered) }
}

/// The reading half.
struct Reader<'a, S> {
    shared: &'a Shared<S>,
    decoder: Decoder,
    caller: Arc<Caller>,
    outbox: Arc<Outbox>,
}

impl<S: Service> Reader<'_, S> {
    /// Reads until the connection ends, and says how.
    async fn run(&mut self, from: &mut (impl AsyncRead + Unpin), mut phases: watch::Receiver<Phase>) -> End {
        loop {
            // What came together with the hello is taken first.
            if let Err(refusal) = self.take_frames() {
                return End::Refused(refusal);
            }
            let read = tokio::select! {
                read = tokio::time::timeout(IDLE, from.read_buf(self.decoder.buffer())) => read,
                _ = phases.wait_for(|phase| *phase == Phase::Closing) => {
                    return End::Refused(Refusal::indefinite(ErrorCode::Unavailable, "the node is stopping"));
                }
            };
            match read {
                Ok(Ok(0) | Err(_)) => return End::Gone,
                Ok(Ok(_)) => {}
                Err(_) if self.outbox.in_flight() > 0 => {}
                Err(_) => {
                    let text = "nothing was asked for a long time";
                    return End::Refused(Refusal::definite(ErrorCode::Unavailable, text));
                }
            }
        }
    }

    /// Takes every whole frame that has arrived; all their calls are submitted as one.
    fn take_frames(&mut self) -> Result<(), Refusal> {
        let mut calls = Vec::new();
        loop {
            let frame = match self.decoder.poll() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(fault) => {
                    self.submit(&mut calls);
                    return Err(fault.refusal());
                }
            };
            match ToServer::take(&frame) {
                Ok(message) => self.take_message(message, &mut calls)?,
                // The frame is whole, so the next one can be read; but a side that sends what is not
                // known here cannot be answered either.
                Err(fault) => {
                    self.submit(&mut calls);
                    return Err(fault.refusal());
                }
            }
        }
        self.submit(&mut calls);
        Ok(())
    }

    fn take_message(&self, message: ToServer, calls: &mut Vec<Call>) -> Result<(), Refusal> {
        match message {
            ToServer::Calls(frame) => self.take_calls(frame, calls),
            ToServer::Cancel(cancel) => {
                // Its call may be among those gathered.
                self.submit(calls);
                self.shared.service.cancel(&self.caller, cancel.id);
            }
            ToServer::TableAsk(ask) => self.outbox.put(Item::Table(ask.id)),
            ToServer::StatusAsk(ask) => {
                self.outbox.put(Item::Status(ask.id, Box::new(self.shared.service.status())));
            }
            ToServer::Ping(ping) => self.outbox.put(Item::Pong(ping.nonce)),
            ToServer::Hello(_) => {
                let refusal = Refusal::definite(ErrorCode::Invalid, "a second hello");
                return Err(Refusal { field: Some("hello".to_owned()), ..refusal });
            }
            ToServer::Error(error) => {
                tracing::debug!(code = error.refusal.code.name(), "a client gave its connection up");
            }
        }
        Ok(())
    }

    fn take_calls(&self, frame: Calls, calls: &mut Vec<Call>) {
        for malformed in frame.malformed {
            self.refuse(malformed.id, malformed.refusal);
        }
        let number = calls.last().map_or(0, |last| last.frame + 1);
        for call in frame.calls {
            if self.outbox.in_flight() + calls.len() >= self.shared.settings.calls_per_connection {
                let text = "too many calls in flight on this connection";
                self.refuse(call.id, Refusal::definite(ErrorCode::Overloaded, text));
                continue;
            }
            calls.push(Call {
                id: call.id,
                deadline_ms: call.deadline_ms,
                frame: number,
                request: call.request,
            });
        }
    }

    fn refuse(&self, id: u64, refusal: Refusal) {
        self.shared.metrics.operations.refused(&refusal);
        self.outbox.put(Item::Answer(id, Answer { reply: Reply::Error(refusal), witness: None }));
    }

    fn submit(&self, calls: &mut Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        self.outbox.took(calls.len());
        self.shared.in_flight.fetch_add(calls.len(), Ordering::AcqRel);
        self.shared.service.submit(std::mem::take(calls), &self.caller);
    }
}
