//! The rows that are no ratios: what a connection, a waiting reply and a webhook cost in memory, how long a start takes,
//! how large the program is.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use serde_json::json;

use super::Settings;
use super::bench::{Bench, tell};
use super::memory::{self, Before, Coming};
use super::servers::{self, Folder, Peer};
use super::table::{Line, Verdict, spread};
use super::tidegate::{self, Start};
use crate::system;

impl Bench<'_> {
    /// Memory of a connection that is quiet, and of one that is not.
    pub(super) fn idle(&self, lines: &mut Vec<Line>) {
        const HTTP_TARGET: f64 = 160.0;
        const SPEAKING_TARGET: f64 = 1200.0;
        const SOCKET_TARGET: f64 = 400.0;
        let count = self.settings.idle;
        let mut add = |what: String, target: Option<f64>, bytes: anyhow::Result<f64>| {
            tell(self.settings, || match &bytes {
                Ok(bytes) => format!("{what}: {bytes:.0} B"),
                Err(error) => format!("{what}: {error:#}"),
            });
            let text = target.map_or(String::new(), |target| format!("≤ {target} B"));
            lines.push(bytes_line("idle", &what, &text, target, count, bytes));
        };
        let plain = &self.made.plain;
        let what = "an idle keep-alive connection".to_owned();
        add(what, Some(HTTP_TARGET), self.held(plain, count, Before::Answered, Coming::InSlices));
        let what = "… right after a request (a request a second on each)".to_owned();
        add(what, Some(SPEAKING_TARGET), self.held(plain, count, Before::Answered, Coming::Speaking));
        for peer in [Peer::Floor, Peer::Monoio, Peer::Hyper, Peer::Nginx] {
            add(format!("… {}", peer.name()), None, self.held_by(peer, count, Before::Answered));
        }
        let socket = match &self.made.socket {
            Ok(path) => self.held(path, count, Before::Socket, Coming::InSlices),
            Err(why) => Err(anyhow!("{why}")),
        };
        add("an idle WebSocket".to_owned(), Some(SOCKET_TARGET), socket);
        for peer in [Peer::EchoEpoll, Peer::EchoTungstenite] {
            add(format!("… {}", peer.name()), None, self.held_by(peer, count, Before::Socket));
        }
        lines.push(idle_tls(self.settings, count));
    }

    fn held(&self, path: &str, count: usize, before: Before, coming: Coming) -> anyhow::Result<f64> {
        ensure!(!system::is_stopped(), "stopped by a signal");
        let process = tidegate::start(self.settings, &self.folder, Start::ONE_CORE, path)?;
        memory::bytes_each(process.running.address, path, process.running.pid(), count, before, coming)
    }

    /// The others do nothing for a connection that becomes quiet, so that they all come at once.
    fn held_by(&self, peer: Peer, count: usize, before: Before) -> anyhow::Result<f64> {
        ensure!(!system::is_stopped(), "stopped by a signal");
        let running = servers::start(self.settings, peer, None)?;
        memory::bytes_each(running.address, &running.path, running.pid(), count, before, Coming::AtOnce)
    }

    pub(super) fn waiting(&self, lines: &mut Vec<Line>) {
        const TARGET: f64 = 400.0;
        let count = self.settings.waiting;
        let bytes = self.held(&self.made.waiting, count, Before::Waiting, Coming::AtOnce);
        lines.push(bytes_line("waiting", "a waiting reply", "≤ 400 B", Some(TARGET), count, bytes));
    }

    /// Time and memory of a start with many webhooks.
    pub(super) fn start(&self, lines: &mut Vec<Line>) {
        const SECONDS_FOR_A_MILLION: f64 = 3.0;
        const BYTES_EACH: f64 = 389.0;
        let Some(many) = &self.many else { return };
        let count = many.paths.len();
        let target = Duration::from_secs_f64(SECONDS_FOR_A_MILLION * count as f64 / 1e6);
        let how = Start::ONE_CORE;
        let started = || {
            let mut took = Vec::new();
            let mut bytes = Vec::new();
            for _ in 0..self.settings.rounds.min(STARTS_MAX) {
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
                let measured = format!("{:.0} ms ({:.0}–{:.0})", median * 1e3, least * 1e3, most * 1e3);
                lines.push(Line {
                    figures: format!("{:.2} µs a webhook", median * 1e6 / count as f64),
                    rounds: took.iter().map(|seconds| json!(seconds)).collect(),
                    ..Line::single("start", &what, &time_text, measured, met(median <= target.as_secs_f64()))
                });
                let each = Ok(spread(&bytes).0);
                lines.push(bytes_line(
                    "start",
                    "memory of a webhook",
                    "≤ 389 B",
                    Some(BYTES_EACH),
                    count,
                    each,
                ));
            }
        }
    }

    /// Size of the program, and how soon it serves.
    pub(super) fn binary(&self, lines: &mut Vec<Line>) {
        const BYTES: u64 = 17_000_000;
        const COLD_MILLIS: f64 = 20.0;
        match std::fs::metadata(&self.settings.tidegate) {
            Err(error) => {
                lines.push(Line::not_here("binary", "release binary", "≤ 17 MB", &error.to_string()))
            }
            Ok(file) => {
                let measured = format!("{:.1} MB", file.len() as f64 / 1e6);
                lines.push(Line {
                    rounds: vec![json!(file.len())],
                    ..Line::single("binary", "release binary", "≤ 17 MB", measured, met(file.len() <= BYTES))
                });
            }
        }
        let what = "cold start on a new folder, to the first answer";
        let starts = || {
            (0..self.settings.rounds.clamp(3, STARTS_MAX))
                .map(|_| {
                    let folder = Folder::new()?;
                    let process = tidegate::start(self.settings, &folder, Start::ONE_CORE, "/")?;
                    Ok(process.took.as_secs_f64() * 1000.0)
                })
                .collect::<anyhow::Result<Vec<f64>>>()
        };
        match starts() {
            Err(error) => lines.push(Line::not_here("binary", what, "≤ 20 ms", &format!("{error:#}"))),
            Ok(millis) => {
                let (median, least, most) = spread(&millis);
                let measured = format!("{median:.0} ms ({least:.0}–{most:.0})");
                lines.push(Line {
                    rounds: millis.iter().map(|millis| json!(millis)).collect(),
                    ..Line::single("binary", what, "≤ 20 ms", measured, met(median <= COLD_MILLIS))
                });
            }
        }
    }
}

