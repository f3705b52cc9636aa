//! Over callers at once.

use super::{COLUMNS, Setting};
use crate::curves::shape::{Axis, Shape, THROUGHPUT, TIMES};

pub(super) static SHAPE: Shape = Shape {
    name: "workers",
    title: "Callers at once",
    x: Axis { label: "callers", is_log: true },
    series: "",
    columns: &COLUMNS,
    panels: &[THROUGHPUT, TIMES],
};

pub(super) fn settings() -> Vec<Setting> {
    let usual =
        |workers: usize| Setting::usual(super::super::bench::as_f64(workers as u64), String::new(), workers);
    [1, 4, 16, 64, 256, 1024].map(usual).to_vec()
}
