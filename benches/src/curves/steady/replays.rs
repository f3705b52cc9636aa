//! Over the share of replays: what a retry costs against what a first call costs.
//!
//! Each point begins with the same number of completed keys, so that with replays alone there is something to ask for.

use super::{Setting, for_callers};
use crate::curves::shape::{Axis, Column, Line, MS, Of, Panel, Shape, THROUGHPUT, column, line};

const FILLED: u64 = 20_000;

pub(super) static SHAPE: Shape = Shape {
    name: "replays",
    title: "Share of replays",
    x: Axis { label: "% of calls that are replays", is_log: false },
    series: "callers",
    columns: &[
        column("ops_per_s", "ops/s", 1.0, 0),
        Column { of: Of::ByFirst, ..column("ops_per_s", "ops by fresh", 1.0, 2) },
        column("calls_per_s", "calls/s", 1.0, 0),
        Column { of: Of::ByFirst, ..column("calls_per_s", "calls by fresh", 1.0, 2) },
        column("p50_us", "p50 ms", MS, 2),
        column("p99_us", "p99 ms", MS, 1),
        column("cpu_us_per_op", "CPU µs/op", 1.0, 1),
        column("bytes_written_per_op", "B written/op", 1.0, 0),
        column("log_entries_per_op", "log entries/op", 1.0, 4),
        column("log_bytes_per_op", "log B/op", 1.0, 1),
        column("errors", "errors", 1.0, 0),
    ],
    panels: &[
        THROUGHPUT,
        Panel {
            y: "throughput by that without replays",
            is_log: false,
            lines: &[
                Line { of: Of::ByFirst, ..line("ops_per_s", "operations", 1.0) },
                Line { of: Of::ByFirst, ..line("calls_per_s", "calls", 1.0) },
            ],
        },
    ],
};

pub(super) fn settings() -> Vec<Setting> {
    for_callers(&[0, 20, 50, 80, 95, 100], |setting, replays| Setting {
        replays: f64::from(replays),
        filled: FILLED,
        ..setting
    })
}
