//! The receiving side.

use super::frame::{self, Kind, Totals};
use super::source::{HEADER_PLACE, split_rows};
use crate::codec::meta::{AppliedMeta, decode_meta, encode_meta};
use crate::codec::record::{decode_record_plain, encode_record};
use crate::records::doubt;
use crate::records::engine::{BatchRow, EngineSpace};
use crate::records::error::StoreError;
use crate::records::keys;
use crate::records::ledger::{Counts, Ledger};
use crate::records::shard::ShardRecords;
use bytes::Bytes;
use hapax_core::{Address, content_digest};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Receives a snapshot into a space of its own. Dropped before [`SnapshotSink::finish`], nothing has changed.
pub struct SnapshotSink {
    shard: Arc<ShardRecords>,
    space: Arc<dyn EngineSpace>,
    generation: u64,
    number: u32,
    meta: Option<AppliedMeta>,
    last_key: Bytes,
    totals: Totals,
    stream: Xxh3,
    ledger: Ledger,
    /// The last chunk was received and is right.
    whole: bool,
    installed: bool,
}

impl std::fmt::Debug for SnapshotSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotSink").field("number", &self.number).finish_non_exhaustive()
    }
}

impl SnapshotSink {
    pub(crate) fn new(shard: Arc<ShardRecords>, space: Arc<dyn EngineSpace>, generation: u64) -> Self {
        Self {
            shard,
            space,
            generation,
            number: 0,
            meta: None,
            last_key: Bytes::new(),
            totals: Totals { rows: 0, content: 0, stream: 0 },
            stream: Xxh3::new(),
            ledger: Ledger { batch: 1, counts: Counts::default() },
            whole: false,
            installed: false,
        }
    }

    /// Takes the next chunk. Blocks on the engine.
    ///
    /// # Errors
    /// [`StoreError::BadSnapshot`] when the chunk is not what follows: start again with a new sink.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if self.whole {
            return Err(StoreError::BadSnapshot("a chunk follows the last one"));
        }
        let (kind, body) = frame::open(chunk, self.shard.id().shard, self.number)?;
        match (kind, self.meta.is_some()) {
            (Kind::Header, false) => {
                let meta = decode_meta(body, HEADER_PLACE)
                    .map_err(|_| StoreError::BadSnapshot("the header cannot be decoded"))?;
                self.meta = Some(meta);
            }
            (Kind::Rows, true) => self.take_rows(body)?,
            (Kind::End, true) => self.take_end(body)?,
            _ => return Err(StoreError::BadSnapshot("the header is not the first chunk")),
        }
        self.number += 1;
        self.stream.update(chunk);
        Ok(())
    }

    fn take_rows(&mut self, body: &[u8]) -> Result<(), StoreError> {
        let rows = split_rows(body).ok_or(StoreError::BadSnapshot("a chunk of rows is cut wrong"))?;
        let mut records: Vec<BatchRow> = Vec::with_capacity(rows.len());
        let mut doubtful: Vec<BatchRow> = Vec::new();
        for (key, record) in rows {
            if key <= self.last_key.as_ref() {
                return Err(StoreError::BadSnapshot("the rows are out of order"));
            }
            let address = Address::from_canonical(key)
                .map_err(|_| StoreError::BadSnapshot("a row's address breaks its rules"))?;
            let record = decode_record_plain(record)
                .map_err(|_| StoreError::BadSnapshot("a row's record cannot be decoded"))?;
            let key = Bytes::copy_from_slice(key);
            let time = self.meta.as_ref().map_or_else(Default::default, |meta| meta.time);
            self.totals.rows += 1;
            self.totals.content = self.totals.content.wrapping_add(content_digest(&address, &record, time));
            self.ledger.counts.add(&record);
            if let Some(since) = doubt::doubtful_since(&record) {
                let key = keys::doubt(&address);
                let value = doubt::encode(&key, since).into();
                doubtful.push((key, Some(value)));
            }
            records.push((key.clone(), Some(encode_record(&address, &record).into())));
            self.last_key = key;
        }
        records.append(&mut doubtful);
        self.space.write(&records)
    }

    fn take_end(&mut self, body: &[u8]) -> Result<(), StoreError> {
        let stream = self.stream.digest128();
        if Totals::read(body) != Some(Totals { stream, ..self.totals }) {
            return Err(StoreError::BadSnapshot("the totals are not those of what was received"));
        }
        self.whole = true;
        Ok(())
    }

    /// Replaces the shard by what was received, durably and atomically. Blocks on the engine and on the disk.
    ///
    /// # Errors
    /// [`StoreError::BadSnapshot`] when the last chunk has not come. After any other error the shard is the old
    /// one or the new one on the disk, and the process must end.
    pub fn finish(mut self) -> Result<AppliedMeta, StoreError> {
        let Some(meta) = self.meta.take().filter(|_| self.whole) else {
            return Err(StoreError::BadSnapshot("the last chunk is missing"));
        };
        let mut rows = self.ledger.rows().to_vec();
        rows.push((Bytes::from_static(keys::META), Some(encode_meta(&meta, keys::META).into())));
        self.space.write(&rows)?;
        self.shard.sync_engine()?;
        self.installed = true;
        self.shard.replace(Arc::clone(&self.space), self.generation)?;
        Ok(meta)
    }
}

impl Drop for SnapshotSink {
    fn drop(&mut self) {
        if !self.installed {
            self.shard.give_up(self.generation);
        }
    }
}
