//! One connection to one node that says a call once and never again.
//!
//! Calls are pipelined: each batch becomes one frame, frames that wait together leave in one write,
//! and answers are handed out as they come, in any order.
//!
//! **What the end of a connection means for a call**: one whose frame was never handed to the
//! socket had no effect and is [`Heard::NotSent`]; every other one is [`Heard::Lost`]: nobody knows.

use bytes::{Bytes, BytesMut};
use hapax_client::env::{Network, Stream};
use hapax_core::{Answer, Request};
use hapax_wire::client::{CallsFrame, Cancel, Hello, Push, ToClient, Welcome};
use hapax_wire::{Decoder, Message as _, Versions, limits};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection with its handshake may take, and a frame its place in the queue.
const CONNECT: Duration = Duration::from_secs(2);
/// Frames that may wait to be written.
const QUEUED: usize = 1024;
/// Frames that are gathered into one write.
const GATHERED: usize = 64;

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The node answered.
    Answer(Box<Answer>),
    /// It never reached a socket: no effect.
    NotSent,
    /// The connection ended, or the caller gave up, after it was sent: nobody knows.
    Lost,
}

/// A connection whose handshake is done; it closes when the last handle is gone.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outgoing>,
    welcome: Welcome,
    driver: JoinHandle<()>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Bytes,
    ids: Vec<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Calls>,
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    is_sent: bool,
    tell: oneshot::Sender<Heard>,
}

/// A call whose answer is to come.
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    answer: oneshot::Receiver<Heard>,
}

impl Ticket {
    /// The call's id on its connection.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the answer until a moment.
    pub async fn heard_by(self, deadline: Instant) -> Heard {
        match timeout_at(deadline, self.answer).await {
            Ok(Ok(heard)) => heard,
            Ok(Err(_)) | Err(_) => Heard::Lost,
        }
    }
}

impl Session {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Why there is no connection; nothing was asked.
    pub async fn open(network: &Arc<dyn Network>, address: &str) -> Result<Self, String> {
        let (stream, decoder, welcome) = timeout(CONNECT, greet(network, address))
            .await
            .map_err(|_| format!("{address}: no connection in time"))?
            .map_err(|why| format!("{address}: {why}"))?;
        let shared = Arc::new(Shared::default());
        let (queue, taken) = mpsc::channel(QUEUED);
        let driver = tokio::spawn(drive(Arc::clone(&shared), taken, stream, decoder));
        Ok(Self { shared, queue, welcome, driver })
    }

    /// What the node said of itself.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether calls may still be sent on it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.shared.calls.lock().is_closed
    }

    /// Calls that a socket has taken whole.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Sends these in one frame, or in as few as hold them; each has a ticket, in their order.
    pub async fn send(&self, requests: &[Request], deadline_ms: u32) -> Vec<Ticket> {
        let mut tickets = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (frame, taken) = self.frame(rest, deadline_ms, &mut tickets);
            rest = &rest[taken..];
            let ids = frame.ids.clone();
            if !frame.bytes.is_empty() && self.queue.send_timeout(frame, CONNECT).await.is_err() {
                self.shared.settle(&ids, &Heard::NotSent);
            }
        }
        tickets
    }

    /// One frame of as many requests as it holds, at least one; one that fits no frame is not sent.
    fn frame(&self, requests: &[Request], deadline_ms: u32, tickets: &mut Vec<Ticket>) -> (Outgoing, usize) {
        let (mut out, mut ids, mut taken) = (BytesMut::new(), Vec::new(), 0);
        let mut calls = self.shared.calls.lock();
        let mut frame = CallsFrame::start(&mut out);
        for request in requests {
            let id = calls.last + 1;
            let pushed = frame.push(id, deadline_ms, request);
            if matches!(pushed, Push::Full) {
                break;
            }
            taken += 1;
            calls.last = id;
            let (tell, answer) = oneshot::channel();
            tickets.push(Ticket { id, answer });
            if matches!(pushed, Push::Refused(_)) || calls.is_closed {
                let _nobody_waits = tell.send(Heard::NotSent);
                continue;
            }
            calls.waiting.insert(id, Waiting { is_sent: false, tell });
            ids.push(id);
        }
        if calls.is_closed {
            drop(frame);
        } else {
            frame.finish();
        }
        (Outgoing { bytes: out.freeze(), ids }, taken)
    }

    /// Tells the node that nobody waits for a call any more.
    pub async fn cancel(&self, id: u64) {
        let mut out = BytesMut::new();
        if (Cancel { id }).put(&mut out).is_ok() {
            let cancel = Outgoing { bytes: out.freeze(), ids: Vec::new() };
            let _connection_ended = self.queue.send_timeout(cancel, CONNECT).await;
        }
    }

    /// Closes the connection under whatever is in flight on it.
    pub fn cut(&self) {
        self.driver.abort();
        self.shared.close();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn settle(&self, ids: &[u64], heard: &Heard) {
        let mut calls = self.calls.lock();
        for waiting in ids.iter().filter_map(|id| calls.waiting.remove(id)) {
            let _nobody_waits = waiting.tell.send(heard.clone());
        }
    }

    /// Marks calls as sent, unless they were settled as not sent by the end of the connection.
    fn may_send(&self, ids: &[u64]) -> bool {
        let mut calls = self.calls.lock();
        for id in ids {
            if let Some(waiting) = calls.waiting.get_mut(id) {
                waiting.is_sent = true;
            }
        }
        !calls.is_closed
    }

    fn answered(&self, id: u64, answer: Answer) {
        let waiting = self.calls.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let _nobody_waits = waiting.tell.send(Heard::Answer(Box::new(answer)));
        }
    }

    fn close(&self) {
        let waiting = {
            let mut calls = self.calls.lock();
            calls.is_closed = true;
            std::mem::take(&mut calls.waiting)
        };
        for waiting in waiting.into_values() {
            let heard = if waiting.is_sent { Heard::Lost } else { Heard::NotSent };
            let _nobody_waits = waiting.tell.send(heard);
        }
    }
}

