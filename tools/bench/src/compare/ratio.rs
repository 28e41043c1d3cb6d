//! A line of the table from the rounds of two loads.

use serde_json::{Value, json};

use super::bench::Measured;
use super::cell::Cell;
use super::rows::{Figure, Ratio, Series, Target};
use super::table::{Line, Verdict, WayFigure, spread};
use super::way::Way;

/// The figures of one way.
struct InWay {
    way: Way,
    target: Option<Target>,
    values: Vec<f64>,
    text: String,
    is_behind: bool,
    rounds: Vec<Value>,
}

impl InWay {
    fn median(&self) -> f64 {
        spread(&self.values).0
    }

    /// How expensive it is: relative to its target where it has one.
    fn distance(&self) -> f64 {
        self.target.map_or(self.median(), |target| target.distance(self.median()))
    }

    fn is_met(&self) -> bool {
        self.target.is_none_or(|target| target.is_met(self.median()))
    }
}

/// The line of a ratio: each way's median, and the most expensive of them, which is the one that the verdict is about.
pub(super) fn line(ratio: &Ratio, measured: &Measured) -> Line {
    let mut ways = Vec::new();
    let mut missing = Vec::new();
    for (way, target) in &ratio.ways {
        match in_way(ratio, *way, *target, measured) {
            Ok(figure) => ways.push(figure),
            Err(why) => missing.push((*way, why)),
        }
    }
    let target = target_text(ratio);
    // A way whose server or generator is not installed leaves the others standing; one that breaks does not.
    let wrong = missing.iter().find(|(_, why)| !Line::may_be_missing(ratio.row, why));
    let worst = ways.iter().max_by(|one, other| judged(one).total_cmp(&judged(other)));
    let (Some(worst), None) = (worst, wrong) else {
        let (way, why) =
            wrong.or(missing.first()).map_or((Way::Batch, "no figure"), |(way, why)| (*way, why));
        return Line::not_here(ratio.row, ratio.what, &target, &format!("{}: {why}", way.name()));
    };
    let (median, least, most) = spread(&worst.values);
    let figures = ways.iter().map(|one| WayFigure {
        way: one.way,
        median: one.median(),
        is_met: one.is_met(),
        is_behind: one.is_behind,
        text: one.text.clone(),
    });
    let has_target = ratio.ways.iter().any(|(_, target)| target.is_some());
    Line {
        row: ratio.row,
        what: ratio.what.to_owned(),
        target,
        measured: format!("{median:.2} ({least:.2}–{most:.2}), {}", worst.way.name()),
        figures: worst.text.clone(),
        ways: figures.collect(),
        verdict: match (has_target, ways.iter().all(InWay::is_met)) {
            (false, _) => Verdict::Shown,
            (true, true) => Verdict::Pass,
            (true, false) => Verdict::Miss,
        },
        rounds: ways.iter().map(|one| json!({"way": one.way.name(), "rounds": one.rounds})).collect(),
    }
}

/// A way without a target is never quoted before one that has one.
fn judged(one: &InWay) -> f64 {
    if one.target.is_some() { 1000.0 + one.distance() } else { one.distance() }
}

/// The target, or the targets where they differ by way.
fn target_text(ratio: &Ratio) -> String {
    let known: Vec<(Way, Target)> =
        ratio.ways.iter().filter_map(|(way, target)| Some((*way, (*target)?))).collect();
    let mut texts: Vec<String> = known.iter().map(|(_, target)| target.text()).collect();
    texts.dedup();
    if texts.len() == 1 && known.len() == ratio.ways.len() {
        return texts.remove(0);
    }
    known
        .iter()
        .map(|(way, target)| format!("{} {}", target.text(), way.name()))
        .collect::<Vec<_>>()
        .join("; ")
}

