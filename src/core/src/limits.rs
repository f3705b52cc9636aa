//! The bounds of the protocol. Sizes in bytes unless the name says otherwise.

/// Segments in a tenant path.
pub const TENANT_SEGMENTS: usize = 4;
/// One segment of a tenant path.
pub const TENANT_SEGMENT_BYTES: usize = 64;
/// An operation's name.
pub const OPERATION_BYTES: usize = 128;
/// A caller's idempotency key.
pub const KEY_BYTES: usize = 255;
/// A result, where the policy sets no smaller bound.
pub const RESULT_BYTES: usize = 256 * 1024;
/// Content type, status and headers of a result together.
pub const METADATA_BYTES: usize = 8 * 1024;
/// A recovery point kept by a holder.
pub const CHECKPOINT_BYTES: usize = 4 * 1024;
/// Named fields with a digest of their own.
pub const FIELDS: usize = 16;
/// The name of such a field.
pub const FIELD_NAME_BYTES: usize = 64;
/// A caller's free text on a claim.
pub const LABEL_BYTES: usize = 256;
/// A trace parent (the W3C form has 55 bytes).
pub const TRACE_BYTES: usize = 128;
/// Why somebody released, resolved or forgot.
pub const REASON_BYTES: usize = 512;
/// The name of an authenticated caller.
pub const PRINCIPAL_BYTES: usize = 128;
/// Verbs in one client batch.
pub const BATCH_VERBS: usize = 1024;
/// Rows in one page of a listing.
pub const LIST_ROWS: u32 = 1000;
/// Commands in one log entry.
pub const ENTRY_COMMANDS: usize = 512;
/// Command bytes in one log entry; one larger command may stand alone.
pub const ENTRY_BYTES: usize = 256 * 1024;
/// The longest wait of a claim or get, ms.
pub const WAIT_MS: u64 = 60_000;
/// The most data shards a cluster may have.
pub const SHARDS: u32 = 1024;
