//! What a curve looks like: along what it goes, what its table tells, and what is drawn.

use super::report::number;

/// One curve.
#[derive(Debug)]
pub struct Shape {
    /// Its stable name, which names its files too.
    pub name: &'static str,
    /// What it shows, for people.
    pub title: &'static str,
    /// What changes from point to point.
    pub x: Axis,
    /// What sets several lines apart; nothing where there is one.
    pub series: &'static str,
    /// What the table tells.
    pub columns: &'static [Column],
    /// What is drawn, side by side.
    pub panels: &'static [Panel],
}

impl Shape {
    /// A place on it, for people.
    #[must_use]
    pub fn place(&self, x: f64, series: &str) -> String {
        let place = format!("{}, {} {}", self.name, number(x, 0), self.x.label);
        if series.is_empty() { place } else { format!("{place}, {series} {}", self.series) }
    }
}

/// What changes from point to point.
#[derive(Debug)]
pub struct Axis {
    /// With its unit.
    pub label: &'static str,
    /// Whether equal ratios are equally far apart.
    pub is_log: bool,
}

/// A figure in the table.
#[derive(Debug)]
pub struct Column {
    /// The figure's name in the JSON.
    pub figure: &'static str,
    /// With its unit.
    pub head: &'static str,
    /// What it is divided by.
    pub unit: f64,
    /// Digits behind the point.
    pub digits: usize,
    /// Which of the rounds, or against what.
    pub of: Of,
}

/// How one number comes from those of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The middle one, or the lower of the two in the middle.
    Middle,
    /// The highest.
    Highest,
    /// The middle one, by the middle one of the first point of the same series.
    ByFirst,
}

/// A part of the drawing.
#[derive(Debug)]
pub struct Panel {
    /// What is upwards, with its unit.
    pub y: &'static str,
    /// Whether equal ratios are equally far apart; otherwise it begins at 0.
    pub is_log: bool,
    /// What is drawn, for each series.
    pub lines: &'static [Line],
}

/// A figure in a drawing.
#[derive(Debug)]
pub struct Line {
    /// The figure's name in the JSON.
    pub figure: &'static str,
    /// In the legend; nothing where the series says enough.
    pub label: &'static str,
    /// What it is divided by.
    pub unit: f64,
    /// Which of the rounds, or against what.
    pub of: Of,
}

/// From µs to ms.
pub const MS: f64 = 1000.0;
/// From bytes.
pub const MIB: f64 = 1_048_576.0;

/// A column of middles.
pub const fn column(figure: &'static str, head: &'static str, unit: f64, digits: usize) -> Column {
    Column { figure, head, unit, digits, of: Of::Middle }
}

/// A line of middles.
pub const fn line(figure: &'static str, label: &'static str, unit: f64) -> Line {
    Line { figure, label, unit, of: Of::Middle }
}

/// Operations a second.
pub const THROUGHPUT: Panel =
    Panel { y: "operations a second", is_log: false, lines: &[line("ops_per_s", "", 1.0)] };

/// Times of operations.
pub const TIMES: Panel = Panel {
    y: "time of an operation, ms",
    is_log: true,
    lines: &[line("p50_us", "p50", MS), line("p99_us", "p99", MS), line("p999_us", "p99.9", MS)],
};

/// Where there are several series: p99 alone.
pub const P99: Panel = Panel { y: "p99 of an operation, ms", is_log: true, lines: &[line("p99_us", "", MS)] };
