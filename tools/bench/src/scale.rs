//! What a webhook, an idle connection and a waiting reply cost as they grow: measured on the program, each against a
//! process that has none, and drawn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::compare::Settings;
use crate::compare::cell::{self, Ask, Generator};
use crate::compare::memory::{self, Before, Coming};
use crate::compare::servers::Folder;
use crate::compare::tidegate::{self, Made, Start};
use crate::plot::{Chart, Line};
use crate::system;
use crate::targets::Targets;

/// How many there are of each, from the fewest.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Program, times and rounds; what it says of rows is not asked.
    pub settings: Settings,
    pub webhooks: Vec<usize>,
    pub connections: Vec<usize>,
    pub waiting: Vec<usize>,
    /// Where folders with webhooks are kept between runs.
    pub folders: Option<PathBuf>,
}

/// What was measured at one number.
type Points = Vec<(f64, f64)>;

/// All of it.
#[derive(Debug, Default)]
pub struct Measured {
    /// CPU of a request to any of them, at random, in µs.
    request_micros: Points,
    webhook_bytes: Points,
    start_seconds: Points,
    connection_bytes: Points,
    socket_bytes: Points,
    waiting_bytes: Points,
}

const HOW: Start = Start::ONE_CORE;

/// Measures everything, telling each figure as it comes.
///
/// # Errors
/// If the program does not start, or answers wrongly.
pub fn measure(scale: &Scale) -> anyhow::Result<Measured> {
    let folder = Folder::new()?;
    let made =
        tidegate::prepare(&scale.settings, &folder, None).context("filling a folder through the REST API")?;
    let mut measured = Measured::default();
    for &count in &scale.webhooks {
        webhooks(scale, count, &mut measured)?;
    }
    for &count in &scale.connections {
        let bytes = held(&scale.settings, &folder, &made.plain, count, Before::Answered, Coming::InSlices)?;
        tell(&mut measured.connection_bytes, count, bytes, "B for an idle connection");
        let socket = made.socket.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
        let bytes = held(&scale.settings, &folder, socket, count, Before::Socket, Coming::InSlices)?;
        tell(&mut measured.socket_bytes, count, bytes, "B for an idle WebSocket");
    }
    for &count in &scale.waiting {
        let bytes = waiting(&scale.settings, &folder, &made, count)?;
        tell(&mut measured.waiting_bytes, count, bytes, "B for a waiting reply");
    }
    Ok(measured)
}

fn tell(points: &mut Points, count: usize, value: f64, what: &str) {
    println!("{count:9}: {value:10.2} {what}");
    points.push((count as f64, value));
}

/// Start, memory, and requests at random over so many webhooks.
fn webhooks(scale: &Scale, count: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let settings = &scale.settings;
    let folder = match &scale.folders {
        Some(folders) => Folder::kept(&folders.join(count.to_string()))?,
        None => Folder::new()?,
    };
    let paths = tidegate::prepare_many(settings, &folder, count)?;
    let empty = Folder::new()?;
    let none = tidegate::start(settings, &empty, HOW, "/")?;
    let without = (none.took, system::private_dirty_bytes(none.running.pid())?);
    drop(none);
    let cpu = *system::cpus().last().context("no CPU")?;
    let all = tidegate::start(settings, &folder, Start { cpu: Some(cpu), ..HOW }, &paths[0])?;
    let seconds = all.took.saturating_sub(without.0).as_secs_f64();
    let bytes = (system::private_dirty_bytes(all.running.pid())? as f64 - without.1 as f64) / count as f64;
    let mut plan = Ask::plain().plan(settings, &all.running);
    plan.targets = Targets::Lines(paths);
    let cell = cell::measure(&[Generator { plan, cpu, is_batch: true }], &[all.running.pid()])?;
    tell(
        &mut measured.request_micros,
        count,
        cell.server_micros,
        "µs of CPU for a request to one of so many webhooks",
    );
    tell(&mut measured.start_seconds, count, seconds, "s for a start with so many webhooks");
    // Of few, the noise of a process is more than they are.
    if count >= WEBHOOKS_WEIGHED_MIN {
        tell(&mut measured.webhook_bytes, count, bytes, "B for a webhook");
    }
    Ok(())
}

