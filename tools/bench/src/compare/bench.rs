//! A run of the comparison: every server once in each round, and the ratios of what that came to.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use serde_json::json;

use super::cell::{self, Ask, Cell};
use super::rows::{Figure, NAMES, Place, Ratio, Series, Target, Who, ratios};
use super::servers::{self, Folder, Peer};
use super::table::{Line, Verdict, spread};
use super::tidegate::{self, Made, Start};
use super::worker::Worker;
use super::{Settings, generator};
use crate::load::{Bound, Protocol};
use crate::system;
use crate::targets::Targets;

/// What Tidegate's processes run on.
pub(super) struct Bench<'s> {
    pub(super) settings: &'s Settings,
    pub(super) folder: Folder,
    pub(super) made: Made,
    pub(super) many: Option<Many>,
    pub(super) cpus: Vec<usize>,
}

pub(super) struct Many {
    pub(super) folder: Folder,
    pub(super) paths: Vec<String>,
}

/// Measures the rows that are wanted.
///
/// # Errors
/// If Tidegate does not start or takes no webhook. What one row cannot do is said in its line.
pub fn measure(settings: &Settings) -> anyhow::Result<Vec<Line>> {
    let wanted = |row: &str| settings.rows.is_empty() || settings.rows.iter().any(|name| name == row);
    let folder = Folder::new()?;
    let made = tidegate::prepare(settings, &folder).context("filling a folder through the REST API")?;
    let many = if wanted("many") || wanted("start") {
        tell(settings, || format!("creating {} webhooks", settings.webhooks));
        let folder = settings.webhooks_in.as_deref().map_or_else(Folder::new, Folder::kept)?;
        let began = Instant::now();
        let paths = tidegate::prepare_many(settings, &folder, settings.webhooks)?;
        tell(settings, || {
            format!("there are {} webhooks, after {:.1} s", paths.len(), began.elapsed().as_secs_f64())
        });
        Some(Many { folder, paths })
    } else {
        None
    };
    let bench = Bench { settings, folder, made, many, cpus: system::cpus() };
    let ratios: Vec<Ratio> = ratios(settings.others).into_iter().filter(|ratio| wanted(ratio.row)).collect();
    let mut lines = bench.ratios(&ratios);
    if wanted("idle") {
        bench.idle(&mut lines);
    }
    if wanted("waiting") {
        lines.push(bench.waiting());
    }
    if wanted("start") {
        bench.start(&mut lines);
    }
    if wanted("binary") {
        bench.binary(&mut lines)?;
    }
    if wanted("generator") {
        lines.extend(generator::measure(&bench));
    }
    lines.sort_by_key(|line| NAMES.iter().position(|name| *name == line.row));
    Ok(lines)
}

pub(super) fn tell(settings: &Settings, what: impl FnOnce() -> String) {
    if settings.verbose {
        eprintln!("{}", what());
    }
}

type Measured = HashMap<Series, Vec<Result<Cell, String>>>;

impl Bench<'_> {
    /// Every series once in each round, so that what disturbs the machine disturbs them alike.
    fn ratios(&self, ratios: &[Ratio]) -> Vec<Line> {
        let mut order: Vec<Series> = Vec::new();
        for one in ratios.iter().flat_map(|ratio| [ratio.to, ratio.of]) {
            if !order.contains(&one) {
                order.push(one);
            }
        }
        let mut measured: Measured = HashMap::new();
        for round in 0..self.settings.rounds {
            for one in &order {
                let cells = measured.entry(*one).or_default();
                // What a server refused once it refuses again.
                if cells.last().is_some_and(Result::is_err) {
                    continue;
                }
                let cell = self.cell(*one).map_err(|error| format!("{error:#}"));
                tell(self.settings, || match &cell {
                    Ok(cell) => format!(
                        "round {}  {:>12} {:?} depth {:2} body {:6}: {:8.2} µs of CPU, {:8.0} answers/s",
                        round + 1,
                        name(one.who),
                        one.place,
                        one.depth,
                        one.body_bytes,
                        cell.server_micros,
                        cell.answers_per_second
                    ),
                    Err(error) => format!("round {}  {}: {error}", round + 1, name(one.who)),
                });
                cells.push(cell);
            }
        }
        ratios.iter().map(|ratio| line(ratio, &measured)).collect()
    }

    fn cell(&self, one: Series) -> anyhow::Result<Cell> {
        let last = *self.cpus.last().context("no CPU")?;
        let first = self.cpus[0];
        let (server, generator) = match one.place {
            Place::Same => (Some(last), last),
            _ => {
                ensure!(self.cpus.len() > 1, "there is only one CPU");
                ((one.place == Place::Two).then_some(first), last)
            }
        };
        let mut ask = Ask {
            depth: one.depth,
            body_bytes: one.body_bytes,
            connections: one.connections,
            ..Ask::plain(generator)
        };
        let Who::Peer(peer) = one.who else { return self.tidegate(one, ask, server) };
        if matches!(peer, Peer::EchoEpoll | Peer::EchoTungstenite) {
            ask.protocol = Protocol::WebSocket;
        }
        let running = servers::start(self.settings, peer, server)?;
        let mut plan = ask.plan(self.settings, &running);
        plan.warmup = plan.warmup.max(peer.warmup_min());
        plan.bound = Bound::Time(self.settings.time.max(peer.time_min()));
        cell::measure(&plan, running.pid(), ask.cpu)
    }

    fn tidegate(&self, one: Series, mut ask: Ask, cpu: Option<usize>) -> anyhow::Result<Cell> {
        let made = &self.made;
        let refused = |why: &String| anyhow!("{why}");
        let mut folder = &self.folder;
        let mut durability = None;
        let mut flow = None;
        let path = match one.who {
            Who::Plain | Who::Peer(_) => &made.plain,
            Who::Flooded => {
                ask.status = 429;
                &made.flooded
            }
            Who::Replying => made.replying.as_ref().map_err(refused)?,
            Who::OneOfMany | Who::AllOfMany => {
                let many = self.many.as_ref().context("no folder with many webhooks")?;
                folder = &many.folder;
                &many.paths[0]
            }
            Who::Socket => {
                ask.protocol = Protocol::WebSocket;
                made.socket.as_ref().map_err(refused)?
            }
            Who::Worked(wanted) => {
                durability = wanted;
                let (path, of) = made.worked.as_ref().map_err(refused)?;
                flow = Some(of);
                path
            }
        };
        let disk;
        if durability == Some("fsync") {
            // A disk is what is measured: the folder in memory is copied to one.
            disk = Folder::on_disk()?;
            copy(folder, &disk)?;
            folder = &disk;
        }
        let cores = if one.place == Place::TwoCores { 2 } else { 1 };
        let process = tidegate::start(self.settings, folder, Start { cpu, cores, durability }, path)?;
        let mut plan = ask.plan(self.settings, &process.running);
        if let (Who::AllOfMany, Some(many)) = (one.who, &self.many) {
            plan.targets = Targets::Lines(many.paths.clone());
        }
        let worker = match flow {
            None => None,
            Some(flow) => {
                let workers = process.workers.context("addresses.json names no workers' listener")?;
                Some(Worker::attach(workers, flow, ask.cpu)?)
            }
        };
        let cell = cell::measure(&plan, process.running.pid(), ask.cpu)?;
        if let Some(worker) = worker {
            worker.finish((cell.answers_per_second * self.settings.time.as_secs_f64()) as u64)?;
        }
        Ok(cell)
    }
}

