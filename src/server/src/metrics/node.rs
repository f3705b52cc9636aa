//! A node's levels: its replicas, its log, its record store.

use super::{Families, Kind};
use hapax_raft::node::{self, Node};
use hapax_raft::status::{GroupStats, group_stats};
use hapax_store::log::LogStats;
use hapax_wire::status::ShardRole;
use std::time::Duration;

/// Everything that is read when somebody asks.
#[must_use]
pub fn of_node(node: &Node) -> Families {
    let mut families = Families::new();
    let groups: Vec<GroupStats> = node.groups().iter().map(|group| group_stats(group)).collect();
    of_shards(&mut families, &groups);
    of_protocol(&mut families, &groups);
    of_log(&mut families, &node.context().log.stats());
    let troubles = float(node.troubles().len() as u64);
    families.single(Kind::Gauge, "hapax_shards_stopped", "Replicas of this node that do not run", troubles);
    let waiters = float(node::waiters(node) as u64);
    families.single(Kind::Gauge, "hapax_waiters", "Callers held until somebody else's run ends", waiters);
    let changes = float(*node.table_changes().borrow());
    let help = "Changes of leaders seen in this node's replicas";
    families.single(Kind::Counter, "hapax_leader_changes_total", help, changes);
    let bytes = float(node.context().records.size_bytes());
    let engine = vec![("engine", node.context().engine.to_owned())];
    let help = "Bytes of the record store's engine on disk";
    families.labelled(Kind::Gauge, "hapax_engine_size_bytes", help, std::iter::once((engine, bytes)));
    families
}

/// The space of the data directory's file system.
pub fn of_disk(families: &mut Families, free_bytes: u64, reserve_bytes: u64) {
    let help = "Bytes that may still be written on the file system of the data directory";
    families.single(Kind::Gauge, "hapax_disk_free_bytes", help, float(free_bytes));
    let help = "Below so many free bytes writes are refused";
    families.single(Kind::Gauge, "hapax_disk_reserve_bytes", help, float(reserve_bytes));
}

/// One figure of every replica.
type Figure = (&'static str, &'static str, fn(&GroupStats) -> f64);

const SHARD_FIGURES: [Figure; 14] = [
    ("hapax_shard_leader", "1 where this node's replica leads", |it| {
        bool_of(it.status.role == ShardRole::Leader)
    }),
    ("hapax_shard_has_leader", "1 where this node's replica knows a leader", |it| {
        bool_of(it.status.leader.is_some())
    }),
    ("hapax_shard_term", "The term that the replica is in", |it| float(it.status.term)),
    ("hapax_shard_last_index", "The last log index that the replica has", |it| float(it.status.last_index)),
    ("hapax_shard_committed_index", "The last index known to be committed", |it| {
        float(it.status.committed_index)
    }),
    ("hapax_shard_applied_index", "The last index applied", |it| float(it.status.applied_index)),
    ("hapax_shard_purged_index", "The last index purged", |it| float(it.status.purged_index)),
    ("hapax_shard_replication_lag_entries", "On the leader: entries that its slowest replica lacks", lag),
    ("hapax_shard_time_behind_seconds", "How far the applied log time is behind the stamping clock", |it| {
        seconds(it.behind_ms.unwrap_or_default())
    }),
    ("hapax_shard_queue_calls", "Calls that wait to be read or proposed", |it| float(it.queued as u64)),
    ("hapax_shard_waiters", "Callers held in the shard", |it| float(it.waiters as u64)),
    ("hapax_records_pending_bytes", "Bytes of changes that the engine does not have yet", |it| {
        float(it.records.pending_bytes as u64)
    }),
    ("hapax_records_cache_bytes", "Bytes of the cache of records", |it| float(it.records.cache_bytes as u64)),
    ("hapax_records_filter_bytes", "Bytes of the filter of what the engine may hold", |it| {
        float(it.records.filter_bytes as u64)
    }),
];

fn of_shards(families: &mut Families, groups: &[GroupStats]) {
    for (name, help, figure) in SHARD_FIGURES {
        families.labelled(Kind::Gauge, name, help, groups.iter().map(|group| (shard(group), figure(group))));
    }
    let batches = groups.iter().map(|group| (shard(group), float(group.records.batches)));
    let help = "Batches that the record store has written";
    families.labelled(Kind::Counter, "hapax_records_batches_total", help, batches);
}

