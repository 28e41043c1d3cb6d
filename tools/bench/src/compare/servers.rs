//! Starting and stopping what is measured. Every server runs in a folder of its own that goes away with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Settings;
use super::table::NOT_STARTED;
use crate::system;

/// A server that does not serve by then is broken. Node takes its time.
const STARTING: Duration = Duration::from_secs(60);
/// How long a server may take to stop before it is killed.
const STOPPING: Duration = Duration::from_secs(5);
/// Between two looks at whether a server serves.
const LOOK: Duration = Duration::from_micros(500);

/// Who is measured beside Tidegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    Floor,
    Hyper,
    Nginx,
    /// nginx that hands each request to another server and its answer back.
    NginxProxy,
    /// The runtime monoio, with httparse and nothing else.
    Monoio,
    EchoEpoll,
    EchoTungstenite,
    NodeRed,
    Webhook,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Floor => "floor",
            Peer::Hyper => "hyper",
            Peer::Nginx => "nginx",
            Peer::NginxProxy => "nginx proxy_pass",
            Peer::Monoio => "bare monoio",
            Peer::EchoEpoll => "epoll echo",
            Peer::EchoTungstenite => "tungstenite",
            Peer::NodeRed => "Node-RED",
            Peer::Webhook => "webhook",
        }
    }

    /// Load before anything counts, where a moment is too short: until a just-in-time compiler has seen its code.
    pub fn warmup_min(self) -> Duration {
        if self == Peer::NodeRed { Duration::from_secs(3) } else { Duration::ZERO }
    }

    /// How long it is measured for at least: the slow ones answer too little in a moment.
    pub fn time_min(self) -> Duration {
        if matches!(self, Peer::NodeRed | Peer::Webhook) { Duration::from_secs(2) } else { Duration::ZERO }
    }

    /// What its webhook is asked for with.
    pub fn path(self) -> &'static str {
        match self {
            Peer::Webhook => "/hooks/bench",
            _ => "/webhooks/0123456789012345678901234567890123456789",
        }
    }
}

