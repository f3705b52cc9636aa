//! Files that were changed while their node was down, and snapshots that were changed under way.

use super::Field;
use crate::chaos::fleet::Fleet;
use crate::rng::Rng;
use crate::wait::until;
use anyhow::{Context as _, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A byte is changed in each block of this size of an engine's files.
const BLOCK_BYTES: u64 = 4096;
/// How long a damaged record store may take to be noticed and made again.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// Where a segment has its id, and the parts of a log record's header that tell which it is; see
/// `src/store/src/log/format.rs`.
const SEGMENT_ID_AT: usize = 16;
const RECORD_HEADER_BYTES: usize = 48;
const KIND_ENTRY: u8 = 2;
const KIND_PURGE: u8 = 6;
const RECORD_VERSION: u8 = 1;

impl Field {
    pub(super) async fn damaged_engine(&self, rng: &mut Rng) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        self.fleet.kill(node)?;
        let from = self.fleet.log(node).len();
        let changed = change_blocks(&self.fleet.data_dir(node).join("records").join("fjall"), rng);
        self.back(node).await?;
        let noticed = until("the damage to be noticed", NOTICED_WITHIN, async || {
            let said = self.fleet.log(node)[from..].to_owned();
            let told = said.lines().find(|line| line.contains("damaged and is"));
            told.map(str::to_owned).ok_or_else(|| "nothing was said".to_owned())
        });
        let noticed = noticed.await?;
        let what = if noticed.contains("made anew") { "made anew" } else { "wiped" };
        Ok(format!("{} blocks of the records of node {} changed; they were {what}", changed?, node + 1))
    }

    pub(super) async fn damaged_snapshot(&self, rng: &mut Rng) -> Result<String> {
        let _away = self.fleet.away.lock().await;
        let ((node, _seat), network) = (self.seat(rng).await?, &self.fleet.network);
        let before = self.installs(node);
        let damaged = || network.links_of(node).map(|link| link.counts().damaged()).sum::<u64>();
        let damaged_before = damaged();
        let purged = self.left_behind(node).await;
        network.links_of(node).for_each(|link| link.damage_snapshots(true));
        let launched = self.fleet.launch(node);
        let spoilt =
            until("a snapshot to be damaged", NOTICED_WITHIN, async || match damaged() - damaged_before {
                0 => Err("none was".to_owned()),
                spoilt => Ok(spoilt),
            });
        let spoilt = spoilt.await;
        network.links_of(node).for_each(|link| link.damage_snapshots(false));
        launched?;
        self.back(node).await?;
        let installed = self.installed(node, before).await;
        Ok(format!("{}; {} snapshots damaged, {} installed whole", purged?, spoilt?, installed?))
    }
}

/// Changes a byte in each block of each file.
fn change_blocks(dir: &Path, rng: &mut Rng) -> Result<u64> {
    let mut changed = 0;
    for path in files(dir)? {
        let file = File::options().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        for block in 0..len.div_ceil(BLOCK_BYTES) {
            let at = block * BLOCK_BYTES + rng.below(BLOCK_BYTES.min(len - block * BLOCK_BYTES));
            flip(&file, at)?;
            changed += 1;
        }
    }
    ensure!(changed > 0, "there is nothing in {}", dir.display());
    Ok(changed)
}

fn flip(file: &File, at: u64) -> Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 0x40;
    file.write_all_at(&byte, at)?;
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Changes a log record on each node, of another shard on each, while they are down; then starts them again.
/// Each must quarantine that replica and no other: every shard keeps two of its three.
///
/// # Errors
/// When one cannot be damaged, or one does not quarantine exactly that.
pub async fn damage_logs(fleet: &Fleet, shards: u32) -> Result<String> {
    let count = fleet.len().min(usize::try_from(shards)?);
    let mut proofs = Vec::new();
    for (node, shard) in (0..count).zip(0..) {
        let _seat = fleet.seats[node].lock().await;
        fleet.kill(node)?;
        let at = damage_entry(&fleet.data_dir(node).join("log"), shard)
            .with_context(|| format!("node {}, shard {shard}", node + 1))?;
        fleet.launch(node)?;
        let told = until("a quarantine", NOTICED_WITHIN, async || {
            let seen = fleet.seen(node).await.map_err(|error| error.to_string())?;
            match seen.sum("hapax_log_quarantined_groups", &[]) {
                1.0 => Ok(()),
                groups => Err(format!("{groups} replicas are quarantined")),
            }
        });
        told.await.with_context(|| format!("node {}", node + 1))?;
        let line = format!("shard={shard}");
        let log = fleet.log(node);
        ensure!(
            log.lines().any(|text| text.contains("quarantined") && text.contains(&line)),
            "another shard"
        );
        proofs.push(format!("node {} shard {shard} {at}", node + 1));
    }
    Ok(proofs.join(", "))
}

/// Changes a byte in the body of the last entry but some of a shard's log; says where. Of what is in the files only
/// that counts which the node would read: not what an earlier use of a segment left behind, nor what was purged.
fn damage_entry(dir: &Path, shard: u32) -> Result<String> {
    let (mut places, mut purged) = (Vec::new(), 0);
    for path in files(dir)?.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "log")) {
        let bytes = fs::read(&path)?;
        let Some(segment) = u64_at(&bytes, SEGMENT_ID_AT) else { continue };
        for at in (0..bytes.len().saturating_sub(RECORD_HEADER_BYTES)).step_by(8) {
            match record(&bytes[at..], shard, segment, at as u64) {
                Some((KIND_ENTRY, index)) => places.push(((segment, at), index, path.clone())),
                Some((KIND_PURGE, index)) => purged = purged.max(index),
                _ => {}
            }
        }
    }
    places.retain(|(_, index, _)| *index > purged);
    places.sort();
    // Not the last writes: damage there could be taken for a torn one.
    let place = places.len().checked_sub(20).and_then(|place| places.get(place));
    let found = places.len();
    let ((_, at), index, path) =
        place.with_context(|| format!("{found} entries behind index {purged} are too few"))?;
    let file = File::options().read(true).write(true).open(path)?;
    flip(&file, (at + RECORD_HEADER_BYTES) as u64)?;
    Ok(format!("index {index}, at {at} of {}", path.file_name().unwrap_or_default().display()))
}

/// The kind and index of the record of a shard whose header stands here, if one with a whole header does.
fn record(bytes: &[u8], shard: u32, segment: u64, offset: u64) -> Option<(u8, u64)> {
    let (header, kind) = (bytes.get(..RECORD_HEADER_BYTES)?, bytes[12]);
    if !matches!(kind, KIND_ENTRY | KIND_PURGE) || bytes[13] != RECORD_VERSION || u32_at(bytes, 16)? != shard
    {
        return None;
    }
    let place = [segment.to_le_bytes(), offset.to_le_bytes()].concat();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&place), &header[4..]);
    let has_body = kind != KIND_ENTRY || u32_at(bytes, 8)? >= 16;
    (u32_at(bytes, 0)? == sum && has_body).then_some((kind, u64_at(bytes, 40)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
