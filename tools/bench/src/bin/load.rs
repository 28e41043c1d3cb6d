//! `load`: puts load on an HTTP or WebSocket ingress, checks every answer, and says how fast they came.

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tidegate_bench::load::{self, Bound, Expectation, Length, Outcome, Plan, Protocol, Watcher};
use tidegate_bench::system;
use tidegate_bench::targets::{Order, Targets, path_of};

/// Puts load on an HTTP or WebSocket ingress, checks every answer, and says how fast they came
#[derive(Parser)]
#[command(after_help = "Examples:
  load http://127.0.0.1:8080/webhooks/TOKEN --body-bytes 200 --duration 10
  load http://127.0.0.1:8080/ --paths urls.txt --rate 50000 --json out.json --plot out.svg
  load 'http://127.0.0.1:8080/hook/{1..1000}' --depth 16 --count 1000000
  load ws://127.0.0.1:8080/webhooks/TOKEN --body-bytes 100 --depth 16")]
struct Arguments {
    /// http:// or ws:// URL; {a..b} in its path stands for a whole number of that range
    url: String,
    /// Paths (or URLs, whose paths count) to choose from, one a line
    #[arg(long, value_name = "FILE")]
    paths: Option<PathBuf>,
    /// How paths are chosen
    #[arg(long, value_enum, default_value_t = Order::Random)]
    order: Order,
    /// Keep-alive connections
    #[arg(short, long, default_value_t = 64)]
    connections: usize,
    /// Requests (pipelined) or messages under way on each connection at a time
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Threads, each with its share of the connections
    #[arg(short, long, default_value_t = 1)]
    threads: usize,
    /// Requests a second over all connections, latency counted from the moment each should have left; without it,
    /// the next request leaves when an answer came
    #[arg(short, long)]
    rate: Option<f64>,
    /// Requests that leave together on one connection, with --rate; at most --depth
    #[arg(long, default_value_t = 1, requires = "rate")]
    burst: usize,
    /// Run under SCHED_BATCH: woken, it does not take the CPU from a server that shares it
    #[arg(long)]
    batch: bool,
    /// Seconds to measure
    #[arg(short, long, default_value_t = 10.0, conflicts_with = "count")]
    duration: f64,
    /// Answers to measure, instead of a duration
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Seconds of load before anything counts
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    #[arg(short = 'X', long, default_value = "POST")]
    method: String,
    /// A header line, `name: value`; may be repeated
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// A JSON body (or message) of this many bytes
    #[arg(long, default_value_t = 200, conflicts_with = "body")]
    body_bytes: usize,
    /// The body or message itself; @FILE for a file's content
    #[arg(long)]
    body: Option<String>,
    /// The status that every answer must have, or `any`
    #[arg(long, default_value = "200")]
    expect_status: String,
    /// Bytes that every answer's body must have: a number, `same` (as the first) or `any`
    #[arg(long, default_value = "same")]
    expect_length: String,
    /// Run on this CPU (with threads: on it and those that follow)
    #[arg(long)]
    cpu: Option<usize>,
    /// Connect from this address of this machine; may be repeated, where one address has too few ports
    #[arg(long)]
    source: Vec<Ipv4Addr>,
    /// Seed of the random order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the outcome here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw latency and throughput here
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// No run is longer: a forgotten one must not load a machine for ever.
const SECONDS_MAX: f64 = 86_400.0;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False: answers were missing or not as expected.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let plan = plan(arguments)?;
    let outcome = if arguments.threads == 1 {
        pinned(arguments, 0)?;
        load::run(&plan, &mut Progress::new(arguments))?
    } else {
        spread(arguments, &plan)?
    };
    print!("{}", outcome.text());
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{:#}\n", outcome.json()))
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.plot {
        std::fs::write(path, load::svg(&outcome, &arguments.url))
            .with_context(|| path.display().to_string())?;
    }
    Ok(outcome.failure().is_none())
}

fn pinned(arguments: &Arguments, thread: usize) -> anyhow::Result<()> {
    if arguments.batch {
        system::schedule_as_batch().context("SCHED_BATCH")?;
    }
    match arguments.cpu {
        Some(cpu) => system::pin_to_cpu(cpu + thread).with_context(|| format!("CPU {}", cpu + thread)),
        None => Ok(()),
    }
}

/// Runs the plan's shares on threads.
fn spread(arguments: &Arguments, plan: &Plan) -> anyhow::Result<Outcome> {
    let threads = arguments.threads;
    let outcomes: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let mut share = plan.clone();
                let part =
                    |whole: u64| whole / threads as u64 + u64::from((thread as u64) < whole % threads as u64);
                share.connections = part(plan.connections as u64) as usize;
                share.rate = plan.rate.map(|rate| rate / threads as f64);
                share.seed = plan.seed + thread as u64;
                if let Bound::Count(count) = plan.bound {
                    share.bound = Bound::Count(part(count));
                }
                scope.spawn(move || {
                    pinned(arguments, thread)?;
                    if thread == 0 {
                        load::run(&share, &mut Progress::new(arguments))
                    } else {
                        load::run(&share, &mut ())
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
            .collect()
    });
    let mut all = Outcome::new();
    for outcome in outcomes {
        all.merge(&outcome?);
    }
    Ok(all)
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let (scheme, rest) =
        arguments.url.split_once("://").context("the URL must begin with http:// or ws://")?;
    let protocol = match scheme {
        "http" => Protocol::Http,
        "ws" => Protocol::WebSocket,
        other => bail!("{other}:// is not spoken here, http:// and ws:// are"),
    };
    let host = rest.split('/').next().unwrap_or_default().to_owned();
    let mut plan = Plan::new(protocol, resolve(&host)?, "/");
    plan.host = host;
    plan.targets = match &arguments.paths {
        Some(file) => Targets::file(file)?,
        None => Targets::template(path_of(&arguments.url))?,
    };
    plan.order = arguments.order;
    plan.method.clone_from(&arguments.method);
    plan.headers.clone_from(&arguments.headers);
    for line in &plan.headers {
        ensure!(line.contains(':') && !line.contains(['\r', '\n']), "`{line}` is no header line");
    }
    plan.body = match &arguments.body {
        Some(body) => match body.strip_prefix('@') {
            Some(file) => std::fs::read(file).with_context(|| file.to_owned())?,
            None => body.clone().into_bytes(),
        },
        None if protocol == Protocol::Http && matches!(plan.method.as_str(), "GET" | "HEAD") => Vec::new(),
        None => load::json_body(arguments.body_bytes),
    };
    let typed = |line: &String| line.to_ascii_lowercase().starts_with("content-type:");
    if protocol == Protocol::Http && !plan.body.is_empty() && !plan.headers.iter().any(typed) {
        plan.headers.push("content-type: application/json".to_owned());
    }
    ensure!(
        arguments.connections >= arguments.threads && arguments.threads > 0,
        "each thread needs a connection"
    );
    ensure!((1..=1024).contains(&arguments.depth), "the depth must be from 1 to 1024");
    ensure!((0.0..=SECONDS_MAX).contains(&arguments.duration), "the duration must be up to {SECONDS_MAX} s");
    ensure!((0.0..=SECONDS_MAX).contains(&arguments.warmup), "the warm-up must be up to {SECONDS_MAX} s");
    ensure!(arguments.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e9), "the rate must be over 0");
    plan.connections = arguments.connections;
    plan.depth = arguments.depth;
    plan.bound = match arguments.count {
        Some(count) => Bound::Count(count),
        None => Bound::Time(Duration::from_secs_f64(arguments.duration)),
    };
    plan.warmup = Duration::from_secs_f64(arguments.warmup);
    plan.rate = arguments.rate;
    ensure!((1..=plan.depth).contains(&arguments.burst), "a burst is from 1 to --depth requests");
    plan.burst = arguments.burst;
    plan.sources.clone_from(&arguments.source);
    plan.seed = arguments.seed;
    plan.expect = Expectation {
        status: match arguments.expect_status.as_str() {
            "any" => None,
            status => Some(status.parse().context("--expect-status")?),
        },
        length: match arguments.expect_length.as_str() {
            "any" => Length::Any,
            "same" => Length::Same,
            bytes => Length::Exactly(bytes.parse().context("--expect-length")?),
        },
    };
    Ok(plan)
}

fn resolve(host: &str) -> anyhow::Result<SocketAddr> {
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses = with_port.to_socket_addrs().with_context(|| with_port.clone())?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

/// A line that is written over and over, on a terminal only.
struct Progress {
    shown: bool,
    threads: usize,
    before: (Duration, u64),
}

impl Progress {
    fn new(arguments: &Arguments) -> Progress {
        Progress {
            shown: std::io::stderr().is_terminal(),
            threads: arguments.threads,
            before: (Duration::ZERO, 0),
        }
    }
}

impl Watcher for Progress {
    fn progress(&mut self, elapsed: Duration, outcome: &Outcome) {
        if !self.shown {
            return;
        }
        let seconds = (elapsed - self.before.0).as_secs_f64().max(1e-9);
        let rate = (outcome.answered - self.before.1) as f64 / seconds;
        self.before = (elapsed, outcome.answered);
        let micros = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
        eprint!(
            "\r\x1b[K{:6.1} s  {rate:9.0}/s{}  p50 {:.0} µs  p99 {:.0} µs  {} wrong",
            elapsed.as_secs_f64(),
            if self.threads > 1 { " (first thread)" } else { "" },
            micros(0.5),
            micros(0.99),
            outcome.mismatches + outcome.unanswered
        );
        // A terminal that cannot be written to shows no progress: nothing else depends on it.
        let _ = std::io::stderr().flush();
    }

    fn end(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