fn copy(from: &Folder, to: &Folder) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from.path())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.path().join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn name(who: Who) -> &'static str {
    match who {
        Who::Peer(peer) => peer.name(),
        Who::Plain => "tidegate",
        Who::Flooded => "flooded",
        Who::Replying => "replying",
        Who::OneOfMany => "one of many",
        Who::AllOfMany => "all of many",
        Who::Socket => "WebSocket",
        Who::Worked(_) => "with worker",
    }
}

/// The ratio of two series, round by round.
fn line(ratio: &Ratio, measured: &Measured) -> Line {
    let (target, bound): (String, Box<dyn Fn(f64) -> Verdict>) = match ratio.target {
        Target::AtMost(most) => (
            format!("≤ {most:.2}"),
            Box::new(move |value| if value <= most { Verdict::Pass } else { Verdict::Miss }),
        ),
        Target::AtLeast(least) => (
            format!("≥ {least:.2}"),
            Box::new(move |value| if value >= least { Verdict::Pass } else { Verdict::Miss }),
        ),
        Target::None => (String::new(), Box::new(|_| Verdict::Shown)),
    };
    let cells = |series: &Series| -> Result<Vec<Cell>, String> {
        measured.get(series).map_or(Ok(Vec::new()), |cells| cells.iter().cloned().collect())
    };
    let (of, to) = match (cells(&ratio.of), cells(&ratio.to)) {
        (Ok(of), Ok(to)) => (of, to),
        (Err(why), _) | (_, Err(why)) => return Line::not_here(ratio.row, ratio.what, &target, &why),
    };
    let figure = |cell: &Cell| match ratio.figure {
        Figure::Cpu => cell.server_micros,
        Figure::Rate => cell.answers_per_second,
    };
    let values: Vec<f64> = of.iter().zip(&to).map(|(of, to)| figure(of) / figure(to)).collect();
    let (median, least, most) = spread(&values);
    let middle = |cells: &[Cell]| spread(&cells.iter().map(figure).collect::<Vec<_>>()).0;
    let figures = match ratio.figure {
        Figure::Cpu => format!("{:.2} / {:.2} µs", middle(&of), middle(&to)),
        Figure::Rate => {
            let p99 = spread(&of.iter().map(|cell| cell.p99_millis).collect::<Vec<_>>()).0;
            format!("{:.0} / {:.0} a second, p99 {p99:.1} ms", middle(&of), middle(&to))
        }
    };
    let round = |(of, to): (&Cell, &Cell)| {
        let one = |cell: &Cell| json!({"serverMicros": cell.server_micros, "answersPerSecond": cell.answers_per_second, "p99Millis": cell.p99_millis});
        json!({"of": one(of), "to": one(to), "ratio": figure(of) / figure(to)})
    };
    Line {
        row: ratio.row,
        what: ratio.what.to_owned(),
        target,
        measured: format!("{median:.2} ({least:.2}–{most:.2})"),
        figures,
        verdict: bound(median),
        rounds: of.iter().zip(&to).map(round).collect(),
    }
}