/// Fewer webhooks than this weigh less than two processes differ by.
const WEBHOOKS_WEIGHED_MIN: usize = 10_000;

fn held(
    settings: &Settings,
    folder: &Folder,
    path: &str,
    count: usize,
    before: Before,
    coming: Coming,
) -> anyhow::Result<f64> {
    let process = tidegate::start(settings, folder, HOW, path)?;
    memory::bytes_each(process.running.address, path, process.running.pid(), count, before, coming)
}

fn waiting(settings: &Settings, folder: &Folder, made: &Made, count: usize) -> anyhow::Result<f64> {
    held(settings, folder, &made.waiting, count, Before::Waiting, Coming::AtOnce)
}

impl Measured {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "requestMicros": self.request_micros, "webhookBytes": self.webhook_bytes,
            "startSeconds": self.start_seconds, "connectionBytes": self.connection_bytes,
            "webSocketBytes": self.socket_bytes, "waitingBytes": self.waiting_bytes,
        })
    }

    /// Takes from figures as [`Measured::json`] gives them what is not there yet.
    ///
    /// # Errors
    /// If they are none.
    pub fn add(&mut self, figures: &Value) -> anyhow::Result<()> {
        let own = [
            (&mut self.request_micros, "requestMicros"),
            (&mut self.webhook_bytes, "webhookBytes"),
            (&mut self.start_seconds, "startSeconds"),
            (&mut self.connection_bytes, "connectionBytes"),
            (&mut self.socket_bytes, "webSocketBytes"),
            (&mut self.waiting_bytes, "waitingBytes"),
        ];
        for (points, name) in own {
            let list = figures[name].as_array().with_context(|| format!("no {name} among the figures"))?;
            if !points.is_empty() {
                continue;
            }
            for point in list {
                let pair = point[0].as_f64().zip(point[1].as_f64());
                points.push(pair.with_context(|| format!("{point} of {name} is no pair of numbers"))?);
            }
        }
        Ok(())
    }

    /// Writes a picture for each that was measured; says their files.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn draw(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut files = Vec::new();
        for (name, chart) in self.charts() {
            if chart.lines.iter().all(|line| line.points.is_empty()) {
                continue;
            }
            let file = folder.join(format!("{name}.svg"));
            std::fs::write(&file, chart.svg()).with_context(|| file.display().to_string())?;
            files.push(file);
        }
        Ok(files)
    }

    fn charts(&self) -> Vec<(&'static str, Chart)> {
        let line = |name: &str, points: &Points| Line { name: name.to_owned(), points: points.clone() };
        let chart = |title: &str, along: &str, lines: Vec<Line>, target: Option<(f64, &str)>| Chart {
            title: title.to_owned(),
            along: along.to_owned(),
            lines,
            target: target.map(|(value, name)| (value, name.to_owned())),
        };
        let requests = vec![line("hit at random", &self.request_micros)];
        let starts = vec![line("start", &self.start_seconds)];
        let bytes = vec![line("each", &self.webhook_bytes)];
        let connections =
            vec![line("keep-alive", &self.connection_bytes), line("WebSocket", &self.socket_bytes)];
        let replies = vec![line("each", &self.waiting_bytes)];
        vec![
            ("webhook-request", chart("CPU of a request, µs", "webhooks, hit at random", requests, None)),
            (
                "webhook-start",
                chart("Start, seconds", "webhooks", starts, Some((5.0, "target at a million: 5 s"))),
            ),
            (
                "webhook-bytes",
                chart("Memory of a webhook, bytes", "webhooks", bytes, Some((400.0, "target: 400 B"))),
            ),
            (
                "connection-bytes",
                chart("Memory of an idle connection, bytes", "connections", connections, None),
            ),
            (
                "waiting-bytes",
                chart(
                    "Memory of a waiting reply, bytes",
                    "waiting replies",
                    replies,
                    Some((1024.0, "target: 1 KiB")),
                ),
            ),
        ]
    }
}

/// How long a figure of CPU is measured for.
pub const TIME: Duration = Duration::from_secs(2);
