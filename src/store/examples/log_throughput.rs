//! How near the shared log comes to the disk: synced batches a second, beside bare loops of `pwrite` and
//! `fdatasync` of the same sizes on the same file system. The three take turns in short slices, so that a noisy
//! neighbour troubles all alike.
//!
//! `cargo run --release -p hapax-store --example log_throughput [DIR]`, about five seconds.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hapax_store::disk::RealDisk;
use hapax_store::log::{GroupId, GroupLog, Log, LogConfig, LogEntry, LogPosition};
use tokio::runtime::Runtime;

const ENTRY_BYTES: usize = 400;
const SLICE: Duration = Duration::from_millis(60);
const ROUNDS: usize = 5;
/// The overwriting loop goes round in so much.
const OVERWRITTEN_BYTES: u64 = 8 << 20;

/// A log with groups that each append one entry a round: one batch, if the writer keeps up.
struct LogLoop {
    log: Log,
    groups: Vec<GroupLog>,
    writer: JoinHandle<()>,
    runtime: Runtime,
    index: u64,
    writes: u64,
    bytes: u64,
    sync_ns: u64,
    elapsed: Duration,
    cpu_s: f64,
}

impl LogLoop {
    fn open(dir: &Path, groups: u32, block_bytes: u32) -> Self {
        let start = Instant::now();
        // Small segments, so that a short run comes to the recycled ones, which are what a node lives on.
        let config = LogConfig {
            segment_bytes: 8 << 20,
            entry_bytes_max: 1 << 20,
            write_bytes_max: 1 << 20,
            block_bytes,
            clock: Arc::new(move || start.elapsed()),
            ..LogConfig::default()
        };
        let (log, writer) = Log::open(Arc::new(RealDisk), dir, config).expect("the log opens");
        let groups = (0..groups).map(|shard| log.group(GroupId { shard, replica: 1 })).collect();
        Self {
            log,
            groups,
            writer: std::thread::spawn(move || writer.run_blocking()),
            runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
            index: 0,
            writes: 0,
            bytes: 0,
            sync_ns: 0,
            elapsed: Duration::ZERO,
            cpu_s: 0.0,
        }
    }

    fn slice(&mut self) {
        let (begun, cpu_s, before) = (Instant::now(), cpu_time_s(), self.log.stats());
        let payload = Bytes::from(vec![7; ENTRY_BYTES]);
        while begun.elapsed() < SLICE {
            self.index += 1;
            let index = self.index;
            let (sender, receiver) = std::sync::mpsc::channel();
            let groups = &self.groups;
            self.runtime.block_on(async {
                for group in groups {
                    let sender = sender.clone();
                    let entry = LogEntry { term: 1, index, payload: payload.clone() };
                    let done = Box::new(move |result| sender.send(result).expect("the loop waits"));
                    group.append(vec![entry], done).await.expect("queued");
                }
            });
            for _ in groups {
                receiver.recv().expect("told").expect("durable");
            }
        }
        self.elapsed += begun.elapsed();
        self.cpu_s += cpu_time_s() - cpu_s;
        let after = self.log.stats();
        self.writes += after.writes - before.writes;
        self.bytes += after.bytes - before.bytes;
        self.sync_ns += after.sync_total_ns - before.sync_total_ns;
    }

    /// Purges everything, so that segments can be reused; between the slices, so that it is not counted.
    fn purge(&self) {
        let position = LogPosition { term: 1, index: self.index };
        let purge = |group: GroupLog| self.runtime.spawn(async move { group.purge_to(position).await });
        let purges: Vec<_> = self.groups.iter().cloned().map(purge).collect();
        for purge in purges {
            self.runtime.block_on(purge).expect("it ran").expect("purged");
        }
    }

    fn close(self) {
        self.runtime.block_on(self.log.flush_and_stop()).expect("stopped");
        self.writer.join().expect("the writer ends");
    }
}

/// Writes and syncs of one size, one after another: appending to a growing file, or going round in a written one.
struct BareLoop {
    file: File,
    buffer: Vec<u8>,
    wrap: u64,
    offset: u64,
    writes: u32,
    elapsed: Duration,
}

impl BareLoop {
    fn open(path: &Path, bytes: usize, wrap: Option<u64>) -> Self {
        let file = File::create(path).expect("a file");
        if let Some(wrap) = wrap {
            let ones = vec![1_u8; 1 << 20];
            (0..wrap >> 20).for_each(|at| file.write_all_at(&ones, at << 20).expect("written"));
            file.sync_all().expect("synced");
        }
        let (buffer, wrap) = (vec![7_u8; bytes], wrap.unwrap_or(u64::MAX));
        Self { file, buffer, wrap, offset: 0, writes: 0, elapsed: Duration::ZERO }
    }

    fn slice(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < SLICE {
            self.file.write_all_at(&self.buffer, self.offset).expect("written");
            self.file.sync_data().expect("synced");
            self.writes += 1;
            self.offset += self.buffer.len() as u64;
            if self.offset + self.buffer.len() as u64 > self.wrap {
                self.offset = 0;
            }
        }
        self.elapsed += begun.elapsed();
    }

    fn per_s(&self) -> f64 {
        f64::from(self.writes) / self.elapsed.as_secs_f64()
    }
}

/// User and system time of this process, in seconds.
fn cpu_time_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // Linux reports these in hundredths of a second on every architecture that it is used on.
    (ticks(11) + ticks(12)) / 100.0
}

fn compare(dir: &Path, groups: u32, block_bytes: u32, out: &mut impl Write) {
    let mut log = LogLoop::open(&dir.join(format!("log-{groups}-{block_bytes}")), groups, block_bytes);
    // The first slice makes the segments that the later ones reuse, and tells how long a write is.
    log.slice();
    let bytes = usize::try_from(log.bytes / log.writes).expect("a write fits memory");
    let mut append = BareLoop::open(&dir.join("append"), bytes, None);
    let mut overwrite = BareLoop::open(&dir.join("overwrite"), bytes, Some(OVERWRITTEN_BYTES));
    let first = log.index;
    (log.elapsed, log.cpu_s, log.writes, log.sync_ns) = (Duration::ZERO, 0.0, 0, 0);
    for _ in 0..ROUNDS {
        log.purge();
        log.slice();
        append.slice();
        overwrite.slice();
    }
    let entries = (log.index - first) as f64 * f64::from(groups);
    let elapsed_s = log.elapsed.as_secs_f64();
    let (log_per_s, append_per_s, overwrite_per_s) =
        (log.writes as f64 / elapsed_s, append.per_s(), overwrite.per_s());
    writeln!(
        out,
        "{groups:6} {block_bytes:5} | {log_per_s:8.0} {:9.0} {bytes:11} {:7} {:12.2} | {append_per_s:8.0} \
         {overwrite_per_s:11.0} | {:10.2} {:13.2}",
        entries / elapsed_s,
        log.sync_ns / log.writes / 1000,
        log.cpu_s * 1e6 / entries,
        log_per_s / append_per_s,
        log_per_s / overwrite_per_s,
    )
    .expect("printed");
    log.close();
}

fn main() {
    let base = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into_os_string());
    let temp = tempfile::tempdir_in(base).expect("a temporary directory");
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "groups block | writes/s entries/s bytes/write sync-us cpu-us/entry | append/s overwrite/s | log/append log/overwrite"
    )
    .expect("printed");
    for (groups, block_bytes) in [(1, 4096), (1, 512), (64, 4096), (64, 512)] {
        compare(temp.path(), groups, block_bytes, &mut out);
    }
}
