//! A run of the comparison: every server once in each round and way, and the ratios of what was measured.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::cell::{self, Ask, Cell, Generator};
use super::ratio;
use super::rows::{Load, NAMES, Ratio, Series, Who, ratios};
use super::servers::{self, Folder, Peer, Running};
use super::syscalls::Count;
use super::table::{Line, ServerRow};
use super::tidegate::{self, Made, Start};
use super::way::Way;
use super::worker::Worker;
use super::{Settings, generator};
use crate::load::{Bound, Protocol};
use crate::system;
use crate::targets::Targets;

/// Requests a second of the fixed rate: a turn of the server then holds one or two.
const RATE: f64 = 15_000.0;
/// The same for large bodies: as many as any of the servers can take.
const RATE_LARGE: f64 = 1_000.0;
/// A body from this size on is large.
const LARGE_BYTES: usize = 65_536;

/// The folders and servers that Tidegate's processes run on.
pub(super) struct Bench<'s> {
    pub(super) settings: &'s Settings,
    pub(super) folder: Folder,
    pub(super) made: Made,
    pub(super) many: Option<Many>,
    pub(super) cpus: Vec<usize>,
    /// The server that requests are forwarded to, by Tidegate and by nginx.
    upstream: anyhow::Result<Running>,
}

pub(super) struct Many {
    pub(super) folder: Folder,
    pub(super) paths: Vec<String>,
}

/// Everything that was measured.
pub struct Report {
    pub lines: Vec<Line>,
    pub servers: Vec<ServerRow>,
    /// Rounds of the ratios; fewer than were asked for if the time was over.
    pub rounds: usize,
}

/// Measures the rows that are wanted.
///
/// # Errors
/// If Tidegate does not start or takes no webhook, or a signal asked to stop. What one row cannot do is said in its line.
pub fn measure(settings: &Settings) -> anyhow::Result<Report> {
    let wanted = |row: &str| settings.rows.is_empty() || settings.rows.iter().any(|name| name == row);
    let cpus = system::cpus();
    let upstream = if wanted("forward") {
        servers::start(settings, Peer::Floor, cpus.first().copied())
    } else {
        Err(anyhow!("the row is not wanted"))
    };
    let folder = Folder::new()?;
    let address = upstream.as_ref().ok().map(|running| running.address);
    let made =
        tidegate::prepare(settings, &folder, address).context("filling a folder through the REST API")?;
    let many = if wanted("many") || wanted("start") { Some(prepare_many(settings)?) } else { None };
    let bench = Bench { settings, folder, made, many, cpus, upstream };
    let ratios: Vec<Ratio> = ratios(settings.others).into_iter().filter(|ratio| wanted(ratio.row)).collect();
    let (measured, rounds) = bench.rounds(&ratios)?;
    let mut lines: Vec<Line> = ratios.iter().map(|one| ratio::line(one, &measured)).collect();
    let servers = bench.server_rows(&ratios, &measured)?;
    for row in ["idle", "waiting", "start", "binary"] {
        ensure!(!system::is_stopped(), "stopped by a signal");
        match row {
            _ if !wanted(row) => {}
            "idle" => bench.idle(&mut lines),
            "waiting" => bench.waiting(&mut lines),
            "start" => bench.start(&mut lines),
            _ => bench.binary(&mut lines),
        }
    }
    if wanted("generator") {
        lines.extend(generator::measure(&bench));
    }
    lines.sort_by_key(|line| NAMES.iter().position(|name| *name == line.row));
    Ok(Report { lines, servers, rounds })
}

fn prepare_many(settings: &Settings) -> anyhow::Result<Many> {
    tell(settings, || format!("creating {} webhooks", settings.webhooks));
    let folder = settings.webhooks_in.as_deref().map_or_else(Folder::new, Folder::kept)?;
    let began = Instant::now();
    let paths = tidegate::prepare_many(settings, &folder, settings.webhooks)?;
    tell(settings, || {
        format!("there are {} webhooks, after {:.1} s", paths.len(), began.elapsed().as_secs_f64())
    });
    Ok(Many { folder, paths })
}

pub(super) fn tell(settings: &Settings, what: impl FnOnce() -> String) {
    if settings.verbose {
        eprintln!("{}", what());
    }
}

/// What each series came to, round by round.
pub(super) type Measured = HashMap<Series, Vec<Result<Cell, String>>>;

/// Each series of the ratios once, in the order of the rows.
fn series_of(ratios: &[Ratio]) -> Vec<Series> {
    let mut order: Vec<Series> = Vec::new();
    for ratio in ratios {
        for one in ratio.ways.iter().flat_map(|(way, _)| ratio.series(*way)) {
            if !order.contains(&one) {
                order.push(one);
            }
        }
    }
    order
}

