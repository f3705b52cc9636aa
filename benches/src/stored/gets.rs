//! One record after another is looked up, always in the same kind of place.

use super::keys::{Row, absent, completed};
use super::store::{Stored, config};
use anyhow::{Result, ensure};
use hapax_core::Record;
use hapax_store::records::{EngineConfig, EngineKind, RecordConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records in memory: few enough for the cache.
const NEAR_ROWS: u64 = 4_096;
/// Records in the engine: about 30 MB.
const FAR_ROWS: u64 = 65_536;
/// A cache of about a hundred records: of those that are asked for in turn, each is gone when its turn comes again.
const SMALL_CACHE_BYTES: usize = 64 << 10;
/// So small that most records lie in the engine's tables, and not in its memory.
const SMALL_MEMTABLE_BYTES: u64 = 1 << 20;
/// Holds the engine's indexes, and few blocks.
const SMALL_BLOCK_CACHE_BYTES: u64 = 1 << 20;

/// What a look-up finds, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A change that the engine does not have yet.
    Overlay,
    /// What the engine has as well, in the shard's cache.
    Cache,
    /// Nothing, as the filter knows; for about one address in a hundred the engine is asked all the same.
    Nowhere,
    /// What only the engine has, in a block that is in the engine's cache.
    EngineCached,
    /// What only the engine has, in a block that is read from the file, which the kernel may have in memory.
    EngineRead,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Overlay, Self::Cache, Self::Nowhere, Self::EngineCached, Self::EngineRead];

    /// As the figures name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay hit",
            Self::Cache => "cache hit",
            Self::Nowhere => "absent, by the filter",
            Self::EngineCached => "engine hit, block cached",
            Self::EngineRead => "engine hit, block read",
        }
    }

    fn config(self) -> RecordConfig {
        let config = config(EngineKind::Fjall, false);
        let small = EngineConfig { memtable_bytes: SMALL_MEMTABLE_BYTES, ..EngineConfig::default() };
        match self {
            Self::Overlay | Self::Cache | Self::Nowhere => config,
            Self::EngineCached => {
                RecordConfig { cache_bytes_max: SMALL_CACHE_BYTES, engine: small, ..config }
            }
            Self::EngineRead => RecordConfig {
                cache_bytes_max: SMALL_CACHE_BYTES,
                engine: EngineConfig { block_cache_bytes: SMALL_BLOCK_CACHE_BYTES, ..small },
                ..config
            },
        }
    }

    fn rows(self) -> u64 {
        match self {
            Self::Overlay | Self::Cache => NEAR_ROWS,
            Self::Nowhere | Self::EngineCached | Self::EngineRead => FAR_ROWS,
        }
    }
}

/// A store, and what is asked of it in turn.
pub struct Gets {
    stored: Stored,
    place: Place,
    asked: Vec<Row>,
    next: usize,
}

impl Gets {
    /// A store in which everything that will be asked for is found in one place.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(place: Place) -> Result<Self> {
        let mut stored = Stored::open(place.config())?;
        let mut asked = completed(place.rows());
        match place {
            Place::Overlay => stored.apply(1, asked.clone())?,
            _ => stored.fill(&asked)?,
        }
        if place == Place::Nowhere {
            let addresses = absent(place.rows()).into_iter();
            asked = addresses.zip(asked).map(|(address, (_, record))| (address, record)).collect();
        }
        Ok(Self { stored, place, asked, next: 0 })
    }

    /// Looks up so many records and says how long that took.
    ///
    /// # Errors
    /// A look-up failed, or found something else, or elsewhere.
    pub fn run(&mut self, gets: u64) -> Result<Duration> {
        let begun = Instant::now();
        for _ in 0..gets {
            let (address, record) = &self.asked[self.next];
            let found = self.stored.shard().get(address)?;
            ensure!(is_right(self.place, found.as_ref(), record), "{:?} gave {found:?}", self.place);
            self.next = if self.next + 1 == self.asked.len() { 0 } else { self.next + 1 };
        }
        Ok(begun.elapsed())
    }
}

/// In memory it is the very record that was applied; from the engine, another with the same token.
fn is_right(place: Place, found: Option<&Arc<Record>>, kept: &Arc<Record>) -> bool {
    match (place, found) {
        (Place::Overlay | Place::Cache, Some(found)) => Arc::ptr_eq(found, kept),
        (Place::EngineCached | Place::EngineRead, Some(found)) => {
            found.token == kept.token && !Arc::ptr_eq(found, kept)
        }
        (Place::Nowhere, found) => found.is_none(),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_where_they_are_said_to_be() {
        for place in [Place::Overlay, Place::Cache, Place::Nowhere, Place::EngineRead] {
            let mut gets = Gets::open(place).unwrap();
            gets.run(2 * NEAR_ROWS).unwrap();
            gets.stored.check(if place == Place::Nowhere { &[] } else { &gets.asked[..10] }).unwrap();
        }
    }

    #[test]
    fn a_record_of_elsewhere_is_an_error() {
        let mut gets = Gets::open(Place::Cache).unwrap();
        gets.place = Place::EngineRead;
        assert!(gets.run(1).is_err());
        gets.place = Place::Nowhere;
        assert!(gets.run(1).is_err());
    }
}
