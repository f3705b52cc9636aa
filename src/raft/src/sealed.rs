//! Small files that a crash or a failing disk leaves whole, or recognisably not.
//!
//! A magic word of eight bytes, a version of one, the CRC32C of the body, little-endian, the body. They are
//! replaced as a whole: a temporary name, a sync, a rename, a sync of the directory.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use hapax_store::disk::{self, Disk};
use std::io;
use std::path::Path;

const FILE_BYTES_MAX: usize = 1 << 20;
const CONFIG: Configuration<LittleEndian, Varint, Limit<FILE_BYTES_MAX>> =
    bincode::config::standard().with_limit::<FILE_BYTES_MAX>();

/// What kind of file it is.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// How it begins.
    pub magic: &'static [u8; 8],
    /// The only version that is read and written.
    pub version: u8,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The disk failed, or the file is longer than 1 MiB.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It was written by another version of the program.
    #[error("it has version {0}")]
    Version(u8),
}

impl Kind {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// [`SealedError`].
    pub fn load<T: Decode<()>>(self, disk: &dyn Disk, path: &Path) -> Result<Option<T>, SealedError> {
        let bytes = match disk::read_file(disk, path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let rest = bytes.strip_prefix(self.magic).ok_or(SealedError::Damaged)?;
        let (version, rest) = rest.split_first().ok_or(SealedError::Damaged)?;
        if *version != self.version {
            return Err(SealedError::Version(*version));
        }
        let (sum, body) = rest.split_first_chunk::<4>().ok_or(SealedError::Damaged)?;
        if u32::from_le_bytes(*sum) != crc32c::crc32c(body) {
            return Err(SealedError::Damaged);
        }
        let (found, read): (T, usize) =
            bincode::decode_from_slice(body, CONFIG).map_err(|_| SealedError::Damaged)?;
        if read != body.len() {
            return Err(SealedError::Damaged);
        }
        Ok(Some(found))
    }

    /// Writes a file, durably and atomically.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(self, disk: &dyn Disk, path: &Path, body: &impl Encode) -> io::Result<()> {
        let body =
            bincode::encode_to_vec(body, CONFIG).map_err(|error| io::Error::other(error.to_string()))?;
        let mut bytes = self.magic.to_vec();
        bytes.push(self.version);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        disk::replace_file(disk, path, &bytes)
    }
}