/// What only the leader of a shard knows for all: counted there, so that a sum over nodes is right.
fn of_protocol(families: &mut Families, groups: &[GroupStats]) {
    let led: Vec<&GroupStats> = groups.iter().filter(|it| it.status.role == ShardRole::Leader).collect();
    let in_doubt = led.iter().map(|it| (shard(it), float(it.status.in_doubt)));
    let help = "Claims in doubt, on the shard's leader";
    families.labelled(Kind::Gauge, "hapax_claims_in_doubt", help, in_doubt);
    let oldest = led.iter().map(|it| (shard(it), seconds(it.oldest_doubt_ms)));
    let help = "The age of the oldest claim in doubt, on the shard's leader; 0 without one";
    families.labelled(Kind::Gauge, "hapax_claims_in_doubt_oldest_age_seconds", help, oldest);
    let records = led.iter().flat_map(|it| {
        let counts = it.records.counts;
        let states = [
            ("claimed", counts.claimed),
            ("open", counts.open),
            ("in_doubt", counts.in_doubt),
            ("completed", counts.completed),
            ("spent", counts.spent),
        ];
        states.map(|(state, count)| {
            let mut labels = shard(it);
            labels.push(("state", state.to_owned()));
            (labels, float(count))
        })
    });
    let help = "Records by stored state, on the shard's leader; approximate";
    families.labelled(Kind::Gauge, "hapax_records", help, records);
}

fn of_log(families: &mut Families, stats: &LogStats) {
    let counters = [
        ("hapax_log_writes_total", "Writes of the log: the batches of group commit", stats.writes),
        ("hapax_log_syncs_total", "Syncs of the log", stats.syncs),
        ("hapax_log_marks_total", "Of the syncs, those without a record, when the log idles", stats.marks),
        (
            "hapax_log_entries_total",
            "Entries written; by syncs with a record it is the batching",
            stats.entries,
        ),
        ("hapax_log_bytes_total", "Bytes written", stats.bytes),
        (
            "hapax_log_rewritten_bytes_total",
            "Bytes written again to free old segments",
            stats.rewritten_bytes,
        ),
        ("hapax_log_damages_total", "Damaged places found", stats.damages),
    ];
    for (name, help, value) in counters {
        families.single(Kind::Counter, name, help, float(value));
    }
    let gauges = [
        ("hapax_log_segments_live", "Segments in use", stats.segments_live),
        ("hapax_log_segments_free", "Segments set aside for use", stats.segments_free),
        (
            "hapax_log_waits_for_room",
            "1 while nothing is written, since the disk has no room for another segment",
            u64::from(stats.waits_for_room),
        ),
        ("hapax_log_live_bytes", "Bytes that a recovery still needs", stats.live_bytes),
        (
            "hapax_log_quarantined_groups",
            "Replicas that must not take part any more",
            stats.quarantined_groups,
        ),
    ];
    for (name, help, value) in gauges {
        families.single(Kind::Gauge, name, help, float(value));
    }
    let bounded = stats.sync_buckets.len() - 1;
    let bound = |at: usize| Duration::from_micros(1 << at).as_secs_f64();
    let buckets: Vec<(f64, u64)> = (0..bounded).map(|at| (bound(at), stats.sync_buckets[at])).collect();
    let sum = Duration::from_nanos(stats.sync_total_ns).as_secs_f64();
    let help = "How long a sync of the log takes";
    families.histogram("hapax_log_sync_duration_seconds", help, &buckets, stats.sync_buckets[bounded], sum);
}

fn lag(stats: &GroupStats) -> f64 {
    let slowest = stats.status.matches.iter().map(|it| it.index).min();
    float(slowest.map_or(0, |slowest| stats.status.last_index.saturating_sub(slowest)))
}

fn shard(stats: &GroupStats) -> Vec<(&'static str, String)> {
    vec![("shard", stats.status.shard.to_string())]
}

fn bool_of(so: bool) -> f64 {
    f64::from(u8::from(so))
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Prometheus knows only floats: counts above 2^53 lose their last digits.
fn float(count: u64) -> f64 {
    count as f64
}
