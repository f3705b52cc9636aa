//! One TCP connection between nodes: the handshake of both sides, and frames in and out.

use crate::env::net::TcpStream;
use crate::ids::NodeId;
use bytes::BytesMut;
use hapax_core::Refusal;
use hapax_wire::peer::{Channel, PeerHello, PeerWelcome};
use hapax_wire::version::Versions;
use hapax_wire::{ClusterId, Decoder, Frame, Message, client, kind, limits};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Who this node is, for the handshake.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
}

/// Why a connection between nodes is not to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer spoke out of turn.
    #[error("the peer does not speak the peer protocol: {0}")]
    Garbage(String),
    /// The peer refused.
    #[error("the peer refused: {0}")]
    Refused(Refusal),
    /// Somebody else answered.
    #[error("expected node {expected}, found {found}")]
    WrongNode {
        /// Whom the link leads to.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
}

/// Dials a peer and introduces this node.
///
/// # Errors
/// [`HandshakeError`]; the connection is closed.
pub async fn dial(
    addr: &str,
    me: &Introduction,
    channel: Channel,
    within: Duration,
) -> Result<(TcpStream, Decoder, PeerWelcome), HandshakeError> {
    let attempt = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let hello = PeerHello {
            versions: Versions::SPOKEN,
            cluster: Some(me.cluster),
            node: me.node.as_u64(),
            name: me.name.clone(),
            channel,
        };
        let mut out = BytesMut::new();
        hello.put(&mut out).map_err(|fault| HandshakeError::Garbage(fault.to_string()))?;
        stream.write_all(&out).await?;
        let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
        let frame = next_frame(&mut stream, &mut decoder)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)
            .map_err(io::Error::from)?;
        if frame.kind == kind::ERROR {
            let error =
                client::Error::take(&frame).map_err(|fault| HandshakeError::Garbage(fault.to_string()))?;
            return Err(HandshakeError::Refused(error.refusal));
        }
        let welcome =
            PeerWelcome::take(&frame).map_err(|fault| HandshakeError::Garbage(fault.to_string()))?;
        decoder.set_limit(limits::PEER_FRAME_BYTES);
        Ok((stream, decoder, welcome))
    };
    timeout(within, attempt).await.map_err(|_| HandshakeError::Timeout)?
}

/// Reads until a whole frame is there; `None` at a clean end of the stream.
///
/// # Errors
/// When the socket fails, ends in the middle of a frame, or carries what is no frame.
pub async fn next_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    decoder: &mut Decoder,
) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) =
            decoder.poll().map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))?
        {
            return Ok(Some(frame));
        }
        if stream.read_buf(decoder.buffer()).await? == 0 {
            if decoder.is_midway() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(None);
        }
    }
}

/// Sends a refusal in the form that every version understands. The connection is about to be
/// closed, so that a failure here changes nothing.
pub async fn refuse(stream: &mut TcpStream, refusal: Refusal) {
    let mut out = BytesMut::new();
    if (client::Error { refusal }).put(&mut out).is_ok() {
        let _best_effort = timeout(Duration::from_millis(500), stream.write_all(&out)).await;
    }
}
