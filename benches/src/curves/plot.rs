//! A curve as a drawing: one SVG with its panels side by side.
//!
//! Contract: the same points make the same bytes, on every machine: text is left to whoever shows the drawing, and no
//! font is looked for. Along the axes stand the places that were measured. A figure that was not measured, and one of
//! 0 where ratios are drawn, is left out.

use super::report::{Curve, number};
use super::shape::{Line, Panel};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// Of one panel.
const SIZE: (u32, u32) = (680, 420);
const MARGIN: i32 = 14;
/// The width of a legend beside the lines.
const LEGEND: u32 = 160;
const FONT: &str = "sans-serif";
/// Apart also for those who see fewer colours, and on white and black.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 94, 240),
    RGBColor(150, 130, 0),
];

/// Draws it.
///
/// # Errors
/// When nothing was measured that could be drawn.
pub fn svg(curve: &Curve) -> Result<String> {
    let mut text = String::new();
    {
        let panels = curve.shape.panels;
        let count = u32::try_from(panels.len())?;
        let root = SVGBackend::with_string(&mut text, (SIZE.0 * count, SIZE.1)).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, panel) in root.split_evenly((1, panels.len())).iter().zip(panels) {
            draw(area, curve, panel)?;
        }
        root.present()?;
    }
    Ok(text)
}

/// A line with its legend.
struct Drawn {
    label: String,
    points: Vec<(f64, f64)>,
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, curve: &Curve, panel: &Panel) -> Result<()> {
    let xs = Scale::of(curve.shape.x.is_log, curve.places());
    let lines = lines(curve, panel);
    let ys = Scale::upwards(panel.is_log, lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)));
    let is_labelled = lines.iter().any(|line| !line.label.is_empty());
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(if is_labelled { LEGEND + 10 } else { 14 })
        .caption(curve.shape.title, (FONT, 17))
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc(curve.shape.x.label)
        .y_desc(panel.y)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
    }
    legend(area, &lines)
}

/// Beside the lines, so that it hides none of them.
fn legend(area: &DrawingArea<SVGBackend<'_>, Shift>, lines: &[Drawn]) -> Result<()> {
    let left = i32::try_from(SIZE.0 - LEGEND)?;
    let labelled = lines.iter().zip(COLOURS.into_iter().cycle()).filter(|(line, _)| !line.label.is_empty());
    for ((line, colour), y) in labelled.zip((MARGIN + 34..).step_by(20)) {
        area.draw(&PathElement::new(vec![(left, y), (left + 18, y)], colour.stroke_width(2)))?;
        area.draw(&Text::new(line.label.clone(), (left + 24, y - 6), (FONT, 13)))?;
    }
    Ok(())
}

fn lines(curve: &Curve, panel: &Panel) -> Vec<Drawn> {
    let mut lines = Vec::new();
    for series in curve.series() {
        for Line { figure, label, unit, of } in panel.lines {
            let at = |x: f64| Some((x, curve.figure(figure, *of, x, series)? / unit));
            let points = curve.places().into_iter().filter_map(at);
            let points: Vec<_> = points.filter(|(_, y)| !panel.is_log || *y > 0.0).collect();
            let name = match (series, curve.shape.series) {
                ("", _) => String::new(),
                // A series of numbers needs the name of what is counted.
                (series, counted) if series.ends_with(|c: char| c.is_ascii_digit()) => {
                    format!("{series} {counted}")
                }
                (series, _) => series.to_owned(),
            };
            let parts = [name.as_str(), label].into_iter().filter(|part| !part.is_empty());
            if !points.is_empty() {
                lines.push(Drawn { label: parts.collect::<Vec<_>>().join(", "), points });
            }
        }
    }
    lines
}

/// An axis: where a value stands, and which values are written beside it.
#[derive(Debug)]
struct Scale {
    is_log: bool,
    values: Vec<f64>,
    /// What 0 counts as where ratios are drawn.
    zero: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Through these values, which are all written.
    fn of(is_log: bool, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let lowest = values.iter().copied().find(|value| *value > 0.0).unwrap_or(1.0);
        let mut scale = Self { is_log, values, zero: lowest / 4.0, from: 0.0, to: 1.0 };
        let first = scale.values.first().map_or(0.0, |value| scale.place(*value));
        let last = scale.values.last().map_or(1.0, |value| scale.place(*value));
        let room = if last > first { (last - first) * 0.04 } else { 0.5 };
        (scale.from, scale.to) = (first - room, last + room);
        scale
    }

