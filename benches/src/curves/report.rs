//! What was measured: points, and the table of a curve.
//!
//! Contract: the JSON keeps every point of every round with every figure under its own name; a table shows one row for
//! each place and series, in the order in which they were first measured. A figure that a point does not have is left
//! empty.

use super::shape::{Column, Of, Shape};
use serde::Serialize;
use std::collections::BTreeMap;

/// Figures by their names.
pub type Figures = BTreeMap<&'static str, f64>;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Where on the curve.
    pub x: f64,
    /// Which of its lines; empty where there is one.
    pub series: String,
    /// From 1.
    pub round: u32,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One curve with what was measured.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it looks like.
    pub shape: &'static Shape,
    /// In the order in which they were measured.
    pub points: Vec<Point>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// In the order in which they ran.
    pub curves: Vec<Curve>,
    /// Points that could not be run.
    pub failures: Vec<String>,
    /// Answers that broke the rules.
    pub wrong: Vec<String>,
}

impl Measured {
    /// Adds a point to its curve.
    pub fn add(&mut self, shape: &'static Shape, point: Point) {
        match self.curves.iter_mut().find(|curve| curve.shape.name == shape.name) {
            Some(curve) => curve.points.push(point),
            None => self.curves.push(Curve { shape, points: vec![point] }),
        }
    }

    /// Every point of every round.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let curves = self.curves.iter().map(|curve| {
            serde_json::json!({
                "curve": curve.shape.name,
                "x": curve.shape.x.label,
                "series": curve.shape.series,
                "points": curve.points,
            })
        });
        serde_json::json!({
            "curves": curves.collect::<Vec<_>>(),
            "failures": self.failures,
            "wrong": self.wrong,
        })
    }

    /// The tables of all curves, and what went wrong.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text: Vec<_> = self.curves.iter().map(Curve::markdown).collect();
        for (label, lines) in [("FAILED: ", &self.failures), ("WRONG: ", &self.wrong)] {
            if !lines.is_empty() {
                text.push(lines.iter().map(|line| format!("{label}{line}\n")).collect());
            }
        }
        text.join("\n")
    }
}

impl Curve {
    /// The places, in the order of their first points.
    #[must_use]
    pub fn places(&self) -> Vec<f64> {
        let mut places = Vec::new();
        for point in &self.points {
            if !places.contains(&point.x) {
                places.push(point.x);
            }
        }
        places
    }

    /// The series, likewise.
    #[must_use]
    pub fn series(&self) -> Vec<&str> {
        let mut series = Vec::new();
        for point in &self.points {
            if !series.contains(&point.series.as_str()) {
                series.push(point.series.as_str());
            }
        }
        series
    }

    /// A figure at a place; absent where it was not measured there.
    #[must_use]
    pub fn figure(&self, figure: &str, of: Of, x: f64, series: &str) -> Option<f64> {
        let there = self.points.iter().filter(|point| point.x == x && point.series == series);
        let mut found: Vec<f64> = there.filter_map(|point| point.figures.get(figure).copied()).collect();
        found.sort_by(f64::total_cmp);
        let middle = found.get(found.len().checked_sub(1)? / 2).copied();
        match of {
            Of::Middle => middle,
            Of::Highest => found.last().copied(),
            Of::ByFirst => {
                let first = self.points.iter().find(|point| point.series == series)?.x;
                let first = self.figure(figure, Of::Middle, first, series)?;
                (first > 0.0).then(|| middle.map(|middle| middle / first))?
            }
        }
    }

    /// Its table, under its title.
    #[must_use]
    pub fn markdown(&self) -> String {
        let has_series = !self.shape.series.is_empty();
        let mut heads = vec![self.shape.x.label];
        heads.extend(has_series.then_some(self.shape.series));
        heads.extend(self.shape.columns.iter().map(|column| column.head));
        let mut text = format!("### {}\n{}", self.shape.title, line_of(&heads));
        text.push_str(&format!("|{}\n", "---:|".repeat(heads.len())));
        for x in self.places() {
            for series in self.series() {
                let is_there = |point: &Point| point.x == x && point.series == series;
                if !self.points.iter().any(is_there) {
                    continue;
                }
                let mut cells = vec![number(x, 0)];
                cells.extend(has_series.then(|| series.to_owned()));
                cells.extend(self.shape.columns.iter().map(|column| self.cell(column, x, series)));
                text.push_str(&line_of(&cells));
            }
        }
        text
    }