impl Bench<'_> {
    /// Every series once in each round, so that what disturbs the machine disturbs them alike. No round begins that
    /// would end after the time that the ratios have, if it took as long as the last one.
    fn rounds(&self, ratios: &[Ratio]) -> anyhow::Result<(Measured, usize)> {
        let order = series_of(ratios);
        let mut measured: Measured = HashMap::new();
        let (began, mut last) = (Instant::now(), Duration::ZERO);
        for round in 0..self.settings.rounds {
            if round > 0 && began.elapsed() + last > self.settings.ratios_time {
                tell(self.settings, || format!("the time is over after {round} rounds"));
                return Ok((measured, round));
            }
            let round_began = Instant::now();
            for one in &order {
                ensure!(!system::is_stopped(), "stopped by a signal");
                let cells = measured.entry(*one).or_default();
                // A server that refused once refuses again.
                if cells.last().is_some_and(Result::is_err) {
                    continue;
                }
                let cell = self.cell(*one, None).map_err(|error| format!("{error:#}"));
                tell(self.settings, || told(round, *one, &cell));
                cells.push(cell);
            }
            last = round_began.elapsed();
        }
        Ok((measured, self.settings.rounds))
    }

    /// The servers' own figures in each way; system calls are counted in a run of their own, where they are wanted.
    fn server_rows(&self, ratios: &[Ratio], measured: &Measured) -> anyhow::Result<Vec<ServerRow>> {
        let mut rows = Vec::new();
        for one in series_of(ratios) {
            ensure!(!system::is_stopped(), "stopped by a signal");
            let Some(cells) = measured.get(&one) else { continue };
            let Ok(cells) = cells.iter().cloned().collect::<Result<Vec<Cell>, String>>() else { continue };
            let (load, way) = one;
            let counted = self.settings.syscalls && !matches!(way, Way::TwoCores | Way::TwoServers);
            let mut syscalls = None;
            if counted {
                let mut calls = 0;
                match self.cell(one, Some(&mut calls)) {
                    Ok(cell) => syscalls = Some(calls as f64 / cell.answers),
                    Err(error) => tell(self.settings, || format!("{}: {error:#}", load.who.name())),
                }
            }
            rows.push(ServerRow::new(load, way, &cells, syscalls));
        }
        Ok(rows)
    }

    /// Measures a series once. With `calls`, the server's system calls are counted from before the first request until
    /// after the last answer, and no answer is left out as warm-up.
    fn cell(&self, one: Series, calls: Option<&mut u64>) -> anyhow::Result<Cell> {
        let (load, way) = one;
        if matches!(way, Way::TwoCores | Way::TwoServers) {
            return self.two(load, way);
        }
        let mut ask = Ask {
            depth: load.depth,
            body_bytes: load.body_bytes,
            connections: load.connections,
            ..Ask::plain()
        };
        let (server, generator) = way.cpus(&self.cpus)?;
        let Who::Peer(peer) = load.who else {
            return self.tidegate(one, ask, server, generator, calls);
        };
        if matches!(peer, Peer::EchoEpoll | Peer::EchoTungstenite) {
            ask.protocol = Protocol::WebSocket;
        }
        let running = match peer {
            Peer::NginxProxy => {
                let upstream = self.upstream.as_ref().map_err(|error| anyhow!("{error:#}"))?;
                servers::start_proxy(upstream.address, server)?
            }
            peer => servers::start(self.settings, peer, server)?,
        };
        let mut plan = ask.plan(self.settings, &running);
        plan.warmup = plan.warmup.max(peer.warmup_min());
        plan.bound = Bound::Time(self.settings.time.max(peer.time_min()));
        self.run(plan, way, running.pid(), generator, calls)
    }

    /// Puts the load on a server in the way that is wanted.
    fn run(
        &self,
        mut plan: crate::load::Plan,
        way: Way,
        pid: u32,
        cpu: usize,
        calls: Option<&mut u64>,
    ) -> anyhow::Result<Cell> {
        if way == Way::Rate {
            plan.rate = Some(if plan.body.len() < LARGE_BYTES { RATE } else { RATE_LARGE });
            // Pipelined requests leave together, as they do in a closed loop.
            plan.burst = plan.depth;
        }
        let count = match calls {
            Some(calls) => {
                plan.warmup = Duration::ZERO;
                Some((Count::start(pid)?, calls))
            }
            None => None,
        };
        let cell = match way {
            Way::Wrk => cell::measure_with_wrk(&plan, self.settings.time, pid, cpu)?,
            _ => cell::measure(&[Generator { plan, cpu, is_batch: way == Way::Batch }], &[pid])?,
        };
        if let Some((count, calls)) = count {
            *calls = count.finish()?;
        }
        Ok(cell)
    }

    fn tidegate(
        &self,
        (load, way): Series,
        mut ask: Ask,
        cpu: Option<usize>,
        generator: usize,
        calls: Option<&mut u64>,
    ) -> anyhow::Result<Cell> {
        let made = &self.made;
        let refused = |why: &String| anyhow!("{why}");
        let mut folder = &self.folder;
        let mut environment: &'static [(&'static str, &'static str)] = &[];
        let mut flow = None;
        let path = match load.who {
            Who::Plain | Who::Peer(_) => &made.plain,
            Who::Unrecorded => {
                environment = &[("TIDEGATE_RECORD_EVENTS", "0")];
                &made.plain
            }
            Who::Flooded => {
                ask.status = 429;
                &made.flooded
            }
            Who::Replying => made.replying.as_ref().map_err(refused)?,
            Who::Forwarding => made.forwarding.as_ref().map_err(refused)?,
            Who::OneOfMany | Who::AllOfMany => {
                let many = self.many.as_ref().context("no folder with many webhooks")?;
                folder = &many.folder;
                &many.paths[0]
            }
            Who::Socket => {
                ask.protocol = Protocol::WebSocket;
                made.socket.as_ref().map_err(refused)?
            }
            Who::Worked(durability) => {
                environment = match durability {
                    Some("fsync") => &[("TIDEGATE_JOURNAL_DURABILITY", "fsync")],
                    Some(_) => &[("TIDEGATE_JOURNAL_DURABILITY", "memory")],
                    None => &[],
                };
                let (path, of) = made.worked.as_ref().map_err(refused)?;
                flow = Some(of);
                path
            }
        };
        let disk;
        if load.who == Who::Worked(Some("fsync")) {
            // A disk is what is measured: the folder in memory is copied to one.
            disk = Folder::on_disk()?;
            copy(folder, &disk)?;
            folder = &disk;
        }
        let process = tidegate::start(self.settings, folder, Start { cpu, cores: 1, environment }, path)?;
        let mut plan = ask.plan(self.settings, &process.running);
        if let (Who::AllOfMany, Some(many)) = (load.who, &self.many) {
            plan.targets = Targets::Lines(many.paths.clone());
        }
        if load.who == Who::Flooded {
            self.spend(&process.running);
        }
        let worker = match flow {
            None => None,
            Some(flow) => {
                let workers = process.workers.context("addresses.json names no workers' listener")?;
                Some(Worker::attach(workers, flow, generator)?)
            }
        };
        let cell = self.run(plan, way, process.running.pid(), generator, calls)?;
        if let Some(worker) = worker {
            worker.finish(cell.answers as u64)?;
        }
        Ok(cell)
    }

    /// Uses the one token of the webhook that is flooded, so that every counted answer is a 429.
    fn spend(&self, running: &Running) {
        // The load finds out if it was refused, since its first answer is another one then.
        let _ = servers::answers(running.address, "POST", &running.path);
    }

    /// A process of two cores, or two of one core each, on the same two CPUs, with a generator on each of those. The
    /// generators' share of the CPUs is the same in both.
    fn two(&self, load: Load, way: Way) -> anyhow::Result<Cell> {
        let (&first, &last) = self.cpus.first().zip(self.cpus.last()).context("no CPU")?;
        ensure!(first != last, "there is only one CPU");
        let mut ask = Ask { connections: load.connections / 2, ..Ask::plain() };
        let path = if load.who == Who::Flooded {
            ask.status = 429;
            &self.made.flooded
        } else {
            &self.made.plain
        };
        let other;
        let processes = if way == Way::TwoCores {
            let how = Start { cpu: None, cores: 2, environment: &[] };
            vec![tidegate::start(self.settings, &self.folder, how, path)?]
        } else {
            // A folder serves one process.
            other = Folder::new()?;
            copy(&self.folder, &other)?;
            let on = |cpu, folder| {
                tidegate::start(self.settings, folder, Start { cpu: Some(cpu), ..Start::ONE_CORE }, path)
            };
            vec![on(first, &self.folder)?, on(last, &other)?]
        };
        let generators: Vec<Generator> = [first, last]
            .iter()
            .zip(processes.iter().cycle())
            .map(|(&cpu, process)| Generator {
                plan: ask.plan(self.settings, &process.running),
                cpu,
                is_batch: true,
            })
            .collect();
        if load.who == Who::Flooded {
            processes.iter().for_each(|process| self.spend(&process.running));
        }
        let pids: Vec<u32> = processes.iter().map(|process| process.running.pid()).collect();
        cell::measure(&generators, &pids)
    }
}

fn told(round: usize, (load, way): Series, cell: &Result<Cell, String>) -> String {
    let name = load.who.name();
    match cell {
        Ok(cell) => format!(
            "round {}  {name:>24}, {}, depth {:2}, body {:6}: {:8.2} µs of CPU, {:8.0} answers/s, {:.1} a wake-up, {:.3} involuntary",
            round + 1,
            way.name(),
            load.depth,
            load.body_bytes,
            cell.server_micros,
            cell.answers_per_second,
            cell.answers_a_wakeup,
            cell.involuntary_an_answer,
        ),
        Err(error) => format!("round {}  {name}, {}: {error}", round + 1, way.name()),
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
