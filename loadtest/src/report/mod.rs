//! One self-contained page out of one or several runs, or out of a comparison: what `--report` writes.
//!
//! Needs no script and loads nothing. Measures and judges nothing: verdicts are those of the runs.

pub mod chart;

use std::fmt::Write as _;

use crate::compare::{Comparison, FIGURES, Figure};
use crate::outcome::{Latency, Outcome, Verdict};
use crate::table::{bytes, plural, time};

use chart::{Axis, Bar, COLOURS, Chart, Line, bars, escape};

const MIB: f64 = 1_048_576.0;
const STYLE: &str = include_str!("page.css");

/// A page on `runs`, side by side if there are several.
#[must_use]
pub fn of_runs(runs: &[Outcome]) -> String {
    let title = match runs {
        [run] => format!("{}: {}", run.name, run.scenario),
        _ => format!("{} runs", runs.len()),
    };
    let mut body = head(&title, &line_on(runs));
    body += &runs.iter().map(callout).collect::<String>();
    body += &legend(&names(runs));
    body += &summary(runs);
    if runs.len() > 1 {
        body += &comparison_bars(runs);
    }
    body += &charts(runs);
    body += &details(runs);
    page(&title, &body)
}

/// A page on a comparison: figures over all rounds, and charts of each server's middle run.
#[must_use]
pub fn of_comparison(comparison: &Comparison) -> String {
    let title = format!("Comparison: {}", comparison.peers.join(", "));
    let middles = middle_runs(comparison);
    let line = format!(
        "{}; {} rounds in turns. {}",
        comparison.scenario,
        comparison.rounds.len(),
        line_on(&middles)
    );
    let mut body = head(&title, &line);
    body += &verdicts(comparison);
    let bars: String = FIGURES.iter().map(|figure| figure_bars(comparison, *figure)).collect();
    if bars.is_empty() {
        body += "<p>No run counts, so there is nothing to compare. What the runs were follows.</p>";
    }
    let _ = write!(body, "<div class=\"charts\">{bars}</div>");
    body += "<p class=\"soft\">Bars are medians over all rounds, whiskers the least and the greatest; × is the \
             median of the ratios to the first server within a round, which is what to compare by: the machine's \
             speed changes from round to round.</p>";
    body += "<h2>Each server's middle run</h2>";
    body += &legend(&comparison.peers);
    body += &summary(&middles);
    body += &charts(&middles);
    body += &details(&middles);
    page(&title, &body)
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n{body}\n</html>\n",
        escape(title)
    )
}

fn head(title: &str, line: &str) -> String {
    format!("<h1>{}</h1><p class=\"soft\">{}</p>", escape(title), escape(line))
}

/// What the runs have in common.
fn line_on(runs: &[Outcome]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let same = runs.iter().all(|run| run.settings == first.settings && run.scenario == first.scenario);
    let settings = if same { first.settings.as_str() } else { "settings differ, see below" };
    format!("{} · {settings} · {:.1} s measured · {}", first.scenario, first.measured_s, date(first.began_ms))
}

/// Milliseconds since 1970 as a date and time, UTC.
fn date(ms: u64) -> String {
    let (days, s) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days to a date of the Gregorian calendar, with years that begin in March.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{date:02} {:02}:{:02} UTC", s / 3600, s / 60 % 60)
}

fn names(runs: &[Outcome]) -> Vec<String> {
    runs.iter().map(|run| run.name.clone()).collect()
}

fn legend(names: &[String]) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let items = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!("<li><i class=\"c{}\"></i>{}</li>", i % COLOURS, escape(name)));
    format!("<ul class=\"legend\">{}</ul>", items.collect::<String>())
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Failed => "failed",
        Verdict::Invalid => "invalid",
    }
}

fn callout(run: &Outcome) -> String {
    let own = |what: &str, doubt: &Option<String>| {
        doubt.as_ref().map(|doubt| format!("not the server’s {what}: {doubt}"))
    };
    let apart = [
        own("rate", &run.rate_doubt),
        own("latency", &run.latency_doubt),
        own("p99.9 and longest latency", &run.tail_doubt),
    ];
    let lines = run.failures.iter().chain(&run.doubts).chain(apart.iter().flatten());
    let list: String = lines.map(|line| format!("<li>{}</li>", escape(line))).collect();
    let list = if list.is_empty() { list } else { format!("<ul class=\"plain\">{list}</ul>") };
    let class = class(run.verdict);
    format!(
        "<div class=\"callout {class}\"><p><span class=\"verdict {class}\">{}</span> · {}</p>{list}</div>",
        escape(&run.name),
        crate::table::verdict(run)
    )
}

