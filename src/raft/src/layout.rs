//! Where a cluster's shards are, as agreed on when it was formed.
//!
//! The layout is written once, before any group starts, and read at every later start. It has a
//! version, so that a meta group can take over from here.

use crate::ids::{NodeId, ReplicaId};
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use hapax_store::disk::{self, Disk};
use hapax_wire::ClusterId;
use hapax_wire::peer::{Roster, RosterNode, RosterShard};
use std::io;
use std::path::Path;

const FILE_NAME: &str = "layout";
const MAGIC: &[u8; 8] = b"HAPAXLA\n";
const VERSION: u8 = 1;
const FILE_BYTES_MAX: usize = 1 << 20;
const CONFIG: Configuration<LittleEndian, Varint, Limit<FILE_BYTES_MAX>> =
    bincode::config::standard().with_limit::<FILE_BYTES_MAX>();

/// Nodes, and the replicas of every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rises with every change.
    pub version: u64,
    /// How many replicas a shard has.
    pub replication: u8,
    /// The nodes with their names, sorted by name.
    pub nodes: Vec<(NodeId, String)>,
    /// The replicas of every data shard, the preferred leader first.
    pub table: Vec<Vec<ReplicaId>>,
}

/// Why a layout cannot be read or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The disk failed.
    #[error("the layout file could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file is not what was written.
    #[error("the layout file is damaged")]
    Damaged,
    /// It was written by a newer program.
    #[error("the layout file has version {found}, this program reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is of another cluster.
    #[error("the layout file is of another cluster")]
    WrongCluster,
}

impl Layout {
    /// How many data shards there are.
    #[must_use]
    pub fn shards(&self) -> u32 {
        u32::try_from(self.table.len()).unwrap_or(u32::MAX)
    }

    /// The name of a node.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<&str> {
        self.nodes.iter().find(|(id, _)| *id == node).map(|(_, name)| name.as_str())
    }

    /// As peers tell it to each other.
    #[must_use]
    pub fn to_roster(&self, cluster: ClusterId) -> Roster {
        let nodes = self.nodes.iter().map(|(id, name)| RosterNode { id: id.as_u64(), name: name.clone() });
        let table = (0..).zip(&self.table).map(|(shard, replicas)| RosterShard {
            shard,
            replicas: replicas.iter().map(|replica| replica.as_u64()).collect(),
        });
        Roster {
            cluster,
            shards: self.shards(),
            replication: self.replication,
            version: self.version,
            nodes: nodes.collect(),
            table: table.collect(),
        }
    }

    /// What a peer told.
    #[must_use]
    pub fn from_roster(roster: &Roster) -> Self {
        let mut table: Vec<_> = roster.table.iter().collect();
        table.sort_by_key(|shard| shard.shard);
        Self {
            version: roster.version,
            replication: roster.replication,
            nodes: roster.nodes.iter().map(|node| (NodeId::from_u64(node.id), node.name.clone())).collect(),
            table: table
                .into_iter()
                .map(|shard| shard.replicas.iter().map(|replica| ReplicaId::from_u64(*replica)).collect())
                .collect(),
        }
    }

    /// Reads the layout of a data directory; `None` when the cluster was never formed here.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn load(disk: &dyn Disk, dir: &Path, cluster: ClusterId) -> Result<Option<Self>, LayoutError> {
        let bytes = match disk::read_file(disk, &dir.join(FILE_NAME), FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let rest = bytes.strip_prefix(MAGIC).ok_or(LayoutError::Damaged)?;
        let (version, rest) = rest.split_first().ok_or(LayoutError::Damaged)?;
        if *version != VERSION {
            return Err(LayoutError::Version { found: *version });
        }
        let (sum, body) = rest.split_first_chunk::<4>().ok_or(LayoutError::Damaged)?;
        if u32::from_le_bytes(*sum) != crc32c::crc32c(body) {
            return Err(LayoutError::Damaged);
        }
        let (roster, read): (Roster, usize) =
            bincode::decode_from_slice(body, CONFIG).map_err(|_| LayoutError::Damaged)?;
        if read != body.len() {
            return Err(LayoutError::Damaged);
        }
        if roster.cluster != cluster {
            return Err(LayoutError::WrongCluster);
        }
        Ok(Some(Self::from_roster(&roster)))
    }

    /// Writes the layout, durably and atomically.
    ///
    /// # Errors
    /// [`LayoutError::Io`].
    pub fn save(&self, disk: &dyn Disk, dir: &Path, cluster: ClusterId) -> Result<(), LayoutError> {
        let body = bincode::encode_to_vec(self.to_roster(cluster), CONFIG)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(disk::replace_file(disk, &dir.join(FILE_NAME), &bytes)?)
    }
}
