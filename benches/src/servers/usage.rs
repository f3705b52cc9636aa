//! What processes use of the machine: processor time and bytes handed to the disk, as Linux counts them.

use anyhow::{Context as _, Result};
use std::time::Duration;

/// The processes of a store: each with all that it starts, whether they still run or were waited for.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    pids: Vec<u32>,
}

/// Counts of the servers, and of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// One for each server, in their order.
    pub servers: Vec<Used>,
    /// The one that makes the load.
    pub own: Used,
}

/// One process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, of user and system.
    pub cpu: Duration,
    /// Bytes that it caused to be sent to the disk; 0 where the file system does not count them.
    pub written_bytes: u64,
}

impl Servers {
    /// These processes.
    #[must_use]
    pub fn new(pids: Vec<u32>) -> Self {
        Self { pids }
    }

    /// The counts now.
    ///
    /// # Errors
    /// When a process is gone, or may not be looked at.
    pub fn read(&self) -> Result<Usage> {
        let servers = self.pids.iter().map(|pid| used_by_tree(*pid)).collect::<Result<_>>()?;
        Ok(Usage { servers, own: used(std::process::id(), Count::Own)? })
    }

    /// Bytes of memory that the processes themselves hold now, together.
    ///
    /// # Errors
    /// When a process is gone, or may not be looked at.
    pub fn resident_bytes(&self) -> Result<u64> {
        let resident = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status"))
                .with_context(|| format!("cannot look at process {pid}"))?;
            resident_of(&text).with_context(|| format!("/proc/{pid}/status has another form"))
        };
        self.pids.iter().map(resident).sum()
    }
}

impl Usage {
    /// What was used since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.servers.iter().zip(&before.servers);
        Self { servers: pairs.map(|(now, then)| now.since(*then)).collect(), own: self.own.since(before.own) }
    }

    /// All servers together.
    #[must_use]
    pub fn all_servers(&self) -> Used {
        let zero = Used::default();
        self.servers.iter().fold(zero, |all, one| Used {
            cpu: all.cpu + one.cpu,
            written_bytes: all.written_bytes + one.written_bytes,
        })
    }
}

impl Used {
    fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// A process and its descendants, with those that have ended.
fn used_by_tree(root: u32) -> Result<Used> {
    let mut all = used(root, Count::WithReaped)?;
    let mut pids = children(root);
    while let Some(pid) = pids.pop() {
        pids.extend(children(pid));
        // One that has just ended is among what its parent has reaped, from the next reading on.
        let Ok(one) = used(pid, Count::WithReaped) else { continue };
        all = Used { cpu: all.cpu + one.cpu, written_bytes: all.written_bytes + one.written_bytes };
    }
    Ok(all)
}

/// The processes that a process has started; none where the kernel does not tell.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whose time is counted. Bytes of reaped children are always among those of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Own,
    WithReaped,
}

fn used(pid: u32, count: Count) -> Result<Used> {
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}"))
            .with_context(|| format!("cannot look at process {pid}"))
    };
    let ticks =
        ticks_of(&read("stat")?, count).with_context(|| format!("/proc/{pid}/stat has another form"))?;
    let written_bytes =
        written_of(&read("io")?).with_context(|| format!("/proc/{pid}/io has another form"))?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_second);
    Ok(Used { cpu: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), written_bytes })
}

/// User and system time of all threads, in ticks.
fn ticks_of(stat: &str, count: Count) -> Option<u64> {
    // The program's name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields = fields.split_whitespace().skip(11);
    let times: Option<Vec<u64>> =
        fields.take(if count == Count::Own { 2 } else { 4 }).map(|f| f.parse().ok()).collect();
    times.filter(|times| times.len() >= 2).map(|times| times.iter().sum())
}

fn written_of(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn resident_of(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let stat = "4242 (a name) (x) S 1 4242 4242 0 -1 4194560 100 0 0 0 250 50 30 3 20 0 8 0 100 0 0";
        assert_eq!(ticks_of(stat, Count::Own), Some(300));
        assert_eq!(ticks_of(stat, Count::WithReaped), Some(333));
        assert_eq!(ticks_of("4242 (short) S 1", Count::Own), None);
        assert_eq!(written_of("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n"), Some(4096));
        assert_eq!(written_of("rchar: 1\n"), None);
        assert_eq!(resident_of("VmPeak:\t 900 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert!(Servers::new(vec![std::process::id()]).resident_bytes().unwrap() > 100_000);
    }

    #[test]
    fn this_process_uses_time() {
        let servers = Servers::new(vec![std::process::id()]);
        let before = servers.read().unwrap();
        let mut sum = 0u64;
        // A tick is 10 ms.
        while servers.read().unwrap().since(&before).own.cpu.is_zero() {
            sum = (0..1_000_000).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        let used = servers.read().unwrap().since(&before);
        assert!(used.all_servers().cpu > Duration::ZERO, "{sum} {used:?}");
        assert!(Servers::new(vec![u32::MAX]).read().is_err());
    }

    #[test]
    fn what_a_server_starts_counts_as_its_own() {
        use std::io::BufRead as _;
        use std::process::{Command, Stdio};
        // The shell itself only waits: what is used is used by its child. A shell gives what it starts in the
        // background nothing to read, so the pipe goes by another number; the child is there until it is closed.
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; exec cat";
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "exec 3<&0; /bin/sh -c \"$0\" <&3 & wait", work])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = String::new();
        let stdout = shell.stdout.take().unwrap();
        std::io::BufReader::new(stdout).read_line(&mut said).unwrap();
        let all = used_by_tree(shell.id()).unwrap().cpu;
        let alone = used(shell.id(), Count::WithReaped).unwrap().cpu;
        // Its end is the end of what the child reads.
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(said, "done\n");
        assert!(all > alone, "{all:?} {alone:?}");
    }
}
