//! Several nodes in one process, over loopback sockets, on simulated or real disks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what went wrong by failing"
)]

mod asks;
mod chaos;
mod clock;
mod cold;
mod digests;
mod forwarding;
mod harness;
mod hostile;
mod leading;
mod leases;
mod node;
mod quorum;
mod serving;
mod storing;
mod timing;
mod waiting;
mod wires;
