//! One page of a listing, from one shard's applied state.

use crate::group::shard::Shard;
use hapax_core::request::ListAsk;
use hapax_core::view::{Page, Row};
use hapax_core::{Address, ErrorCode, LogTime, Refusal, Reply, View, limits};

/// Records looked at for one page at most: a filter that matches little goes on with the next page.
const SCANNED: usize = 4 * limits::LIST_ROWS as usize;

/// Bytes of rows in one page, by estimate: a page must fit a client's frame.
const PAGE_BYTES: usize = 512 * 1024;

/// The page that `ask` wants, with every record as it is at the applied log time, which is what the
/// page is labelled with: what a deadline between it and the leader's stamp has ended, another
/// leader might still find running.
///
/// # Errors
/// When the store cannot be read; definite.
pub fn page(shard: &Shard, ask: &ListAsk, applied: LogTime) -> Result<Reply, Refusal> {
    let prefix = match &ask.operation {
        Some(operation) => Address::operation_prefix(&ask.tenant, operation),
        None => Address::tenant_prefix(&ask.tenant),
    };
    let limit = usize::try_from(ask.limit.clamp(1, limits::LIST_ROWS)).unwrap_or(1);
    let after = ask.after.as_ref().map(Address::canonical);
    let scanned = shard.records.scan(&prefix, after, SCANNED).map_err(|error| {
        tracing::error!(shard = shard.shard, %error, "a range of records could not be read");
        shard.note(&error);
        Refusal::definite(ErrorCode::Unavailable, "the records could not be read")
    })?;
    let next = match &scanned.next {
        Some(next) => Some(Address::from_canonical(next).map_err(Refusal::from)?),
        None => None,
    };
    let mut rows = Vec::new();
    let mut bytes = 0;
    for (address, record) in scanned.rows {
        let view = record.view(applied, hapax_core::Access::Summary);
        if view.state != hapax_core::StateKind::Absent && ask.state.is_none_or(|wanted| wanted == view.state)
        {
            bytes += size_bytes(&address, &view);
            rows.push(Row { address: address.clone(), view });
        }
        if rows.len() == limit || bytes >= PAGE_BYTES {
            return Ok(Reply::Page(Page { rows, next: Some(address) }));
        }
    }
    Ok(Reply::Page(Page { rows, next }))
}

/// An estimate from above of a row's bytes.
fn size_bytes(address: &Address, view: &View) -> usize {
    let detail = view.detail.as_ref().map_or(0, |detail| {
        let text = |text: Option<usize>| text.unwrap_or(0);
        text(detail.label.as_ref().map(|label| label.as_str().len()))
            + text(detail.first_trace.as_ref().map(|trace| trace.as_str().len()))
            + text(detail.resolution.as_ref().map(|resolution| {
                resolution.reason.as_str().len() + resolution.principal.as_str().len() + 64
            }))
    });
    address.canonical().len() + detail + 128
}