/// Starts that a row measures at most.
const STARTS_MAX: usize = 5;

fn met(is_met: bool) -> Verdict {
    if is_met { Verdict::Pass } else { Verdict::Miss }
}

/// TLS connections come from `tools/idle`, which has a TLS client; so many of them, since each is a handshake.
fn idle_tls(settings: &Settings, count: usize) -> Line {
    const TARGET: f64 = 3000.0;
    const COUNT_MAX: usize = 2_000;
    let count = count.min(COUNT_MAX);
    let measured = || {
        let mut command = Command::new("python3");
        command
            .arg(settings.scripts.join("idle"))
            .arg("--tls")
            .arg(count.to_string())
            .arg(&settings.tidegate);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = servers::spawn(&mut command, None).context("python3")?;
        let ended = child.wait_with_output()?;
        ensure!(ended.status.success(), "tools/idle ended: {}", ended.status);
        let text = String::from_utf8(ended.stdout)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let found = words.windows(3).find(|words| words[1..] == ["resident", "bytes"]);
        let bytes = found.and_then(|words| words[0].parse().ok());
        bytes.with_context(|| format!("tools/idle printed {text:?}"))
    };
    bytes_line(
        "idle",
        "an idle TLS connection (`tools/idle --tls`)",
        "≤ 3000 B",
        Some(TARGET),
        count,
        measured(),
    )
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
        Ok(bytes) => {
            let verdict = target.map_or(Verdict::Shown, |target| met(bytes <= target));
            Line {
                figures: count.to_string(),
                rounds: vec![json!(bytes)],
                ..Line::single(row, what, target_text, format!("{bytes:.0} B"), verdict)
            }
        }
    }
}
