//! What may be taken away from a stored row once it has ended.
//!
//! Contract: settled at `before` or any later time, what is left of a record is what the whole record was. So a
//! replica that reclaims early, late or never gives the same answers.

use super::engine::RESERVED_FROM;
use crate::codec::record::{decode_record, encode_record_at, peek_review_at};
use hapax_core::{LogTime, State};

/// What to do with a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is still needed, or cannot be read: reads find damage, reclaiming does not hide it.
    Keep,
    /// The record is absent.
    Drop,
    /// The record is spent: only its memory is left, in this value.
    Shrink(Vec<u8>),
}

/// Judges a row by the log time `before`.
pub(crate) fn verdict(key: &[u8], value: &[u8], before: LogTime) -> Verdict {
    if key.first().is_none_or(|first| *first >= RESERVED_FROM) {
        return Verdict::Keep;
    }
    if peek_review_at(value).is_none_or(|time| time > before) {
        return Verdict::Keep;
    }
    let Ok(record) = decode_record(key, value) else {
        return Verdict::Keep;
    };
    let was_completed = matches!(record.state, State::Completed(_));
    match record.settle(before) {
        None => Verdict::Drop,
        Some(spent) if was_completed && matches!(spent.state, State::Spent(_)) => {
            Verdict::Shrink(encode_record_at(key, &spent))
        }
        Some(_) => Verdict::Keep,
    }
}
