//! The plan's directory: made once, checked at each start, emptied on demand.

use super::Plan;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// Marks a directory as this command's own, and says what it was made for.
const MARKER: &str = "dev.toml";

/// What cannot change while data is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    cluster: String,
    nodes: u16,
    shards: u32,
    engine: crate::config::Engine,
}

/// Makes or checks the directory and writes each node's configuration. The lock is held for as long
/// as the file is open.
pub(super) fn prepare(plan: &Plan, reset: bool) -> anyhow::Result<File> {
    let dir = &plan.dir;
    let path = dir.join(MARKER);
    let known = read(&path)?;
    if known.is_none() && dir.exists() && fs::read_dir(dir)?.next().is_some() {
        bail!("{} is not empty and was not made by this command; choose another --dir", dir.display());
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let lock = lock(&dir.join("lock"))?;
    if reset && known.is_some() {
        empty(dir)?;
    }
    let marker = match known.filter(|_| !reset) {
        Some(marker) => {
            let wanted = Marker { cluster: marker.cluster.clone(), ..wanted(plan, String::new()) };
            if marker != wanted {
                bail!(
                    "{} was made with --nodes {} --shards {} --engine {}; use those, or --reset to start empty",
                    dir.display(),
                    marker.nodes,
                    marker.shards,
                    format!("{:?}", marker.engine).to_lowercase()
                );
            }
            marker
        }
        None => wanted(plan, draw_cluster_id()?),
    };
    fs::write(&path, toml::to_string(&marker)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    for number in plan.numbers() {
        let node_dir = plan.node_dir(number);
        fs::create_dir_all(&node_dir)?;
        fs::write(node_dir.join("config.toml"), plan.config(number, &marker.cluster).to_toml())?;
    }
    Ok(lock)
}

fn wanted(plan: &Plan, cluster: String) -> Marker {
    Marker { cluster, nodes: plan.nodes, shards: plan.shards, engine: plan.engine }
}

fn read(path: &Path) -> anyhow::Result<Option<Marker>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            Ok(Some(toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("{} is in use by another `hapax dev`", path.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Removes what this command has made, and nothing else.
fn empty(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_node = name.to_str().is_some_and(|name| name.starts_with("node-"));
        if is_node && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn draw_cluster_id() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("no randomness for a cluster id: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    fn plan(dir: &Path) -> Plan {
        let (dir, engine) = (dir.to_owned(), Engine::Fjall);
        Plan { nodes: 3, dir, base_port: 7400, shards: 16, engine, threads: 1 }
    }

    fn cluster(dir: &Path) -> String {
        read(&dir.join(MARKER)).unwrap().unwrap().cluster
    }

    #[test]
    fn a_second_start_keeps_the_cluster_and_a_reset_makes_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        drop(prepare(&plan(dir.path()), false).unwrap());
        let first = cluster(dir.path());
        let data = dir.path().join("node-2/data");
        fs::create_dir(&data).unwrap();
        drop(prepare(&plan(dir.path()), false).unwrap());
        assert_eq!(cluster(dir.path()), first);
        assert!(data.exists());
        drop(prepare(&plan(dir.path()), true).unwrap());
        assert_ne!(cluster(dir.path()), first);
        assert!(!data.exists() && dir.path().join("node-2/config.toml").exists());
    }

    #[test]
    fn another_plan_is_refused_until_reset() {
        let dir = tempfile::tempdir().unwrap();
        drop(prepare(&plan(dir.path()), false).unwrap());
        let five = Plan { nodes: 5, ..plan(dir.path()) };
        let error = prepare(&five, false).unwrap_err().to_string();
        assert!(error.contains("--nodes 3") && error.contains("--reset"), "{error}");
        drop(prepare(&five, true).unwrap());
        assert!(dir.path().join("node-5/config.toml").exists());
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("node-1");
        fs::create_dir(&theirs).unwrap();
        for reset in [false, true] {
            let error = prepare(&plan(dir.path()), reset).unwrap_err().to_string();
            assert!(error.contains("not made by this command"), "{error}");
        }
        assert!(theirs.exists());
    }

    #[test]
    fn two_at_once_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = prepare(&plan(dir.path()), false).unwrap();
        assert!(prepare(&plan(dir.path()), false).unwrap_err().to_string().contains("in use"));
        drop(held);
        prepare(&plan(dir.path()), false).unwrap();
    }
}
