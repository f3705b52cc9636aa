//! Clients that break the wire's rules. Each says what it did, so that a run can prove that it was
//! abused, and fails when a node does not end what it must end.

use super::session::hello;
use super::{WorkloadWorld, rng::Rng};
use anyhow::{Context as _, Result};
use hapax_client::env::Stream;
use hapax_wire::limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// A node must have closed a connection by then: the handshake's time and some more.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);

/// The abuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abuse {
    /// Bytes of no protocol.
    Garbage,
    /// A handshake that never comes.
    Silence,
    /// The first half of a handshake.
    HalfHandshake,
    /// A handshake, then a frame whose body is damaged.
    DamagedFrame,
    /// A handshake, then a frame that claims more than any may have.
    TooLong,
    /// A handshake, then half a frame, then the end.
    HalfFrame,
}

impl Abuse {
    /// Every abuse.
    pub const ALL: [Self; 6] = [
        Self::Garbage,
        Self::Silence,
        Self::HalfHandshake,
        Self::DamagedFrame,
        Self::TooLong,
        Self::HalfFrame,
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Silence => "silence",
            Self::HalfHandshake => "half_handshake",
            Self::DamagedFrame => "damaged_frame",
            Self::TooLong => "too_long",
            Self::HalfFrame => "half_frame",
        }
    }
}

/// Abuses a node once, and waits until it has closed the connection.
///
/// # Errors
/// When it cannot be reached, or does not close in time.
pub async fn abuse(world: &WorkloadWorld, address: &str, abuse: Abuse, rng: &mut Rng) -> Result<()> {
    let connected =
        timeout(CONNECT, world.network.connect(address)).await.context("no connection in time")?;
    let mut stream = connected?;
    let said = timeout(CLOSED_WITHIN, say(&mut stream, abuse, rng)).await;
    // A node may close before everything was said; it must not keep the connection open.
    let _said = said.with_context(|| format!("{}: the node does not read", abuse.name()))?;
    timeout(CLOSED_WITHIN, drain(&mut stream))
        .await
        .with_context(|| format!("{}: the node keeps the connection open", abuse.name()))
}

async fn say(stream: &mut Box<dyn Stream>, abuse: Abuse, rng: &mut Rng) -> std::io::Result<()> {
    let hello = hello();
    match abuse {
        Abuse::Garbage => {
            let noise: [u8; 64] = rng.bytes();
            stream.write_all(&noise).await?;
        }
        Abuse::Silence => {}
        Abuse::HalfHandshake => stream.write_all(&hello[..hello.len() / 2]).await?,
        Abuse::DamagedFrame => {
            let mut damaged = hello.to_vec();
            if let Some(last) = damaged.last_mut() {
                *last ^= 0x40;
            }
            stream.write_all(&hello).await?;
            stream.write_all(&damaged).await?;
        }
        Abuse::TooLong => {
            stream.write_all(&hello).await?;
            let header = long_header(&hello);
            stream.write_all(&header).await?;
        }
        Abuse::HalfFrame => {
            stream.write_all(&hello).await?;
            stream.write_all(&hello[..hello.len() / 2]).await?;
            stream.shutdown().await?;
        }
    }
    stream.flush().await
}

/// The whole header of a frame that is over its limit by one byte: only its length is at fault.
fn long_header(hello: &[u8]) -> Vec<u8> {
    let mut header = hello[..limits::HEADER_BYTES].to_vec();
    let body = limits::CLIENT_FRAME_BYTES - limits::HEADER_BYTES + 1;
    header[..4].copy_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
    // The low half of the checksum of the first six bytes follows them.
    let check = crc32c::crc32c(&header[..6]).to_le_bytes();
    header[6..8].copy_from_slice(&check[..2]);
    header
}

async fn drain(stream: &mut Box<dyn Stream>) {
    let mut buffer = vec![0; 16 * 1024];
    while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
}
