//! Over nodes. One keeps one copy of each shard; three and five keep three.

use super::{COLUMNS, Setting, for_callers};
use crate::curves::shape::{Axis, P99, Shape, THROUGHPUT};

pub(super) static SHAPE: Shape = Shape {
    name: "nodes",
    title: "Nodes",
    x: Axis { label: "nodes", is_log: false },
    series: "callers",
    columns: &COLUMNS,
    panels: &[THROUGHPUT, P99],
};

pub(super) fn settings() -> Vec<Setting> {
    for_callers(&[1, 3, 5], |setting, nodes| Setting {
        nodes: u16::try_from(nodes).unwrap_or(u16::MAX),
        ..setting
    })
}
