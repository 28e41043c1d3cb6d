//! The kernel of this machine: io_uring where it serves, else epoll.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::epoll::Epoll;
use super::file::DiskFile;
use super::interface::{Completion, Counters, FileId, Io, ListenerId, Operation, SocketId, Waker};
use super::listen::Listener;
use super::queues::RingSetup;
use super::ring::Ring;

/// Entries of a core's submission ring. Each is 64 bytes (and two completions of 16): 4,096 hold a burst of as many
/// operations without an extra system call, in 384 KiB of memory that may count as locked.
const RING_ENTRIES: u32 = 4096;
/// The smallest ring that is tried where little memory may be locked.
const RING_ENTRIES_MIN: u32 = 256;

/// Which backend is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// io_uring, or epoll where it does not serve.
    Automatic,
    /// io_uring, or an error.
    Ring,
    Epoll,
}

/// The backend that the cores run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Ring(RingSetup),
    Epoll,
}

/// Chooses the backend for `cores` cores, by making as many rings as will be needed, all at once, and dropping them.
///
/// # Errors
/// If io_uring was demanded and does not serve.
pub fn choose(preference: Preference, cores: usize) -> io::Result<Backend> {
    if preference == Preference::Epoll {
        return Ok(Backend::Epoll);
    }
    let error = match choose_ring(cores) {
        Ok(setup) => return Ok(Backend::Ring(setup)),
        Err(error) => error,
    };
    if preference == Preference::Ring {
        return Err(error);
    }
    tracing::warn!(reason = %error, "io_uring does not serve here (Linux 6.1 or later, not forbidden): serving on epoll");
    Ok(Backend::Epoll)
}

fn choose_ring(cores: usize) -> io::Result<RingSetup> {
    let mut entries = RING_ENTRIES;
    loop {
        // Linux before 6.6 refuses the first.
        let newest = RingSetup { entries, no_array: true };
        let made = newest.probe(cores).or_else(|error| match Errno::from_io_error(&error) {
            Some(Errno::INVAL) => RingSetup { entries, no_array: false }.probe(cores),
            _ => Err(error),
        });
        match made {
            Ok(setup) => {
                if entries < RING_ENTRIES {
                    tracing::warn!(
                        entries,
                        "little memory may be locked (RLIMIT_MEMLOCK), so the rings are smaller: raise it to 64 MiB for full speed"
                    );
                }
                return Ok(setup);
            }
            Err(error)
                if Errno::from_io_error(&error) == Some(Errno::NOMEM) && entries > RING_ENTRIES_MIN =>
            {
                entries /= 2;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The chosen backend of one core.
// One a core: its size costs nothing, and a box would cost each call.
#[allow(clippy::large_enum_variant)]
pub enum Kernel {
    Ring(Ring),
    Epoll(Epoll),
}

impl Kernel {
    /// Opens the backend for the calling thread, which is the only one that may use it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn open(backend: Backend) -> io::Result<Kernel> {
        match backend {
            Backend::Ring(setup) => Ring::open(setup).map(Kernel::Ring),
            Backend::Epoll => Epoll::open().map(Kernel::Epoll),
        }
    }
}

macro_rules! each {
    ($kernel:expr, $backend:ident => $call:expr) => {
        match $kernel {
            Kernel::Ring($backend) => $call,
            Kernel::Epoll($backend) => $call,
        }
    };
}

impl Io for Kernel {
    type Listener = Listener;
    type Stream = OwnedFd;
    type File = DiskFile;

    fn add_listener(&mut self, listener: Listener) -> io::Result<ListenerId> {
        each!(self, backend => backend.add_listener(listener))
    }

    fn adopt(&mut self, stream: OwnedFd) -> io::Result<SocketId> {
        each!(self, backend => backend.adopt(stream))
    }

    fn add_file(&mut self, file: DiskFile) -> FileId {
        each!(self, backend => backend.add_file(file))
    }

    fn waker(&self) -> Waker {
        each!(self, backend => backend.waker())
    }

    #[inline]
    fn start(&mut self, operation: Operation) {
        each!(self, backend => backend.start(operation));
    }

    #[inline]
    fn wait(&mut self, now: u64, until: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        each!(self, backend => backend.wait(now, until, completions))
    }

    fn counters(&self) -> Counters {
        each!(self, backend => backend.counters())
    }
}
