//! The tables, as Markdown for the README and as JSON for programs.

use serde_json::{Value, json};

use super::cell::Cell;
use super::rows::Load;
use super::way::Way;

/// Whether a target was reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Pass,
    Miss,
    /// There is no target: for information.
    Shown,
    /// This build cannot do it yet, or a server to compare with is not installed.
    NotHere(String),
    /// Answers were missing or wrong, or a server broke.
    Failed(String),
}

impl Verdict {
    fn text(&self) -> String {
        match self {
            Verdict::Pass => "met".to_owned(),
            Verdict::Miss => "**missed**".to_owned(),
            Verdict::Shown => String::new(),
            Verdict::NotHere(why) => format!("not in this build: {}", first_line(why)),
            Verdict::Failed(why) => format!("FAILED: {}", first_line(why)),
        }
    }
}

/// The figure of one way.
#[derive(Clone, Debug)]
pub struct WayFigure {
    pub way: Way,
    pub median: f64,
    pub is_met: bool,
    /// Whether a server did not keep up with the fixed rate.
    pub is_behind: bool,
    /// The two figures behind it.
    pub text: String,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    pub row: &'static str,
    /// What is measured.
    pub what: String,
    /// What is to be reached.
    pub target: String,
    /// What was measured, with its spread; of several ways the most expensive.
    pub measured: String,
    /// The figures behind it.
    pub figures: String,
    /// Each way, where there are several.
    pub ways: Vec<WayFigure>,
    pub verdict: Verdict,
    /// For programs: every round.
    pub rounds: Vec<Value>,
}

/// Rows of features that a build may not have yet.
const MAY_BE_MISSING: [&str; 8] =
    ["reply", "durable", "worker", "ws-1", "ws-16", "idle", "forward", "records"];

impl Line {
    /// A line of one figure.
    pub fn single(row: &'static str, what: &str, target: &str, measured: String, verdict: Verdict) -> Line {
        Line {
            row,
            what: what.to_owned(),
            target: target.to_owned(),
            measured,
            figures: String::new(),
            ways: Vec::new(),
            verdict,
            rounds: Vec::new(),
        }
    }

    /// A line without a figure. Wrong answers are a failure whatever the row.
    pub fn not_here(row: &'static str, what: &str, target: &str, why: &str) -> Line {
        let verdict = if Line::may_be_missing(row, why) { Verdict::NotHere } else { Verdict::Failed };
        Line::single(row, what, target, "–".to_owned(), verdict(why.to_owned()))
    }

    /// Whether the reason why there is no figure is one that a run may have.
    pub fn may_be_missing(row: &str, why: &str) -> bool {
        (why.contains(NOT_STARTED) || MAY_BE_MISSING.contains(&row)) && !why.contains(WRONG_ANSWERS)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let (verdict, why) = match &self.verdict {
            Verdict::Pass => ("pass", None),
            Verdict::Miss => ("miss", None),
            Verdict::Shown => ("shown", None),
            Verdict::NotHere(why) => ("not in this build", Some(why)),
            Verdict::Failed(why) => ("failed", Some(why)),
        };
        json!({
            "row": self.row, "what": self.what, "target": self.target, "measured": self.measured,
            "figures": self.figures, "verdict": verdict, "why": why, "rounds": self.rounds,
        })
    }

    /// The figure of a way, or a dash; a star marks a rate that was not kept up with.
    fn in_way(&self, way: Way) -> String {
        let Some(figure) = self.ways.iter().find(|figure| figure.way == way) else { return "–".to_owned() };
        let star = if figure.is_behind { "*" } else { "" };
        if figure.is_met {
            format!("{:.2}{star}", figure.median)
        } else {
            format!("**{:.2}**{star}", figure.median)
        }
    }
}

/// How an error says that answers were missing or not as expected.
pub const WRONG_ANSWERS: &str = "wrong answers";
/// How an error says that a server to compare with is not there.
pub const NOT_STARTED: &str = "does not start";

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A server's own figures under one load in one way: what is compared.
#[derive(Clone, Debug)]
pub struct ServerRow {
    who: &'static str,
    load: String,
    way: Way,
    micros: f64,
    answers_per_second: f64,
    answers_a_wakeup: f64,
    involuntary: f64,
    syscalls: Option<f64>,
}

