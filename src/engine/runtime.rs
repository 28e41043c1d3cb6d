//! The event loop of a core: monoio on io_uring with the flags that make it fast, or on epoll.
//!
//! `SINGLE_ISSUER | COOP_TASKRUN | DEFER_TASKRUN` lets the kernel run completions only when this thread asks for
//! them, which costs a third less for each request than the default flags. With them a submit that does not wait
//! reaps nothing, so a task must never wake itself for ever, and other threads wake a core through its mailbox's
//! eventfd, never through a waker.

use std::future::Future;
use std::io;

use io_uring06::{Builder, IoUring};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::settings::Driver;

/// Entries of a core's submission ring. Each is 64 bytes (and two completions of 16): 4,096 hold a burst of as many
/// operations without an extra system call, in 384 KiB of memory that may count as locked.
const RING_ENTRIES: u32 = 4096;
/// The smallest ring that is tried where memory may not be locked.
const RING_ENTRIES_MIN: u32 = 256;

/// Which loop the cores run on, and with which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    IoUring { entries: u32, flags: bool },
    Epoll,
}

/// Chooses the loop for `cores` cores by making as many rings as will be needed, all at once, and letting them go.
///
/// # Errors
/// If io_uring was demanded and cannot be had.
pub(super) fn choose(driver: Driver, cores: usize) -> io::Result<Loop> {
    if driver == Driver::Epoll {
        return Ok(Loop::Epoll);
    }
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for flags in [true, false] {
        let mut entries = RING_ENTRIES;
        while entries >= RING_ENTRIES_MIN {
            match (0..cores).map(|_| ring(flags).build(entries)).collect::<io::Result<Vec<_>>>() {
                Ok(_) => {
                    if entries < RING_ENTRIES {
                        tracing::warn!(
                            entries,
                            "little memory may be locked (RLIMIT_MEMLOCK), so the rings are smaller: raise it to 64 MiB for full speed"
                        );
                    }
                    return Ok(Loop::IoUring { entries, flags });
                }
                Err(error) => last = error,
            }
            if last.raw_os_error() != Some(rustix::io::Errno::NOMEM.raw_os_error()) {
                break;
            }
            entries /= 2;
        }
    }
    if driver == Driver::IoUring {
        return Err(last);
    }
    tracing::warn!(reason = %last, "io_uring is not to be had here: serving on epoll");
    Ok(Loop::Epoll)
}

fn ring(flags: bool) -> Builder {
    let mut builder = IoUring::builder();
    if flags {
        builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    }
    builder
}

/// Runs `future` to its end on this thread.
///
/// # Errors
/// If the ring or the epoll instance cannot be made.
pub(super) fn block_on<F: Future>(chosen: Loop, future: F) -> io::Result<F::Output> {
    match chosen {
        Loop::IoUring { entries, flags } => {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
                .uring_builder(ring(flags))
                .with_entries(entries)
                .enable_timer()
                .build()?;
            Ok(runtime.block_on(future))
        }
        Loop::Epoll => {
            let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
            Ok(runtime.block_on(future))
        }
    }
}
