//! Over shards.

use super::{COLUMNS, Setting, for_callers};
use crate::curves::shape::{Axis, P99, Shape, THROUGHPUT};

pub(super) static SHAPE: Shape = Shape {
    name: "shards",
    title: "Shards",
    x: Axis { label: "shards", is_log: true },
    series: "callers",
    columns: &COLUMNS,
    panels: &[THROUGHPUT, P99],
};

pub(super) fn settings() -> Vec<Setting> {
    for_callers(&[1, 2, 3, 4, 8, 16, 32], |setting, shards| Setting { shards: Some(shards), ..setting })
}
