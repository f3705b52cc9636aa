//! The claim protocol, tested against its page: the tables cell by cell, told scripts, random
//! histories against the safety properties, and a naive model written separately.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod claim_table;
mod deadlines;
mod entries;
mod forget_table;
mod reads;
mod retries;
mod stages;
mod token_table;
mod world;
