//! What the operating system says of processes, and lets them do.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Keeps the calling thread, and those that it starts from now on, on one CPU.
///
/// # Errors
/// If there is no such CPU, or the process may not run there.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: a cpu_set_t is plain bits, for which zero is a value; the calls get its true size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        libc::CPU_SET(cpu, &mut set);
        checked(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set))?;
    }
    Ok(())
}

/// The CPUs that this process may run on.
#[must_use]
pub fn cpus() -> Vec<usize> {
    // SAFETY: as above.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return vec![0];
        }
        (0..8 * size_of::<libc::cpu_set_t>()).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// Puts the calling thread under SCHED_BATCH: when it is woken, it does not take the CPU from the thread that runs.
///
/// # Errors
/// If the kernel refuses.
pub fn schedule_as_batch() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call; 0 names the calling thread.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) }).map(drop)
}

/// Counts of all threads of a process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// CPU time (`schedstat`, which counts what ticks miss).
    pub cpu_nanos: u64,
    /// How often a thread gave up the CPU, because it waited: as often it was woken.
    pub voluntary_switches: u64,
    /// How often a thread was made to give up the CPU.
    pub involuntary_switches: u64,
}

impl Counters {
    /// Reads the counters of a process that runs.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn of(pid: u32) -> io::Result<Counters> {
        let mut sum = Counters::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            // A thread may end between the listing and the read.
            let (Ok(schedule), Ok(status)) =
                (fs::read_to_string(task.join("schedstat")), fs::read_to_string(task.join("status")))
            else {
                continue;
            };
            sum += Counters::parse(&schedule, &status)
                .ok_or_else(|| io::Error::other("/proc has no counters of a thread"))?;
        }
        Ok(sum)
    }

    fn parse(schedule: &str, status: &str) -> Option<Counters> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
        Some(Counters {
            cpu_nanos: schedule.split_ascii_whitespace().next()?.parse().ok()?,
            voluntary_switches: field("voluntary_ctxt_switches:")?,
            involuntary_switches: field("nonvoluntary_ctxt_switches:")?,
        })
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.cpu_nanos += other.cpu_nanos;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

impl std::ops::Sub for Counters {
    type Output = Counters;

    /// What was counted since `earlier`; a thread that ended in between took its counts along.
    fn sub(self, earlier: Counters) -> Counters {
        Counters {
            cpu_nanos: self.cpu_nanos.saturating_sub(earlier.cpu_nanos),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }
}

/// Nanoseconds of CPU that all threads of a process have used.
///
/// # Errors
/// If the process is gone.
pub fn cpu_nanos(pid: u32) -> io::Result<u64> {
    Ok(Counters::of(pid)?.cpu_nanos)
}

/// Has the kernel kill the calling process when the thread that started it ends, however that one ends. For use between
/// fork and exec.
///
/// # Errors
/// If the kernel refuses.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: the call takes numbers alone.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Has SIGINT and SIGTERM be remembered instead of ending the process; a second one ends it.
pub fn remember_stop_signals() {
    extern "C" fn remember(_: i32) {
        STOP.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler stores to an atomic alone; a zeroed sigaction is valid, and outlives the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = remember as extern "C" fn(i32) as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Whether a signal asked the process to stop.
#[must_use]
pub fn is_stopped() -> bool {
    STOP.load(std::sync::atomic::Ordering::Relaxed)
}

/// CPU that child processes have used which ended and were waited for.
///
/// # Errors
/// If the system does not say.
pub fn children_cpu() -> io::Result<Duration> {
    // SAFETY: an rusage is plain numbers, for which zero is a value, and outlives the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        checked(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage))?;
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// Bytes of memory that are the process's own and written to.
///
/// # Errors
/// If the process is gone or its memory may not be looked at.
pub fn private_dirty_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("smaps_rollup has no Private_Dirty"))
}

/// Lets the process, and those that it starts, have as many open files as it may; says how many.
///
/// # Errors
/// If the limit cannot be read.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    // SAFETY: an rlimit is two numbers, which outlive the calls.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        checked(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        if limit.rlim_cur < wanted {
            // A privileged process may go over the hard limit; any other goes up to it.
            let higher = libc::rlimit { rlim_cur: wanted, rlim_max: wanted.max(limit.rlim_max) };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const higher) == 0 {
                return Ok(wanted);
            }
            limit.rlim_cur = limit.rlim_max.min(wanted);
            checked(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
        }
        Ok(limit.rlim_cur)
    }
}

/// A listener whose connections send at once (TCP_NODELAY is inherited from it).
///
/// # Errors
/// If the address is taken.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let SocketAddr::V4(address) = address else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only IPv4 addresses are served here"));
    };
    let fd = socket()?;
    set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    set(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    let name = name(*address.ip(), address.port());
    // SAFETY: the descriptor is open, and `name` is an address of the length that is given.
    unsafe {
        checked(libc::bind(fd.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32))?;
        checked(libc::listen(fd.as_raw_fd(), BACKLOG))?;
    }
    Ok(TcpListener::from(fd))
}

/// Connects from `source`, which matters where one address has too few ports.
///
/// # Errors
/// What the connection says.
pub fn connect(to: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let stream = match (to, source) {
        (SocketAddr::V4(to), Some(source)) => {
            let fd = socket()?;
            set(&fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
            let from = name(source, 0);
            let to = name(*to.ip(), to.port());
            // SAFETY: the descriptor is open, and the names are addresses of the lengths that are given.
            unsafe {
                checked(libc::bind(fd.as_raw_fd(), (&raw const from).cast(), size_of_val(&from) as u32))?;
                checked(libc::connect(fd.as_raw_fd(), (&raw const to).cast(), size_of_val(&to) as u32))?;
            }
            TcpStream::from(fd)
        }
        (SocketAddr::V6(_), Some(_)) => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a source address needs an IPv4 target"));
        }
        (to, None) => TcpStream::connect(to)?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is new and owned by nobody else.
    unsafe {
        let fd = checked(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn set(fd: &OwnedFd, level: i32, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the descriptor is open, and `on` is an int of the length that is given.
    unsafe {
        checked(libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        ))?;
    }
    Ok(())
}

fn name(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_what_the_kernel_prints() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        let counters = Counters::parse("4021 77 12\n", status);
        let expected = Counters { cpu_nanos: 4021, voluntary_switches: 150, involuntary_switches: 545 };
        assert_eq!(counters, Some(expected));
        assert_eq!(Counters::parse("", status), None);
        assert_eq!(Counters::parse("1 2 3", "Name:\tx\n"), None);
    }

    #[test]
    fn the_counters_of_this_process_grow() {
        let before = Counters::of(std::process::id()).expect("this process runs");
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(1));
        let since = Counters::of(std::process::id()).expect("this process runs") - before;
        assert!(since.voluntary_switches >= 1, "{since:?}");
    }
}