async fn greet(
    network: &Arc<dyn Network>,
    address: &str,
) -> Result<(Box<dyn Stream>, Decoder, Welcome), String> {
    let failed = |error: std::io::Error| error.kind().to_string();
    let mut stream = network.connect(address).await.map_err(failed)?;
    stream.write_all(&hello()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
    let frame = loop {
        match decoder.poll().map_err(|fault| fault.to_string())? {
            Some(frame) => break frame,
            None if stream.read_buf(decoder.buffer()).await.map_err(failed)? == 0 => {
                return Err("closed instead of a welcome".to_owned());
            }
            None => {}
        }
    };
    decoder.set_limit(limits::CLIENT_FRAME_BYTES);
    match ToClient::take(&frame) {
        Ok(ToClient::Welcome(welcome)) => Ok((stream, decoder, welcome)),
        other => Err(format!("{other:?} instead of a welcome")),
    }
}

/// The bytes of a client's hello.
#[must_use]
pub fn hello() -> Bytes {
    let hello =
        Hello { versions: Versions::SPOKEN, cluster: None, name: "a load".to_owned(), credentials: None };
    let mut out = BytesMut::new();
    // It is far below every bound; without it the node closes the connection.
    let _fits = hello.put(&mut out);
    out.freeze()
}

/// Reads and writes until the connection ends or every handle is gone.
async fn drive(
    shared: Arc<Shared>,
    mut queue: mpsc::Receiver<Outgoing>,
    stream: Box<dyn Stream>,
    decoder: Decoder,
) {
    let (reading, writing) = tokio::io::split(stream);
    tokio::select! {
        biased;
        () = read(&shared, reading, decoder) => {}
        () = write(&shared, writing, &mut queue) => {}
    }
    shared.close();
}

async fn read(shared: &Shared, mut stream: ReadHalf<Box<dyn Stream>>, mut decoder: Decoder) {
    loop {
        while let Ok(Some(frame)) = decoder.poll() {
            match ToClient::take(&frame) {
                Ok(ToClient::Answer(answer)) => shared.answered(answer.id, answer.answer),
                Ok(ToClient::Table(_)) => {}
                Ok(_) | Err(_) => return,
            }
        }
        if decoder.poll().is_err() {
            return;
        }
        match stream.read_buf(decoder.buffer()).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn write(
    shared: &Shared,
    mut stream: WriteHalf<Box<dyn Stream>>,
    queue: &mut mpsc::Receiver<Outgoing>,
) {
    let mut taken = Vec::new();
    while queue.recv_many(&mut taken, GATHERED).await > 0 {
        let (mut out, mut calls) = (BytesMut::new(), 0);
        for frame in taken.drain(..) {
            if !shared.may_send(&frame.ids) {
                return;
            }
            calls += frame.ids.len() as u64;
            out.extend_from_slice(&frame.bytes);
        }
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        shared.sent.fetch_add(calls, Ordering::Relaxed);
    }
}
