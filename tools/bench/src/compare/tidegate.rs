//! Tidegate as the comparison drives it: a data folder that is filled through the REST API once, and a process on it
//! for each measurement.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Settings;
use super::rest::{Rest, text};
use super::servers::{Folder, Running, answers, quiet, spawn, stop};

/// Any token will do on a machine of one's own.
const TOKEN: &str = "compare-0123456789abcdef";
/// A rate that is counted and never reached.
const RATE_HIGH: u32 = 100_000_000;
/// Windows are a day, so that nothing comes back while a flood is measured.
const DAY_SECONDS: u32 = 86_400;
/// How long it may take to serve, with a million webhooks on a busy machine.
const STARTING: Duration = Duration::from_secs(120);
/// Between two looks at whether it serves.
const LOOK: Duration = Duration::from_micros(200);
/// Connections that create webhooks side by side. Those that wait at the same time share a commit.
const CREATORS: usize = 128;

/// The paths of the webhooks in a folder that has many, one a line. Written last, so that its folder is whole.
const PATHS_FILE: &str = "paths.txt";

/// How it is started.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub cpu: Option<usize>,
    pub cores: usize,
    /// Settings beyond those that every row has, as variables of the environment.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Start {
    /// One core, wherever it likes.
    pub const ONE_CORE: Start = Start { cpu: None, cores: 1, environment: &[] };
}

/// The listeners of a process.
pub struct Process {
    pub running: Running,
    pub admin: SocketAddr,
    pub workers: Option<SocketAddr>,
    /// From the start of the process until a request was answered.
    pub took: Duration,
}

/// Starts it on a folder and waits until it serves.
pub fn start(settings: &Settings, folder: &Folder, start: Start, path: &str) -> anyhow::Result<Process> {
    let addresses = folder.path().join("addresses.json");
    // A process that was killed leaves it behind.
    let _ = fs::remove_file(&addresses);
    let mut command = Command::new(&settings.tidegate);
    // It gets the settings below, and none of whoever measures.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command
        .env("TIDEGATE_DATA", folder.path())
        .env("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_CORES", start.cores.to_string())
        .env("TIDEGATE_ACCESS_TOKEN", TOKEN)
        .env("TIDEGATE_LIMITS_BODY_BYTES", (1u64 << 30).to_string())
        .env("TIDEGATE_LOG", "warn");
    command.envs(start.environment.iter().copied());
    quiet(&mut command, folder)?;
    let began = Instant::now();
    let mut child = spawn(&mut command, start.cpu)?;
    loop {
        if let Some(found) = read_addresses(&addresses)
            && answers(found.ingress, "GET", "/healthz")
        {
            let took = began.elapsed();
            let running = Running::new(child, found.ingress, path, None);
            return Ok(Process { running, admin: found.admin, workers: found.workers, took });
        }
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > STARTING {
            stop(&mut child);
            let said = fs::read_to_string(folder.path().join("output.log")).unwrap_or_default();
            bail!("tidegate does not serve; it said: {}", said.trim());
        }
        std::thread::sleep(LOOK);
    }
}

struct Addresses {
    ingress: SocketAddr,
    admin: SocketAddr,
    workers: Option<SocketAddr>,
}

fn read_addresses(path: &std::path::Path) -> Option<Addresses> {
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let address = |name: &str| value[name].as_str()?.parse().ok();
    Some(Addresses { ingress: address("ingress")?, admin: address("admin")?, workers: address("workers") })
}

/// What was created, and why some of it could not be.
#[derive(Debug)]
pub struct Made {
    pub plain: String,
    pub flooded: String,
    pub waiting: String,
    pub replying: Result<String, String>,
    pub socket: Result<String, String>,
    /// The path, and the flow that a worker attaches to.
    pub worked: Result<(String, String), String>,
    /// Requests are handed to the upstream that [`prepare`] was given.
    pub forwarding: Result<String, String>,
}

/// How long a caller waits for the upstream's answer. A build that forwards nothing is found out by then.
const FORWARDING_SECONDS: u32 = 2;

