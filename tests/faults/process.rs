//! The program where its start may fail, and what the system says of a process.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{ACCESS_TOKEN, PATIENCE, Response, Wire, request};

/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(5);

/// How a start went.
pub enum Started {
    Serves(Serving),
    Ended(Ended),
}

/// A process that serves; gone when it is dropped.
pub struct Serving {
    child: Child,
    pub admin: SocketAddr,
}

/// A process that ended instead.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub text: String,
}

impl Started {
    /// Starts the program on this folder, as `set` changes the command, and waits until it serves or has ended.
    pub fn new(data: &Path, set: impl FnOnce(&mut Command)) -> Started {
        let scratch = tempfile::tempdir().expect("a folder");
        let log = scratch.path().join("log");
        let output = File::create(&log).expect("a log");
        let addresses = data.join("addresses.json");
        if fs::exists(&addresses).unwrap_or(false) {
            fs::remove_file(&addresses).expect("a file of a process that is gone");
        }
        let mut command = command(data);
        command.stdout(output.try_clone().expect("a handle")).stderr(output);
        set(&mut command);
        let mut child = command.spawn().expect("the program starts");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().expect("a child") {
                let text = fs::read_to_string(&log).expect("its log can be read");
                return Started::Ended(Ended { code: status.code(), text });
            }
            if let Some(admin) = read_admin_address(&addresses) {
                return Started::Serves(Serving { child, admin });
            }
            std::thread::sleep(LOOK);
        }
        child.kill().and_then(|()| child.wait()).expect("a child can be killed");
        panic!("it neither serves nor ends: {}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// Starts the program and kills it so long after, wherever it is then.
    pub fn killed_after(data: &Path, time: Duration) {
        let mut child = command(data).spawn().expect("the program starts");
        std::thread::sleep(time);
        child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    }

    /// The end that must have come.
    #[track_caller]
    pub fn refused(self) -> Ended {
        match self {
            Started::Ended(ended) => ended,
            Started::Serves(_) => panic!("it serves"),
        }
    }

    /// The process that must serve.
    #[track_caller]
    pub fn serves(self) -> Serving {
        match self {
            Started::Serves(serving) => serving,
            Started::Ended(ended) => panic!("it ended: {ended:?}"),
        }
    }
}

impl Ended {
    /// Asserts the end of a start that failed in words: exit code 1, one line for the operator with each of `says`
    /// in it, no panic.
    #[track_caller]
    pub fn says(&self, says: &[&str]) -> &Ended {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(!self.text.contains("panicked"), "{self:?}");
        let lines: Vec<&str> = self.text.lines().filter(|line| line.starts_with("tidegate: ")).collect();
        assert_eq!(lines.len(), 1, "one line that says why: {self:?}");
        for words in says {
            assert!(lines[0].contains(words), "{words:?} is not in {:?}", lines[0]);
        }
        self
    }
}

impl Serving {
    /// One call of the REST API.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Connection", "close")];
        Wire::connect(self.admin).ask(request(method, path, &headers, body.as_bytes()))
    }

    /// Asks it to stop, and waits until it has: what it wrote is on the disk then.
    pub fn stop(mut self) {
        terminate(&self.child);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(LOOK);
        }
        panic!("it does not end");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is there");
}

/// The program on this folder, on ports that the system chooses.
fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_DATA", data).env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN);
    for listener in ["INGRESS", "ADMIN", "WORKERS"] {
        command.env(format!("TIDEGATE_{listener}_LISTEN"), "127.0.0.1:0");
    }
    // The disks here have room for a database, and the tests of the journal ask for it.
    command.env("TIDEGATE_JOURNAL_DURABILITY", "memory");
    command.env("TIDEGATE_CORES", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Where the REST API is, once the file that says so is there.
fn read_admin_address(path: &Path) -> Option<SocketAddr> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    let addresses: Value = serde_json::from_str(&text).ok()?;
    addresses["admin"].as_str()?.parse().ok()
}

/// Seconds of processor that a process has used (`proc(5)`, `stat`, fields 14 and 15).
pub fn processor_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process is there");
    // The program's name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    // SAFETY: the call takes a number and gives one.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks as f64 / ticks_per_second as f64
}

/// Whether this is root, who alone can become another user or mount; says what is skipped otherwise.
pub fn is_root_or_skipped(test: &str) -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        crate::common::skip::skip(test, "it takes root");
    }
    is_root
}

/// The user `nobody` of Debian and others.
pub const NOBODY: u32 = 65_534;
