//! After a start the filter learns what the engine holds, a little at a time.

use super::ShardRecords;
use crate::records::engine::{ADDRESSES_END, EngineSpace};
use crate::records::error::StoreError;
use crate::records::presence::Reading;
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// Keys that are added in one go, so that the lock is never held for long.
const LEARN_ROWS: usize = 256;

impl ShardRecords {
    /// Whether the filter knows all that the engine may hold, so that what is absent is answered by it.
    #[must_use]
    pub fn is_filter_complete(&self) -> bool {
        self.state.lock().presence.is_complete()
    }

    /// Whether the filter does not know yet all that the engine held.
    pub(in crate::records) fn is_learning(&self) -> bool {
        matches!(self.state.lock().presence.reading(), Reading::From(_))
    }

    /// Tells the filter of the engine's next `rows_max` records. What is written meanwhile is added when it is
    /// applied, so that it does not matter where in the order it stands. Damage is no error here: the filter stays
    /// incomplete for good, and whoever reads the damaged row by its address tells.
    pub(in crate::records) fn learn(&self, rows_max: usize) {
        let (space, of, after) = {
            let state = self.state.lock();
            let Reading::From(after) = state.presence.reading() else { return };
            (Arc::clone(&state.space), (state.generation, state.presence.era()), after.clone())
        };
        let (keys, next) = match keys_behind(space.as_ref(), after.as_deref(), rows_max.max(1)) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "the filter of what is stored cannot be completed");
                (Vec::new(), Reading::GivenUp)
            }
        };
        for some in keys.chunks(LEARN_ROWS) {
            let mut state = self.state.lock();
            if of == (state.generation, state.presence.era()) {
                some.iter().for_each(|key| state.presence.add(key));
            }
        }
        let mut state = self.state.lock();
        // A filter that was renewed, or is that of another space, begins at its own first row.
        if of == (state.generation, state.presence.era()) {
            state.presence.read(next);
        }
    }
}

/// The keys of the engine's next records, and from where to go on.
fn keys_behind(
    space: &dyn EngineSpace,
    after: Option<&[u8]>,
    rows_max: usize,
) -> Result<(Vec<Bytes>, Reading), StoreError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = space.view()?.rows(from, Bound::Excluded(ADDRESSES_END));
    let keys = rows.take(rows_max).map(|row| Ok(row?.0)).collect::<Result<Vec<Bytes>, StoreError>>()?;
    let next = if keys.len() < rows_max { Reading::Done } else { Reading::From(keys.last().cloned()) };
    Ok((keys, next))
}
