//! `hapax status`: nodes, shards, leaders, log positions, records.

use super::args::Globals;
use super::exit::Exit;
use super::render::{Screen, span, utc};
use super::session::Session;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};
use hapax_client::NodeReport;
use hapax_wire::client::ShardTable;
use hapax_wire::status::{NodeStatus, ShardRole, ShardStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Show nodes, shards, leaders, log positions and records
///
/// Exit status 1 when a node does not answer or a shard has no leader.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax status
  hapax status --watch
  hapax status --json | jq '.shards[] | select(.leader == null)'")]
pub(super) struct StatusArgs {
    /// Show it again every second
    #[arg(long)]
    watch: bool,
}

impl StatusArgs {
    /// Shows the status, once or for as long as the user watches.
    pub(super) async fn run(&self, globals: &Globals, screen: Screen) -> anyhow::Result<Exit> {
        let session = Session::open(globals).await?;
        loop {
            let reports = session.client().status().await;
            let table = session.client().table();
            let exit = if is_healthy(&reports, &table) { Exit::Ok } else { Exit::Error };
            if screen.json {
                screen.json(&as_json(&reports, &table))?;
            } else {
                let clear = if self.watch { "\x1b[2J\x1b[H" } else { "" };
                screen.out(format!("{clear}{}", as_text(&reports, &table)).as_bytes())?;
            }
            if !self.watch {
                return Ok(exit);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if session.client().refresh_table().await.is_err() {
                continue;
            }
        }
    }
}

/// Every replica of a shard that told how it is, with its node's name.
type Replicas<'a> = BTreeMap<u32, Vec<(&'a str, &'a ShardStatus)>>;

fn replicas(reports: &[NodeReport]) -> Replicas<'_> {
    let mut shards = Replicas::new();
    for status in reports.iter().filter_map(|report| report.status.as_ref().ok()) {
        for shard in &status.shards {
            shards.entry(shard.shard).or_default().push((&status.name, shard));
        }
    }
    shards
}

/// Who leads: the replica that says so itself, of the highest term when a deposed one does not know yet.
fn leader<'a>(replicas: &[(&'a str, &'a ShardStatus)]) -> Option<(&'a str, &'a ShardStatus)> {
    replicas
        .iter()
        .filter(|(_, shard)| shard.role == ShardRole::Leader)
        .max_by_key(|(_, shard)| shard.term)
        .copied()
}

fn is_healthy(reports: &[NodeReport], table: &ShardTable) -> bool {
    let shards = replicas(reports);
    reports.iter().all(|report| report.status.is_ok())
        && table
            .shards
            .iter()
            .all(|entry| shards.get(&entry.shard).is_some_and(|shard| leader(shard).is_some()))
}

fn as_text(reports: &[NodeReport], table: &ShardTable) -> String {
    let mut out = format!("{}\n\n", nodes(reports));
    out.push_str(&shards_table(reports, table).to_string());
    out.push('\n');
    for report in reports {
        if let Err(error) = &report.status {
            out.push_str(&format!("\n{} at {} does not answer: {error}\n", report.name, report.client_addr));
        }
    }
    out
}

fn nodes(reports: &[NodeReport]) -> Table {
    let mut table =
        plain(&["NODE", "CLIENTS", "STATE", "VERSION", "UP", "LEADS", "REPLICAS", "RECORDS", "ENGINE"]);
    for report in reports {
        match &report.status {
            Ok(status) => table.add_row(node_row(report, status)),
            Err(_) => {
                table.add_row([report.name.as_str(), &report.client_addr, "silent", "", "", "", "", "", ""])
            }
        };
    }
    numbers(&mut table, 5..8);
    table
}

fn node_row(report: &NodeReport, status: &NodeStatus) -> Vec<String> {
    let leads = status.shards.iter().filter(|shard| shard.role == ShardRole::Leader);
    let stopped = status.shards.iter().filter(|shard| shard.role == ShardRole::Stopped).count();
    let state = if stopped == 0 { "up".to_owned() } else { format!("{stopped} stopped") };
    vec![
        status.name.clone(),
        report.client_addr.clone(),
        state,
        status.software.clone(),
        span(status.uptime_ms),
        leads.clone().count().to_string(),
        status.shards.len().to_string(),
        leads.map(|shard| shard.records).sum::<u64>().to_string(),
        status.engine.name.clone(),
    ]
}

fn shards_table(reports: &[NodeReport], table: &ShardTable) -> Table {
    let known = replicas(reports);
    let mut out = plain(&[
        "SHARD", "LEADER", "TERM", "APPLIED", "LAST", "LAG", "RECORDS", "IN DOUBT", "TIME", "REPLICAS",
    ]);
    for entry in &table.shards {
        let of_shard = known.get(&entry.shard).map_or(&[][..], Vec::as_slice);
        let names = of_shard.iter().map(|(name, shard)| format!("{name}:{}", shard.role.name()));
        let names = names.collect::<Vec<_>>().join(" ");
        let row = match leader(of_shard) {
            Some((name, shard)) => vec![
                entry.shard.to_string(),
                name.to_owned(),
                shard.term.to_string(),
                shard.applied_index.to_string(),
                shard.last_index.to_string(),
                lag(of_shard, shard).to_string(),
                shard.records.to_string(),
                shard.in_doubt.to_string(),
                utc(shard.time.0),
                names,
            ],
            None => {
                let mut row = vec![String::new(); 9];
                row[0] = entry.shard.to_string();
                "none".clone_into(&mut row[1]);
                row.push(names);
                row
            }
        };
        out.add_row(row);
    }
    numbers(&mut out, 2..8);
    out
}