/// How many runs of a comparison were good, and what was wrong with the others, folded away.
fn verdicts(comparison: &Comparison) -> String {
    let runs: Vec<&Outcome> = comparison.rounds.iter().flatten().flatten().collect();
    let count = |verdict| runs.iter().filter(|run| run.verdict == verdict).count();
    let class = class(comparison.verdict());
    let mut lines = String::new();
    for run in runs.iter().filter(|run| run.verdict != Verdict::Good) {
        let why: Vec<String> = run.failures.iter().chain(&run.doubts).map(|line| escape(line)).collect();
        let _ = write!(lines, "<li>{}: {}</li>", escape(&run.name), why.join("; "));
    }
    for complaint in &comparison.complaints {
        let _ = write!(lines, "<li>no outcome: {}</li>", escape(complaint));
    }
    let says = format!(
        "{} of {} runs good, {} failed, {} invalid (the machine or the generator made the figures), {} without outcome",
        count(Verdict::Good),
        comparison.rounds.iter().map(Vec::len).sum::<usize>(),
        count(Verdict::Failed),
        count(Verdict::Invalid),
        comparison.complaints.len()
    );
    let folded = if lines.is_empty() {
        format!("<p>{says}</p>")
    } else {
        format!("<details><summary>{says}</summary><ul class=\"plain\">{lines}</ul></details>")
    };
    let notes: String =
        comparison.left_out().iter().map(|line| format!("<p class=\"soft\">{}</p>", escape(line))).collect();
    format!("<div class=\"callout {class}\">{folded}{notes}</div>")
}

fn summary(runs: &[Outcome]) -> String {
    let unit = runs.first().map_or("unit", |run| run.unit.as_str());
    let mut out = format!(
        "<div class=\"scroll\"><table><tr><th>run</th><th>verdict</th><th>{}/s</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>server CPU/{unit} (user)</th><th>cores</th><th>RSS</th></tr>",
        plural(unit)
    );
    for run in runs {
        let latency = |pick: fn(&Latency) -> f64, doubt: Option<&String>| {
            doubtful(run.latency.as_ref().map_or("–".into(), |all| time(pick(all))), doubt)
        };
        let doubt = run.latency_doubt.as_ref();
        let tail = doubt.or(run.tail_doubt.as_ref());
        let server =
            |pick: &dyn Fn(&crate::outcome::Server) -> String| run.server.as_ref().map_or("–".into(), pick);
        let cells = [
            latency(|all| all.p50_us, doubt),
            latency(|all| all.p90_us, doubt),
            latency(|all| all.p99_us, doubt),
            latency(|all| all.p999_us, tail),
            latency(|all| all.max_us, tail),
            server(&|server| format!("{:.3} µs ({:.3})", server.cpu_us, server.user_us)),
            server(&|server| format!("{:.2}", server.busy)),
            server(&|server| bytes(server.rss_end)),
        ];
        let class = class(run.verdict);
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"verdict {class}\">{class}</td><td>{}</td>",
            escape(&run.name),
            doubtful(format!("{:.0}", run.rate), run.rate_doubt.as_ref())
        );
        for cell in cells {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out += "</tr>";
    }
    out += "</table></div>";
    let is_doubtful = |run: &Outcome| {
        [&run.rate_doubt, &run.latency_doubt, &run.tail_doubt].iter().any(|doubt| doubt.is_some())
    };
    if runs.iter().any(is_doubtful) {
        out += "<p class=\"soft\"><span class=\"doubtful\">Struck figures</span> are not the server’s: the generator \
                was too busy for them. Server CPU is the kernel’s count and stands.</p>";
    }
    out
}

/// A figure that a doubt strikes out; the doubt shows when it is pointed at.
fn doubtful(text: String, doubt: Option<&String>) -> String {
    match doubt {
        None => text,
        Some(doubt) => format!("<span class=\"doubtful\" title=\"{}\">{text}</span>", escape(doubt)),
    }
}

/// Processor time of each run, one below the other.
fn comparison_bars(runs: &[Outcome]) -> String {
    let bar = |(i, run): (usize, &Outcome)| {
        let server = run.server.as_ref()?;
        Some(Bar {
            name: run.name.clone(),
            colour: i,
            value: server.cpu_us,
            part: Some(server.user_us),
            spread: None,
            text: format!("{:.3} µs ({:.3} user)", server.cpu_us, server.user_us),
        })
    };
    let all: Vec<Bar> = runs.iter().enumerate().filter_map(bar).collect();
    captioned("Server CPU time, the part in user space dark", &bars("server CPU time", &all))
}

