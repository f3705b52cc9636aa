//! The claim protocol, tested against its page: the tables cell by cell, told scripts, random
//! histories against the safety properties, and a naive model written separately.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod bytes;
mod claim_table;
mod deadlines;
mod entries;
mod events;
mod forget_table;
mod golden;
mod history;
mod model;
mod policies;
mod quotas;
mod reads;
mod requests;
mod retries;
mod scripts;
mod stages;
mod surface;
mod tell;
mod token_table;
mod world;
