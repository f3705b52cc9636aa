//! How Hapax scales: one thing changes from point to point, the rest stays.
//!
//! Contract: each point of a steady curve has a cluster of its own in an empty directory; the curves over records
//! share one that grows. Answers are checked as in every load, and completed keys are read back. A wrong answer and a
//! point that cannot be run are noted, and the other points are measured all the same.

pub mod bench;
mod failover;
mod grow;
pub mod plot;
mod probe;
pub mod report;
mod restart;
pub mod shape;
mod steady;

use crate::load::Report;
use anyhow::Result;
use report::{Figures, Measured, Point, number};
use shape::Shape;
use std::path::PathBuf;
use std::time::Duration;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Over callers at once.
    Workers,
    /// Over shards.
    Shards,
    /// Over the size of results.
    Value,
    /// Over the share of replays.
    Replays,
    /// Over nodes.
    Nodes,
    /// Over live records.
    Records,
    /// Starts, over live records and the log behind the last flush.
    Restart,
    /// The death of a leader, over shards.
    Failover,
}

impl Topic {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Workers,
        Self::Shards,
        Self::Value,
        Self::Replays,
        Self::Nodes,
        Self::Records,
        Self::Restart,
        Self::Failover,
    ];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Shards => "shards",
            Self::Value => "value",
            Self::Replays => "replays",
            Self::Nodes => "nodes",
            Self::Records => "records",
            Self::Restart => "restart",
            Self::Failover => "failover",
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which.
    pub topics: Vec<Topic>,
    /// How long each point is measured.
    pub measured: Duration,
    /// Before that.
    pub warm_up: Duration,
    /// How often each point.
    pub rounds: u32,
    /// How often a leader is killed at each number of shards.
    pub repeats: u32,
    /// Live records, rising.
    pub records: Vec<u64>,
    /// Nodes that hold them.
    pub record_nodes: u16,
    /// Seconds of load right before a kill.
    pub bursts: Vec<f64>,
    /// Hapax's program.
    pub program: PathBuf,
    /// Where all data goes; the system's temporary directory where absent.
    pub dir: Option<PathBuf>,
}

/// A measurement in progress.
struct Session<'a> {
    plan: &'a Plan,
    measured: Measured,
    tell: &'a mut dyn FnMut(&str),
}

/// Runs all of it, and tells each step. `seen` is given what there is after each topic.
///
/// # Errors
/// When `seen` fails. What cannot be run is among what was measured, as a failure.
pub async fn run(
    plan: &Plan,
    mut tell: impl FnMut(&str),
    mut seen: impl FnMut(&Measured) -> Result<()>,
) -> Result<Measured> {
    let mut session = Session { plan, measured: Measured::default(), tell: &mut tell };
    let has = |topic| plan.topics.contains(&topic);
    for (topic, shape, settings) in steady::all() {
        if has(topic) {
            steady::run(&mut session, shape, &settings).await;
            seen(&session.measured)?;
        }
    }
    if has(Topic::Records) || has(Topic::Restart) {
        grow::run(&mut session).await;
        seen(&session.measured)?;
    }
    if has(Topic::Failover) {
        failover::run(&mut session).await;
        seen(&session.measured)?;
    }
    Ok(session.measured)
}

impl Session<'_> {
    /// How a cluster is started.
    fn cluster(&self, nodes: u16, shards: Option<u32>) -> crate::servers::hapax::Plan {
        let (program, dir) = (self.plan.program.clone(), self.plan.dir.clone());
        crate::servers::hapax::Plan { program, nodes, shards, dir }
    }

    /// Notes a point, and tells it in a line.
    fn point(&mut self, shape: &'static Shape, x: f64, series: &str, round: u32, figures: Figures) {
        let point = Point { x, series: series.to_owned(), round, figures };
        let told =
            shape.columns.iter().filter(|column| column.of == shape::Of::Middle).filter_map(|column| {
                let figure = point.figures.get(column.figure)?;
                Some(format!("{} {}", column.head, number(figure / column.unit, column.digits)))
            });
        let told = told.collect::<Vec<_>>().join(", ");
        (self.tell)(&format!("{}: {told}", shape.place(x, series)));
        self.measured.add(shape, point);
    }

    /// Notes what was answered wrongly.
    fn check(&mut self, at: &str, report: &Report) {
        let wrongs: Vec<_> = report.wrongs().map(|wrong| format!("{at}: {wrong}")).collect();
        for wrong in wrongs {
            self.wrong(wrong);
        }
    }

    fn wrong(&mut self, wrong: String) {
        (self.tell)(&format!("WRONG: {wrong}"));
        self.measured.wrong.push(wrong);
    }

    /// Notes a point that could not be run.
    fn failed(&mut self, at: &str, error: &anyhow::Error) {
        let failure = format!("{at}: {error:#}");
        (self.tell)(&format!("FAILED: {failure}"));
        self.measured.failures.push(failure);
    }
}
