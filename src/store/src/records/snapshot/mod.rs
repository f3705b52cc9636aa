//! A shard as a stream of checked chunks.
//!
//! Contract: the chunks depend only on what the records are at the snapshot's log time, settled, and on the applied
//! position: two replicas at the same position give the same bytes, whatever each has reclaimed. A receiver finds
//! every flipped bit, and every missing, repeated, reordered or foreign chunk, before anything counts; it then
//! replaces its shard atomically.
//!
//! A chunk is at most [`CHUNK_BYTES_MAX`] long:
//! `[version: u8][kind: u8][shard: u32][number: u32][crc32c of all else: u32][body]`, little-endian. Kinds: 1 the
//! applied position, first; 2 rows, each `[key length: u16][record length: u32][key][record]`; 3 the end, with the
//! number of rows, the sum of the records' content digests, and the xxh3 of all chunks before it.

mod frame;
mod sink;
mod source;

pub use sink::SnapshotSink;
pub use source::{SnapshotChunks, SnapshotSource};

/// The most bytes of one chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
