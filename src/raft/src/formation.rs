//! How a fixed cluster comes to be, once.
//!
//! Every node draws its own id. Before the first group starts, each node asks every other of the
//! configuration who it is. Once all of them have been met and none has a layout, each computes the
//! same layout from the same names and ids, and writes it down. A node that finds a layout at a
//! peer takes that one, if it is in it. A node that is not in it has lost its disk: it must be
//! replaced under its new id, and never takes the place that it had.
//!
//! Before the layout, a first record is made durable in the node's log. From then on a log that is
//! found empty was wiped, and the node refuses to start: it would vote again without its memory.

use crate::config::NodeConfig;
use crate::ids::NodeId;
use crate::layout::{Layout, LayoutError};
use crate::peer::acceptor::PeerAcceptor;
use crate::peer::connection::{HandshakeError, dial, next_frame};
use bytes::{Bytes, BytesMut};
use hapax_store::disk::Disk;
use hapax_store::log::{GroupId, Log, LogError};
use hapax_wire::peer::{Channel, PeerBody, PeerFrame, Roster, RosterAsk};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

/// The group in whose name the log's first record is written; no shard has this number.
const BIRTH_SHARD: u32 = u32::MAX;
/// The pause between rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one peer may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What formation waits for, for logs and progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Nodes met, this one included.
    pub met: usize,
    /// Nodes of the configuration.
    pub of: usize,
    /// The names of those not met yet, and why, as far as is known.
    pub missing: Vec<(String, String)>,
}

/// Why a cluster cannot be formed or joined.
#[derive(Debug, thiserror::Error)]
pub enum FormationError {
    /// The layout file.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log is empty although the cluster was formed.
    #[error(
        "the log is empty although this node was in the cluster: it was wiped, and the node must be replaced under a new id"
    )]
    LogWiped,
    /// The cluster was formed with another node of this name.
    #[error(
        "the cluster was formed with node {there} under the name {name:?}, this data directory is node {here}: its disk was replaced, and so must the node be"
    )]
    Replaced {
        /// The name.
        name: String,
        /// This node's id.
        here: NodeId,
        /// The id in the layout.
        there: NodeId,
    },
    /// The cluster was formed without this node.
    #[error("the cluster was formed without a node named {0:?}")]
    NotAMember(String),
    /// Two nodes have the same name, or the configuration's names are not those that answer.
    #[error("at {addr} answers {found:?}, the configuration says {expected:?}")]
    WrongName {
        /// The address.
        addr: String,
        /// The configured name.
        expected: String,
        /// The name that answered.
        found: String,
    },
}

/// Makes a layout of the nodes, sorted by name; every node must come to the same.
pub type Place<'a> = &'a (dyn Fn(&[(NodeId, String)]) -> Layout + Send + Sync);

/// Reads the layout, or agrees on it with all nodes of the configuration.
///
/// # Errors
/// [`FormationError`]; a peer that does not answer is waited for.
pub async fn form(
    acceptor: &PeerAcceptor,
    config: &NodeConfig,
    disk: &dyn Disk,
    dir: &Path,
    log: &Log,
    place: Place<'_>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Layout, FormationError> {
    if let Some(layout) = Layout::load(disk, dir, config.cluster)? {
        if log.is_new() {
            return Err(FormationError::LogWiped);
        }
        check_membership(&layout, config)?;
        acceptor.set_roster(layout.to_roster(config.cluster));
        return Ok(layout);
    }
    // Nobody reads it: that it is there tells a log that was used from one that was wiped.
    let birth = log.create_group(GroupId { shard: BIRTH_SHARD, replica: config.node.as_u64() });
    birth.save_vote(Bytes::from_static(b"born")).await?;
    let layout = agree(acceptor, config, place, progress).await?;
    check_membership(&layout, config)?;
    layout.save(disk, dir, config.cluster)?;
    acceptor.set_roster(layout.to_roster(config.cluster));
    Ok(layout)
}

fn check_membership(layout: &Layout, config: &NodeConfig) -> Result<(), FormationError> {
    match layout.nodes.iter().find(|(_, name)| *name == config.name) {
        None => Err(FormationError::NotAMember(config.name.clone())),
        Some((there, name)) if *there != config.node => {
            Err(FormationError::Replaced { name: name.clone(), here: config.node, there: *there })
        }
        Some(_) => Ok(()),
    }
}

/// Meets every node of the configuration, or one that already has a layout.
async fn agree(
    acceptor: &PeerAcceptor,
    config: &NodeConfig,
    place: Place<'_>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Layout, FormationError> {
    let mut met: BTreeMap<String, NodeId> = BTreeMap::from([(config.name.clone(), config.node)]);
    let mut told = None;
    loop {
        let mut missing = Vec::new();
        for peer in config.peers.iter().filter(|peer| peer.name != config.name) {
            match timeout(ANSWER, ask(acceptor, &peer.peer_addr)).await {
                Ok(Ok((node, name, roster))) => {
                    if name != peer.name {
                        let (addr, expected) = (peer.peer_addr.clone(), peer.name.clone());
                        return Err(FormationError::WrongName { addr, expected, found: name });
                    }
                    if let Some(roster) = roster {
                        return Ok(Layout::from_roster(&roster));
                    }
                    // The newest answer counts: a node whose disk was wiped meanwhile has a new id.
                    met.insert(name, node);
                }
                Ok(Err(error)) => {
                    met.remove(&peer.name);
                    missing.push((peer.name.clone(), error.to_string()));
                }
                Err(_) => {
                    met.remove(&peer.name);
                    missing.push((peer.name.clone(), "it does not answer".to_owned()));
                }
            }
        }
        if missing.is_empty() {
            let nodes: Vec<_> = met.into_iter().map(|(name, node)| (node, name)).collect();
            return Ok(place(&nodes));
        }
        let now = Progress { met: met.len(), of: config.peers.len(), missing };
        if told.as_ref() != Some(&now) {
            progress(now.clone());
            told = Some(now);
        }
        sleep(PAUSE).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the reply is not one")]
    Confused,
}

async fn ask(acceptor: &PeerAcceptor, addr: &str) -> Result<(NodeId, String, Option<Roster>), AskError> {
    let me = acceptor.me();
    let (mut stream, mut decoder, _) = dial(addr, me, Channel::Control, ANSWER).await?;
    let body = RosterAsk { node: me.node.as_u64(), name: me.name.clone(), roster: acceptor.roster() };
    let mut out = BytesMut::new();
    (PeerFrame { rpc: 1, body: body.into() }).put(&mut out).map_err(|_| AskError::Confused)?;
    stream.write_all(&out).await?;
    let frame = next_frame(&mut stream, &mut decoder).await?.ok_or(AskError::Confused)?;
    match PeerFrame::take(&frame) {
        Ok(PeerFrame { body: PeerBody::RosterReply(reply), .. }) => {
            Ok((NodeId::from_u64(reply.node), reply.name, reply.roster))
        }
        _ => Err(AskError::Confused),
    }
}
