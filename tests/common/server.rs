//! The program as a child process: in a data folder of its own, on ports that the system chose, gone with the test.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Wire, eventually};

/// The access token of every server here.
pub const ACCESS_TOKEN: &str = "black-box-access-token";

/// What the child does before it becomes the program: system calls that touch nothing its parent shares.
type Prepare = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// What a server is started with.
#[derive(Clone, Default)]
pub struct Settings {
    variables: Vec<(&'static str, String)>,
    refuse_io_uring: bool,
    prepare: Option<Prepare>,
    user: Option<u32>,
    disk: Option<PathBuf>,
}

impl Settings {
    /// Sets a variable of the environment.
    pub fn set(&mut self, variable: &'static str, value: impl ToString) -> &mut Settings {
        self.variables.retain(|(known, _)| *known != variable);
        self.variables.push((variable, value.to_string()));
        self
    }

    /// How many engine threads.
    pub fn cores(&mut self, cores: usize) -> &mut Settings {
        self.set("TIDEGATE_CORES", cores)
    }

    /// `auto`, `io_uring` or `epoll`.
    pub fn driver(&mut self, driver: &str) -> &mut Settings {
        self.set("TIDEGATE_DRIVER", driver)
    }

    /// Runs it where the system refuses io_uring, as containers do.
    pub fn refuse_io_uring(&mut self) -> &mut Settings {
        self.refuse_io_uring = true;
        self
    }

    /// Runs `prepare` in the child before it becomes the program: system calls only.
    pub fn prepare(&mut self, prepare: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> &mut Settings {
        self.prepare = Some(Arc::new(prepare));
        self
    }

    /// Has its data folder in this one, of another file system.
    pub fn on_disk(&mut self, folder: &Path) -> &mut Settings {
        self.disk = Some(folder.to_owned());
        self
    }

    /// Runs it as this user, to whom its folder is given; only root may.
    pub fn user(&mut self, user: u32) -> &mut Settings {
        self.user = Some(user);
        self
    }
}

/// A running server.
pub struct Server {
    child: Child,
    folder: TempDir,
    settings: Settings,
    /// Where callers come in.
    pub ingress: SocketAddr,
    /// Where the REST API is.
    pub admin: SocketAddr,
    /// Where workers attach.
    pub workers: SocketAddr,
}

impl Server {
    /// Starts the program on one core, or as `set` says, and waits until it serves.
    pub fn start(set: impl FnOnce(&mut Settings)) -> Server {
        let mut settings = Settings::default();
        settings
            .cores(1)
            .set("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN)
            // The tests of the journal ask for it; the others need no disk.
            .set("TIDEGATE_JOURNAL_DURABILITY", "memory")
            .set("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
            .set("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
            .set("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0");
        set(&mut settings);
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(disk) = &settings.disk {
            fs::create_dir(data(disk)).expect("a folder on the disk");
            std::os::unix::fs::symlink(data(disk), data(folder.path())).expect("a link");
        }
        if settings.user.is_some() {
            std::os::unix::fs::chown(folder.path(), settings.user, settings.user)
                .expect("root gives it away");
        }
        let mut child = spawn(&settings, folder.path());
        let [ingress, admin, workers] = addresses(&mut child, folder.path());
        Server { child, folder, settings, ingress, admin, workers }
    }

    /// Starts it again on the same folder; it must have ended.
    pub fn restart(&mut self) {
        assert!(self.child.try_wait().expect("a child").is_some(), "it runs still");
        self.child = spawn(&self.settings, self.folder.path());
        [self.ingress, self.admin, self.workers] = addresses(&mut self.child, self.folder.path());
    }

    /// Starts it again with another value of a variable.
    pub fn restart_with(&mut self, variable: &'static str, value: &str) {
        self.settings.set(variable, value);
        self.restart();
    }

    /// A second process on the same folder, to its end: how it ended and what it wrote.
    pub fn run_second(&self) -> (ExitStatus, String) {
        let log = self.folder.path().join("second.log");
        let mut second =
            command(&self.settings, &data(self.folder.path()), &log).spawn().expect("the program starts");
        let Some(status) = wait(&mut second) else {
            second.kill().and_then(|()| second.wait()).expect("a child can be killed");
            panic!("a second process serves from the same folder: {}", read(&log));
        };
        (status, read(&log))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder that is its own: data and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to the ingress.
    pub fn wire(&self) -> Wire {
        Wire::connect(self.ingress)
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("a child can be killed");
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        match wait(&mut self.child) {
            Some(status) => status,
            None => panic!("it does not end: {}", self.log()),
        }
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what the server wrote:\n{}", self.log());
        }
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).expect("its log can be read")
}

fn spawn(settings: &Settings, folder: &Path) -> Child {
    let addresses = data(folder).join("addresses.json");
    if addresses.exists() {
        fs::remove_file(&addresses).expect("a file of a process that is gone");
    }
    command(settings, &data(folder), &folder.join("log")).spawn().expect("the program starts")
}

fn command(settings: &Settings, data: &Path, log: &Path) -> Command {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .env_clear()
        .envs(settings.variables.iter().map(|(name, value)| (*name, value)))
        .env("TIDEGATE_DATA", data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log);
    if settings.refuse_io_uring {
        // SAFETY: `refuse_io_uring` makes two system calls and touches nothing that the parent shares.
        unsafe { command.pre_exec(refuse_io_uring) };
    }
    if let Some(user) = settings.user {
        command.uid(user).gid(user);
    }
    if let Some(prepare) = settings.prepare.clone() {
        // SAFETY: `prepare` makes system calls alone, as its users promise.
        unsafe { command.pre_exec(move || prepare()) };
    }
    command
}

/// Where it serves: it says so once it does.
fn addresses(child: &mut Child, folder: &Path) -> [SocketAddr; 3] {
    let path = data(folder).join("addresses.json");
    let text = eventually("the server serves", || {
        if let Some(status) = child.try_wait().expect("a child") {
            panic!("it ended at its start, {status}: {}", read(&folder.join("log")));
        }
        fs::read_to_string(&path).ok()
    });
    let addresses: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    ["ingress", "admin", "workers"]
        .map(|name| addresses[name].as_str().expect("an address").parse().expect("a TCP address"))
}

/// The child's end, if it comes.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < super::PATIENCE {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        std::thread::sleep(super::LOOK);
    }
    None
}

/// Has the kernel answer `io_uring_setup` with EPERM from here on, as the seccomp profile of a container does.
fn refuse_io_uring() -> io::Result<()> {
    /// Offset of `nr` in the kernel's `struct seccomp_data`.
    const NUMBER: u32 = 0;
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let number = libc::SYS_io_uring_setup as u32;
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER),
        libc::sock_filter { code: equal as u16, jt: 0, jf: 1, k: number },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: both calls read what they are given and keep none of it; `filter` and `program` outlive them.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
    };
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}
