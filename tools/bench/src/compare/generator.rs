//! What the load generator itself costs, beside `wrk`: each in turn loads the same server from a CPU of its own. How
//! busy server and generator were is told too: who is busier is what limits the answers.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Settings;
use super::bench::{Bench, tell};
use super::cell::{BODY_BYTES, CONNECTIONS};
use super::servers::{self, Folder, Peer, Running};
use super::table::{Line, NOT_STARTED, Verdict, spread};
use super::tidegate::{self, Start};
use super::wrk;
use crate::{load, system};

/// A run is this long, since what a generator does before and after it is counted too.
const SECONDS: u64 = 2;

/// Rounds at most: the figures of a generator differ little.
const ROUNDS_MAX: usize = 3;

/// Who puts the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generator {
    Load,
    Wrk,
}

/// What one run came to.
struct Run {
    /// CPU of the generator for one answer.
    own_micros: f64,
    answers_per_second: f64,
    /// The part of their CPUs that generator and server used.
    own_share: f64,
    server_share: f64,
}

/// Who answers meanwhile.
#[derive(Clone, Copy)]
enum Server<'b> {
    Peer(Peer),
    /// Tidegate on this folder, asked for the path.
    Tidegate(&'b Folder, &'b str),
}

/// The generator's cost to wrk's, and how busy both and the server are.
pub(super) fn measure(bench: &Bench<'_>) -> Vec<Line> {
    [Server::Peer(Peer::Nginx), Server::Peer(Peer::Hyper), Server::Tidegate(&bench.folder, &bench.made.plain)]
        .iter()
        .map(|server| line(bench.settings, &bench.cpus, *server))
        .collect()
}

impl Server<'_> {
    fn name(self) -> &'static str {
        match self {
            Server::Peer(peer) => peer.name(),
            Server::Tidegate(..) => "tidegate",
        }
    }

    fn start(self, settings: &Settings, cpu: usize) -> anyhow::Result<Running> {
        match self {
            Server::Peer(peer) => servers::start(settings, peer, Some(cpu)),
            Server::Tidegate(folder, path) => {
                let how = Start { cpu: Some(cpu), ..Start::ONE_CORE };
                Ok(tidegate::start(settings, folder, how, path)?.running)
            }
        }
    }
}

fn line(settings: &Settings, cpus: &[usize], server: Server<'_>) -> Line {
    let what = format!("CPU of the generator `tools/load` an answer, to `wrk`'s, on {}", server.name());
    let target = "≤ 1.00";
    match rounds(settings, cpus, server) {
        Err(error) => Line::not_here("generator", &what, target, &format!("{error:#}")),
        Ok(rounds) => {
            let of = |value: fn(&Run) -> f64, who: fn(&(Run, Run)) -> &Run| {
                spread(&rounds.iter().map(|round| value(who(round))).collect::<Vec<_>>()).0
            };
            let ratios: Vec<f64> =
                rounds.iter().map(|(load, wrk)| load.own_micros / wrk.own_micros).collect();
            let (median, least, most) = spread(&ratios);
            let verdict = if median <= 1.0 { Verdict::Pass } else { Verdict::Miss };
            let measured = format!("{median:.2} ({least:.2}–{most:.2})");
            Line {
                figures: format!(
                    "{:.2} / {:.2} µs; {:.0} / {:.0} answers/s; of a CPU load {:.0} % and its server {:.0} %, wrk {:.0} % and its server {:.0} %",
                    of(|run| run.own_micros, |round| &round.0),
                    of(|run| run.own_micros, |round| &round.1),
                    of(|run| run.answers_per_second, |round| &round.0),
                    of(|run| run.answers_per_second, |round| &round.1),
                    of(|run| run.own_share * 100.0, |round| &round.0),
                    of(|run| run.server_share * 100.0, |round| &round.0),
                    of(|run| run.own_share * 100.0, |round| &round.1),
                    of(|run| run.server_share * 100.0, |round| &round.1),
                ),
                rounds: rounds
                    .iter()
                    .map(|(load, wrk)| json!({"load": load.json(), "wrk": wrk.json()}))
                    .collect(),
                ..Line::single("generator", &what, target, measured, verdict)
            }
        }
    }
}

