//! Several nodes in one process, over loopback sockets and real directories.

mod harness;
mod serving;
