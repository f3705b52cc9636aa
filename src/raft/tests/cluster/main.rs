//! Several nodes in one process, over loopback sockets, on simulated or real disks.

mod asks;
mod clock;
mod harness;
mod node;
mod serving;
mod waiting;
mod wires;