impl Run {
    fn json(&self) -> Value {
        json!({"ownMicros": self.own_micros, "answersPerSecond": self.answers_per_second,
            "ownShare": self.own_share, "serverShare": self.server_share})
    }
}

fn rounds(settings: &Settings, cpus: &[usize], server: Server<'_>) -> anyhow::Result<Vec<(Run, Run)>> {
    let name = server.name();
    let (Some(&first), Some(&last)) = (cpus.first(), cpus.last()) else { bail!("no CPU") };
    ensure!(first != last, "there is only one CPU");
    let server = server.start(settings, first)?;
    let mut rounds = Vec::new();
    for round in 1..=settings.rounds.min(ROUNDS_MAX) {
        ensure!(!system::is_stopped(), "stopped by a signal");
        let load = run(settings, Generator::Load, &server, last)?;
        let wrk = run(settings, Generator::Wrk, &server, last)?;
        tell(settings, || {
            format!(
                "round {round}  on {}: load {:.2} µs, wrk {:.2} µs",
                name, load.own_micros, wrk.own_micros
            )
        });
        rounds.push((load, wrk));
    }
    Ok(rounds)
}

/// One generator as a process of its own; what it used is known once it has ended.
fn run(settings: &Settings, generator: Generator, server: &Running, cpu: usize) -> anyhow::Result<Run> {
    let folder = Folder::new()?;
    let url = format!("http://{}{}", server.address, server.path);
    let connections = CONNECTIONS.to_string();
    let outcome = folder.path().join("outcome.json");
    let mut command = match generator {
        Generator::Load => {
            let mut command = Command::new(settings.programs.join("load"));
            command.args([&url, "--connections", &connections, "--body-bytes", &BODY_BYTES.to_string()]);
            command.args(["--duration", &SECONDS.to_string(), "--warmup", "0", "--json"]).arg(&outcome);
            command
        }
        Generator::Wrk => {
            let script = folder.path().join("post.lua");
            let body = String::from_utf8(load::json_body(BODY_BYTES))?;
            std::fs::write(
                &script,
                format!(
                    "wrk.method='POST'\nwrk.body='{body}'\nwrk.headers['content-type']='application/json'\n"
                ),
            )?;
            let mut command = Command::new("wrk");
            command.args([
                "--threads",
                "1",
                "--connections",
                &connections,
                "--duration",
                &format!("{SECONDS}s"),
            ]);
            command.arg("--script").arg(&script).arg(&url);
            command
        }
    };
    let before = (system::cpu_nanos(server.pid())?, system::children_cpu()?);
    let child = servers::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()), Some(cpu))
        .with_context(|| format!("{generator:?} {NOT_STARTED}"))?;
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "{generator:?} ended: {}", ended.status);
    let after = (system::cpu_nanos(server.pid())?, system::children_cpu()?);
    let answered = match generator {
        Generator::Load => {
            let outcome: Value = serde_json::from_slice(&std::fs::read(&outcome)?)?;
            outcome["answered"].as_u64().context("the outcome says no number of answers")?
        }
        Generator::Wrk => wrk::answers(&String::from_utf8_lossy(&ended.stdout), Some(200))?,
    } as f64;
    let own = (after.1 - before.1).as_secs_f64();
    let served = Duration::from_nanos(after.0 - before.0).as_secs_f64();
    let seconds = SECONDS as f64;
    Ok(Run {
        own_micros: own * 1e6 / answered,
        answers_per_second: answered / seconds,
        own_share: own / seconds,
        server_share: served / seconds,
    })
}
