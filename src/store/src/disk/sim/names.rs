//! The simulated directories: which names exist, and which changes to them are not yet durable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::random::Random;

#[derive(Debug)]
enum Pending {
    Create { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, file: u64, replaced: Option<u64> },
    Remove { path: PathBuf, file: u64 },
    CreateDir { path: PathBuf },
}

impl Pending {
    fn dir(&self) -> &Path {
        let (Self::Create { path }
        | Self::Rename { to: path, .. }
        | Self::Remove { path, .. }
        | Self::CreateDir { path }) = self;
        parent(path)
    }
}

/// Paths to file numbers, and directories.
#[derive(Debug, Default)]
pub(super) struct Names {
    files: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    pending: Vec<Pending>,
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<u64> {
        self.files.get(path).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.files.values().copied()
    }

    pub(super) fn has_dir(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || dir == Path::new("/") || self.dirs.contains(dir)
    }

    pub(super) fn clone_durable_into(&self, other: &mut Self) {
        other.files = self.files.clone();
        other.dirs = self.dirs.clone();
    }

    pub(super) fn list(&self, dir: &Path) -> Vec<String> {
        let paths = self.files.keys().chain(&self.dirs);
        let names = paths.filter(|path| parent(path) == dir).filter_map(|path| path.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.to_str().map(str::to_owned)).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn create(&mut self, path: &Path, file: u64) {
        self.files.insert(path.to_owned(), file);
        self.pending.push(Pending::Create { path: path.to_owned() });
    }

    /// Says whether `from` existed.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(file) = self.files.remove(from) else { return false };
        let replaced = self.files.insert(to.to_owned(), file);
        self.pending.push(Pending::Rename { from: from.to_owned(), to: to.to_owned(), file, replaced });
        true
    }

    /// Says whether `path` existed.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let Some(file) = self.files.remove(path) else { return false };
        self.pending.push(Pending::Remove { path: path.to_owned(), file });
        true
    }

    pub(super) fn create_dir(&mut self, dir: &Path) {
        for dir in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if !self.has_dir(dir) {
                self.dirs.insert(dir.to_owned());
                self.pending.push(Pending::CreateDir { path: dir.to_owned() });
            }
        }
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        self.pending.retain(|change| change.dir() != dir);
    }

    /// Power is lost: a prefix of the pending changes is kept, as by a journalling file system.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let kept = usize::try_from(random.below(self.pending.len() as u64 + 1)).unwrap_or(0);
        let pending = std::mem::take(&mut self.pending);
        for change in pending.into_iter().skip(kept).rev() {
            self.undo(change);
        }
        let Self { files, dirs, .. } = self;
        files.retain(|path, _| parent(path).as_os_str().is_empty() || dirs.contains(parent(path)));
    }

    fn undo(&mut self, change: Pending) {
        match change {
            Pending::Create { path } => {
                self.files.remove(&path);
            }
            Pending::Rename { from, to, file, replaced } => {
                self.files.remove(&to);
                self.files.insert(from, file);
                if let Some(replaced) = replaced {
                    self.files.insert(to, replaced);
                }
            }
            Pending::Remove { path, file } => {
                self.files.insert(path, file);
            }
            Pending::CreateDir { path } => {
                self.dirs.remove(&path);
            }
        }
    }
}
