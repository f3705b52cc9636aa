//! What a comparison has shown: rows, one for each run, and a table of their medians with ratios.

use super::Peer;
use crate::load::Report;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

/// One peer under one number of workers, in one round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    #[serde(serialize_with = "by_name")]
    pub peer: Peer,
    /// How many nodes it ran.
    pub nodes: u16,
    /// Whether what it acknowledged survives a power cut.
    pub durable: bool,
    /// Callers at once.
    pub workers: usize,
    /// From 1.
    pub round: u32,
    /// Operations answered a second.
    pub ops_per_s: f64,
    /// Half took no longer, µs.
    pub p50_us: u64,
    /// 99 %.
    pub p99_us: u64,
    /// 99.9 %.
    pub p999_us: u64,
    /// Processor time of all server processes for an operation, µs; absent where nothing was answered.
    pub cpu_us_per_op: Option<f64>,
    /// Bytes that they handed to the disk for an operation; absent where nothing was answered.
    pub bytes_written_per_op: Option<f64>,
    /// Operations that failed, were answered wrongly or were lost.
    pub errors: u64,
}

fn by_name<S: serde::Serializer>(peer: &Peer, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(peer.name())
}

impl Row {
    /// From one run.
    #[must_use]
    pub fn new(peer: Peer, workers: usize, round: u32, report: &Report) -> Self {
        let failed: u64 = report.errors.values().map(|errors| errors.count).sum();
        Self {
            peer,
            nodes: peer.nodes(),
            durable: peer.is_durable(),
            workers,
            round,
            ops_per_s: report.all.ops_per_s,
            p50_us: report.all.p50_us,
            p99_us: report.all.p99_us,
            p999_us: report.all.p999_us,
            cpu_us_per_op: report.server_cpu_us_per_op,
            bytes_written_per_op: report.bytes_written_per_op,
            errors: failed + report.wrong + report.read_back_lost.len() as u64,
        }
    }
}

impl Display for Row {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let (name, workers) = (self.peer.name(), self.workers);
        let (p50, p99) = (ms(self.p50_us), ms(self.p99_us));
        write!(to, "{name}, {workers} workers: {:.0} ops/s, p50 {p50} ms, p99 {p99} ms", self.ops_per_s)?;
        if self.errors > 0 { write!(to, ", {} errors", self.errors) } else { Ok(()) }
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// In the order in which they ran.
    pub rows: Vec<Row>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// Peers that could not be run.
    pub failures: Vec<String>,
    /// Answers that broke the rules.
    pub wrong: Vec<String>,
}

impl Comparison {
    /// For people: medians over the rounds, and how many times a peer's operations Hapax does in the same time.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "workers",
            "peer",
            "nodes",
            "durable",
            "ops/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "CPU µs/op",
            "B/op",
            "errors",
            "hapax/it",
            "hapax-1/it",
        ]);
        for workers in self.rows.iter().map(|row| row.workers).collect::<BTreeSet<_>>() {
            for peer in Peer::ALL {
                if let Some(cells) = self.cells(peer, workers) {
                    table.add_row(cells);
                }
            }
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            if !(at == 1 || at == 3) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{table}\n");
        for (label, lines) in [("", &self.notes), ("FAILED: ", &self.failures), ("WRONG: ", &self.wrong)] {
            text.extend(lines.iter().map(|line| format!("{label}{line}\n")));
        }
        text
    }

    fn cells(&self, peer: Peer, workers: usize) -> Option<Vec<String>> {
        let ops_per_s = self.ops_per_s(peer, workers)?;
        let of = |figure: fn(&Row) -> u64| self.median(peer, workers, |row| Some(figure(row)));
        let time = |figure: fn(&Row) -> u64| of(figure).map(ms).unwrap_or_default();
        let amount = |figure: fn(&Row) -> Option<f64>, digits: usize| {
            self.median(peer, workers, figure).map(|amount| format!("{amount:.digits$}")).unwrap_or_default()
        };
        let errors: u64 = self.of(peer, workers).map(|row| row.errors).sum();
        let ratio =
            |own| self.ratio(own, peer, workers).map(|ratio| format!("{ratio:.2}x")).unwrap_or_default();
        Some(vec![
            workers.to_string(),
            peer.name().to_owned(),
            peer.nodes().to_string(),
            if peer.is_durable() { "yes" } else { "no" }.to_owned(),
            format!("{ops_per_s:.0}"),
            time(|row| row.p50_us),
            time(|row| row.p99_us),
            time(|row| row.p999_us),
            amount(|row| row.cpu_us_per_op, 1),
            amount(|row| row.bytes_written_per_op, 0),
            errors.to_string(),
            ratio(Peer::Hapax),
            ratio(Peer::HapaxOne),
        ])
    }

    /// How many times `peer`'s operations a second `own` does; absent where either did none.
    #[must_use]
    pub fn ratio(&self, own: Peer, peer: Peer, workers: usize) -> Option<f64> {
        let (own, peer) = (self.ops_per_s(own, workers)?, self.ops_per_s(peer, workers)?);
        (peer > 0.0).then(|| own / peer)
    }

    fn ops_per_s(&self, peer: Peer, workers: usize) -> Option<f64> {
        self.median(peer, workers, |row| Some(row.ops_per_s))
    }

    fn of(&self, peer: Peer, workers: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.peer == peer && row.workers == workers)
    }

    /// The middle one of the rounds, or the lower of the two in the middle.
    fn median<T: PartialOrd + Copy>(
        &self,
        peer: Peer,
        workers: usize,
        figure: impl Fn(&Row) -> Option<T>,
    ) -> Option<T> {
        let mut figures: Vec<_> = self.of(peer, workers).filter_map(figure).collect();
        figures.sort_by(|one, two| one.partial_cmp(two).unwrap_or(std::cmp::Ordering::Equal));
        figures.get(figures.len().checked_sub(1)? / 2).copied()
    }
}

fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: Peer, workers: usize, round: u32, ops_per_s: f64) -> Row {
        Row {
            peer,
            nodes: peer.nodes(),
            durable: peer.is_durable(),
            workers,
            round,
            ops_per_s,
            p50_us: 1234,
            p99_us: 5000 * u64::from(round),
            p999_us: 9000,
            cpu_us_per_op: Some(12.34),
            bytes_written_per_op: Some(1000.0),
            errors: 0,
        }
    }

    fn comparison() -> Comparison {
        let mut rows = Vec::new();
        for (round, hapax, nats) in [(1, 300.0, 100.0), (2, 400.0, 900.0), (3, 100.0, 150.0)] {
            rows.push(row(Peer::Hapax, 64, round, hapax));
            rows.push(row(Peer::Nats, 64, round, nats));
        }
        rows.push(row(Peer::HapaxOne, 64, 1, 600.0));
        rows.push(row(Peer::Nats, 512, 1, 0.0));
        rows.push(row(Peer::Hapax, 512, 1, 5.0));
        Comparison { rows, ..Comparison::default() }
    }

    #[test]
    fn ratios_are_of_medians_and_need_both() {
        let all = comparison();
        assert_eq!(all.ratio(Peer::Hapax, Peer::Nats, 64), Some(2.0));
        assert_eq!(all.ratio(Peer::HapaxOne, Peer::Nats, 64), Some(4.0));
        assert_eq!(all.ratio(Peer::Hapax, Peer::Nats, 512), None);
        assert_eq!(all.ratio(Peer::Hapax, Peer::Redis, 64), None);
        // Of two, the lower.
        let even = Comparison { rows: all.rows[..4].to_vec(), ..Comparison::default() };
        assert_eq!(even.ops_per_s(Peer::Hapax, 64), Some(300.0));
    }

    #[test]
    fn the_table_tells_medians_ratios_and_notes() {
        let mut all = comparison();
        all.notes.push("etcd is left out: there is no etcd; apt-get install etcd-server".to_owned());
        all.wrong.push("nats: a key was granted twice".to_owned());
        all.rows[1].errors = 7;
        let text = all.table();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let nats =
            text.lines().map(words).find(|line| line.get(1).is_some_and(|peer| peer == "nats")).unwrap();
        let expected = [
            "64", "nats", "3", "no", "150", "1.234", "10.000", "9.000", "12.3", "1000", "7", "2.00x", "4.00x",
        ];
        assert_eq!(nats, expected, "{text}");
        assert!(text.contains("\netcd is left out") && text.contains("WRONG: nats: a key"), "{text}");
    }

    #[test]
    fn rows_are_kept_as_they_are_named() {
        let json = serde_json::to_value(row(Peer::RedisEverySecond, 8, 2, 1.5)).unwrap();
        let expected = serde_json::json!({
            "peer": "redis-everysec", "nodes": 1, "durable": false, "workers": 8, "round": 2, "ops_per_s": 1.5,
            "p50_us": 1234, "p99_us": 10_000, "p999_us": 9000, "cpu_us_per_op": 12.34,
            "bytes_written_per_op": 1000.0, "errors": 0,
        });
        assert_eq!(json, expected);
    }
}