    fn cell(&self, column: &Column, x: f64, series: &str) -> String {
        let figure = self.figure(column.figure, column.of, x, series);
        let sign = if column.of == Of::ByFirst { "×" } else { "" };
        figure.map(|figure| number(figure / column.unit, column.digits) + sign).unwrap_or_default()
    }
}

fn line_of<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// With its thousands set apart.
#[must_use]
pub fn number(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.find('.').map_or((text.as_str(), ""), |at| text.split_at(at));
    let mut spaced = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left % 3 == 0 && whole.len() > 4 {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced + rest
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::shape::{Axis, MS, P99, THROUGHPUT, column};
    use super::*;

    pub(in super::super) static SHAPE: Shape = Shape {
        name: "shards",
        title: "Shards",
        x: Axis { label: "shards", is_log: true },
        series: "callers",
        columns: &[
            column("ops_per_s", "ops/s", 1.0, 0),
            Column { of: Of::ByFirst, ..column("ops_per_s", "by the first", 1.0, 2) },
            column("p99_us", "p99 ms", MS, 1),
            Column { of: Of::Highest, ..column("p99_us", "highest p99 ms", MS, 1) },
        ],
        panels: &[THROUGHPUT, P99],
    };

    pub(in super::super) fn measured() -> Measured {
        let mut measured = Measured::default();
        for (x, series, round, ops_per_s, p99_us) in [
            (1.0, "64", 1, 10_000.0, 4000.0),
            (1.0, "512", 1, 30_000.0, 9000.0),
            (3.0, "64", 1, 5000.0, 8000.0),
            (3.0, "64", 2, 7000.0, 6000.0),
            (3.0, "64", 3, 4000.0, 7000.0),
            (16.0, "64", 1, 2500.4, 0.0),
        ] {
            let mut figures = Figures::from([("ops_per_s", ops_per_s)]);
            if p99_us > 0.0 {
                figures.insert("p99_us", p99_us);
            }
            measured.add(&SHAPE, Point { x, series: series.to_owned(), round, figures });
        }
        measured
    }

    #[test]
    fn a_table_has_a_row_for_each_place_and_series() {
        let mut all = measured();
        all.wrong.push("shards: a key was granted twice".to_owned());
        let expected = "\
### Shards
| shards | callers | ops/s | by the first | p99 ms | highest p99 ms |
|---:|---:|---:|---:|---:|---:|
| 1 | 64 | 10 000 | 1.00× | 4.0 | 4.0 |
| 1 | 512 | 30 000 | 1.00× | 9.0 | 9.0 |
| 3 | 64 | 5000 | 0.50× | 7.0 | 8.0 |
| 16 | 64 | 2500 | 0.25× |  |  |

WRONG: shards: a key was granted twice
";
        assert_eq!(all.markdown(), expected);
    }

    #[test]
    fn the_json_keeps_every_round_with_its_figures() {
        let json = measured().json();
        let points = json["curves"][0]["points"].as_array().unwrap();
        assert_eq!((points.len(), &json["curves"][0]["curve"]), (6, &serde_json::json!("shards")));
        let expected = serde_json::json!(
            {"x": 3.0, "series": "64", "round": 2, "ops_per_s": 7000.0, "p99_us": 6000.0});
        assert_eq!(points[3], expected);
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (given, digits, expected) in [
            (999.0, 0, "999"),
            (1234.5, 1, "1234.5"),
            (12_345.0, 0, "12 345"),
            (1e7, 0, "10 000 000"),
            (0.25, 2, "0.25"),
        ] {
            assert_eq!(number(given, digits), expected);
        }
    }
}
