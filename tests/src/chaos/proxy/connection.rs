//! One connection through the proxy: two pumps, each with a bounded queue.

use super::direction::Direction;
use super::duplicate::Duplicate;
use super::link::Shared;
use bytes::{Bytes, BytesMut};
use hapax_wire::peer::{Channel, PeerHello};
use hapax_wire::{Decoder, Message as _, limits};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Bytes taken at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way in one direction; a sender stands still beyond it, as with a full window.
const CHUNKS: usize = 64;
/// A snapshot's bytes begin after its opening.
const OPENING_BYTES: u64 = 1024;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Bytes pass, as their direction allows.
    Open,
    /// Those who dialled are kept waiting: their bytes gather here.
    Held,
    /// They were told that the connection is gone; the target was not.
    Severed,
    /// What gathered arrives.
    Late,
    /// Gone for both.
    Broken,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: watch::Sender<State>,
}

/// Carries until both sides have ended, or the connection is broken.
pub(super) async fn carry(
    dialled: TcpStream,
    target: TcpStream,
    shared: &Arc<Shared>,
    connection: &Connection,
) {
    let (dialled_read, dialled_write) = dialled.into_split();
    let (target_read, target_write) = target.into_split();
    let mut state = connection.state.subscribe();
    let (to_target, forward) = mpsc::channel(CHUNKS);
    let (to_dialled, backward) = mpsc::channel(CHUNKS);
    let pumps = async {
        tokio::join!(
            take_dialled(dialled_read, to_target, shared, connection.state.subscribe()),
            give_target(forward, target_write, shared, connection.state.subscribe()),
            take_target(target_read, to_dialled, shared),
            give_dialled(backward, dialled_write, shared, connection.state.subscribe()),
        );
    };
    tokio::select! {
        () = pumps => {}
        _ = state.wait_for(|state| *state == State::Broken) => {}
    }
}

type Chunk = (Instant, Bytes);

async fn read(from: &mut OwnedReadHalf, direction: &Direction) -> Option<Bytes> {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    match from.read_buf(&mut chunk).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            direction.note_arrived(read);
            Some(chunk.freeze())
        }
    }
}

/// From who dialled into the queue, with a copy to the duplicate where there is one.
async fn take_dialled(
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<Chunk>,
    shared: &Arc<Shared>,
    mut state: watch::Receiver<State>,
) {
    let mut duplicate = shared.repeats.load(Ordering::Acquire).then(|| Duplicate::start(shared));
    let mut spoiler = Spoiler::new(shared);
    loop {
        let chunk = tokio::select! {
            chunk = read(&mut from, &shared.forward) => chunk,
            _ = state.wait_for(|state| *state == State::Severed) => None,
        };
        let Some(chunk) = chunk else { return };
        if let Some(duplicate) = &mut duplicate {
            duplicate.push(&chunk);
        }
        let chunk = spoiler.pass(chunk);
        if queue.send((Instant::now(), chunk)).await.is_err() {
            return;
        }
    }
}

async fn give_target(
    mut queue: mpsc::Receiver<Chunk>,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    mut state: watch::Receiver<State>,
) {
    while let Some((at, chunk)) = queue.recv().await {
        shared.forward.hold(at, chunk.len()).await;
        let late = {
            let passes = state.wait_for(|state| matches!(state, State::Open | State::Late)).await;
            passes.is_ok_and(|state| *state == State::Late)
        };
        if to.write_all(&chunk).await.is_err() {
            return;
        }
        shared.forward.note_passed(chunk.len());
        if late {
            shared.counts.note_late(chunk.len());
        }
    }
    // Whatever gathered has been handed over by now, so a severed connection may end.
    drop(state.wait_for(|state| !matches!(state, State::Held | State::Severed)).await);
    shared.forward.hold_close().await;
    let _gone = to.shutdown().await;
}

async fn take_target(mut from: OwnedReadHalf, queue: mpsc::Sender<Chunk>, shared: &Arc<Shared>) {
    let mut spoiler = Spoiler::new(shared);
    while let Some(chunk) = read(&mut from, &shared.backward).await {
        // The opening of a snapshot that is asked for goes the other way: here all is the snapshot.
        let chunk = spoiler.pass_answer(chunk);
        if queue.send((Instant::now(), chunk)).await.is_err() {
            return;
        }
    }
}

async fn give_dialled(
    mut queue: mpsc::Receiver<Chunk>,
    to: OwnedWriteHalf,
    shared: &Shared,
    mut state: watch::Receiver<State>,
) {
    let mut to = Some(to);
    while let Some((at, chunk)) = queue.recv().await {
        let severed = tokio::select! {
            () = shared.backward.hold(at, chunk.len()) => false,
            _ = state.wait_for(|state| matches!(state, State::Severed | State::Late)) => true,
        };
        if severed {
            // Who dialled sees the end; what the target still answers goes nowhere.
            to = None;
        } else if let Some(to) = &mut to {
            if to.write_all(&chunk).await.is_err() {
                return;
            }
            shared.backward.note_passed(chunk.len());
        }
    }
    if let Some(mut to) = to {
        shared.backward.hold_close().await;
        let _gone = to.shutdown().await;
    }
}

/// Changes one bit of a connection's snapshot, if that is ordered and it carries one.
struct Spoiler {
    shared: Arc<Shared>,
    hello: Option<Decoder>,
    seen: u64,
    done: bool,
}

impl Spoiler {
    fn new(shared: &Arc<Shared>) -> Self {
        let ordered = shared.damages_snapshots.load(Ordering::Acquire);
        let hello = Some(Decoder::new(limits::HANDSHAKE_BYTES));
        Self { shared: Arc::clone(shared), hello, seen: 0, done: !ordered }
    }

    /// Of who dialled: the first frame tells what the connection is for.
    fn pass(&mut self, chunk: Bytes) -> Bytes {
        if self.done {
            return chunk;
        }
        if let Some(mut decoder) = self.hello.take() {
            decoder.push(&chunk);
            match decoder.poll() {
                Ok(None) => self.hello = Some(decoder),
                Ok(Some(frame)) => {
                    let hello = PeerHello::take(&frame);
                    self.done = !hello.is_ok_and(|hello| hello.channel == Channel::Snapshot);
                }
                Err(_) => self.done = true,
            }
            return chunk;
        }
        self.spoil(chunk)
    }

    /// Of the target: only snapshots are answered with much.
    fn pass_answer(&mut self, chunk: Bytes) -> Bytes {
        if self.done || chunk.len() < CHUNK_BYTES / 2 { chunk } else { self.spoil(chunk) }
    }

    fn spoil(&mut self, chunk: Bytes) -> Bytes {
        self.seen += chunk.len() as u64;
        if self.seen < OPENING_BYTES {
            return chunk;
        }
        self.done = true;
        self.shared.counts.note_damaged();
        let mut bytes = BytesMut::from(chunk.as_ref());
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        bytes.freeze()
    }
}
