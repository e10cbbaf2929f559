use std::fmt::Write;
use std::time::Duration;

use crate::term::{bytes, duration};

use super::bench::Report;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const BINS: usize = 40;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--line:#d5dae0;--bar:#2f6fde;--back:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa4af;--line:#343b44;--bar:#7fabff;--back:#14171b}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:46rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{color:var(--soft);margin:.2rem 0}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;border-bottom:1px solid var(--line);text-align:left}
td:last-child{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.bar{fill:var(--bar)}.axis{stroke:var(--line)}.dot{fill:none;stroke:var(--bar)}
";

/// Writes the report as one page that needs nothing else.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    let title = format!("gpux bench {}", escape(&report.model));
    let rows: String = figures(report)
        .into_iter()
        .map(|(name, value)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                escape(&name),
                escape(&value)
            )
        })
        .collect();
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1><p>{} on {}, batch {}</p>\n\
         <h2>Latency</h2>\n{}\n<h2>Every run, in order</h2>\n{}\n<h2>Figures</h2>\n<table>{rows}</table>\n\
         </body></html>\n",
        escape(&report.provider),
        escape(&report.device),
        report.batch,
        histogram(report),
        series(report),
    );
    page
}

fn figures(report: &Report) -> Vec<(String, String)> {
    let latency = &report.latency;
    let mut rows = vec![
        ("load".to_owned(), duration(report.load)),
        ("first run".to_owned(), duration(report.first_run)),
        (
            "runs".to_owned(),
            format!("{} after {} to warm up", report.times.len(), report.warmup),
        ),
        ("mean".to_owned(), duration(latency.mean())),
        ("standard deviation".to_owned(), duration(latency.std())),
        ("min".to_owned(), duration(latency.min())),
        ("p50".to_owned(), duration(latency.quantile(0.50))),
        ("p95".to_owned(), duration(latency.quantile(0.95))),
        ("p99".to_owned(), duration(latency.quantile(0.99))),
        ("max".to_owned(), duration(latency.max())),
        ("throughput".to_owned(), format!("{:.1}/s", report.throughput_per_s())),
        ("peak memory".to_owned(), bytes(report.peak_rss_bytes)),
        ("peak anonymous memory".to_owned(), bytes(report.peak_anonymous_bytes)),
    ];
    let shapes = report
        .shapes
        .iter()
        .map(|(name, shape)| (format!("input {name}"), format!("{shape:?}")));
    rows.extend(shapes);
    rows
}

fn histogram(report: &Report) -> String {
    let bins = report.latency.histogram(BINS);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1) as f64;
    let width = WIDTH / BINS as f64;
    let mut bars = String::new();
    for (at, bin) in bins.iter().enumerate() {
        let height = bin.count as f64 / most * HEIGHT;
        let _ = write!(
            bars,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
             <title>{} to {}: {} runs</title></rect>",
            at as f64 * width,
            HEIGHT - height,
            width - 1.0,
            duration(bin.from),
            duration(bin.to),
            bin.count,
        );
    }
    let last = bins.last().map(|bin| bin.from).unwrap_or_default();
    plot(
        "How many runs took how long",
        &bars,
        (&duration(report.latency.min()), &format!("{} and more", duration(last))),
    )
}

fn series(report: &Report) -> String {
    /// More points than pixels say nothing more.
    const POINTS: usize = 1440;
    let step = report.times.len().div_ceil(POINTS).max(1);
    let top = report.latency.max().max(Duration::from_nanos(1)).as_secs_f64();
    let chunks: Vec<f64> = report
        .times
        .chunks(step)
        .map(|chunk| chunk.iter().max().copied().unwrap_or_default().as_secs_f64())
        .collect();
    let mut path = String::new();
    for (at, seconds) in chunks.iter().enumerate() {
        let x = at as f64 / (chunks.len().max(2) - 1) as f64 * WIDTH;
        let _ = write!(
            path,
            "{}{x:.1} {:.1}",
            if at == 0 { "M" } else { "L" },
            HEIGHT - seconds / top * HEIGHT
        );
    }
    let line = format!("<path class=\"dot\" d=\"{path}\"/>");
    let ends = (
        "first run".to_owned(),
        format!("last run; top: {}", duration(report.latency.max())),
    );
    plot("Latency of each run", &line, (&ends.0, &ends.1))
}

fn plot(title: &str, marks: &str, (left, right): (&str, &str)) -> String {
    let (bottom, full) = (HEIGHT + 18.0, HEIGHT + 24.0);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {full}\" role=\"img\" aria-label=\"{title}\">{marks}\
         <line class=\"axis\" x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/>\
         <text x=\"0\" y=\"{bottom}\">{left}</text>\
         <text x=\"{WIDTH}\" y=\"{bottom}\" text-anchor=\"end\">{right}</text></svg>"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(super::escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
