//! The wires between nodes: one for each direction of dialling, which a test holds back and lets go.
//!
//! A held wire loses nothing and says nothing, like a network that is cut: bytes wait, new
//! connections get no answer.

use hapax_raft::env::net::{TcpListener, TcpStream};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The wire on which one node dials another.
pub(crate) struct Wire {
    pub(crate) addr: String,
    /// What the dialling node sends is held.
    requests_held: watch::Sender<bool>,
    /// What it is answered is held.
    replies_held: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to `to`.
    pub(crate) async fn new(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (requests_held, replies_held) = (watch::Sender::new(false), watch::Sender::new(false));
        let (requests, replies) = (requests_held.subscribe(), replies_held.subscribe());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, to.clone(), requests.clone(), replies.clone()));
            }
        });
        Self { addr, requests_held, replies_held, task }
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

async fn join(near: TcpStream, to: String, requests: watch::Receiver<bool>, replies: watch::Receiver<bool>) {
    let Ok(far) = TcpStream::connect(&to).await else { return };
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    tokio::select! {
        _ended = pass(near_read, far_write, requests) => {}
        _ended = pass(far_read, near_write, replies) => {}
    }
}

async fn pass(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
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
