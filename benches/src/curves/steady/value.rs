//! Over the size of results.

use super::{COLUMNS, Setting};
use crate::curves::bench::as_f64;
use crate::curves::shape::{Axis, Shape, THROUGHPUT, TIMES};

const CALLERS: usize = 64;

pub(super) static SHAPE: Shape = Shape {
    name: "value",
    title: "Size of results, 64 callers",
    x: Axis { label: "bytes of a result", is_log: true },
    series: "",
    columns: &COLUMNS,
    panels: &[THROUGHPUT, TIMES],
};

pub(super) fn settings() -> Vec<Setting> {
    let of = |value_bytes: usize| Setting {
        value_bytes,
        ..Setting::usual(as_f64(value_bytes as u64), String::new(), CALLERS)
    };
    [0, 64, 256, 1024, 4096, 16_384, 65_536].map(of).to_vec()
}
