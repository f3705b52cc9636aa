//! A snapshot on its way to a follower, on a connection of its own.

use crate::codec;
use crate::env;
use crate::group::snapshot::SnapshotData;
use crate::ids::ReplicaId;
use crate::peer::connection::{HandshakeError, Introduction, dial, next_frame};
use crate::peer::convert::{ballot, place, vote};
use crate::types::{SnapshotMeta, Types, Vote};
use bytes::BytesMut;
use hapax_store::records::{SnapshotSource, StoreError};
use hapax_wire::peer::{
    Ballot, Channel, PeerBody, PeerFrame, SnapshotChunk, SnapshotEnd, SnapshotOpen, SnapshotReply,
};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long the peer may take to take one chunk.
const CHUNK: Duration = Duration::from_secs(30);
/// The request number: there is one snapshot at a time on a connection.
const RPC: u64 = 1;
/// The form of the content: the record store's chunks, version 1.
const FORMAT: u8 = 1;

/// Where a snapshot goes.
pub struct Route {
    /// The group.
    pub shard: u32,
    /// This replica.
    pub from: ReplicaId,
    /// The follower.
    pub to: ReplicaId,
    /// Its node's address for peers.
    pub addr: String,
    /// How this node introduces itself.
    pub me: Introduction,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the whole may take.
    pub whole: Duration,
    /// Changes when the link to the follower's node breaks, which was up when this was made.
    pub breaks: watch::Receiver<()>,
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No connection.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The records could not be read here.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The link to its node broke while it had yet to say that it installed the snapshot.
    #[error("the link to the follower broke before it answered")]
    LinkBroke,
    /// It took too long.
    #[error("the transfer took too long")]
    Timeout,
    /// The follower refused it.
    #[error("the follower refused: {0}")]
    Refused(String),
}

impl SnapshotError {
    /// Whether the records here are damaged: sending them again would come upon the same.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_damage())
    }
}

/// Sends a snapshot and waits until the follower has installed it; returns the follower's vote.
///
/// # Errors
/// [`SnapshotError`]; the follower is then as it was, or will report that it has installed it.
pub async fn send(
    route: &Route,
    leader: &Vote,
    snapshot: openraft::alias::SnapshotOf<Types, SnapshotData>,
) -> Result<Vote, SnapshotError> {
    timeout(route.whole, send_all(route, leader, snapshot)).await.map_err(|_| SnapshotError::Timeout)?
}

async fn send_all(
    route: &Route,
    leader: &Vote,
    snapshot: openraft::alias::SnapshotOf<Types, SnapshotData>,
) -> Result<Vote, SnapshotError> {
    let SnapshotData::Source(source) = snapshot.snapshot else {
        return Err(SnapshotError::Refused("a received snapshot cannot be sent on".to_owned()));
    };
    let (stream, mut decoder, _) = dial(&route.addr, &route.me, Channel::Snapshot, route.connect).await?;
    let (mut read, mut write) = tokio::io::split(stream);
    let ends =
        Ends { shard: route.shard, from: route.from.as_u64(), to: route.to.as_u64(), ballot: ballot(leader) };
    let mut breaks = route.breaks.clone();
    let sending = async {
        write_snapshot(&mut write, RPC, &ends, &snapshot.meta, &source).await?;
        // A node that went without a word never says anything here; its link is asked something every second.
        // Until this ends nothing else is sent to the follower.
        let _gone_with_its_link = breaks.changed().await;
        Err::<SnapshotReply, _>(SnapshotError::LinkBroke)
    };
    let replying = async {
        let frame = next_frame(&mut read, &mut decoder)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)
            .map_err(io::Error::from)?;
        match PeerFrame::take(&frame) {
            Ok(PeerFrame { body: PeerBody::SnapshotReply(reply), .. }) => Ok(reply),
            Ok(_) => Err(SnapshotError::Refused("the reply is of another kind".to_owned())),
            Err(fault) => Err(SnapshotError::Refused(fault.to_string())),
        }
    };
    // The follower may refuse long before the end.
    let reply = tokio::select! {
        reply = replying => reply?,
        failed = sending => failed?,
    };
    match reply.refusal {
        None => Ok(vote(reply.ballot)),
        // A higher ballot is for openraft to see; any other refusal is an error.
        Some(_) if vote(reply.ballot) > *leader => Ok(vote(reply.ballot)),
        Some(why) => Err(SnapshotError::Refused(why)),
    }
}

/// From whom to whom a snapshot goes, and under which vote.
pub struct Ends {
    /// The group.
    pub shard: u32,
    /// The sending replica.
    pub from: u64,
    /// The receiving replica.
    pub to: u64,
    /// The leader's vote; the default where a follower gives its own snapshot.
    pub ballot: Ballot,
}

/// Writes a whole snapshot: its opening, its chunks, its end.
///
/// # Errors
/// When the records cannot be read or the connection does not take them.
pub async fn write_snapshot<W: AsyncWrite + Unpin>(
    write: &mut W,
    rpc: u64,
    ends: &Ends,
    meta: &SnapshotMeta,
    source: &SnapshotSource,
) -> Result<(), SnapshotError> {
    let last = meta.last_log_id.as_ref().map(place);
    let open = SnapshotOpen {
        shard: ends.shard,
        from: ends.from,
        to: ends.to,
        ballot: ends.ballot,
        last,
        membership: codec::encode_membership(&meta.last_membership).into(),
        snapshot: format!("{}-{}", ends.shard, last.map_or(0, |last| last.index)),
        format: FORMAT,
    };
    write_frame(write, rpc, open).await?;
    let mut chunks = source.chunks();
    let mut sent = 0u32;
    while let Some(chunk) = env::blocking(|| chunks.next()) {
        let bytes = chunk?;
        let crc = crc32c::crc32c(&bytes);
        write_frame(write, rpc, SnapshotChunk { seq: sent, crc, bytes: bytes.into() }).await?;
        sent += 1;
    }
    // The last chunk carries the digest of all before it; this one is of the connection alone.
    write_frame(write, rpc, SnapshotEnd { chunks: sent, digest: [0; 16] }).await
}

async fn write_frame<W: AsyncWrite + Unpin>(
    write: &mut W,
    rpc: u64,
    body: impl Into<PeerBody>,
) -> Result<(), SnapshotError> {
    let mut out = BytesMut::new();
    let frame = PeerFrame { rpc, body: body.into() };
    frame.put(&mut out).map_err(|fault| io::Error::other(fault.to_string()))?;
    timeout(CHUNK, write.write_all(&out)).await.map_err(|_| SnapshotError::Timeout)??;
    Ok(())
}
