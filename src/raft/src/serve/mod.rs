//! How a call becomes a reply on its shard's leader.
//!
//! ```text
//!  submit ─▶ driver ─┬─▶ entry: one stamp, many commands ─▶ Raft ─▶ apply ─▶ replies
//!                    │     └──── confirms the lead for the reads that rode on it
//!                    │     ▼
//!                    └─▶ reader: one ReadIndex for all that came meanwhile ─┬─▶ reply
//!                              ▲                                            ├─▶ back to the driver
//!                              └──── woken ◀── waiters ◀────────────────────┘
//! ```
//! The driver guesses from applied state whether a call can be answered without a log entry. A
//! wrong guess costs time, never correctness: proposing is always right, and a read is answered
//! only by the rule of log time under ReadIndex, else it goes back to be proposed. Where commands are ready
//! when a read comes, the entry that takes them is its ReadIndex: it is proposed after the read came, and its
//! quorum says who leads. On a busy shard that spares a round of messages for nearly every read. A
//! call whose record only the disk has steps aside until it was read (`cold`): neither the driver nor the reader waits for
//! that. They do for pages of listings, and for the quota of a claim that shares its frame with others of its key.

pub mod cold;
pub mod driver;
pub mod entry;
pub mod gather;
pub mod in_flight;
pub mod list;
pub mod outbox;
pub mod pending;
pub mod reader;
pub mod waiters;
