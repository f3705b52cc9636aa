//! How a connection begins, and how it ends.

use super::Settings;
use bytes::BytesMut;
use hapax_core::{ErrorCode, Refusal};
use hapax_wire::client::{Error, Hello, Limits, Welcome};
use hapax_wire::version::Versions;
use hapax_wire::{Decoder, Message as _, limits};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long a connection that is being closed may take to hear why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is still read from such a connection and thrown away: closing with unread bytes would reset
/// it, and the other side might never see the reason.
const DISCARDED_BYTES: u64 = 4 << 20;

/// Why there was no handshake.
#[derive(Debug)]
pub(super) enum NoHandshake {
    /// The other side is told so.
    Refused(Refusal),
    /// It has gone away, or its connection is broken.
    Gone,
}

/// Reads the hello and answers it; hands back the decoder with whatever came after the hello.
pub(super) async fn greet<T: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut T,
    settings: &Settings,
    table_version: impl FnOnce() -> u64,
) -> Result<(Decoder, Hello), NoHandshake> {
    let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
    let greeted = async {
        let hello = hello(stream, &mut decoder).await?;
        let version = check(&hello, settings).map_err(NoHandshake::Refused)?;
        let welcome = Welcome {
            version,
            cluster: settings.cluster,
            node: settings.node,
            node_name: settings.node_name.clone(),
            table_version: table_version(),
            limits: Limits {
                in_flight: u32::try_from(settings.calls_per_connection).unwrap_or(u32::MAX),
                ..Limits::default()
            },
        };
        let mut out = BytesMut::new();
        welcome.put(&mut out).map_err(|fault| NoHandshake::Refused(fault.refusal()))?;
        stream.write_all(&out).await.map_err(|_| NoHandshake::Gone)?;
        Ok(hello)
    };
    let within = Duration::from_millis(limits::HANDSHAKE_MS);
    let hello = tokio::time::timeout(within, greeted).await.unwrap_or_else(|_| {
        let text = "the handshake was not done within 2 s";
        Err(NoHandshake::Refused(Refusal::definite(ErrorCode::Deadline, text)))
    })?;
    decoder.set_limit(limits::CLIENT_FRAME_BYTES);
    Ok((decoder, hello))
}

async fn hello<T: AsyncRead + Unpin>(stream: &mut T, decoder: &mut Decoder) -> Result<Hello, NoHandshake> {
    loop {
        match decoder.poll() {
            Ok(Some(frame)) => {
                return Hello::take(&frame).map_err(|fault| NoHandshake::Refused(fault.refusal()));
            }
            Ok(None) => {}
            Err(fault) => return Err(NoHandshake::Refused(fault.refusal())),
        }
        if stream.read_buf(decoder.buffer()).await.map_err(|_| NoHandshake::Gone)? == 0 {
            return Err(NoHandshake::Gone);
        }
    }
}

fn check(hello: &Hello, settings: &Settings) -> Result<u16, Refusal> {
    let version = Versions::SPOKEN.agree(hello.versions)?;
    match hello.cluster {
        Some(meant) if meant != settings.cluster => {
            Err(Refusal::definite(ErrorCode::WrongCluster, "this node belongs to another cluster"))
        }
        _ => Ok(version),
    }
}

/// Says why, and closes.
pub(super) async fn farewell<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T, refusal: &Refusal) {
    let told = async {
        stream.write_all(&error_frame(refusal)).await?;
        stream.shutdown().await?;
        discard(&mut stream).await
    };
    // Whoever does not listen is cut off.
    let _gone = tokio::time::timeout(FAREWELL, told).await;
}

/// The last frame of a connection.
pub(super) fn error_frame(refusal: &Refusal) -> BytesMut {
    let mut out = BytesMut::new();
    if Error::from(refusal.clone()).put(&mut out).is_err() {
        // Only a text of ours could be too long: the code alone always fits.
        let bare = Refusal::definite(refusal.code, refusal.code.name());
        let _fits = Error::from(bare).put(&mut out);
    }
    out
}

/// Reads what is still coming, up to a bound, until the other side closes.
pub(super) async fn discard<T: AsyncRead + Unpin>(stream: &mut T) -> std::io::Result<()> {
    tokio::io::copy(&mut stream.take(DISCARDED_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Like [`discard`], for at most as long as a farewell takes.
pub(super) async fn discard_for_a_while<T: AsyncRead + Unpin>(stream: &mut T) {
    let _gone = tokio::time::timeout(FAREWELL, discard(stream)).await;
}
