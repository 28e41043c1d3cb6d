//! A run as a picture: latency by percentile, and answers by second.

use std::fmt::Write as _;

use super::Outcome;

/// The picture, in its own units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 40.0;
/// Percentiles are spread by their nines, to this many.
const NINES: f64 = 5.0;

/// An SVG of the run, to be opened in a browser.
#[must_use]
pub fn svg(outcome: &Outcome, title: &str) -> String {
    let mut out = String::new();
    let total_height = 2.0 * (HEIGHT + BOTTOM) + 50.0;
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {total_height}\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>",
        escaped(title),
        w = WIDTH + LEFT + 30.0
    );
    latency(&mut out, outcome, 40.0);
    seconds(&mut out, outcome, 40.0 + HEIGHT + BOTTOM);
    out.push_str("</svg>\n");
    out
}

fn latency(out: &mut String, outcome: &Outcome, top: f64) {
    let micros = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let most = micros(1.0).max(1.0);
    let x = |nines: f64| LEFT + nines / NINES * WIDTH;
    let y = |value: f64| top + HEIGHT - value / most * (HEIGHT - 10.0);
    axes(out, top, "µs by percentile", most);
    let points: Vec<String> = (0..=200)
        .map(|step| f64::from(step) / 200.0 * NINES)
        .map(|nines| format!("{:.1},{:.1}", x(nines), y(micros(1.0 - 10f64.powf(-nines)))))
        .collect();
    let _ = write!(
        out,
        "<polyline fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" points=\"{}\"/>",
        points.join(" ")
    );
    for (nines, name) in
        [(0.301, "p50"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99"), (5.0, "p99.999")]
    {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{name}</text>",
            x(nines),
            top + HEIGHT + 16.0
        );
    }
}

fn seconds(out: &mut String, outcome: &Outcome, top: f64) {
    let most = outcome.seconds.iter().map(|second| second.answered).max().unwrap_or(1).max(1) as f64;
    axes(out, top, "answers by second", most);
    let width = WIDTH / outcome.seconds.len().max(1) as f64;
    for (at, second) in outcome.seconds.iter().enumerate() {
        let height = second.answered as f64 / most * (HEIGHT - 10.0);
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#6a6\"/>",
            LEFT + at as f64 * width,
            top + HEIGHT - height,
            (width - 1.0).max(0.5)
        );
    }
}

fn axes(out: &mut String, top: f64, name: &str, most: f64) {
    let bottom = top + HEIGHT;
    let _ = write!(
        out,
        "<path d=\"M{LEFT} {top}V{bottom}H{}\" fill=\"none\" stroke=\"#999\"/><text x=\"{}\" y=\"{}\" fill=\"#555\">{name}</text>",
        LEFT + WIDTH,
        LEFT + 8.0,
        top + 12.0
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{value:.0}</text>",
            LEFT - 6.0,
            bottom - f64::from(part) / 4.0 * (HEIGHT - 10.0) + 4.0
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
