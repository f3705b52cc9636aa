//! One connection through the proxy: two pumps, each with a bounded queue.

use super::direction::Direction;
use super::duplicate::Duplicate;
use super::link::Shared;
use bytes::{Buf as _, Bytes, BytesMut};
use hapax_wire::peer::{Channel, PeerHello};
use hapax_wire::{Decoder, Message as _, limits};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Bytes that came from who dialled.
    pub(super) came: AtomicU64,
}

impl State {
    fn lets_pass(self) -> bool {
        matches!(self, Self::Open | Self::Late)
    }
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
            take_dialled(dialled_read, to_target, shared, connection),
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
        Ok(0) | Err(_) => {
            direction.note_end();
            None
        }
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
    connection: &Connection,
) {
    let mut state = connection.state.subscribe();
    let mut duplicate = shared.repeats.load(Ordering::Acquire).then(|| Duplicate::start(shared));
    let mut spoiler = Spoiler::new(shared);
    loop {
        let chunk = tokio::select! {
            chunk = read(&mut from, &shared.forward) => chunk,
            _ = state.wait_for(|state| *state == State::Severed) => None,
        };
        let Some(chunk) = chunk else { return };
        connection.came.fetch_add(chunk.len() as u64, Ordering::AcqRel);
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
        let mut rest = chunk;
        while !rest.is_empty() {
            drop(state.wait_for(|state| state.lets_pass()).await);
            let Ok(passed) = hand_on(&to, &rest, &shared.forward, || state.borrow().lets_pass()).await else {
                return;
            };
            rest.advance(passed);
            if *state.borrow() == State::Late {
                shared.counts.note_late(passed);
            }
        }
    }
    // Whatever gathered has been handed over by now, so a severed connection may end.
    drop(state.wait_for(|state| !matches!(state, State::Held | State::Severed)).await);
    shared.forward.hold_close().await;
    let _gone = to.shutdown().await;
}

/// Hands on what the other side takes at once, 0 where it may not have it: what has to wait for room must not pass
/// by a cut that was made meanwhile.
async fn hand_on(
    to: &OwnedWriteHalf,
    bytes: &[u8],
    direction: &Direction,
    may_pass: impl Fn() -> bool,
) -> io::Result<usize> {
    direction.open().await;
    to.writable().await?;
    if !direction.is_open() || !may_pass() {
        return Ok(0);
    }
    match to.try_write(bytes) {
        Ok(passed) => {
            direction.note_passed(passed);
            Ok(passed)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
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
        let Some(open) = &to else { continue };
        let handed = tokio::select! {
            handed = hand_all_on(open, chunk, at, &shared.backward) => Some(handed),
            _ = state.wait_for(|state| matches!(state, State::Severed | State::Late)) => None,
        };
        match handed {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            // Who dialled sees the end; what the target still answers goes nowhere.
            None => to = None,
        }
    }
    if let Some(mut to) = to {
        shared.backward.hold_close().await;
        let _gone = to.shutdown().await;
    }
}

async fn hand_all_on(
    to: &OwnedWriteHalf,
    mut rest: Bytes,
    at: Instant,
    direction: &Direction,
) -> io::Result<()> {
    direction.hold(at, rest.len()).await;
    while !rest.is_empty() {
        let passed = hand_on(to, &rest, direction, || true).await?;
        rest.advance(passed);
    }
    Ok(())
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