/// Fills an empty folder with a webhook for each row. `upstream` is the server that one of them forwards to.
pub fn prepare(settings: &Settings, folder: &Folder, upstream: Option<SocketAddr>) -> anyhow::Result<Made> {
    let process = start(settings, folder, Start::ONE_CORE, "/")?;
    let mut maker = Maker::new(process.admin)?;
    let high = json!({"requestsPerWindow": RATE_HIGH, "concurrency": 0});
    let replying = |maker: &mut Maker| {
        let hook = maker.hook(&json!({"name": "reply", "waitForReply": true, "limits": high}))?;
        let config = json!({
            "responseCodeTemplate": "200",
            "bodyTemplate": "{\"method\":\"{{data.method}}\",\"path\":\"{{{data.path}}}\"}",
            "headerInfo": [],
        });
        maker.flow(&hook, "WebhookReplyNode", &config)?;
        anyhow::Ok(hook.path)
    };
    let socket = |maker: &mut Maker| {
        let hook = maker.hook(&json!({"name": "socket", "isWebsocket": true, "limits": high}))?;
        let config = json!({"bodyTemplate": "data.message.data", "bodyTemplateType": "path", "isWebsocketMessage": true, "encodingTemplate": "utf8"});
        maker.flow(&hook, "WebhookReplyNode", &config)?;
        anyhow::Ok(hook.path)
    };
    let worked = |maker: &mut Maker| {
        let hook = maker.hook(&json!({"name": "worker", "limits": high}))?;
        let flow = maker.flow(&hook, "WorkerNode", &json!({"maxInFlight": 100_000}))?;
        anyhow::Ok((hook.path, flow))
    };
    let forwarding = |maker: &mut Maker| {
        let upstream = upstream.context("there is no server to forward to")?;
        let limits = json!({"requestsPerWindow": RATE_HIGH, "concurrency": 0, "replyTimeoutSeconds": FORWARDING_SECONDS});
        let hook = maker.hook(&json!({"name": "forward", "waitForReply": true, "limits": limits}))?;
        let config = json!({"url": format!("http://{upstream}/"), "body": "raw", "maxInFlight": 1000});
        maker.flow(&hook, "HttpForwardNode", &config)?;
        ensure!(
            answers(process.running.address, "POST", &hook.path),
            "a request that is forwarded is not answered"
        );
        anyhow::Ok(hook.path)
    };
    let flood = json!({"requestsPerWindow": 1, "windowSeconds": DAY_SECONDS, "concurrency": 0});
    let waiting = json!({"requestsPerWindow": RATE_HIGH, "concurrency": 0, "replyTimeoutSeconds": 3600});
    Ok(Made {
        plain: maker.hook(&json!({"name": "plain", "limits": high}))?.path,
        flooded: maker.hook(&json!({"name": "flood", "limits": flood}))?.path,
        waiting: maker.hook(&json!({"name": "waiting", "waitForReply": true, "limits": waiting}))?.path,
        replying: replying(&mut maker).map_err(|error| format!("{error:#}")),
        socket: socket(&mut maker).map_err(|error| format!("{error:#}")),
        worked: worked(&mut maker).map_err(|error| format!("{error:#}")),
        forwarding: forwarding(&mut maker).map_err(|error| format!("{error:#}")),
    })
}

/// Fills a folder with many webhooks that differ in nothing; says their paths. Where an earlier run has kept such a
/// folder, that one.
pub fn prepare_many(settings: &Settings, folder: &Folder, count: usize) -> anyhow::Result<Vec<String>> {
    let list = folder.path().join(PATHS_FILE);
    if let Ok(text) = fs::read_to_string(&list) {
        let paths: Vec<String> = text.lines().map(str::to_owned).collect();
        ensure!(paths.len() == count, "{} has {} webhooks, not {count}", list.display(), paths.len());
        return Ok(paths);
    }
    let paths = create_many(settings, folder, count)?;
    fs::write(&list, paths.join("\n")).with_context(|| list.display().to_string())?;
    Ok(paths)
}

fn create_many(settings: &Settings, folder: &Folder, count: usize) -> anyhow::Result<Vec<String>> {
    let process = start(settings, folder, Start::ONE_CORE, "/")?;
    let application = Maker::new(process.admin)?.application;
    let body = json!({"name": "one of many", "limits": {"requestsPerWindow": RATE_HIGH, "concurrency": 0}});
    let parts: Vec<anyhow::Result<Vec<String>>> = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS)
            .map(|creator| {
                let (admin, application, body) = (process.admin, &application, &body);
                scope.spawn(move || {
                    let mut maker = Maker::at(admin, application)?;
                    let share = count / CREATORS + usize::from(creator < count % CREATORS);
                    (0..share).map(|_| Ok(maker.hook(body)?.path)).collect()
                })
            })
            .collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a creator panicked"))))
            .collect()
    });
    let mut paths = Vec::with_capacity(count);
    for part in parts {
        paths.extend(part?);
    }
    ensure!(paths.len() == count, "{} of {count} webhooks were created", paths.len());
    Ok(paths)
}

/// The token that workers attach with.
pub fn access_token() -> &'static str {
    TOKEN
}

struct Hook {
    id: String,
    path: String,
}

/// Creates what belongs to one application.
struct Maker {
    rest: Rest,
    application: String,
}

impl Maker {
    fn new(admin: SocketAddr) -> anyhow::Result<Maker> {
        let mut rest = Rest::connect(admin, TOKEN)?;
        let made = rest.post("/applications", &json!({"name": "compare"})).context("an application")?;
        let application = text(&made, "id")?.to_owned();
        Ok(Maker { rest, application })
    }

    fn at(admin: SocketAddr, application: &str) -> anyhow::Result<Maker> {
        Ok(Maker { rest: Rest::connect(admin, TOKEN)?, application: application.to_owned() })
    }

    fn hook(&mut self, body: &Value) -> anyhow::Result<Hook> {
        let made = self.rest.post(&format!("/applications/{}/webhooks", self.application), body)?;
        Ok(Hook { id: text(&made, "id")?.to_owned(), path: format!("/webhooks/{}", text(&made, "token")?) })
    }

    /// A flow of one node behind the webhook; its id.
    fn flow(&mut self, hook: &Hook, node: &str, config: &Value) -> anyhow::Result<String> {
        let body = json!({
            "name": node,
            "triggers": [{"type": "webhook", "key": hook.id, "config": {}, "outputIds": [["node"]]}],
            "nodes": [{"id": "node", "type": node, "config": config, "outputIds": []}],
        });
        let made = self.rest.post(&format!("/applications/{}/flows", self.application), &body)?;
        Ok(text(&made, "id")?.to_owned())
    }
}
