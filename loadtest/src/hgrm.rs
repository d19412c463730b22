//! Latencies in the text form that HdrHistogram's own tools read and draw.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Nanoseconds in one unit of the file, which is microseconds.
const SCALE: f64 = 1000.0;
/// Lines for each halving of the distance to 100 %, as in the other implementations.
const TICKS: u32 = 5;

/// The percentile distribution of `histogram`, in microseconds.
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    // Writing to a string cannot fail.
    let _ = write_lines(&mut out, histogram);
    out
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn write_lines(out: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / SCALE, step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10}")?;
        }
    }
    let (mean, deviation) = (histogram.mean() / SCALE, histogram.stdev() / SCALE);
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let (max, count) = (histogram.max() as f64 / SCALE, histogram.len());
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        histogram.distinct_values() / usize::from(histogram.buckets()).max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_holds_all_and_values_never_fall() {
        let mut histogram = crate::plays::histogram();
        for value in 1..=10_000_u64 {
            histogram.record(value * 1000).unwrap();
        }
        let text = hgrm(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("Value") && !line.is_empty())
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2]), (1.0, 10_000.0));
        assert!((last[0] - 10_000.0).abs() < 10.0, "three digits are kept: {}", last[0]);
        let middle = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!((middle[0] - 5000.0).abs() < 10.0);
        assert!(text.contains("#[Max"));
    }
}
