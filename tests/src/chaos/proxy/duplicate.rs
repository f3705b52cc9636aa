//! The second copy of what a node says to another.

use super::link::Shared;
use bytes::{Bytes, BytesMut};
use hapax_wire::peer::{PeerBody, PeerFrame, PeerHello};
use hapax_wire::{Decoder, Message as _, limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How far behind the first copy the second is.
const BEHIND: Duration = Duration::from_millis(15);
/// Messages that wait for the second connection; beyond it, copies are left out.
const WAITING: usize = 1024;

/// Repeats a node's messages on a connection of its own, for as long as this lives.
pub(super) struct Duplicate {
    decoder: Decoder,
    greeted: bool,
    copies: mpsc::Sender<Bytes>,
}

impl Duplicate {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (copies, waiting) = mpsc::channel(WAITING);
        tokio::spawn(repeat(Arc::clone(shared), waiting));
        Self { decoder: Decoder::new(limits::PEER_FRAME_BYTES), greeted: false, copies }
    }

    /// Takes what was said, in any pieces.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Ok(Some(frame)) = self.decoder.poll() {
            let mut copy = BytesMut::new();
            let repeated = if self.greeted {
                PeerFrame::take(&frame)
                    .is_ok_and(|frame| is_consensus(&frame) && frame.put(&mut copy).is_ok())
            } else {
                self.greeted = true;
                PeerHello::take(&frame).is_ok_and(|hello| hello.put(&mut copy).is_ok())
            };
            if repeated {
                let _left_out = self.copies.try_send(copy.freeze());
            }
        }
    }
}

fn is_consensus(frame: &PeerFrame) -> bool {
    !matches!(frame.body, PeerBody::Forward(_) | PeerBody::ForwardCancel(_))
}

async fn repeat(shared: Arc<Shared>, mut copies: mpsc::Receiver<Bytes>) {
    let Ok(target) = TcpStream::connect(&shared.target).await else { return };
    let (mut read, mut write) = target.into_split();
    let said = async {
        while let Some(copy) = copies.recv().await {
            sleep(BEHIND).await;
            if write.write_all(&copy).await.is_err() {
                return;
            }
            shared.counts.note_repeated();
        }
    };
    let answered = async {
        let mut nowhere = vec![0; 4096];
        while matches!(read.read(&mut nowhere).await, Ok(some) if some > 0) {}
    };
    tokio::join!(said, answered);
}
