//! get: read one record.

use crate::fingerprint::Fingerprint;
use crate::record::{Access, Record};
use crate::reply::Reply;
use crate::time::LogTime;
use crate::view::View;

/// What get answers at `now`. The record's detail needs the reader role or the same fingerprint.
pub(crate) fn answer(
    found: Option<&Record>,
    fingerprint: Option<&Fingerprint>,
    is_reader: bool,
    now: LogTime,
) -> Reply {
    let view = found.map_or_else(View::absent, |record| {
        let may_read = is_reader || fingerprint == Some(&record.fingerprint);
        record.view(now, if may_read { Access::Full } else { Access::Outline })
    });
    Reply::State(Box::new(view))
}
