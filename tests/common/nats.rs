//! NATS servers as child processes: one alone, or three that are a cluster, on ports of their own, gone with the test.
//!
//! The program is `TIDEGATE_NATS_SERVER`, that of the PATH, or the one that `tools/test` installs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::eventually;
use super::skip::skip;

/// Starts of a server whose ports somebody else has taken meanwhile.
const STARTS_MAX: usize = 5;
/// Nothing that a server is asked takes this long.
const ASK_TIME: Duration = Duration::from_secs(2);

/// A running server.
pub struct Nats {
    child: Child,
    folder: TempDir,
    program: PathBuf,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Its pages about itself.
    pub monitor: SocketAddr,
}

/// What a server is started with beside its defaults: lines of its configuration.
#[derive(Clone, Debug, Default)]
pub struct NatsConfig {
    pub more: String,
    /// In the block of JetStream.
    pub jetstream: String,
}

impl NatsConfig {
    /// Syncs every message, as durable clusters do.
    pub fn synced() -> NatsConfig {
        NatsConfig { jetstream: "sync_interval: always".to_owned(), ..NatsConfig::default() }
    }
}

impl Nats {
    /// A server with JetStream; `None`, told, where there is no program.
    #[track_caller]
    pub fn start() -> Option<Nats> {
        Nats::start_with(&NatsConfig::default())
    }

    /// As [`Nats::start`].
    #[track_caller]
    pub fn start_with(config: &NatsConfig) -> Option<Nats> {
        let program = program()?;
        for _ in 0..STARTS_MAX {
            let [address, monitor] = free_addresses();
            let mut nats = spawn(&program, "n1", [address, monitor], config, "");
            if nats.serves() {
                return Some(nats);
            }
        }
        panic!("the NATS server does not start");
    }

    /// Three servers that are one cluster.
    #[track_caller]
    pub fn cluster(config: &NatsConfig) -> Option<[Nats; 3]> {
        let program = program()?;
        for _ in 0..STARTS_MAX {
            let ports: [[SocketAddr; 3]; 3] = std::array::from_fn(|_| free_addresses());
            let routes: Vec<String> = ports.iter().map(|[.., route]| format!("nats://{route}")).collect();
            let mut servers = [0, 1, 2].map(|index| {
                let [address, monitor, route] = ports[index];
                let cluster = format!(
                    "cluster {{ name: tg, listen: \"{route}\", routes: [{}], no_advertise: true }}",
                    routes.join(", ")
                );
                spawn(&program, &format!("n{}", index + 1), [address, monitor], config, &cluster)
            });
            if servers.iter_mut().all(Nats::serves) {
                return Some(servers);
            }
        }
        panic!("the NATS cluster does not start");
    }

    /// URL for clients.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// A page about itself: status and body; 0 where it does not answer.
    pub fn page(&self, path: &str) -> (u16, String) {
        page(self.monitor, path).unwrap_or_default()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("a child can be killed");
    }

    /// Sends it a signal: [`Signal::STOP`] pauses it, [`Signal::CONT`] has it continue.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Starts it again on the same folder and ports; it must have ended.
    pub fn restart(&mut self) {
        assert!(self.child.try_wait().expect("a child").is_some(), "it runs still");
        self.child = launch(&self.program, self.folder.path());
    }

    /// Waits until it serves, JetStream and all.
    pub fn wait(&mut self) {
        assert!(self.serves(), "the NATS server does not serve: {}", self.log());
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it is healthy; `false` if it has ended.
    fn serves(&mut self) -> bool {
        eventually("NATS serves", || {
            if self.child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            (self.page("/healthz").0 == 200).then_some(true)
        })
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what the NATS server wrote:\n{}", self.log());
        }
    }
}

/// The program.
#[track_caller]
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("TIDEGATE_NATS_SERVER").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let of_path = std::env::split_paths(&paths).map(|folder| folder.join("nats-server"));
    let tools = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_BIN_EXE_tidegate")).ancestors().nth(2).map(|t| t.join("test-tools"));
    let installed = tools.into_iter().chain(beside).map(|tools| tools.join("nats/bin/nats-server"));
    let found = named.into_iter().chain(of_path).chain(installed).find(|program| program.is_file());
    if found.is_none() {
        skip("NATS", "there is no nats-server: tools/test nats installs it");
    }
    found
}

/// Addresses that nobody listens on.
fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    // Held together, so that they differ.
    let listeners: [TcpListener; COUNT] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address"))
}

fn spawn(
    program: &Path,
    name: &str,
    [address, monitor]: [SocketAddr; 2],
    config: &NatsConfig,
    cluster: &str,
) -> Nats {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let mut text = String::new();
    writeln!(text, "server_name: {name}\nlisten: \"{address}\"\nhttp: \"{monitor}\"\nmax_payload: 8MB")
        .expect("text");
    writeln!(
        text,
        "jetstream {{ store_dir: {store:?}, max_mem: 256MB, max_file: 4GB, {} }}",
        config.jetstream
    )
    .expect("text");
    writeln!(text, "{}\n{cluster}", config.more).expect("text");
    fs::write(folder.path().join("nats.conf"), text).expect("a configuration");
    let child = launch(program, folder.path());
    Nats { child, folder, program: program.to_owned(), address, monitor }
}

fn launch(program: &Path, folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    Command::new(program)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log)
        .spawn()
        .expect("the NATS server starts")
}

/// Status and body of a page of the monitor.
fn page(monitor: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&monitor, ASK_TIME).ok()?;
    stream.set_read_timeout(Some(ASK_TIME)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").ok()?;
    let (mut text, begun) = (String::new(), Instant::now());
    stream.read_to_string(&mut text).ok().filter(|_| begun.elapsed() < ASK_TIME * 2)?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