fn figure_bars(comparison: &Comparison, figure: Figure) -> String {
    let bar = |(peer, name): (usize, &String)| {
        let spread = comparison.spread(peer, figure)?;
        let ratio = comparison.ratio(peer, figure);
        let ratio =
            ratio.filter(|_| peer > 0).map_or(String::new(), |ratio| format!(" · × {:.3}", ratio.median));
        Some(Bar {
            name: name.clone(),
            colour: peer,
            value: spread.median,
            part: None,
            spread: Some((spread.min, spread.max)),
            text: format!("{}{ratio}", short(spread.median)),
        })
    };
    let all: Vec<Bar> = comparison.peers.iter().enumerate().filter_map(bar).collect();
    // One bar alone compares nothing.
    if all.len() < 2 {
        return String::new();
    }
    let better = if figure.less_is_better { "less" } else { "more" };
    captioned(&format!("{} · {better} is better", figure.name), &bars(figure.name, &all))
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn captioned(caption: &str, svg: &str) -> String {
    if svg.is_empty() {
        return String::new();
    }
    format!("<figure><figcaption>{}</figcaption>{svg}</figure>", escape(caption))
}

/// Each server's run whose processor time (or else rate) is the middle one, among those that count if there are any.
fn middle_runs(comparison: &Comparison) -> Vec<Outcome> {
    let figure = |run: &Outcome| run.server.as_ref().map_or(run.rate, |server| server.cpu_us);
    let middle = |peer: usize| {
        let all = || comparison.rounds.iter().filter_map(|round| round.get(peer)?.as_ref());
        let mut runs: Vec<&Outcome> = all().filter(|run| comparison.counts(run)).collect();
        if runs.is_empty() {
            runs = all().collect();
        }
        runs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        runs.get(runs.len() / 2).map(|run| (*run).clone())
    };
    (0..comparison.peers.len()).filter_map(middle).collect()
}

fn charts(runs: &[Outcome]) -> String {
    let line = |dashed: bool, pick: &dyn Fn(&Outcome) -> Vec<(f64, f64)>| -> Vec<Line> {
        runs.iter().enumerate().map(|(colour, run)| Line { colour, dashed, points: pick(run) }).collect()
    };
    let over_time = |title: &str, y_label: &str, y_text: fn(f64) -> String, lines: Vec<Line>| Chart {
        title: title.into(),
        x_label: "seconds since the measure began; warm-up before that".into(),
        y_label: y_label.into(),
        x: Axis::Linear,
        y: Axis::Linear,
        y_text,
        lines,
    };
    let latency = Chart {
        title: "Latency by percentile".into(),
        x_label: "percentile".into(),
        y_label: "latency".into(),
        x: Axis::Percentile,
        y: Axis::Log,
        y_text: tick,
        lines: line(false, &|run| run.latency.as_ref().map_or(Vec::new(), |latency| latency.curve.clone())),
    };
    let rate = line(false, &|run| run.series.iter().map(|point| (point.s, point.rate)).collect());
    let server =
        |run: &Outcome| run.series.iter().filter_map(|point| Some((point.s, point.server?))).collect();
    let mut cpu = line(false, &server);
    cpu.extend(line(true, &|run| run.series.iter().map(|point| (point.s, point.own)).collect()));
    #[expect(clippy::cast_precision_loss, reason = "for a chart")]
    let memory = |run: &Outcome| -> Vec<(f64, f64)> {
        run.series.iter().filter_map(|point| Some((point.s, point.rss? as f64 / MIB))).collect()
    };
    let is_doubtful = runs.iter().any(|run| run.latency_doubt.is_some());
    let all = [
        (
            if is_doubtful {
                "Latency by percentile, not of the server alone"
            } else {
                "Latency by percentile"
            },
            latency,
        ),
        ("Throughput over time", over_time("Throughput over time", "per second", count, rate)),
        ("Cores used over time: server, generator dashed", over_time("Cores used", "cores", small, cpu)),
        ("Server memory over time", over_time("Server memory", "resident", resident, line(false, &memory))),
    ];
    let figures: String = all.iter().map(|(caption, chart)| captioned(caption, &chart.svg())).collect();
    format!("<div class=\"charts\">{figures}</div>")
}

fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 1e3 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

fn resident(mib: f64) -> String {
    if mib < 10.0 { format!("{mib:.1} MiB") } else { format!("{mib:.0} MiB") }
}

/// A tick of a time axis: a power of ten.
fn tick(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

fn small(value: f64) -> String {
    format!("{value:.1}")
}

/// The whole table of each run, as on a terminal.
fn details(runs: &[Outcome]) -> String {
    let mut out = String::from("<h2>In full</h2>");
    for run in runs {
        let text = escape(&crate::table::table(run));
        let _ = write!(out, "<div class=\"scroll\"><pre>{text}</pre></div>");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_767_225_599_000), "2025-12-31 23:59 UTC");
    }

    #[test]
    fn a_page_stands_for_itself() {
        let run = Outcome {
            name: "<b>".into(),
            failures: vec!["1 message never came".into()],
            verdict: Verdict::Failed,
            ..Outcome::empty()
        };
        let page = of_runs(&[run.clone(), Outcome { name: "other".into(), ..run }]);
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
        assert!(page.contains("1 message never came"));
        for outside in ["http:", "https:", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
