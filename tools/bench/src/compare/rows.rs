//! The rows of the table: which servers are asked for what, and which ratio must be reached.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use serde_json::json;

use super::Settings;
use super::cell::{self, Ask, Cell};
use super::memory::{self, Before, Coming};
use super::servers::{self, Folder, Peer};
use super::table::{Line, Verdict, spread};
use super::tidegate::{self, Made, Start};
use super::worker::Worker;
use crate::load::Protocol;
use crate::system;
use crate::targets::Targets;

/// Every row, in the order of the table.
pub const NAMES: [&str; 15] = [
    "plain",
    "two-cpus",
    "pipelined",
    "reply",
    "bodies",
    "many",
    "flood",
    "durable",
    "worker",
    "ws-1",
    "ws-16",
    "idle",
    "waiting",
    "start",
    "binary",
];

/// Which webhook of Tidegate, or which other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Peer(Peer),
    Plain,
    Flooded,
    Replying,
    /// One of many webhooks, always the same.
    OneOfMany,
    /// All of many, at random.
    AllOfMany,
    Socket,
    /// A worker is attached; the durability, if it is not the default.
    Worked(Option<&'static str>),
}

/// Where server and generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Same,
    Two,
    /// The server has two cores and goes where it likes.
    TwoCores,
}

/// What is measured in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Series {
    who: Who,
    place: Place,
    depth: usize,
    body_bytes: usize,
    connections: usize,
}

/// What of two series is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// CPU of the server for an answer.
    Cpu,
    /// Answers a second.
    Rate,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// One line: a ratio of two series.
struct Ratio {
    row: &'static str,
    what: &'static str,
    of: Series,
    to: Series,
    figure: Figure,
    target: Target,
}

const LARGE_BODY_BYTES: usize = 262_144;
const MESSAGE_BYTES: usize = 100;
/// Connections of the row with a journal.
const DURABLE_CONNECTIONS: usize = 256;

fn series(who: Who, place: Place) -> Series {
    Series { who, place, depth: 1, body_bytes: cell::BODY_BYTES, connections: cell::CONNECTIONS }
}

fn ratios(others: bool) -> Vec<Ratio> {
    use Figure::{Cpu, Rate};
    use Peer::{EchoEpoll, EchoTungstenite, Floor, Hyper, Nginx, NodeRed, Webhook};
    use Place::{Same, Two, TwoCores};
    use Target::{AtLeast, AtMost};
    let same = |who| series(who, Same);
    let peer = |peer| same(Who::Peer(peer));
    let piped = |who| Series { depth: 16, ..same(who) };
    let large = |who| Series { body_bytes: LARGE_BODY_BYTES, ..same(who) };
    let socket = |who, depth| Series { depth, body_bytes: MESSAGE_BYTES, ..same(who) };
    let durable =
        |durability| Series { connections: DURABLE_CONNECTIONS, ..series(Who::Worked(durability), Two) };
    let ratio = |row, what, of, to, figure, target| Ratio { row, what, of, to, figure, target };
    let mut all = vec![
        ratio("plain", "POST, same CPU, to floor", same(Who::Plain), peer(Floor), Cpu, AtMost(1.10)),
        ratio("plain", "POST, same CPU, to hyper", same(Who::Plain), peer(Hyper), Cpu, AtMost(0.78)),
        ratio("plain", "POST, same CPU, to nginx", same(Who::Plain), peer(Nginx), Cpu, AtMost(0.78)),
        ratio(
            "two-cpus",
            "POST, two CPUs, to floor",
            series(Who::Plain, Two),
            series(Who::Peer(Floor), Two),
            Cpu,
            AtMost(1.10),
        ),
        ratio(
            "pipelined",
            "16 pipelined, to floor",
            piped(Who::Plain),
            piped(Who::Peer(Floor)),
            Cpu,
            AtMost(1.6),
        ),
        ratio(
            "pipelined",
            "hyper, to floor",
            piped(Who::Peer(Hyper)),
            piped(Who::Peer(Floor)),
            Cpu,
            Target::None,
        ),
        ratio(
            "pipelined",
            "nginx, to floor",
            piped(Who::Peer(Nginx)),
            piped(Who::Peer(Floor)),
            Cpu,
            Target::None,
        ),
        ratio(
            "reply",
            "waitForReply with a template, to plain",
            same(Who::Replying),
            same(Who::Plain),
            Cpu,
            AtMost(1.35),
        ),
        ratio(
            "bodies",
            "262,144-byte bodies a CPU second, to hyper",
            large(Who::Peer(Hyper)),
            large(Who::Plain),
            Cpu,
            AtLeast(0.9),
        ),
        ratio(
            "many",
            "many webhooks at random, to one",
            same(Who::AllOfMany),
            same(Who::OneOfMany),
            Cpu,
            AtMost(1.15),
        ),
        ratio("flood", "over the rate, to accepted", same(Who::Flooded), same(Who::Plain), Cpu, AtMost(1.0)),
        ratio(
            "flood",
            "over the rate, two cores to one",
            series(Who::Flooded, TwoCores),
            series(Who::Flooded, Two),
            Cpu,
            AtMost(1.0),
        ),
        ratio(
            "durable",
            "fsync, to memory, answers a second",
            durable(Some("fsync")),
            durable(Some("memory")),
            Rate,
            AtLeast(0.6),
        ),
        ratio(
            "worker",
            "to a worker and acked, to plain",
            same(Who::Worked(None)),
            same(Who::Plain),
            Cpu,
            AtMost(2.5),
        ),
        ratio(
            "ws-1",
            "message and reply, depth 1, to epoll echo",
            socket(Who::Socket, 1),
            socket(Who::Peer(EchoEpoll), 1),
            Cpu,
            AtMost(1.3),
        ),
        ratio(
            "ws-1",
            "tungstenite, to epoll echo",
            socket(Who::Peer(EchoTungstenite), 1),
            socket(Who::Peer(EchoEpoll), 1),
            Cpu,
            Target::None,
        ),
        ratio(
            "ws-16",
            "message and reply, depth 16, to epoll echo",
            socket(Who::Socket, 16),
            socket(Who::Peer(EchoEpoll), 16),
            Cpu,
            AtMost(2.5),
        ),
        ratio(
            "ws-16",
            "tungstenite, to epoll echo",
            socket(Who::Peer(EchoTungstenite), 16),
            socket(Who::Peer(EchoEpoll), 16),
            Cpu,
            Target::None,
        ),
    ];
    if others {
        all.push(ratio(
            "plain",
            "POST, same CPU, to Node-RED",
            same(Who::Plain),
            peer(NodeRed),
            Cpu,
            Target::None,
        ));
        all.push(ratio(
            "plain",
            "POST, same CPU, to webhook",
            same(Who::Plain),
            peer(Webhook),
            Cpu,
            Target::None,
        ));
    }
    all
}

