//! What a node knows of its shards' log times, kept over the ends of replicas and of its process.
//!
//! The boot clock goes on while a process is down, so that what was known at one reading of it still holds
//! at a later one, until the machine itself is started anew. The file `clocks` in the data directory holds
//! what was known and of which start of the machine the readings are; what is of another start, damaged, or
//! not there is as good as nothing. It says little and is written seldom: at most once a second, and only
//! where leaders, slewing or a minute have made it inexact. Failing to write it is no failure of the node.

use crate::env::{BootId, Clock, Env, blocking};
use crate::sealed::Kind;
use crate::stop::Stopping;
use crate::time::stamp::{Anchor, ShardClock};
use bincode::{Decode, Encode};
use hapax_core::LogTime;
use hapax_store::disk::Disk;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const FILE_NAME: &str = "clocks";
const KIND: Kind = Kind { magic: b"HAPAXCK\n", version: 1 };
/// How often it is looked at whether the file is inexact.
const EVERY: Duration = Duration::from_secs(1);
/// By how much a clock may differ from what the file tells, ms.
const INEXACT_MS: u64 = 50;
/// How long ago the file may have been written, ms: a twentieth of that is lost.
const OLD_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Saved {
    boot: BootId,
    clocks: Vec<SavedClock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct SavedClock {
    shard: u32,
    term: u64,
    time: u64,
    boot_ms: u64,
}

/// The clocks of a node's shards, and the file that keeps them.
pub struct Keeper {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boot: Option<BootId>,
    clocks: BTreeMap<u32, Arc<Mutex<ShardClock>>>,
    /// The boot clock when this process began, ms.
    began_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    saved: Saved,
    /// The last attempt failed: that is told once.
    fails: bool,
}

impl Keeper {
    /// The clocks of these shards, as a file in `dir` tells of them.
    #[must_use]
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, env: &Env, shards: impl Iterator<Item = u32>) -> Self {
        let path = dir.join(FILE_NAME);
        let found = KIND.load::<Saved>(disk.as_ref(), &path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "what was known of log time cannot be read");
            None
        });
        let (boot, boot_ms) = (env.clock.boot_id(), env.clock.boot_ms());
        let mut clocks: BTreeMap<u32, ShardClock> = shards.map(|shard| (shard, Default::default())).collect();
        let found = found.filter(|found| Some(found.boot) == boot).unwrap_or_default();
        for saved in &found.clocks {
            let anchor = Anchor { time: LogTime(saved.time), boot_ms: saved.boot_ms };
            if let Some(clock) = clocks.get_mut(&saved.shard) {
                clock.restore(saved.term, anchor, boot_ms);
            }
        }
        if !found.clocks.is_empty() {
            tracing::info!(shards = found.clocks.len(), "the last process knew the log time");
        }
        let clocks = clocks.into_iter().map(|(shard, clock)| (shard, Arc::new(Mutex::new(clock)))).collect();
        Self { disk, path, boot, clocks, began_ms: boot_ms, state: Mutex::default() }
    }

    /// The clock of a shard of this node.
    #[must_use]
    pub fn clock(&self, shard: u32) -> Arc<Mutex<ShardClock>> {
        self.clocks.get(&shard).cloned().unwrap_or_default()
    }

    /// For how long this process has been running at `boot_ms`, ms.
    #[must_use]
    pub fn up_ms(&self, boot_ms: u64) -> u64 {
        boot_ms.saturating_sub(self.began_ms)
    }

    /// Writes the file where it is inexact. A machine that cannot tell its starts apart keeps none.
    pub fn save(&self, clock: &dyn Clock) {
        let Some(boot) = self.boot else { return };
        let now = Saved { boot, clocks: self.known(clock.boot_ms()) };
        let mut state = self.state.lock();
        if !is_inexact(&state.saved, &now) {
            return;
        }
        match blocking(|| KIND.save(self.disk.as_ref(), &self.path, &now)) {
            Ok(()) => *state = State { saved: now, fails: false },
            Err(error) => {
                if !state.fails {
                    tracing::warn!(file = %self.path.display(), %error, "what is known of log time cannot be kept");
                }
                state.fails = true;
            }
        }
    }

    fn known(&self, boot_ms: u64) -> Vec<SavedClock> {
        let of_one = |(shard, clock): (&u32, &Arc<Mutex<ShardClock>>)| {
            let clock = clock.lock();
            let time = clock.at_rate_one(boot_ms)?;
            Some(SavedClock { shard: *shard, term: clock.term(), time: time.0, boot_ms })
        };
        self.clocks.iter().filter_map(of_one).collect()
    }
}

/// Whether going on from `saved` gives anything else than `now`, or would soon lose too much.
fn is_inexact(saved: &Saved, now: &Saved) -> bool {
    saved.boot != now.boot
        || saved.clocks.len() != now.clocks.len()
        || saved.clocks.iter().zip(&now.clocks).any(|(saved, now)| {
            let passed = now.boot_ms.saturating_sub(saved.boot_ms);
            (saved.shard, saved.term) != (now.shard, now.term)
                || passed >= OLD_MS
                || now.time.abs_diff(saved.time.saturating_add(passed)) > INEXACT_MS
        })
}

