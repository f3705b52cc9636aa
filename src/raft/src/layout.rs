//! Where a cluster's shards are, as agreed on when it was formed.
//!
//! The layout is written once, before any group starts, and read at every later start. It has a
//! version, so that a meta group can take over from here.

use crate::ids::{NodeId, ReplicaId};
use crate::sealed::{Kind, SealedError};
use hapax_store::disk::Disk;
use hapax_wire::ClusterId;
use hapax_wire::peer::{Roster, RosterNode, RosterShard};
use std::io;
use std::path::Path;

const FILE_NAME: &str = "layout";
const KIND: Kind = Kind { magic: b"HAPAXLA\n", version: VERSION };
const VERSION: u8 = 1;

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
        let Some(roster) = KIND.load::<Roster>(disk, &dir.join(FILE_NAME))? else { return Ok(None) };
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
        Ok(KIND.save(disk, &dir.join(FILE_NAME), &self.to_roster(cluster))?)
    }
}

impl From<SealedError> for LayoutError {
    fn from(error: SealedError) -> Self {
        match error {
            SealedError::Io(error) => Self::Io(error),
            SealedError::Damaged => Self::Damaged,
            SealedError::Version(found) => Self::Version { found },
        }
    }
}
