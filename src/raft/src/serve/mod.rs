//! How a call becomes a reply on its shard's leader.
//!
//! ```text
//!  submit ─▶ driver ─┬─▶ entry: one stamp, many commands ─▶ Raft ─▶ apply ─▶ replies
//!                    └─▶ reader: one ReadIndex for all that came meanwhile ─┬─▶ reply
//!                              ▲                                            ├─▶ back to the driver
//!                              └──── woken ◀── waiters ◀────────────────────┘
//! ```
//! The driver guesses from applied state whether a call can be answered without a log entry. A
//! wrong guess costs time, never correctness: proposing is always right, and a read is answered
//! only by the rule of log time under ReadIndex, else it goes back to be proposed.

pub mod driver;
pub mod entry;
pub mod in_flight;
pub mod list;
pub mod outbox;
pub mod pending;
pub mod reader;
pub mod waiters;
