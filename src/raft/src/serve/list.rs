//! One page of a listing, from one shard's applied state.

use hapax_core::request::ListAsk;
use hapax_core::view::{Page, Row};
use hapax_core::{Address, ErrorCode, ReadAt, Refusal, Reply, limits};
use hapax_store::records::ShardRecords;

/// Records looked at for one page at most: a filter that matches little goes on with the next page.
const SCANNED: usize = 4 * limits::LIST_ROWS as usize;

/// The page that `ask` wants, with every record as it is at the leader's stamp.
///
/// # Errors
/// When the store cannot be read; definite.
pub fn page(records: &ShardRecords, ask: &ListAsk, at: ReadAt) -> Result<Reply, Refusal> {
    let prefix = match &ask.operation {
        Some(operation) => Address::operation_prefix(&ask.tenant, operation),
        None => Address::tenant_prefix(&ask.tenant),
    };
    let limit = usize::try_from(ask.limit.clamp(1, limits::LIST_ROWS)).unwrap_or(1);
    let after = ask.after.as_ref().map(Address::canonical);
    let scanned = records.scan(&prefix, after, SCANNED).map_err(|error| {
        tracing::error!(%error, "a range of records could not be read");
        Refusal::definite(ErrorCode::Unavailable, "the records could not be read")
    })?;
    let next = match &scanned.next {
        Some(next) => Some(Address::from_canonical(next).map_err(Refusal::from)?),
        None => None,
    };
    let now = at.stamp.max(at.applied);
    let mut rows = Vec::new();
    for (address, record) in scanned.rows {
        let view = record.view(now, hapax_core::Access::Summary);
        if view.state != hapax_core::StateKind::Absent && ask.state.is_none_or(|wanted| wanted == view.state)
        {
            rows.push(Row { address: address.clone(), view });
        }
        if rows.len() == limit {
            return Ok(Reply::Page(Page { rows, next: Some(address) }));
        }
    }
    Ok(Reply::Page(Page { rows, next }))
}
