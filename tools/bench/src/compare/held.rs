//! The rows that are no ratios: what a connection, a waiting reply and a webhook cost in memory, how long a start takes,
//! how large the program is.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;

use super::bench::{Bench, tell};
use super::memory::{self, Before, Coming};
use super::servers::{self, Folder, Peer};
use super::table::{Line, Verdict, spread};
use super::tidegate::{self, Start};
use crate::system;

impl Bench<'_> {
    /// Memory of a connection that is quiet.
    pub(super) fn idle(&self, lines: &mut Vec<Line>) {
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

    pub(super) fn waiting(&self) -> Line {
        const TARGET: f64 = 1024.0;
        let count = self.settings.waiting;
        let bytes = self.held(&self.made.waiting, count, Before::Waiting, Coming::AtOnce);
        bytes_line("waiting", &format!("a waiting reply, of {count}"), "≤ 1024 B", Some(TARGET), count, bytes)
    }

    /// Time and memory of a start with many webhooks.
    pub(super) fn start(&self, lines: &mut Vec<Line>) {
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

    pub(super) fn binary(&self, lines: &mut Vec<Line>) -> anyhow::Result<()> {
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