/// How far the slowest replica that answered is behind what the leader applied, in log entries.
fn lag(replicas: &[(&str, &ShardStatus)], leader: &ShardStatus) -> u64 {
    let slowest = replicas.iter().map(|(_, shard)| shard.applied_index).min().unwrap_or_default();
    leader.applied_index.saturating_sub(slowest)
}

fn plain(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles.iter().map(Cell::new));
    table
}

fn numbers(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn as_json(reports: &[NodeReport], table: &ShardTable) -> Value {
    let known = replicas(reports);
    let shards = table.shards.iter().map(|entry| {
        let of_shard = known.get(&entry.shard).map_or(&[][..], Vec::as_slice);
        json!({
            "shard": entry.shard,
            "leader": leader(of_shard).map(|(name, _)| name),
            "replicas": of_shard.iter().map(|(name, shard)| replica(name, shard)).collect::<Vec<_>>(),
        })
    });
    json!({
        "healthy": is_healthy(reports, table),
        "table_version": table.version,
        "nodes": reports.iter().map(node).collect::<Vec<_>>(),
        "shards": shards.collect::<Vec<_>>(),
    })
}

fn node(report: &NodeReport) -> Value {
    match &report.status {
        Ok(status) => json!({
            "name": status.name,
            "client_addr": report.client_addr,
            "up": true,
            "id": format!("{:012x}", status.node >> 16),
            "software": status.software,
            "uptime_ms": status.uptime_ms,
            "leads": status.shards.iter().filter(|shard| shard.role == ShardRole::Leader).count(),
            "replicas": status.shards.len(),
            "engine": status.engine.name,
            "engine_figures": figures(&status.engine.figures),
            "log_figures": figures(&status.log),
        }),
        Err(error) => json!({
            "name": report.name,
            "client_addr": report.client_addr,
            "up": false,
            "error": error.to_string(),
        }),
    }
}

fn figures(figures: &[hapax_wire::status::Figure]) -> Value {
    figures
        .iter()
        .map(|figure| (figure.name.clone(), Value::from(figure.value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn replica(node: &str, shard: &ShardStatus) -> Value {
    json!({
        "node": node,
        "role": shard.role.name(),
        "term": shard.term,
        "last_index": shard.last_index,
        "committed_index": shard.committed_index,
        "applied_index": shard.applied_index,
        "purged_index": shard.purged_index,
        "time_ms": shard.time.0,
        "records": shard.records,
        "in_doubt": shard.in_doubt,
        "digest": shard.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::LogTime;
    use hapax_wire::client::{ReplicaRef, ShardEntry};
    use hapax_wire::status::EngineStatus;

    fn shard(role: ShardRole, term: u64, applied_index: u64) -> ShardStatus {
        ShardStatus {
            shard: 0,
            replica: 1,
            role,
            leader: None,
            term,
            last_index: applied_index,
            committed_index: applied_index,
            applied_index,
            purged_index: 0,
            time: LogTime(0),
            records: 5,
            in_doubt: 1,
            digest: [0xab; 16],
            matches: vec![],
        }
    }

    fn report(name: &str, shards: Vec<ShardStatus>) -> NodeReport {
        let status = NodeStatus {
            node: 0x1234_0000,
            name: name.to_owned(),
            software: "0.1.0".to_owned(),
            uptime_ms: 61_000,
            shards,
            engine: EngineStatus { name: "fjall".to_owned(), figures: vec![] },
            log: vec![],
        };
        NodeReport { client_addr: format!("{name}:7401"), name: name.to_owned(), status: Ok(status) }
    }

    fn table() -> ShardTable {
        let replicas = vec![ReplicaRef { node: 1, replica: 1 }];
        ShardTable {
            version: 1,
            shards: vec![ShardEntry { shard: 0, leader: None, replicas }],
            nodes: vec![],
        }
    }

    #[test]
    fn the_leader_of_the_highest_term_is_shown() {
        let reports = [
            report("a", vec![shard(ShardRole::Leader, 3, 100)]),
            report("b", vec![shard(ShardRole::Leader, 4, 120)]),
            report("c", vec![shard(ShardRole::Follower, 4, 110)]),
        ];
        let json = as_json(&reports, &table());
        assert_eq!(json["shards"][0]["leader"], "b");
        assert_eq!(json["healthy"], true);
        assert_eq!(json["nodes"][0]["leads"], 1);
        let text = as_text(&reports, &table());
        let row = text.lines().find(|line| line.trim_start().starts_with("0 ")).unwrap();
        assert!(row.contains(" b ") && row.contains(" 20 "), "{text}");
    }

    #[test]
    fn a_shard_without_a_leader_is_not_healthy() {
        let reports = [report("a", vec![shard(ShardRole::Candidate, 3, 100)])];
        assert_eq!(as_json(&reports, &table())["healthy"], false);
        assert!(as_text(&reports, &table()).contains("none"));
    }
}
