//! Records made again from a peer's snapshot, before the replica takes part.
//!
//! A leader sends snapshots only to followers whose log is behind. A replica that kept its log and
//! lost its records looks whole to it, so it asks by itself, before its consensus starts: any
//! replica's snapshot will do that reaches at least to where the own log was purged.

use crate::context::{Context, Placement};
use crate::env;
use crate::group::open::OpenError;
use crate::ids::ReplicaId;
use crate::peer::connection::{dial, next_frame};
use bytes::BytesMut;
use hapax_store::log::LogPosition;
use hapax_store::records::{ShardRecords, StoreError};
use hapax_wire::peer::{Channel, PeerBody, PeerFrame, Position, SnapshotAsk};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

/// The pause after every peer was asked in vain.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the next chunk may take to come.
const CHUNK: Duration = Duration::from_secs(30);

/// Asks the peers in turn until one has given a snapshot that covers `least`.
///
/// # Errors
/// When the record store fails here; peers that fail are asked again.
pub async fn fetch(
    context: &Context,
    placement: &Placement,
    records: &Arc<ShardRecords>,
    least: LogPosition,
) -> Result<(), OpenError> {
    loop {
        for peer in placement.members.iter().filter(|member| **member != placement.replica) {
            match fetch_from(context, placement, records, least, *peer).await {
                Ok(()) => return Ok(()),
                Err(FetchError::Store(error @ (StoreError::Io { .. } | StoreError::Closed))) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(shard = placement.shard, %peer, %error, "a peer gave no snapshot");
                }
            }
        }
        sleep(PAUSE).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Connection(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn fetch_from(
    context: &Context,
    placement: &Placement,
    records: &Arc<ShardRecords>,
    least: LogPosition,
    peer: ReplicaId,
) -> Result<(), FetchError> {
    let unknown = || FetchError::Connection("its address is not known".to_owned());
    let addr = &context.links.config_of(peer.node()).ok_or_else(unknown)?.peer_addr;
    let connect = Duration::from_millis(context.config.timing.connect_ms);
    let (mut stream, mut decoder, _) = dial(addr, context.links.me(), Channel::Snapshot, connect)
        .await
        .map_err(|error| FetchError::Connection(error.to_string()))?;
    let least = Position { term: least.term, index: least.index };
    let ask = SnapshotAsk { shard: placement.shard, to: peer.as_u64(), least: Some(least) };
    let mut out = BytesMut::new();
    let frame = PeerFrame { rpc: 1, body: ask.into() };
    frame.put(&mut out).map_err(|fault| FetchError::Connection(fault.to_string()))?;
    stream.write_all(&out).await?;
    let mut sink = records.install()?;
    loop {
        let frame = timeout(CHUNK, next_frame(&mut stream, &mut decoder)).await;
        let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let frame = frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let part = PeerFrame::take(&frame).map_err(|fault| FetchError::Connection(fault.to_string()))?;
        match part.body {
            PeerBody::SnapshotOpen(open) => {
                if open.last < Some(least) {
                    return Err(FetchError::Connection("its snapshot does not reach far enough".to_owned()));
                }
            }
            PeerBody::SnapshotChunk(chunk) => env::blocking(|| sink.write(chunk.bytes.as_slice()))?,
            PeerBody::SnapshotEnd(_) => {
                env::blocking(|| sink.finish())?;
                return Ok(());
            }
            PeerBody::SnapshotReply(reply) => {
                return Err(FetchError::Connection(reply.refusal.unwrap_or_default()));
            }
            _ => return Err(FetchError::Connection("a snapshot was expected".to_owned())),
        }
    }
}