    /// Round values around these: from 0, or of each decade.
    fn upwards(is_log: bool, values: impl Iterator<Item = f64>) -> Self {
        let (lowest, highest) = values.fold((f64::MAX, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let mut values = Vec::new();
        if is_log {
            let mut decade = 10f64.powf(lowest.min(highest).log10().floor() - 1.0);
            while decade <= highest * 2.5 {
                let rounds = [1.0, 2.0, 5.0].map(|digit| digit * decade).into_iter();
                values.extend(rounds.filter(|round| *round >= lowest / 2.5 && *round <= highest * 2.5));
                decade *= 10.0;
            }
        } else {
            let step = step_for(highest);
            let mut at = 0.0;
            while at < highest * 1.05 + step {
                values.push(at);
                at += step;
            }
        }
        let mut scale = Self::of(is_log, values);
        if let (Some(first), Some(last)) = (scale.values.first(), scale.values.last()) {
            (scale.from, scale.to) = (scale.place(*first), scale.place(*last));
        }
        scale
    }

    fn place(&self, value: f64) -> f64 {
        if self.is_log { (if value > 0.0 { value } else { self.zero }).log2() } else { value }
    }

    fn part(&self, value: f64) -> f64 {
        (self.place(value) - self.from) / (self.to - self.from)
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "pixels of one drawing")]
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        first + (self.part(*value) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.values.clone()
    }

    fn range(&self) -> Range<f64> {
        let end = |value: Option<&f64>| value.copied().unwrap_or_default();
        end(self.values.first())..end(self.values.last())
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        short(*value)
    }
}

/// About five of them reach up to a value.
fn step_for(highest: f64) -> f64 {
    let decade = 10f64.powf((highest / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| highest / step <= 6.0)
        .unwrap_or(highest)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 && value % 1e5 == 0.0 => format!("{} M", value / 1e6),
        value if value >= 1e4 && value % 1e3 == 0.0 => format!("{} k", value / 1e3),
        value if value.fract() == 0.0 => number(value, 0),
        value => {
            let digits = if value < 0.01 { 4 } else { 2 };
            format!("{value:.digits$}").trim_end_matches('0').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::measured;
    use super::*;

    #[test]
    fn a_drawing_has_its_axes_legend_and_lines_and_is_the_same_twice() {
        let all = measured();
        let text = svg(&all.curves[0]).unwrap();
        assert_eq!(text, svg(&all.curves[0]).unwrap());
        assert!(text.starts_with("<svg width=\"1360\" height=\"420\"") && text.ends_with("</svg>\n"));
        for word in
            ["operations a second", "p99 of an operation, ms", "64 callers", "512 callers", "shards", "30 k"]
        {
            assert!(text.lines().any(|line| line.trim() == word), "{word}: {text}");
        }
        // In each panel a line and its mark in the legend.
        for colour in ["#0072B2", "#D55E00"] {
            let line = format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{colour}\"");
            assert_eq!(text.matches(&line).count(), 4, "{text}");
        }
        assert_eq!(text.matches("<circle").count(), 7);
    }

    #[test]
    fn axes_are_marked_at_what_was_measured_and_at_round_values() {
        let sizes = Scale::of(true, vec![64.0, 0.0, 256.0, 1024.0]);
        assert_eq!(sizes.values, [0.0, 64.0, 256.0, 1024.0]);
        assert_eq!(
            sizes.values.iter().map(|value| sizes.place(*value)).collect::<Vec<_>>(),
            [4.0, 6.0, 8.0, 10.0]
        );
        let rates = Scale::upwards(false, [12_000.0, 31_000.0].into_iter());
        assert_eq!(rates.values, [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0]);
        let times = Scale::upwards(true, [0.9, 12.0].into_iter());
        assert_eq!(times.values, [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!((short(2.5e6), short(0.05), short(100.0)), ("2.5 M".into(), "0.05".into(), "100".into()));
        assert_eq!(Scale::upwards(false, std::iter::empty()).values.first(), Some(&0.0));
    }
}
