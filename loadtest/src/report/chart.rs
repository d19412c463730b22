//! Charts as SVG text: lines over an axis, and bars with their spread.
//!
//! Knows numbers and labels, and nothing of runs. Colours are classes (`c0`, `c1`, …) that the page defines, so that
//! charts follow its light and dark forms.

use std::fmt::Write as _;

/// Colours that the page has; more lines begin again.
pub const COLOURS: usize = 8;

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Ticks that a linear axis aims for.
const TICKS: f64 = 5.0;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which colour; lines of one run have the same.
    pub colour: usize,
    /// Drawn with gaps.
    pub dashed: bool,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// How an axis counts.
#[derive(Clone, Debug)]
pub enum Axis {
    /// From zero (or a negative start) in even steps.
    Linear,
    /// In powers of ten; values at or below zero are left out.
    Log,
    /// Percentiles: 0, 90, 99, 99.9 % are equally far from each other.
    Percentile,
}

/// Lines over axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// For those who can't see it.
    pub title: String,
    /// What is on the horizontal axis.
    pub x_label: String,
    /// What is on the vertical axis.
    pub y_label: String,
    /// See [`Axis`].
    pub x: Axis,
    /// See [`Axis`].
    pub y: Axis,
    /// How numbers on the vertical axis are written.
    pub y_text: fn(f64) -> String,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Axis {
    /// Where a value is, before scaling.
    fn place(&self, value: f64) -> Option<f64> {
        match self {
            Axis::Linear => Some(value),
            Axis::Log => (value > 0.0).then(|| value.log10()),
            // The distance to 100 %, in powers of ten.
            Axis::Percentile => (value < 100.0).then(|| -((100.0 - value) / 100.0).log10()),
        }
    }

    /// Where the axis begins and ends, and its ticks: each a place and its text.
    fn ticks(&self, low: f64, high: f64, text: fn(f64) -> String) -> (f64, f64, Vec<(f64, String)>) {
        match self {
            Axis::Linear => {
                let step = nice((high - low.min(0.0)).max(1e-9) / TICKS);
                let start = if low < 0.0 { low } else { 0.0 };
                let first = (start / step).ceil() * step;
                // A little more than the highest value, so that a line does not run along the edge.
                let end = (high * 1.02).max(first + step);
                let ticks = (0..64).map(|i| first + f64::from(i) * step).take_while(|tick| *tick <= end);
                (start, end, ticks.map(|tick| (tick, text(tick))).collect())
            }
            Axis::Log => {
                let (from, to) = (low.floor(), high.ceil().max(low.floor() + 1.0));
                let ticks = (0..16).map(|i| from + f64::from(i)).take_while(|tick| *tick <= to);
                (from, to, ticks.map(|tick| (tick, text(10_f64.powf(tick)))).collect())
            }
            Axis::Percentile => {
                let all = [
                    (0.0, "0 %"),
                    (1.0, "90 %"),
                    (2.0, "99 %"),
                    (3.0, "99.9 %"),
                    (4.0, "99.99 %"),
                    (5.0, "99.999 %"),
                    (6.0, "99.9999 %"),
                ];
                let ticks = all.iter().take_while(|(place, _)| *place <= high.max(2.0) + 0.01);
                (0.0, high.max(2.0), ticks.map(|(place, text)| (*place, (*text).to_owned())).collect())
            }
        }
    }
}

/// The next of 1, 2, 5, 10, … at or above `step`.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|factor| factor * power).find(|nice| *nice >= step).unwrap_or(step)
}

