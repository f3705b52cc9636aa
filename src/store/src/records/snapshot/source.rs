//! The sending side.

use super::CHUNK_BYTES_MAX;
use super::frame::{self, FRAME_BYTES, Kind, Totals};
use crate::codec::meta::{AppliedMeta, encode_meta};
use crate::codec::record::encode_record_plain;
use crate::records::engine::{ADDRESSES_END, EngineView, Rows};
use crate::records::error::StoreError;
use crate::records::scan::decode_row;
use bytes::Bytes;
use hapax_core::seeded::{self, Bug};
use hapax_core::{LogTime, State, content_digest};
use std::ops::Bound;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// What the header's checksum is seeded with.
pub(super) const HEADER_PLACE: &[u8] = b"snapshot";

/// A shard as one view of the engine has it. Nothing is read before the chunks are asked for.
pub struct SnapshotSource {
    shard: u32,
    meta: AppliedMeta,
    view: Arc<dyn EngineView>,
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotSource")
            .field("shard", &self.shard)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl SnapshotSource {
    pub(crate) fn new(shard: u32, meta: AppliedMeta, view: Arc<dyn EngineView>) -> Self {
        Self { shard, meta, view }
    }

    /// The position, read from the same view as the records.
    #[must_use]
    pub fn meta(&self) -> &AppliedMeta {
        &self.meta
    }

    /// The stream, from its start. Each step may read the disk for as long as a chunk takes.
    #[must_use]
    pub fn chunks(&self) -> SnapshotChunks {
        SnapshotChunks {
            shard: self.shard,
            time: self.meta.time,
            header: Some(encode_meta(&self.meta, HEADER_PLACE)),
            rows: Some(self.rows()),
            carried: None,
            number: 0,
            totals: Totals { rows: 0, content: 0, stream: 0 },
            stream: Xxh3::new(),
        }
    }

    /// The content digest of the whole shard at the view's log time: the same on every replica at this position.
    /// Reads every record.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row cannot be read back.
    pub fn content_digest(&self) -> Result<u128, StoreError> {
        self.rows().try_fold(0u128, |sum, row| {
            let (key, value) = row?;
            let (address, record) = decode_row(&key, &value)?;
            Ok(sum.wrapping_add(content_digest(&address, &record, self.meta.time)))
        })
    }

    fn rows(&self) -> Rows {
        self.view.rows(Bound::Unbounded, Bound::Excluded(ADDRESSES_END))
    }
}

/// The chunks of a snapshot, in order; ends after the last chunk or the first error.
pub struct SnapshotChunks {
    shard: u32,
    time: LogTime,
    header: Option<Vec<u8>>,
    rows: Option<Rows>,
    /// The row that did not fit into the last chunk.
    carried: Option<Vec<u8>>,
    number: u32,
    totals: Totals,
    stream: Xxh3,
}

impl std::fmt::Debug for SnapshotChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotChunks").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Iterator for SnapshotChunks {
    type Item = Result<Bytes, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = frame::begin();
        if let Some(header) = self.header.take() {
            chunk.extend_from_slice(&header);
            return Some(Ok(self.finish(chunk, Kind::Header)));
        }
        self.rows.as_ref()?;
        match self.fill(&mut chunk) {
            Err(error) => {
                self.rows = None;
                Some(Err(error))
            }
            Ok(()) if chunk.len() > FRAME_BYTES => Some(Ok(self.finish(chunk, Kind::Rows))),
            Ok(()) => {
                self.rows = None;
                self.totals.stream = self.stream.digest128();
                self.totals.write(&mut chunk);
                Some(Ok(self.finish(chunk, Kind::End)))
            }
        }
    }
}

impl SnapshotChunks {
    fn finish(&mut self, mut chunk: Vec<u8>, kind: Kind) -> Bytes {
        frame::finish(&mut chunk, kind, self.shard, self.number);
        self.number += 1;
        self.stream.update(&chunk);
        chunk.into()
    }

    /// Adds rows until the next one does not fit or there are no more.
    fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<(), StoreError> {
        if let Some(carried) = self.carried.take() {
            chunk.extend_from_slice(&carried);
        }
        while let Some(row) = self.next_row()? {
            if FRAME_BYTES + row.len() > CHUNK_BYTES_MAX {
                return Err(StoreError::damaged("a stored record", "it is longer than any may be"));
            }
            if chunk.len() + row.len() > CHUNK_BYTES_MAX {
                self.carried = Some(row);
                return Ok(());
            }
            chunk.extend_from_slice(&row);
        }
        Ok(())
    }

    /// The next record that is not absent, settled.
    fn next_row(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let Some(row) = self.rows.as_mut().and_then(Iterator::next) else { return Ok(None) };
            let (key, value) = row?;
            let (address, record) = decode_row(&key, &value)?;
            let Some(settled) = record.settle(self.time) else { continue };
            if seeded::active(Bug::SnapshotOmitsClaimed) && matches!(settled.state, State::Claimed(_)) {
                continue;
            }
            self.totals.rows += 1;
            self.totals.content =
                self.totals.content.wrapping_add(content_digest(&address, &settled, self.time));
            return Ok(Some(encode_row(&key, &settled)));
        }
    }
}

fn encode_row(key: &[u8], record: &hapax_core::Record) -> Vec<u8> {
    let mut row = Vec::with_capacity(6 + key.len() + 256);
    let key_len = u16::try_from(key.len()).expect("an address has less than 1 KiB");
    row.extend_from_slice(&key_len.to_le_bytes());
    row.extend_from_slice(&[0; 4]);
    row.extend_from_slice(key);
    let start = row.len();
    encode_record_plain(record, &mut row);
    let len = u32::try_from(row.len() - start)
        .expect("what was decoded within a bound of 4 MiB is not longer than 4 GiB");
    row[2..6].copy_from_slice(&len.to_le_bytes());
    row
}

/// Takes a chunk's body apart into keys and plain records; `None` when it is cut wrong.
pub(super) fn split_rows(mut body: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rows = Vec::new();
    while !body.is_empty() {
        let (key_len, rest) = body.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_len)))?;
        let (record, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        rows.push((key, record));
        body = rest;
    }
    Some(rows)
}
