//! A snapshot on its way in: checked chunk by chunk into a space of its own, then handed to
//! openraft, which has it installed between two applies.

use crate::codec;
use crate::env;
use crate::env::net::TcpStream;
use crate::group::Group;
use crate::group::snapshot::SnapshotData;
use crate::peer::acceptor::PeerAcceptor;
use crate::peer::connection::next_frame;
use crate::peer::convert::{ballot, unplace, vote};
use crate::types::{SnapshotMeta, Vote};
use hapax_store::records::SnapshotSink;
use hapax_wire::Decoder;
use hapax_wire::peer::{Ballot, PeerBody, PeerFrame, SnapshotOpen, SnapshotReply};
use openraft::storage::Snapshot;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::ReadHalf;
use tokio::time::timeout;

/// How long the next chunk may take to come.
const CHUNK: Duration = Duration::from_secs(30);

/// Receives one snapshot after its opening, and answers it.
///
/// # Errors
/// When the connection fails; what was received is then given up.
pub async fn receive(
    acceptor: &Arc<PeerAcceptor>,
    open: SnapshotOpen,
    rpc: u64,
    read: &mut ReadHalf<TcpStream>,
    decoder: &mut Decoder,
) -> io::Result<SnapshotReply> {
    let group = acceptor.node().and_then(|node| node.group(open.shard, open.to));
    let Some(group) = group else { return Ok(refused(Ballot::default(), "the replica is not there")) };
    let mut sink = match group.shard().records.install() {
        Ok(sink) => sink,
        Err(error) => return Ok(refused(Ballot::default(), &error.to_string())),
    };
    loop {
        let frame =
            timeout(CHUNK, next_frame(read, decoder)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        let part = PeerFrame::take(&frame).map_err(|fault| io::Error::other(fault.to_string()))?;
        match part.body {
            PeerBody::SnapshotChunk(chunk) if part.rpc == rpc => {
                if crc32c::crc32c(chunk.bytes.as_slice()) != chunk.crc {
                    return Ok(refused(Ballot::default(), "a chunk does not match its checksum"));
                }
                if let Err(error) = env::blocking(|| sink.write(chunk.bytes.as_slice())) {
                    return Ok(refused(Ballot::default(), &error.to_string()));
                }
            }
            PeerBody::SnapshotEnd(_) if part.rpc == rpc => return Ok(install(&group, &open, sink).await),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot's part was expected")),
        }
    }
}

async fn install(group: &Group, open: &SnapshotOpen, sink: SnapshotSink) -> SnapshotReply {
    let membership = match codec::decode_membership(open.membership.as_slice()) {
        Ok(membership) => membership,
        Err(error) => return refused(Ballot::default(), &error.to_string()),
    };
    let meta = SnapshotMeta { last_log_id: open.last.map(unplace), last_membership: membership };
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(Box::new(sink)) };
    let leader: Vote = vote(open.ballot);
    match group.raft().install_full_snapshot(leader, snapshot).await {
        Ok(response) => SnapshotReply { ballot: ballot(&response.vote), refusal: None },
        Err(error) => refused(Ballot::default(), &error.to_string()),
    }
}

fn refused(ballot: Ballot, why: &str) -> SnapshotReply {
    // An error's text may name a file, in any script: it is cut between characters.
    let cut = why.floor_char_boundary(hapax_wire::limits::REFUSAL_BYTES);
    SnapshotReply { ballot, refusal: Some(why[..cut].to_owned()) }
}
