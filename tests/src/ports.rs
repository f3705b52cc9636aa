//! Blocks of ports that nobody else takes.
//!
//! A node's ports are in every node's configuration, so they must be known before it binds them,
//! and must still be free when it is started again. They come from below the range that the system
//! hands out to outgoing connections, and a file lock keeps each block from other tests; the lock
//! goes with the process that holds it, however that ends.

use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

/// Ports in a block: clients at 1–7, peers at 11–17, HTTP at 21–27, as `hapax dev` lays them out.
pub const BLOCK: u16 = 32;
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 375;

/// A block of ports, for as long as this lives.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _lock: File,
}

impl Ports {
    /// Takes a free block.
    ///
    /// # Errors
    /// When there is none, or the lock files cannot be made.
    pub fn take() -> Result<Self> {
        let dir = std::env::temp_dir().join("hapax-test-ports");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let begin = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
        for step in 0..BLOCKS {
            let base = FIRST + (begin + step) % BLOCKS * BLOCK;
            let path = dir.join(base.to_string());
            let lock = File::options().create(true).truncate(false).write(true).open(path)?;
            if lock.try_lock().is_ok() && (base..base + BLOCK).all(is_free) {
                return Ok(Self { base, _lock: lock });
            }
        }
        bail!("no block of {BLOCK} ports is free between {FIRST} and {}", FIRST + BLOCKS * BLOCK)
    }

    /// The port that the others are counted from; as `--base-port` of `hapax dev`.
    #[must_use]
    pub fn base(&self) -> u16 {
        self.base
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