impl Chart {
    /// The chart as an `svg` element; empty if there is nothing to draw.
    #[must_use]
    pub fn svg(&self) -> String {
        let placed: Vec<(&Line, Vec<(f64, f64)>)> = self
            .lines
            .iter()
            .map(|line| {
                let place = |(x, y): &(f64, f64)| Some((self.x.place(*x)?, self.y.place(*y)?));
                (line, line.points.iter().filter_map(place).collect())
            })
            .collect();
        let all = || placed.iter().flat_map(|(_, points)| points);
        if all().next().is_none() {
            return String::new();
        }
        let range = |pick: fn(&(f64, f64)) -> f64| {
            all().map(pick).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((x_low, x_high), (y_low, y_high)) = (range(|point| point.0), range(|point| point.1));
        let plain = |value: f64| format!("{value}");
        let (x_from, x_to, x_ticks) = self.x.ticks(x_low, x_high, plain);
        let (y_from, y_to, y_ticks) = self.y.ticks(y_low, y_high, self.y_text);
        let x_to = if matches!(self.x, Axis::Linear) { x_high.max(x_from + 1e-9) } else { x_to };
        let x_at = |x: f64| LEFT + (x - x_from) / (x_to - x_from) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - (y - y_from) / (y_to - y_from) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        // Writing to a string cannot fail.
        let _ = self.write_axes(&mut out, &x_ticks, &y_ticks, &x_at, &y_at);
        for (line, points) in &placed {
            let path: Vec<String> =
                points.iter().map(|(x, y)| format!("{:.1},{:.1}", x_at(*x), y_at(*y))).collect();
            let dashed = if line.dashed { " dashed" } else { "" };
            let _ = write!(
                out,
                "<polyline class=\"l c{}{dashed}\" points=\"{}\"/>",
                line.colour % COLOURS,
                path.join(" ")
            );
        }
        out + "</svg>"
    }

    fn write_axes(
        &self,
        out: &mut String,
        x_ticks: &[(f64, String)],
        y_ticks: &[(f64, String)],
        x_at: &dyn Fn(f64) -> f64,
        y_at: &dyn Fn(f64) -> f64,
    ) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (place, text) in y_ticks {
            let y = y_at(*place);
            write!(out, "<line class=\"g\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            write!(
                out,
                "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escape(text)
            )?;
        }
        for (place, text) in x_ticks.iter().filter(|(place, _)| x_at(*place) <= right + 1.0) {
            let x = x_at(*place);
            write!(out, "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>")?;
            write!(out, "<text class=\"m\" x=\"{x:.1}\" y=\"{}\">{}</text>", bottom + 16.0, escape(text))?;
        }
        let (middle, low) = (f64::midpoint(LEFT, right), HEIGHT - 6.0);
        write!(out, "<text class=\"m n\" x=\"{middle}\" y=\"{low}\">{}</text>", escape(&self.x_label))?;
        let half = f64::midpoint(TOP, bottom);
        write!(
            out,
            "<text class=\"m n\" transform=\"translate(14 {half}) rotate(-90)\">{}</text>",
            escape(&self.y_label)
        )
    }
}

/// One bar: its name, its value, and from where to where the value varied.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is called.
    pub name: String,
    /// Which colour.
    pub colour: usize,
    /// How long it is.
    pub value: f64,
    /// The part that is drawn darker, from the left.
    pub part: Option<f64>,
    /// The least and the greatest.
    pub spread: Option<(f64, f64)>,
    /// What stands at its end.
    pub text: String,
}

/// Bars below each other, as an `svg` element.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> String {
    const STEP: f64 = 30.0;
    const NAME: f64 = 120.0;
    const TEXT: f64 = 130.0;
    let most = bars
        .iter()
        .map(|bar| bar.spread.map_or(bar.value, |(_, high)| high.max(bar.value)))
        .fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "a few bars")]
    let height = STEP * bars.len() as f64 + 8.0;
    let long = |value: f64| value / most * (WIDTH - NAME - TEXT);
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escape(title));
    let mut y = 4.0;
    for bar in bars {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>",
            NAME - 10.0,
            y + 17.0,
            escape(&bar.name)
        );
        let mut piece = |value: f64, class: &str| {
            let _ = write!(
                out,
                "<rect class=\"{class} c{}\" x=\"{NAME}\" y=\"{y}\" width=\"{:.1}\" height=\"22\" rx=\"2\"/>",
                bar.colour % COLOURS,
                long(value).max(1.0)
            );
        };
        piece(bar.value, "b");
        if let Some(part) = bar.part {
            piece(part, "p");
        }
        let mut end = bar.value;
        if let Some((low, high)) = bar.spread {
            let (from, to, middle) = (NAME + long(low), NAME + long(high), y + 11.0);
            let _ = write!(
                out,
                "<path class=\"w\" d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {}v8M{to:.1} {}v8\"/>",
                middle - 4.0,
                middle - 4.0
            );
            end = end.max(high);
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{}\">{}</text>",
            NAME + long(end) + 8.0,
            y + 16.0,
            escape(&bar.text)
        );
        y += STEP;
    }
    out + "</svg>"
}

/// Text that is safe within HTML and its attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_nice() {
        for (step, want) in [(0.9, 1.0), (1.1, 2.0), (30.0, 50.0), (0.0012, 0.002), (1.0, 1.0)] {
            assert!((nice(step) - want).abs() < want * 1e-9, "{step}");
        }
    }

    #[test]
    fn percentiles_are_evenly_spread() {
        let place = |percentile| Axis::Percentile.place(percentile).unwrap();
        assert!(
            (place(0.0)).abs() < 1e-9 && (place(90.0) - 1.0).abs() < 1e-9 && (place(99.9) - 3.0).abs() < 1e-9
        );
        assert_eq!(Axis::Percentile.place(100.0), None);
        assert_eq!(Axis::Log.place(0.0), None);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let chart = Chart {
            title: "a<b".into(),
            x_label: String::new(),
            y_label: String::new(),
            x: Axis::Linear,
            y: Axis::Log,
            y_text: |value| value.to_string(),
            lines: vec![Line { colour: 0, dashed: false, points: vec![] }],
        };
        assert_eq!(chart.svg(), "");
        let line = Line { colour: 9, dashed: true, points: vec![(0.0, 10.0), (1.0, 1000.0)] };
        let svg = Chart { lines: vec![line], ..chart }.svg();
        assert!(svg.contains("aria-label=\"a&lt;b\"") && svg.contains("c1 dashed"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(bars("x", &[]), "");
    }
}
