//! Several nodes in one process, over loopback sockets, on simulated or real disks.

mod asks;
mod clock;
mod digests;
mod forwarding;
mod harness;
mod hostile;
mod leading;
mod node;
mod quorum;
mod serving;
mod storing;
mod timing;
mod waiting;
mod wires;