/// What Tidegate's processes run on.
struct Bench<'s> {
    settings: &'s Settings,
    folder: Folder,
    made: Made,
    many: Option<Many>,
    cpus: Vec<usize>,
}

struct Many {
    folder: Folder,
    paths: Vec<String>,
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
        let folder = Folder::new()?;
        let began = Instant::now();
        let paths = tidegate::prepare_many(settings, &folder, settings.webhooks)?;
        tell(settings, || {
            format!("created {} webhooks in {:.1} s", paths.len(), began.elapsed().as_secs_f64())
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
    lines.sort_by_key(|line| NAMES.iter().position(|name| *name == line.row));
    Ok(lines)
}

fn tell(settings: &Settings, what: impl FnOnce() -> String) {
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
        cell::measure(&ask.plan(self.settings, &running), running.pid(), ask.cpu)
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

    /// Memory of a connection that is quiet.
    fn idle(&self, lines: &mut Vec<Line>) {
        const SOCKET_TARGET: f64 = 1200.0;
        const HTTP_TARGET: f64 = 800.0;
        let count = self.settings.idle;
        let mut add = |what: &str, target: Option<f64>, bytes: anyhow::Result<f64>| {
            tell(self.settings, || match &bytes {
                Ok(bytes) => format!("{what}: {bytes:.0} B"),
                Err(error) => format!("{what}: {error:#}"),
            });
            let text = target.map_or(String::new(), |target| format!("≤ {target} B"));
            lines.push(bytes_line("idle", what, &text, target, count, bytes));
        };
        add(
            "idle keep-alive connection",
            Some(HTTP_TARGET),
            self.held(&self.made.plain, count, Before::Answered, Coming::InSlices),
        );
        add(
            "the same, opened within a second",
            None,
            self.held(&self.made.plain, count, Before::Answered, Coming::AtOnce),
        );
        for peer in [Peer::Floor, Peer::Hyper, Peer::Nginx] {
            let bytes = servers::start(self.settings, peer, None).and_then(|running| {
                memory::bytes_each(
                    running.address,
                    &running.path,
                    running.pid(),
                    count,
                    Before::Answered,
                    Coming::InSlices,
                )
            });
            add(&format!("the same, {}", peer.name()), None, bytes);
        }
        let socket = match &self.made.socket {
            Ok(path) => self.held(path, count, Before::Socket, Coming::InSlices),
            Err(why) => Err(anyhow!("{why}")),
        };
        add("idle WebSocket", Some(SOCKET_TARGET), socket);
        for peer in [Peer::EchoEpoll, Peer::EchoTungstenite] {
            let bytes = servers::start(self.settings, peer, None).and_then(|running| {
                memory::bytes_each(
                    running.address,
                    &running.path,
                    running.pid(),
                    count,
                    Before::Socket,
                    Coming::InSlices,
                )
            });
            add(&format!("the same, {}", peer.name()), None, bytes);
        }
    }

    fn held(&self, path: &str, count: usize, before: Before, coming: Coming) -> anyhow::Result<f64> {
        let process = tidegate::start(
            self.settings,
            &self.folder,
            Start { cpu: None, cores: 1, durability: None },
            path,
        )?;
        memory::bytes_each(process.running.address, path, process.running.pid(), count, before, coming)
    }

    fn waiting(&self) -> Line {
        const TARGET: f64 = 1024.0;
        let count = self.settings.waiting;
        let bytes = self.held(&self.made.waiting, count, Before::Waiting, Coming::AtOnce);
        bytes_line("waiting", &format!("a waiting reply, of {count}"), "≤ 1024 B", Some(TARGET), count, bytes)
    }

    /// Time and memory of a start with many webhooks.
    fn start(&self, lines: &mut Vec<Line>) {
        const SECONDS_FOR_A_MILLION: f64 = 5.0;
        const BYTES_EACH: f64 = 400.0;
        let Some(many) = &self.many else { return };
        let count = many.paths.len();
        let target = Duration::from_secs_f64(SECONDS_FOR_A_MILLION * count as f64 / 1e6);
        let how = Start { cpu: None, cores: 1, durability: None };
        let started = || {
            let mut took = Vec::new();
            let mut bytes = Vec::new();
            for _ in 0..self.settings.rounds {
                let few = tidegate::start(self.settings, &self.folder, how, "/")?;
                let without = system::private_dirty_bytes(few.running.pid())?;
                let all = tidegate::start(self.settings, &many.folder, how, "/")?;
                let with = system::private_dirty_bytes(all.running.pid())?;
                took.push(all.took.as_secs_f64() - few.took.as_secs_f64());
                bytes.push((with as f64 - without as f64) / count as f64);
            }
            anyhow::Ok((took, bytes))
        };
        let what = format!("start with {count} webhooks");
        let time_text = format!("≤ {:.0} ms", target.as_secs_f64() * 1000.0);
        match started() {
            Err(error) => lines.push(Line::not_here("start", &what, &time_text, &format!("{error:#}"))),
            Ok((took, bytes)) => {
                let (median, least, most) = spread(&took);
                lines.push(Line {
                    row: "start",
                    what,
                    target: time_text,
                    measured: format!("{:.0} ms ({:.0}–{:.0})", median * 1e3, least * 1e3, most * 1e3),
                    figures: format!("{:.2} µs a webhook", median * 1e6 / count as f64),
                    verdict: if median <= target.as_secs_f64() { Verdict::Pass } else { Verdict::Miss },
                    rounds: took.iter().map(|seconds| json!(seconds)).collect(),
                });
                let each = spread(&bytes).0;
                lines.push(bytes_line(
                    "start",
                    "memory of a webhook",
                    "≤ 400 B",
                    Some(BYTES_EACH),
                    count,
                    Ok(each),
                ));
            }
        }
    }

    fn binary(&self, lines: &mut Vec<Line>) -> anyhow::Result<()> {
        const BYTES: u64 = 15_000_000;
        const COLD_MILLIS: f64 = 50.0;
        let bytes = std::fs::metadata(&self.settings.tidegate)?.len();
        lines.push(Line {
            row: "binary",
            what: "release binary".to_owned(),
            target: "≤ 15 MB".to_owned(),
            measured: format!("{:.1} MB", bytes as f64 / 1e6),
            figures: String::new(),
            verdict: if bytes <= BYTES { Verdict::Pass } else { Verdict::Miss },
            rounds: vec![json!(bytes)],
        });
        let mut millis = Vec::new();
        for _ in 0..self.settings.rounds.max(3) {
            let folder = Folder::new()?;
            let process = tidegate::start(
                self.settings,
                &folder,
                Start { cpu: None, cores: 1, durability: None },
                "/",
            )?;
            millis.push(process.took.as_secs_f64() * 1000.0);
        }
        let (median, least, most) = spread(&millis);
        lines.push(Line {
            row: "binary",
            what: "cold start on a new folder, to the first answer".to_owned(),
            target: "≤ 50 ms".to_owned(),
            measured: format!("{median:.0} ms ({least:.0}–{most:.0})"),
            figures: String::new(),
            verdict: if median <= COLD_MILLIS { Verdict::Pass } else { Verdict::Miss },
            rounds: millis.iter().map(|millis| json!(millis)).collect(),
        });
        Ok(())
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

fn bytes_line(
    row: &'static str,
    what: &str,
    target_text: &str,
    target: Option<f64>,
    count: usize,
    bytes: anyhow::Result<f64>,
) -> Line {
    match bytes {
        Err(error) => Line::not_here(row, what, target_text, &format!("{error:#}")),
        Ok(bytes) => Line {
            row,
            what: what.to_owned(),
            target: target_text.to_owned(),
            measured: format!("{bytes:.0} B"),
            figures: format!("of {count}"),
            verdict: match target {
                None => Verdict::Shown,
                Some(target) if bytes <= target => Verdict::Pass,
                Some(_) => Verdict::Miss,
            },
            rounds: vec![json!(bytes)],
        },
    }
}