impl ServerRow {
    pub(super) fn new(load: Load, way: Way, cells: &[Cell], syscalls: Option<f64>) -> ServerRow {
        let middle = |figure: fn(&Cell) -> f64| spread(&cells.iter().map(figure).collect::<Vec<_>>()).0;
        ServerRow {
            who: load.who.name(),
            load: format!("{} × {}, {} B", load.connections, load.depth, load.body_bytes),
            way,
            micros: middle(|cell| cell.server_micros),
            answers_per_second: middle(|cell| cell.answers_per_second),
            answers_a_wakeup: middle(|cell| cell.answers_a_wakeup),
            involuntary: middle(|cell| cell.involuntary_an_answer),
            syscalls,
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "server": self.who, "load": self.load, "way": self.way.name(), "serverMicros": self.micros,
            "answersPerSecond": self.answers_per_second, "answersAWakeup": self.answers_a_wakeup,
            "involuntaryAnAnswer": self.involuntary, "syscallsAnAnswer": self.syscalls,
        })
    }
}

/// The table of the rows that are measured in several ways, and the table of the others.
#[must_use]
pub fn targets_text(lines: &[Line]) -> String {
    let (in_ways, others): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.ways.len() > 1);
    let mut rows = Vec::new();
    let mut head = vec!["what".to_owned(), "target".to_owned()];
    head.extend(Way::HTTP.iter().map(|way| way.name().to_owned()));
    head.extend(["most expensive (least–most)".to_owned(), String::new()]);
    rows.push(head);
    for line in in_ways {
        let mut row = vec![line.what.clone(), line.target.clone()];
        row.extend(Way::HTTP.iter().map(|way| line.in_way(*way)));
        row.extend([format!("{}: {}", line.measured, line.figures), line.verdict.text()]);
        rows.push(row);
    }
    let mut text = if rows.len() > 1 { markdown(&rows) + "\n" } else { String::new() };
    if lines.iter().flat_map(|line| &line.ways).any(|figure| figure.is_behind) {
        text += "\\* a server did not keep up with the fixed rate.\n\n";
    }
    let head = ["what", "target", "measured", "of", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(others.iter().map(|line| {
            let Line { what, target, measured, figures, verdict, .. } = line;
            vec![what.clone(), target.clone(), measured.clone(), figures.clone(), verdict.text()]
        }))
        .collect();
    if rows.len() > 1 {
        text += &markdown(&rows);
    }
    text
}

/// The table of the servers' own figures.
#[must_use]
pub fn servers_text(servers: &[ServerRow]) -> String {
    let titles = [
        "server",
        "connections × depth, body",
        "by",
        "CPU µs an answer",
        "answers a second",
        "answers a wake-up",
        "involuntary switches an answer",
        "system calls an answer",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(servers.iter().map(|row| {
        vec![
            row.who.to_owned(),
            row.load.clone(),
            row.way.name().to_owned(),
            format!("{:.2}", row.micros),
            format!("{:.0}", row.answers_per_second),
            format!("{:.1}", row.answers_a_wakeup),
            format!("{:.3}", row.involuntary),
            row.syscalls.map_or("–".to_owned(), |calls| format!("{calls:.2}")),
        ]
    }));
    markdown(&rows)
}

/// A table of Markdown whose columns are aligned, so that it can be read as text too.
fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        text.push('|');
        for (cell, width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width - cell.chars().count());
            text += &format!(" {}{padding} |", cell.replace('|', "\\|"));
        }
        text.push('\n');
        if at == 0 {
            text.push('|');
            widths.iter().for_each(|width| text += &format!("{}|", "-".repeat(width + 2)));
            text.push('\n');
        }
    }
    text
}

/// The middle one, and the least and the most.
#[must_use]
pub fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((least, most)) = sorted.first().zip(sorted.last()) else {
        return (f64::NAN, f64::NAN, f64::NAN);
    };
    let middle = sorted.len() / 2;
    let median =
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    (median, *least, *most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (2.5, 1.0, 4.0));
        assert!(spread(&[]).0.is_nan());
    }

    #[test]
    fn the_tables_are_markdown() {
        let figure =
            |way, median, is_met| WayFigure { way, median, is_met, is_behind: false, text: String::new() };
        let line = Line {
            ways: vec![figure(Way::Wrk, 1.25, false), figure(Way::Batch, 1.0, true)],
            ..Line::single("plain", "a POST", "≤ 1.08", "1.25 (1.20–1.30), `wrk`".to_owned(), Verdict::Miss)
        };
        let single = Line::single("binary", "release binary", "≤ 17 MB", "13.7 MB".to_owned(), Verdict::Pass);
        let text = targets_text(&[line, single]);
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
        assert_eq!(lines[2][1..7], ["a POST", "≤ 1.08", "**1.25**", "1.00", "–", "–"]);
        assert_eq!(lines[2][8], "**missed**");
        assert_eq!(lines.last().expect("a line")[1..4], ["release binary", "≤ 17 MB", "13.7 MB"]);
    }
}
