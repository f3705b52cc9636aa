//! The applied state of a shard, and how a log entry moves it.
//!
//! A shard's state is its records and the [`ShardState`] beside them. [`apply_batch`] is the only
//! way in which both change; replicas that applied the same entries hold the same, down to the
//! rolling digest, whatever each of them has reclaimed.

use crate::address::Address;
use crate::command::{Batch, Command};
use crate::digest::Hasher;
use crate::record::Record;
use crate::reply::Reply;
use crate::seeded::{self, Bug};
use crate::time::LogTime;
use crate::transition::{At, Change, UnknownFormat, known_format, transition};
use bincode::{Decode, Encode};
use std::sync::Arc;

/// What a shard's applied state is beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ShardState {
    /// The shard.
    pub shard: u32,
    /// Its lineage, the top field of its tokens; raised by restore and unsafe recovery.
    pub epoch: u8,
    /// The index of the last entry applied; 0 before the first.
    pub index: u64,
    /// The log time τ.
    pub time: LogTime,
    /// The rolling digest over all effects of apply.
    pub digest: u128,
}

impl ShardState {
    /// A shard to which nothing was applied.
    #[must_use]
    pub fn new(shard: u32, epoch: u8) -> Self {
        Self { shard, epoch, index: 0, time: LogTime::ZERO, digest: 0 }
    }

    /// Passes an entry that carries no batch (a membership change, a new leader's blank entry).
    pub fn skip_to(&mut self, index: u64) {
        self.index = self.index.max(index);
    }
}

/// The records of a shard, as apply sees them.
pub trait Records {
    /// Why they cannot be read or written.
    type Error;

    /// The record stored at an address.
    ///
    /// # Errors
    /// As the store has them; apply stops on any.
    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Self::Error>;

    /// Stores a record, or removes it with `None`.
    ///
    /// # Errors
    /// As the store has them; apply stops on any.
    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Self::Error>;
}

/// Why an entry could not be applied. The replica must stop: its state is not that of its peers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<E> {
    /// A command of a format that this code does not know.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
    /// The entry does not follow those applied.
    #[error("entry {index} cannot be applied after entry {applied}")]
    OutOfOrder {
        /// The entry's index.
        index: u64,
        /// The last index applied.
        applied: u64,
    },
    /// The records could not be read or written.
    #[error("the records could not be read or written")]
    Records(E),
}

/// One command and what came of it, for those who count or wait.
#[derive(Debug)]
pub struct Step<'a> {
    /// Where it took effect.
    pub at: At,
    /// The command.
    pub command: &'a Command,
    /// The record as it was stored, not settled.
    pub found: Option<&'a Record>,
    /// The answer.
    pub reply: &'a Reply,
    /// The effect.
    pub change: &'a Change,
}

/// Applies one entry: moves the log time, then lets the commands take effect in their order.
/// Returns one reply a command.
///
/// # Errors
/// [`ApplyError`], after which the records may hold a part of the entry and must not be served;
/// `state` is left as it was.
pub fn apply_batch<R: Records>(
    state: &mut ShardState,
    batch: &Batch,
    index: u64,
    records: &mut R,
) -> Result<Vec<Reply>, ApplyError<R::Error>> {
    apply_batch_with(state, batch, index, records, |_| ())
}

/// As [`apply_batch`], and shows each step to `observe`.
///
/// # Errors
/// As [`apply_batch`].
pub fn apply_batch_with<R: Records>(
    state: &mut ShardState,
    batch: &Batch,
    index: u64,
    records: &mut R,
    mut observe: impl FnMut(Step<'_>),
) -> Result<Vec<Reply>, ApplyError<R::Error>> {
    if index <= state.index {
        return Err(ApplyError::OutOfOrder { index, applied: state.index });
    }
    batch.commands.iter().try_for_each(known_format)?;
    let time = if seeded::active(Bug::LogTimeGoesBack) { batch.time } else { state.time.max(batch.time) };
    let mut effects = Effects::after(state.digest, index, time);
    let mut replies = Vec::with_capacity(batch.commands.len());
    for (position, command) in (0u32..).zip(&batch.commands) {
        let at = At { shard: state.shard, epoch: state.epoch, index, position, time };
        let found = records.get(&command.address).map_err(ApplyError::Records)?;
        let step = transition(found.as_deref(), command, at)?;
        effects.add(position, &command.address, &step.change);
        let (command_ref, change, reply) = (command, &step.change, &step.reply);
        observe(Step { at, command: command_ref, found: found.as_deref(), reply, change });
        match step.change {
            Change::Keep => (),
            Change::Put(record) => {
                records.put(&command.address, Some(record)).map_err(ApplyError::Records)?;
            }
            Change::Remove => records.put(&command.address, None).map_err(ApplyError::Records)?,
        }
        replies.push(step.reply);
    }
    *state = ShardState { index, time, digest: effects.finish(), ..*state };
    Ok(replies)
}

/// The next rolling digest in the making: over the last one, the entry's index and log time, and
/// each effect with its position and address.
struct Effects(Hasher);

impl Effects {
    fn after(digest: u128, index: u64, time: LogTime) -> Self {
        let mut hasher = Hasher::new();
        hasher.add(&digest.to_le_bytes());
        hasher.add(&index);
        hasher.add(&time);
        Self(hasher)
    }

    fn add(&mut self, position: u32, address: &Address, change: &Change) {
        match change {
            Change::Keep => (),
            Change::Put(record) => {
                self.0.add(&(1u8, position));
                self.0.add(address);
                self.0.add(&**record);
            }
            Change::Remove => {
                self.0.add(&(2u8, position));
                self.0.add(address);
            }
        }
    }

    fn finish(self) -> u128 {
        self.0.finish()
    }
}
