//! The table of targets, for people and for programs.

use serde_json::{Value, json};

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

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    pub row: &'static str,
    /// What is measured.
    pub what: String,
    /// What is to be reached.
    pub target: String,
    /// What was measured, with its spread.
    pub measured: String,
    /// The figures behind it.
    pub figures: String,
    pub verdict: Verdict,
    /// For programs: every round.
    pub rounds: Vec<Value>,
}

/// Rows of features that a build may not have yet.
const MAY_BE_MISSING: [&str; 6] = ["reply", "durable", "worker", "ws-1", "ws-16", "idle"];

impl Line {
    /// A line without a figure. What was answered wrongly is a failure whatever the row.
    pub fn not_here(row: &'static str, what: &str, target: &str, why: &str) -> Line {
        let missing = why.contains(NOT_STARTED) || MAY_BE_MISSING.contains(&row);
        let verdict =
            if missing && !why.contains(WRONG_ANSWERS) { Verdict::NotHere } else { Verdict::Failed };
        Line {
            row,
            what: what.to_owned(),
            target: target.to_owned(),
            measured: "–".to_owned(),
            figures: String::new(),
            verdict: verdict(why.to_owned()),
            rounds: Vec::new(),
        }
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
}

/// How an error says that answers were missing or not as expected.
pub const WRONG_ANSWERS: &str = "wrong answers";
/// How an error says that a server to compare with is not there.
pub const NOT_STARTED: &str = "does not start";

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Prints the lines in columns.
pub fn print(lines: &[Line]) {
    let titles = ["row", "measured", "target", "result (least–most)", "figures", ""];
    let cells = |line: &Line| {
        [
            line.row.to_owned(),
            line.what.clone(),
            line.target.clone(),
            line.measured.clone(),
            line.figures.clone(),
            match &line.verdict {
                Verdict::Pass => "pass".to_owned(),
                Verdict::Miss => "MISS".to_owned(),
                Verdict::Shown => String::new(),
                Verdict::NotHere(why) => format!("not in this build: {}", first_line(why)),
                Verdict::Failed(why) => format!("FAILED: {}", first_line(why)),
            },
        ]
    };
    let rows: Vec<[String; 6]> =
        std::iter::once(titles.map(str::to_owned)).chain(lines.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    for (at, row) in rows.iter().enumerate() {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        println!("{}", text.trim_end());
        if at == 0 {
            println!("{}", "─".repeat(widths.iter().take(5).sum::<usize>() + 10));
        }
    }
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
}
