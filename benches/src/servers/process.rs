//! One server process of this run's own: found, started in a group of its own, and ended with all it began.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Until a server must answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two attempts to reach it.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a server is made to end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its group is killed.
    Kill,
    /// It is told to quit, and itself kills what it started in other groups; it bounds how long that takes.
    Quit,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: PathBuf,
    end: End,
}

impl Process {
    /// Starts it; what it says goes into a file.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(command: Command, said: &Path, end: End) -> Result<Self> {
        Self::start_with(command, said, end, Stdio::null())
    }

    /// As [`Process::start`], and its standard input ends when this program does, however that ends.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start_held(command: Command, said: &Path, end: End) -> Result<Self> {
        Self::start_with(command, said, end, Stdio::piped())
    }

    fn start_with(mut command: Command, said: &Path, end: End, input: Stdio) -> Result<Self> {
        let output = File::create(said).context("cannot make a file for what a server says")?;
        command.stdin(input).stdout(output.try_clone()?).stderr(output);
        // An interrupt from the terminal goes to this program only, which ends its servers.
        command.process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        Ok(Self { child, said: said.to_owned(), end })
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tries until it is reached.
    ///
    /// # Errors
    /// When the server ends, or is not reached in time; then with what it said.
    pub async fn reached<T>(&mut self, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let tried = match attempt().await {
                Ok(reached) => return Ok(reached),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.said());
            }
            if Instant::now() > deadline {
                return Err(tried.context(format!("not ready in time:\n{}", self.said())));
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// Tells it to stop.
    pub fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _already_gone = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it runs on after `within`, or does not end well; then with what it said.
    pub async fn ended(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status}:\n{}", self.said()),
                None if Instant::now() > deadline => {
                    bail!("the server did not stop within {} s:\n{}", within.as_secs(), self.said())
                }
                None => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// The last lines that it said.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _already_gone = match self.end {
                End::Kill => kill_process_group(pid, Signal::KILL),
                End::Quit => kill_process(pid, Signal::QUIT),
            };
        }
        let _reaped = self.child.wait();
    }
}

/// Where a server's program is, if a package of Debian brought it: what was built here by hand is not looked for, so
/// that figures are those of the packages.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let mut dirs: Vec<_> = ["/usr/bin", "/usr/sbin"].map(PathBuf::from).to_vec();
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    dirs.extend(versions.into_iter().rev());
    dirs.into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// So many ports that are free just now.
///
/// # Errors
/// When there are not so many.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are held until the last is found, so that none comes twice.
    let held: Result<Vec<_>, _> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let ports: Result<Vec<_>, _> =
        held.context("no ports are free")?.iter().map(|port| Ok(port.local_addr()?.port())).collect();
    let ports: Vec<u16> = ports.map_err(|error: std::io::Error| error)?;
    debug_assert_eq!(ports.iter().collect::<HashSet<_>>().len(), count);
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_is_told_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo the disk is full; exit 3"]);
        let mut process = Process::start(command, &dir.path().join("said"), End::Kill).unwrap();
        let reached = process.reached(async || -> Result<()> { bail!("refused") }).await;
        let text = format!("{:#}", reached.unwrap_err());
        assert!(text.contains("exit status: 3") && text.contains("the disk is full"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_is_told_to_stop_ends_well_or_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("ready");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for (status, is_well) in [(0, true), (4, false)] {
            let mut command = Command::new("/bin/sh");
            let script = format!("trap 'exit {status}' TERM; echo > \"$0\"; read nothing");
            command.args(["-c", &script]).arg(&fifo);
            let mut process = Process::start_held(command, &dir.path().join("said"), End::Kill).unwrap();
            assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "\n");
            process.terminate();
            let ended = process.ended(Duration::from_secs(60)).await;
            assert_eq!(ended.is_ok(), is_well, "{ended:?}");
        }
    }

    #[test]
    fn a_dropped_server_takes_its_children_along() {
        let dir = tempfile::tempdir().unwrap();
        let (said, fifo) = (dir.path().join("said"), dir.path().join("alive"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 600 > \"$0\" & wait"]).arg(&fifo);
        let process = Process::start(command, &said, End::Kill).unwrap();
        // Opened once the child holds the other end, and at its end once nobody does.
        let mut held = File::open(&fifo).unwrap();
        drop(process);
        assert_eq!(std::io::copy(&mut held, &mut std::io::sink()).unwrap(), 0);
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("no-such-server").is_none());
        assert_eq!(free_ports(5).unwrap().len(), 5);
    }
}
