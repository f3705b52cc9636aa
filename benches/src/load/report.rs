//! What a run has shown, as JSON and as a table.

use super::run::Options;
use super::tally::{Kind, Tally};
use crate::servers::usage::Usage;
use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub asked: Asked,
    /// All operations together.
    pub all: Row,
    /// Each kind.
    pub kinds: Vec<Row>,
    /// Processor time of all servers for an operation, µs; absent where they are not known.
    pub server_cpu_us_per_op: Option<f64>,
    /// Of each server, processors in use: 1 is one whole core.
    pub server_cores: Vec<f64>,
    /// Processors that the load itself used.
    pub load_cores: f64,
    /// Bytes that all servers handed to the disk for an operation; absent where they are not known.
    pub bytes_written_per_op: Option<f64>,
    /// Errors by code.
    pub errors: BTreeMap<String, Errors>,
    /// Answers that broke the rules.
    pub wrong: u64,
    /// The first few of them.
    pub wrong_examples: Vec<String>,
    /// Completed keys that were read back.
    pub read_back: u64,
    /// Those that were not there as they were kept.
    pub read_back_lost: Vec<String>,
}

/// The options that shape the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    workers: usize,
    /// Calls a second; absent in a closed loop.
    rate: Option<f64>,
    warm_up_s: f64,
    measured_s: f64,
    replays_percent: f64,
    duplicates_percent: f64,
    skew: f64,
    value_bytes: [usize; 2],
    seed: u64,
}

/// One kind of operations.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kind: &'static str,
    /// How many.
    pub ops: u64,
    /// A second.
    pub ops_per_s: f64,
    /// Times, µs.
    pub p50_us: u64,
    /// 90 % took no longer.
    pub p90_us: u64,
    /// 99 %.
    pub p99_us: u64,
    /// 99.9 %.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Errors of one code.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// How many.
    pub count: u64,
    /// One of them.
    pub example: String,
}

impl Row {
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn new(kind: &'static str, times: &Histogram<u64>, seconds: f64) -> Self {
        Self {
            kind,
            ops: times.len(),
            ops_per_s: times.len() as f64 / seconds,
            p50_us: times.value_at_quantile(0.5),
            p90_us: times.value_at_quantile(0.9),
            p99_us: times.value_at_quantile(0.99),
            p999_us: times.value_at_quantile(0.999),
            max_us: times.max(),
        }
    }

    fn none(kind: &'static str) -> Self {
        Self { kind, ops: 0, ops_per_s: 0.0, p50_us: 0, p90_us: 0, p99_us: 0, p999_us: 0, max_us: 0 }
    }
}

impl Report {
    /// From what all workers have seen and the servers have used.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn new(options: &Options, tally: &Tally, usage: &Usage) -> Self {
        let seconds = options.measured.as_secs_f64();
        let ops = tally.operations() as f64;
        let per_op = |amount: f64| (!usage.servers.is_empty() && ops > 0.0).then(|| amount / ops);
        let servers = usage.all_servers();
        let errors = tally.errors().iter().map(|(code, count)| {
            (code.clone(), Errors { count: *count, example: tally.error_text(code).to_owned() })
        });
        let (wrong, wrong_examples) = tally.wrongs();
        let kinds = Kind::ALL.into_iter();
        let kinds = kinds.filter_map(|kind| Some(Row::new(kind.name(), tally.times(kind)?, seconds)));
        Self {
            asked: Asked {
                workers: options.workers,
                rate: options.rate,
                warm_up_s: options.warm_up.as_secs_f64(),
                measured_s: seconds,
                replays_percent: options.mix.replays,
                duplicates_percent: options.mix.duplicates,
                skew: options.mix.skew,
                value_bytes: [*options.value_bytes.start(), *options.value_bytes.end()],
                seed: options.seed,
            },
            all: tally.all_times().map_or_else(|| Row::none("all"), |all| Row::new("all", &all, seconds)),
            kinds: kinds.collect(),
            server_cpu_us_per_op: per_op(servers.cpu.as_secs_f64() * 1e6),
            server_cores: usage.servers.iter().map(|used| used.cpu.as_secs_f64() / seconds).collect(),
            load_cores: usage.own.cpu.as_secs_f64() / seconds,
            bytes_written_per_op: per_op(servers.written_bytes as f64),
            errors: errors.collect(),
            wrong,
            wrong_examples: wrong_examples.to_vec(),
            read_back: 0,
            read_back_lost: Vec::new(),
        }
    }

    /// Adds what was read back: how many, and what was lost.
    pub fn read_back(&mut self, (read, lost): (u64, Vec<String>)) {
        (self.read_back, self.read_back_lost) = (read, lost);
    }

    /// Whether every answer was right and something was answered.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.wrong == 0 && self.read_back_lost.is_empty() && self.all.ops > 0
    }

    /// What was wrong: the first few answers, and what was lost.
    pub fn wrongs(&self) -> impl Iterator<Item = &str> {
        self.wrong_examples.iter().chain(self.read_back_lost.iter().take(10)).map(String::as_str)
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "ops", "ops/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
        for row in self.kinds.iter().chain([&self.all]) {
            let times = [row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us];
            let cells = [row.kind.to_owned(), row.ops.to_string(), format!("{:.0}", row.ops_per_s)];
            table.add_row(cells.into_iter().chain(times.map(|us| format!("{}.{:03}", us / 1000, us % 1000))));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{table}\n");
        // Writing to a string cannot fail.
        let _infallible = self.notes(&mut text);
        text
    }

    fn notes(&self, text: &mut String) -> std::fmt::Result {
        if let (Some(cpu), Some(bytes)) = (self.server_cpu_us_per_op, self.bytes_written_per_op) {
            let cores: Vec<_> = self.server_cores.iter().map(|cores| format!("{cores:.2}")).collect();
            writeln!(
                text,
                "servers: {cpu:.1} µs of processor and {bytes:.0} bytes written for an operation"
            )?;
            writeln!(text, "cores in use: servers {}, load {:.2}", cores.join(" + "), self.load_cores)?;
        } else {
            writeln!(
                text,
                "cores in use: load {:.2}; the servers' processes are not known",
                self.load_cores
            )?;
        }
        for (code, errors) in &self.errors {
            writeln!(text, "errors: {} {code}, such as: {}", errors.count, errors.example)?;
        }
        for wrong in &self.wrong_examples {
            writeln!(text, "WRONG: {wrong}")?;
        }
        for lost in self.read_back_lost.iter().take(10) {
            writeln!(text, "LOST: {lost}")?;
        }
        writeln!(
            text,
            "answers that broke the rules: {}; read back: {} completed keys, {} lost",
            self.wrong,
            self.read_back,
            self.read_back_lost.len()
        )
    }
}
