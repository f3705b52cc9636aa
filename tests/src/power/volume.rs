//! An ext4 file system over a disk of the shelf, through a loop device.

use super::disk::PAGE;
use anyhow::{Context as _, Result, ensure};
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when this goes.
#[derive(Debug)]
pub struct Volume {
    at: PathBuf,
}

impl Volume {
    /// The content of a fresh disk of so many MiB.
    ///
    /// # Errors
    /// When `mkfs.ext4` is missing or refuses.
    pub fn format(mib: u64, scratch: &Path) -> Result<Vec<u8>> {
        let file = scratch.join("fresh.img");
        std::fs::File::create(&file)?.set_len(mib << 20)?;
        // Nothing is left to be done lazily: the disk is quiet while the nodes are.
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
        run(make.arg(&file))?;
        let content = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        Ok(content)
    }

    /// Mounts; after a power cut this replays the journal, as a reboot does.
    ///
    /// # Errors
    /// When this process may not mount, or the file system is damaged.
    pub fn mount(file: &Path, at: &Path) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(file).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.at).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            let _still_used = Command::new("umount").arg("-l").arg(&self.at).output();
        }
        let _not_empty = std::fs::remove_dir(&self.at);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said.trim());
    Ok(())
}

/// What the files of a running system held and those after the cut do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Files that differ or are gone.
    pub files: u64,
    /// Bytes that differ or are gone.
    pub bytes: u64,
}

/// Compares every file below `live` with the one of the same name below `found`.
///
/// # Errors
/// When a folder cannot be read.
pub fn lag(live: &Path, found: &Path) -> Result<Lag> {
    let mut lag = Lag::default();
    for entry in std::fs::read_dir(live)? {
        let entry = entry?;
        let (live, found) = (entry.path(), found.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            let below = self::lag(&live, &found)?;
            lag.files += below.files;
            lag.bytes += below.bytes;
            continue;
        }
        let differ = lag_of_file(&live, &found)?;
        if differ > 0 {
            lag.files += 1;
            lag.bytes += u64::try_from(differ)?;
        }
    }
    Ok(lag)
}

/// Looks only where `live` was written: the nodes allocate far more than that.
fn lag_of_file(live: &Path, found: &Path) -> Result<usize> {
    let live = File::open(live)?;
    let found = File::open(found).ok();
    let (mut differ, mut at) = (0, 0);
    while let Ok(begin) = seek(&live, SeekFrom::Data(at)) {
        let end = seek(&live, SeekFrom::Hole(begin))?;
        let mut kept = vec![0; usize::try_from(end - begin)?];
        live.read_exact_at(&mut kept, begin)?;
        let mut left = Vec::new();
        if let Some(found) = &found {
            seek(found, SeekFrom::Start(begin))?;
            found.take(end - begin).read_to_end(&mut left)?;
        }
        differ += differing(&kept, &left);
        at = end;
    }
    Ok(differ)
}

/// Bytes of the first that the second does not have in their place.
fn differing(a: &[u8], b: &[u8]) -> usize {
    // Most pages are alike, which is told for a whole page at once.
    let pages = a.chunks(PAGE).zip(b.chunks(PAGE)).filter(|(a, b)| a != b);
    let differ: usize = pages.map(|(a, b)| a.iter().zip(b).filter(|(a, b)| a != b).count()).sum();
    differ + a.len().saturating_sub(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_counts_what_differs_and_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (live, found) = (dir.path().join("live"), dir.path().join("found"));
        for at in [&live, &found] {
            std::fs::create_dir_all(at.join("log")).unwrap();
            std::fs::write(at.join("log/same"), vec![1; 3 * PAGE]).unwrap();
        }
        assert_eq!(lag(&live, &found).unwrap(), Lag::default());
        std::fs::write(live.join("log/gone"), b"four").unwrap();
        std::fs::write(live.join("changed"), b"abcdef").unwrap();
        std::fs::write(found.join("changed"), b"abXd").unwrap();
        assert_eq!(lag(&live, &found).unwrap(), Lag { files: 2, bytes: 4 + 3 });
    }
}
