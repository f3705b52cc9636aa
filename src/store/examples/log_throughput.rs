//! How near the shared log comes to the disk: synced batches a second, beside a bare loop of `pwrite` and
//! `fdatasync` of the same sizes on the same file system in the same run.
//!
//! `cargo run --release -p hapax-store --example log_throughput [DIR]`, about five seconds.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hapax_store::disk::{Disk, RealDisk};
use hapax_store::log::{GroupId, Log, LogConfig, LogEntry, LogPosition, LogStats};

const ENTRY_BYTES: usize = 400;
const MEASURED: Duration = Duration::from_millis(400);

struct Run {
    batches_per_s: f64,
    entries_per_s: f64,
    bytes_per_batch: u64,
    cpu_us_per_entry: f64,
}

/// Each round appends one entry to each of `groups` groups and waits for all: one batch, if the writer keeps up.
fn run_log(dir: &Path, groups: u32, block_bytes: u32, measured: Duration) -> Run {
    let start = Instant::now();
    let clock = Arc::new(move || start.elapsed());
    let config = LogConfig { segment_bytes: 64 << 20, block_bytes, clock, ..LogConfig::default() };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (log, writer) = Log::open(disk, dir, config).expect("the log opens");
    let writer = std::thread::spawn(move || writer.run_blocking());
    let handles: Vec<_> = (0..groups).map(|shard| log.group(GroupId { shard, replica: 1 })).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let payload = Bytes::from(vec![7; ENTRY_BYTES]);
    let mut index = 0;
    let mut round = || {
        index += 1;
        let (sender, receiver) = std::sync::mpsc::channel();
        runtime.block_on(async {
            for group in &handles {
                let sender = sender.clone();
                let entry = LogEntry { term: 1, index, payload: payload.clone() };
                let done = Box::new(move |result| sender.send(result).expect("the loop waits"));
                group.append(vec![entry], done).await.expect("queued");
                if index % 1000 == 0 {
                    let position = LogPosition { term: 1, index: index - 500 };
                    group.purge_to(position).await.expect("purged");
                }
            }
        });
        for _ in &handles {
            receiver.recv().expect("told").expect("durable");
        }
    };
    let warm = Instant::now();
    while warm.elapsed() < measured / 2 {
        round();
    }
    let (before, cpu, begun) = (log.stats(), cpu_time(), Instant::now());
    while begun.elapsed() < measured {
        round();
    }
    let (elapsed, after, cpu) = (begun.elapsed().as_secs_f64(), log.stats(), cpu_time() - cpu);
    runtime.block_on(log.flush_and_stop()).expect("stopped");
    writer.join().expect("the writer ends");
    let grown = |of: fn(&LogStats) -> u64| of(&after) - of(&before);
    let bytes_per_batch = grown(|stats| stats.bytes) / grown(|stats| stats.syncs);
    let (syncs, entries) = (grown(|stats| stats.syncs) as f64, grown(|stats| stats.entries) as f64);
    Run {
        batches_per_s: syncs / elapsed,
        entries_per_s: entries / elapsed,
        bytes_per_batch,
        cpu_us_per_entry: cpu * 1e6 / entries,
    }
}

/// User and system time of this process, in seconds.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // Linux reports these in hundredths of a second on every architecture that it is used on.
    (ticks(11) + ticks(12)) / 100.0
}

/// Synced writes a second of a bare loop: appending to a growing file, or overwriting one that was written.
fn run_bare(path: &Path, bytes: usize, overwrite: bool, measured: Duration) -> f64 {
    let file = File::create(path).expect("a file");
    let buffer = vec![7_u8; bytes];
    let wrap = 64_u64 << 20;
    if overwrite {
        let zeros = vec![1_u8; 1 << 20];
        (0..wrap >> 20).for_each(|at| file.write_all_at(&zeros, at << 20).expect("written"));
        file.sync_all().expect("synced");
    }
    let (begun, mut writes, mut offset) = (Instant::now(), 0_u32, 0_u64);
    while begun.elapsed() < measured {
        file.write_all_at(&buffer, offset).expect("written");
        file.sync_data().expect("synced");
        offset += bytes as u64;
        if overwrite && offset + bytes as u64 > wrap {
            offset = 0;
        }
        writes += 1;
    }
    f64::from(writes) / begun.elapsed().as_secs_f64()
}

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let temp = tempfile::tempdir_in(base).expect("a temporary directory");
    let mut out = std::io::stdout().lock();
    let header = "groups block | log: batches/s entries/s bytes/batch cpu-us/entry | bare append/s overwrite/s | log/append log/overwrite";
    writeln!(out, "{header}").expect("printed");
    for (groups, block) in [(1, 4096), (1, 512), (64, 4096), (64, 512)] {
        let dir = temp.path().join(format!("log-{groups}-{block}"));
        let run = run_log(&dir, groups, block, MEASURED);
        let bytes = usize::try_from(run.bytes_per_batch).expect("a batch fits memory");
        let file = temp.path().join("bare");
        let append = run_bare(&file, bytes, false, MEASURED / 2);
        let overwrite = run_bare(&file, bytes, true, MEASURED / 2);
        writeln!(
            out,
            "{groups:6} {block:5} | {:14.0} {:9.0} {:11} {:12.2} | {append:13.0} {overwrite:11.0} | {:10.2} {:13.2}",
            run.batches_per_s,
            run.entries_per_s,
            run.bytes_per_batch,
            run.cpu_us_per_entry,
            run.batches_per_s / append,
            run.batches_per_s / overwrite,
        )
        .expect("printed");
    }
}