/// A folder that goes away when nobody needs it, unless it is one to keep.
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// In memory where there is room, so that no disk is measured.
    pub fn new() -> anyhow::Result<Folder> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Folder::within(&parent, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// On a disk, where the disk is what is measured.
    pub fn on_disk() -> anyhow::Result<Folder> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Folder::within(Path::new("/var/tmp"), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn within(parent: &Path, count: u32) -> anyhow::Result<Folder> {
        let path = parent.join(format!("tidegate-compare-{}-{count}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Folder { path, is_kept: false })
    }

    /// One that stays, made where it is missing.
    pub fn kept(path: &Path) -> anyhow::Result<Folder> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        Ok(Folder { path: path.to_owned(), is_kept: true })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the folders of this process that are still there, where it ends without dropping them.
pub fn remove_folders() {
    let prefix = format!("tidegate-compare-{}-", std::process::id());
    for parent in [Path::new("/dev/shm"), Path::new("/var/tmp"), &std::env::temp_dir()] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // One that cannot be removed is left behind: nothing depends on it.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // One that cannot be removed is left behind: nothing depends on it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A server that runs until it is dropped.
pub struct Running {
    child: Child,
    /// Where it serves.
    pub address: SocketAddr,
    /// Its path that is asked for.
    pub path: String,
    _folder: Option<Folder>,
}

impl Running {
    pub fn new(child: Child, address: SocketAddr, path: &str, folder: Option<Folder>) -> Running {
        Running { child, address, path: path.to_owned(), _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Asks a process to stop, and makes it.
pub fn stop(child: &mut Child) {
    end(child, libc::SIGTERM);
}

/// As Ctrl-C does, which is how a program that counts is told to print its counts.
pub fn interrupt(child: &mut Child) {
    end(child, libc::SIGINT);
}

fn end(child: &mut Child, signal: i32) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    // SAFETY: the child was not waited for, so its number is nobody else's.
    unsafe { libc::kill(child.id() as i32, signal) };
    let began = Instant::now();
    while began.elapsed() < STOPPING {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    // It is gone already if this fails.
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts a command on one CPU, or wherever it likes. It ends with the calling thread at the latest.
pub fn spawn(command: &mut Command, cpu: Option<usize>) -> anyhow::Result<Child> {
    // SAFETY: between fork and exec only system calls are made, on memory of this stack.
    unsafe {
        command.pre_exec(move || {
            system::end_with_parent()?;
            cpu.map_or(Ok(()), system::pin_to_cpu)
        });
    }
    command.stdin(Stdio::null()).spawn().with_context(|| format!("{:?}", command.get_program()))
}

/// Starts a server to compare with.
pub fn start(settings: &Settings, peer: Peer, cpu: Option<usize>) -> anyhow::Result<Running> {
    match peer {
        Peer::Floor => own(settings, "floor", peer, cpu),
        Peer::Hyper => own(settings, "hyperd", peer, cpu),
        Peer::Monoio => own(settings, "monoiod", peer, cpu),
        Peer::NginxProxy => bail!("it needs a server behind it"),
        Peer::EchoEpoll => own(settings, "wsecho-epoll", peer, cpu),
        Peer::EchoTungstenite => own(settings, "wsecho-tungstenite", peer, cpu),
        Peer::Nginx => nginx(Peer::Nginx, cpu, "", &nginx_answer()),
        Peer::NodeRed => node_red(cpu),
        Peer::Webhook => webhook(cpu),
    }
    .with_context(|| format!("{} {NOT_STARTED}", peer.name()))
}

/// A server of this package: it prints its address.
fn own(settings: &Settings, program: &str, peer: Peer, cpu: Option<usize>) -> anyhow::Result<Running> {
    let mut child = spawn(Command::new(settings.programs.join(program)).stdout(Stdio::piped()), cpu)?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("no standard output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().with_context(|| format!("its address is {line:?}"));
    match address {
        Ok(address) => Ok(Running::new(child, address, peer.path(), None)),
        Err(error) => {
            stop(&mut child);
            Err(error)
        }
    }
}

/// Starts nginx in front of another server, with connections to it that are kept.
pub fn start_proxy(upstream: SocketAddr, cpu: Option<usize>) -> anyhow::Result<Running> {
    let block = format!("upstream behind {{ server {upstream}; keepalive 128; }}");
    let location = "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    nginx(Peer::NginxProxy, cpu, &block, location)
        .with_context(|| format!("{} {NOT_STARTED}", Peer::NginxProxy.name()))
}

fn nginx_answer() -> String {
    "add_header access-control-allow-origin *; return 200 '{\"success\":true}';".to_owned()
}

fn nginx(peer: Peer, cpu: Option<usize>, upstream: &str, location: &str) -> anyhow::Result<Running> {
    let folder = Folder::new()?;
    let address = free_address()?;
    let at = folder.path().display();
    let conf = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log crit;
events {{ worker_connections 20000; multi_accept on; }}
http {{
  access_log off; server_tokens off; keepalive_timeout 600s; keepalive_requests 1000000000;
  client_max_body_size 1m; client_body_buffer_size 512k; client_body_temp_path {at}/body;
  proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  default_type application/json;
  {upstream}
  server {{
    listen {address} backlog=4096;
    location / {{ {location} }}
  }}
}}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, conf)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
    command.env("PATH", with_sbin());
    quiet(&mut command, &folder)?;
    let child = spawn(&mut command, cpu)?;
    wait_for(child, address, peer.path(), folder)
}

/// `webhook` runs a command for each request, which is what it is for.
fn webhook(cpu: Option<usize>) -> anyhow::Result<Running> {
    let folder = Folder::new()?;
    let address = free_address()?;
    let file = folder.path().join("hooks.json");
    fs::write(
        &file,
        r#"[{"id":"bench","execute-command":"/bin/true","response-message":"{\"success\":true}","success-http-response-code":200}]"#,
    )?;
    let mut command = Command::new("webhook");
    command.arg("-hooks").arg(&file).args(["-ip", "127.0.0.1", "-port", &address.port().to_string()]);
    quiet(&mut command, &folder)?;
    let child = spawn(&mut command, cpu)?;
    wait_for(child, address, Peer::Webhook.path(), folder)
}

fn node_red(cpu: Option<usize>) -> anyhow::Result<Running> {
    let folder = Folder::new()?;
    let address = free_address()?;
    fs::write(
        folder.path().join("flows.json"),
        r#"[{"id":"t","type":"tab","label":"t"},
{"id":"i","z":"t","type":"http in","url":"/webhooks/:token","method":"post","wires":[["f"]]},
{"id":"f","z":"t","type":"change","rules":[{"t":"set","p":"payload","pt":"msg","to":"{\"success\":true}","tot":"json"}],"wires":[["o"]]},
{"id":"o","z":"t","type":"http response","wires":[]}]"#,
    )?;
    let mut command = Command::new("node-red");
    command.arg("-p").arg(address.port().to_string()).arg("-u").arg(folder.path()).arg("flows.json");
    quiet(&mut command, &folder)?;
    let child = spawn(&mut command, cpu).context("is node-red installed (npm install -g node-red)?")?;
    wait_for(child, address, Peer::NodeRed.path(), folder)
}

fn with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// What a server says goes to a file beside it.
pub fn quiet(command: &mut Command, folder: &Folder) -> anyhow::Result<()> {
    let log = File::create(folder.path().join("output.log"))?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok(())
}

/// A port that nobody listens on; somebody may take it before it is used, which shows.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until a POST is answered with a 2xx.
fn wait_for(mut child: Child, address: SocketAddr, path: &str, folder: Folder) -> anyhow::Result<Running> {
    let began = Instant::now();
    loop {
        if answers(address, "POST", path) {
            return Ok(Running::new(child, address, path, Some(folder)));
        }
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > STARTING {
            stop(&mut child);
            bail!("it {}", ended.map_or("does not answer".to_owned(), |status| format!("ended: {status}")));
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether one request is answered with a 2xx.
pub fn answers(address: SocketAddr, method: &str, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    let mut head = [0; 12];
    stream.set_read_timeout(Some(STOPPING)).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head.starts_with(b"HTTP/1.1 2")
}
