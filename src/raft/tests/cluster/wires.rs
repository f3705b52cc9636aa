//! The wires between nodes: one for each direction of dialling, which a test holds back and lets go.
//!
//! A held wire loses nothing and says nothing, like a network that is cut: bytes wait, new
//! connections get no answer. A wire that loses the answers to snapshots is like a node whose power
//! goes before it has answered: who waits on such a connection is never told anything.

use hapax_raft::env::net::{TcpListener, TcpStream};
use hapax_wire::peer::{Channel, PeerHello};
use hapax_wire::{Decoder, Message, limits};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The wire on which one node dials another.
pub(crate) struct Wire {
    pub(crate) addr: String,
    /// What the dialling node sends is held.
    requests_held: watch::Sender<bool>,
    /// What it is answered is held.
    replies_held: watch::Sender<bool>,
    /// What new connections for a snapshot are answered is lost, but for the welcome.
    snapshot_answers_lost: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a connection of a wire is told.
#[derive(Clone)]
struct Orders {
    requests_held: watch::Receiver<bool>,
    replies_held: watch::Receiver<bool>,
    snapshot_answers_lost: watch::Receiver<bool>,
}

impl Wire {
    /// A wire to `to`.
    pub(crate) async fn new(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (requests_held, replies_held) = (watch::Sender::new(false), watch::Sender::new(false));
        let snapshot_answers_lost = watch::Sender::new(false);
        let orders = Orders {
            requests_held: requests_held.subscribe(),
            replies_held: replies_held.subscribe(),
            snapshot_answers_lost: snapshot_answers_lost.subscribe(),
        };
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, to.clone(), orders.clone()));
            }
        });
        Self { addr, requests_held, replies_held, snapshot_answers_lost, task }
    }

    pub(crate) fn lose_snapshot_answers(&self, lost: bool) {
        self.snapshot_answers_lost.send_replace(lost);
    }

    pub(crate) fn hold(&self, requests: bool, replies: bool) {
        self.requests_held.send_replace(requests);
        self.replies_held.send_replace(replies);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(near: TcpStream, to: String, orders: Orders) {
    let Ok(far) = TcpStream::connect(&to).await else { return };
    let (mut near_read, near_write) = tokio::io::split(near);
    let (far_read, mut far_write) = tokio::io::split(far);
    let Ok((hello, channel)) = hello(&mut near_read).await else { return };
    if far_write.write_all(&hello).await.is_err() {
        return;
    }
    let requests = pass(near_read, far_write, orders.requests_held);
    if channel == Some(Channel::Snapshot) && *orders.snapshot_answers_lost.borrow() {
        let _one_way = tokio::join!(requests, welcome_only(far_read, near_write));
    } else {
        tokio::select! {
            _ended = requests => {}
            _ended = pass(far_read, near_write, orders.replies_held) => {}
        }
    }
}

/// What the dialling node says first, and for which channel.
async fn hello(near: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Option<Channel>)> {
    let (mut decoder, mut said) = (Decoder::new(limits::HANDSHAKE_BYTES), Vec::new());
    loop {
        match decoder.poll() {
            Ok(Some(frame)) => return Ok((said, PeerHello::take(&frame).ok().map(|hello| hello.channel))),
            Ok(None) => {}
            Err(_) => return Ok((said, None)),
        }
        let from = said.len();
        if near.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.buffer().extend_from_slice(&said[from..]);
    }
}

/// Passes the answer to the handshake and loses the rest, the end of the connection too.
async fn welcome_only(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let read = from.read(&mut bytes).await?;
    to.write_all(&bytes[..read]).await?;
    while from.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    std::future::pending().await
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        if held.wait_for(|held| !*held).await.is_err() {
            return Ok(());
        }
        to.write_all(&bytes[..read]).await?;
    }
}
