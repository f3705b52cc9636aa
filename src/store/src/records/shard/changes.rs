//! The changes of entries that are being applied.

use super::ShardRecords;
use crate::address_map::AddressMap;
use crate::codec::meta::AppliedMeta;
use crate::records::error::StoreError;
use hapax_core::{Address, Record};
use std::sync::Arc;

/// The changes of entries that are being applied: reads see them, everyone else does not until
/// [`Changes::commit`]. Dropped without it, they are as if never made.
#[derive(Debug)]
pub struct Changes<'a> {
    pub(super) shard: &'a ShardRecords,
    pub(super) changed: AddressMap<Option<Arc<Record>>>,
}

impl Changes<'_> {
    /// Makes them visible together with the position after them.
    pub fn commit(self, meta: AppliedMeta) {
        self.shard.apply(self.changed, meta);
    }
}

impl hapax_core::Records for Changes<'_> {
    type Error = StoreError;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, StoreError> {
        match self.changed.get(address) {
            Some(record) => Ok(record.clone()),
            None => self.shard.get(address),
        }
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), StoreError> {
        self.changed.insert(address.clone(), record);
        Ok(())
    }
}
