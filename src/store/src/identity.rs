//! Whose data directory this is, and the lock on it.
//!
//! Contract: a directory belongs to one node of one cluster for ever. The identity is written once, atomically,
//! with a checksum; a directory of another cluster or node, of a newer format, or with a damaged identity is
//! refused, each with its own error. Node ids are random and come from the caller, so a wiped disk yields a new
//! one. While a [`DataDir`] lives, no other process can open the same directory.
//!
//! The file is 40 bytes, little-endian: magic `HAPAXID\n`, format version (4), zero (4), cluster id (8),
//! node id (8), zero (4), crc32c of all before (4).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::disk::{self, Disk, DiskLock};

const FILE_NAME: &str = "identity";
const LOCK_NAME: &str = "lock";
const MAGIC: &[u8; 8] = b"HAPAXID\n";
const FORMAT_VERSION: u32 = 1;
const IDENTITY_BYTES: usize = 40;

/// Who a data directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; never 0.
    pub cluster_id: u64,
    /// The node; random, never 0, never reused.
    pub node_id: u64,
}

/// Why a data directory was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process has the directory open.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory belongs to another cluster.
    #[error("the data directory belongs to cluster {found:016x}, not to {expected:016x}")]
    WrongCluster {
        /// Whose it is.
        found: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// The directory belongs to another node.
    #[error("the data directory belongs to node {found:016x}, not to {expected:016x}")]
    WrongNode {
        /// Whose it is.
        found: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// The identity file is not what was written.
    #[error(
        "the identity file in {} is damaged: restore it, or wipe the directory and let the node join anew",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The identity was written by a newer program.
    #[error("the data directory has format version {found}, this program reads {supported}")]
    Version {
        /// The version found.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// There is data but no identity, so it cannot be told whose it is.
    #[error("the data directory {} holds data but no identity file", .0.display())]
    Missing(PathBuf),
    /// The ids offered for a new directory cannot be used.
    #[error("{0} must not be 0")]
    Zero(&'static str),
    /// The disk failed.
    #[error("failed to {doing}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the disk said.
        error: io::Error,
    },
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> IdentityError {
    move |error| IdentityError::Io { doing, error }
}

/// What the caller asks of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The cluster that it must belong to.
    pub cluster_id: u64,
    /// The node that it must belong to, if the caller knows.
    pub node_id: Option<u64>,
    /// The node id that an empty directory gets, if `node_id` is not given: fresh randomness.
    pub fresh_node_id: u64,
}

/// A data directory, locked, whose identity was checked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    is_new: bool,
    _lock: Box<dyn DiskLock>,
}

impl DataDir {
    /// Locks a directory, creating it if need be, and checks or creates its identity.
    ///
    /// # Errors
    /// [`IdentityError`], one variant for each way in which the directory may be the wrong one.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path, expected: Expected) -> Result<Self, IdentityError> {
        let disk = disk.as_ref();
        disk.create_dir(path).map_err(io_error("create the data directory"))?;
        let lock = disk.lock(&path.join(LOCK_NAME)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => IdentityError::InUse(path.to_owned()),
            _ => io_error("lock the data directory")(error),
        })?;
        let (identity, is_new) = match read(disk, path)? {
            Some(identity) => (identity, false),
            None => (create(disk, path, expected)?, true),
        };
        if identity.cluster_id != expected.cluster_id {
            let (found, expected) = (identity.cluster_id, expected.cluster_id);
            return Err(IdentityError::WrongCluster { found, expected });
        }
        if let Some(node_id) = expected.node_id.filter(|node_id| *node_id != identity.node_id) {
            return Err(IdentityError::WrongNode { found: identity.node_id, expected: node_id });
        }
        Ok(Self { path: path.to_owned(), identity, is_new, _lock: lock })
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the identity was created by this opening.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

/// Reads the identity of a directory without locking it, for tools; `None` if it has none.
///
/// # Errors
/// [`IdentityError::Damaged`], [`IdentityError::Version`] or [`IdentityError::Io`].
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = dir.join(FILE_NAME);
    let bytes = match disk::read_file(disk, &path, IDENTITY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(IdentityError::Damaged(path));
        }
        Err(error) => return Err(io_error("read the identity file")(error)),
    };
    decode(&bytes, path).map(Some)
}

fn create(disk: &dyn Disk, dir: &Path, expected: Expected) -> Result<Identity, IdentityError> {
    let names = disk.list(dir).map_err(io_error("list the data directory"))?;
    let others = names.iter().any(|name| name != LOCK_NAME && !name.starts_with(FILE_NAME));
    if others {
        return Err(IdentityError::Missing(dir.to_owned()));
    }
    let node_id = expected.node_id.unwrap_or(expected.fresh_node_id);
    let identity = Identity { cluster_id: expected.cluster_id, node_id };
    if identity.cluster_id == 0 {
        return Err(IdentityError::Zero("cluster id"));
    }
    if identity.node_id == 0 {
        return Err(IdentityError::Zero("node id"));
    }
    disk::replace_file(disk, &dir.join(FILE_NAME), &encode(identity))
        .map_err(io_error("write the identity file"))?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent).map_err(io_error("sync the directory above the data directory"))?;
    }
    Ok(identity)
}

fn encode(identity: Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(FORMAT_VERSION);
    bytes.put_u32_le(0);
    bytes.put_u64_le(identity.cluster_id);
    bytes.put_u64_le(identity.node_id);
    bytes.put_u32_le(0);
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes
}

fn decode(bytes: &[u8], path: PathBuf) -> Result<Identity, IdentityError> {
    if bytes.len() != IDENTITY_BYTES {
        return Err(IdentityError::Damaged(path));
    }
    let (checked, mut crc) = bytes.split_at(IDENTITY_BYTES - 4);
    let Some(mut rest) = checked.strip_prefix(MAGIC) else { return Err(IdentityError::Damaged(path)) };
    if crc.get_u32_le() != crc32c::crc32c(checked) {
        return Err(IdentityError::Damaged(path));
    }
    let version = rest.get_u32_le();
    if version != FORMAT_VERSION {
        return Err(IdentityError::Version { found: version, supported: FORMAT_VERSION });
    }
    rest.advance(4);
    Ok(Identity { cluster_id: rest.get_u64_le(), node_id: rest.get_u64_le() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_an_identity_are_frozen() {
        let identity = Identity { cluster_id: 0x1122, node_id: 0x0102_0304_0506_0708 };
        let bytes = encode(identity);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "484150415849440a0100000000000000221100000000000008070605040302010000000081554b24");
        assert_eq!(decode(&bytes, PathBuf::new()).expect("whole"), identity);
    }
}