/// Keeps the file exact until `stop`.
pub async fn run(keeper: Arc<Keeper>, clock: Arc<dyn Clock>, mut stop: Stopping) {
    loop {
        keeper.save(clock.as_ref());
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stop.wait() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Entropy;
    use hapax_store::disk::SimDisk;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Machine {
        boots: AtomicU64,
        boot_ms: AtomicU64,
    }

    impl Clock for Machine {
        fn wall_ms(&self) -> u64 {
            0
        }
        fn boot_ms(&self) -> u64 {
            self.boot_ms.load(Ordering::Relaxed)
        }
        fn boot_id(&self) -> Option<BootId> {
            Some(u128::from(self.boots.load(Ordering::Relaxed)).to_le_bytes())
        }
    }

    struct NoEntropy;

    impl Entropy for NoEntropy {
        fn fill(&self, _: &mut [u8]) {}
    }

    struct World {
        disk: SimDisk,
        machine: Arc<Machine>,
    }

    impl World {
        fn new() -> Self {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("/node")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            Self { disk, machine: Arc::default() }
        }

        fn at(&self, boot_ms: u64) {
            self.machine.boot_ms.store(boot_ms, Ordering::Relaxed);
        }

        fn open(&self) -> Keeper {
            let clock: Arc<dyn Clock> = Arc::<Machine>::clone(&self.machine);
            let env = Env { clock, entropy: Arc::new(NoEntropy) };
            Keeper::open(Arc::new(self.disk.clone()), Path::new("/node"), &env, [4, 7].into_iter())
        }

        /// A process that hears of shard 7 in term 3 and then keeps what it knows.
        fn live(&self, time: u64, boot_ms: u64) -> Keeper {
            let keeper = self.open();
            self.at(boot_ms);
            keeper.clock(7).lock().heard(3, LogTime(time), boot_ms);
            keeper.save(self.machine.as_ref());
            keeper
        }
    }

    #[test]
    fn the_next_process_goes_on_at_the_slowest_rate_and_of_the_same_leader() {
        let world = World::new();
        drop(world.live(5_000, 100));
        world.at(20_100);
        let next = world.open();
        assert_eq!(next.clock(7).lock().at_rate_one(20_100), Some(LogTime(24_000)));
        assert_eq!(next.clock(7).lock().term(), 3);
        assert_eq!(next.clock(4).lock().anchor(), None, "nothing was known of it");
    }

    #[test]
    fn after_a_start_of_the_machine_nothing_is_known() {
        let world = World::new();
        drop(world.live(5_000, 100));
        world.machine.boots.store(1, Ordering::Relaxed);
        world.at(8_000);
        let next = world.open();
        assert_eq!(next.clock(7).lock().anchor(), None);
        assert_eq!(next.up_ms(8_500), 500);
    }

    #[test]
    fn a_damaged_file_tells_nothing() {
        let world = World::new();
        drop(world.live(5_000, 100));
        assert!(world.disk.tamper(Path::new("/node/clocks"), |bytes| bytes[20] ^= 1));
        let next = world.open();
        assert_eq!(next.clock(7).lock().anchor(), None);
    }

    #[test]
    fn a_disk_that_fails_keeps_what_it_had_and_is_tried_again() {
        let world = World::new();
        let keeper = world.live(5_000, 100);
        world.disk.limit_capacity(Some(world.disk.used()));
        keeper.clock(7).lock().heard(4, LogTime(9_000), 4_100);
        world.at(4_100);
        keeper.save(world.machine.as_ref());
        assert_eq!(world.open().clock(7).lock().term(), 3);
        world.disk.limit_capacity(None);
        keeper.save(world.machine.as_ref());
        assert_eq!(world.open().clock(7).lock().term(), 4);
    }

    #[test]
    fn it_is_written_when_it_became_inexact_and_not_else() {
        let world = World::new();
        let keeper = world.live(5_000, 100);
        let written = |world: &World| world.disk.contents(Path::new("/node/clocks")).unwrap();
        let first = written(&world);
        let save_at = |boot_ms| {
            world.at(boot_ms);
            keeper.save(world.machine.as_ref());
            written(&world)
        };
        assert_eq!(save_at(OLD_MS + 99), first);
        let second = save_at(OLD_MS + 100);
        assert_ne!(second, first, "a minute has passed");
        keeper.clock(7).lock().heard(4, LogTime(65_000), OLD_MS + 100);
        let third = save_at(OLD_MS + 101);
        assert_ne!(third, second, "another leader");
        keeper.clock(7).lock().heard(4, LogTime(65_001 + INEXACT_MS), OLD_MS + 101);
        assert_eq!(save_at(OLD_MS + 101), third);
        keeper.clock(7).lock().heard(4, LogTime(65_003 + INEXACT_MS), OLD_MS + 101);
        assert_ne!(save_at(OLD_MS + 101), third, "it slewed");
    }
}