fn in_way(ratio: &Ratio, way: Way, target: Option<Target>, measured: &Measured) -> Result<InWay, String> {
    let cells = |series: &Series| -> Result<Vec<Cell>, String> {
        measured.get(series).map_or(Ok(Vec::new()), |cells| cells.iter().cloned().collect())
    };
    let [to, of] = ratio.series(way);
    let (to, of) = (cells(&to)?, cells(&of)?);
    let figure = |cell: &Cell| match ratio.figure {
        Figure::Cpu => cell.server_micros,
        Figure::Rate => cell.answers_per_second,
        Figure::P99 => cell.p99_millis.unwrap_or(f64::NAN),
    };
    let compare = |(of, to): (&Cell, &Cell)| match ratio.figure {
        Figure::P99 => figure(of) - figure(to),
        Figure::Cpu | Figure::Rate => figure(of) / figure(to),
    };
    let values: Vec<f64> = of.iter().zip(&to).map(compare).collect();
    if values.is_empty() {
        return Err("no round".to_owned());
    }
    let middle = |cells: &[Cell]| spread(&cells.iter().map(figure).collect::<Vec<_>>()).0;
    let unit = match ratio.figure {
        Figure::Cpu => "µs",
        Figure::Rate => "a second",
        Figure::P99 => "ms",
    };
    let text = format!("{:.2} / {:.2} {unit}", middle(&of), middle(&to));
    let round =
        |(of, to): (&Cell, &Cell)| json!({"of": of.json(), "to": to.json(), "value": compare((of, to))});
    Ok(InWay {
        way,
        target,
        values,
        text,
        is_behind: of.iter().chain(&to).any(|cell| cell.is_behind),
        rounds: of.iter().zip(&to).map(round).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::ratios;
    use super::*;
    use std::collections::HashMap;

    fn cell(micros: f64) -> Cell {
        Cell {
            server_micros: micros,
            answers: 1.0,
            answers_per_second: 1.0,
            p99_millis: None,
            answers_a_wakeup: 1.0,
            involuntary_an_answer: 0.0,
            is_behind: false,
        }
    }

    #[test]
    fn the_way_that_is_furthest_from_its_target_is_quoted_and_judged() {
        let ratio = ratios(false).swap_remove(0);
        let mut measured: Measured = HashMap::new();
        for (way, micros) in [(Way::Wrk, 1.0), (Way::Batch, 1.07), (Way::Rate, 1.06), (Way::TwoCpus, 0.9)] {
            let [to, of] = ratio.series(way);
            measured.insert(to, vec![Ok(cell(1.0))]);
            measured.insert(of, vec![Ok(cell(micros))]);
        }
        let line = line(&ratio, &measured);
        assert!(
            line.measured.starts_with("1.06 ") && line.measured.ends_with("fixed rate"),
            "{}",
            line.measured
        );
        assert_eq!(line.verdict, Verdict::Miss, "1.06 over 1.05, though 1.07 is under 1.08");
    }

    #[test]
    fn a_way_that_cannot_be_measured_leaves_the_others_and_wrong_answers_do_not() {
        let ratio = ratios(false).swap_remove(0);
        let mut measured: Measured = HashMap::new();
        let [to, of] = ratio.series(Way::Batch);
        measured.insert(to, vec![Ok(cell(1.0))]);
        measured.insert(of, vec![Ok(cell(1.0))]);
        let [wrk, _] = ratio.series(Way::Wrk);
        for (way, _) in ratio.ways.iter().filter(|(way, _)| *way != Way::Batch) {
            measured.insert(ratio.series(*way)[0], vec![Err("wrk does not start".to_owned())]);
        }
        assert_eq!(line(&ratio, &measured).verdict, Verdict::Pass);
        for broken in ["wrong answers: 7", "wrk ended: exit status: 1"] {
            measured.insert(wrk, vec![Err(broken.to_owned())]);
            assert!(matches!(line(&ratio, &measured).verdict, Verdict::Failed(_)), "{broken}");
        }
    }
}
