//! What a shard's witnesses say of moments that have none of their own.

use crate::history::{Basis, History};

/// Per shard: how far its log had come by which moment.
#[derive(Debug)]
pub(crate) struct Bounds {
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// By the time of the answer: the highest index that had been answered by then.
    answered: Vec<(u64, u64)>,
    /// By index: the log time there.
    times: Vec<(u64, u64)>,
}

impl Bounds {
    pub(crate) fn new(history: &History) -> Self {
        let mut shards: Vec<Shard> = Vec::new();
        for operation in &history.operations {
            let (Some(witness), Some(returned)) = (operation.witness, operation.return_us) else { continue };
            let at = usize::try_from(witness.shard).unwrap_or_default();
            if shards.len() <= at {
                shards.resize_with(at + 1, Shard::default);
            }
            shards[at].times.push((witness.index, witness.log_time_ms));
            if witness.basis != Basis::Stale {
                shards[at].answered.push((returned, witness.index));
            }
        }
        for shard in &mut shards {
            shard.times.sort_unstable();
            shard.times.dedup_by_key(|(index, _)| *index);
            shard.answered.sort_unstable();
            let mut highest = 0;
            for (_, index) in &mut shard.answered {
                highest = highest.max(*index);
                *index = highest;
            }
        }
        Self { shards }
    }

    fn shard(&self, shard: u32) -> Option<&Shard> {
        self.shards.get(usize::try_from(shard).ok()?)
    }

    /// The highest index answered before a moment: what is sent then takes effect no earlier.
    pub(crate) fn index_before(&self, shard: u32, moment_us: u64) -> u64 {
        let Some(shard) = self.shard(shard) else { return 0 };
        let count = shard.answered.partition_point(|(returned, _)| *returned < moment_us);
        count.checked_sub(1).map_or(0, |last| shard.answered[last].1)
    }

    /// A log time that had been reached at an index.
    pub(crate) fn time_at(&self, shard: u32, index: u64) -> u64 {
        let Some(shard) = self.shard(shard) else { return 0 };
        let count = shard.times.partition_point(|(known, _)| *known <= index);
        count.checked_sub(1).map_or(0, |last| shard.times[last].1)
    }
}
