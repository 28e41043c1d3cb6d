//! A thread that reads and writes files for a core whose kernel cannot do it without blocking.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::io::Errno;

use super::file::{DiskFile, Sync};
use super::interface::{Completion, Transfer, Wake};
use super::waker::EventWaker;

/// The operation of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// The completion of a transfer.
    pub(super) fn completion(self, transfer: Box<Transfer>, result: io::Result<()>) -> Completion {
        match self {
            Direction::Read => Completion::ReadDone { transfer, result },
            Direction::Write => Completion::Written { transfer, result },
        }
    }
}

struct DiskJob {
    file: Arc<DiskFile>,
    direction: Direction,
    transfer: Box<Transfer>,
}

/// The thread of one core, started with its first transfer.
#[derive(Default)]
pub(super) struct DiskThread {
    running: Option<Running>,
}

struct Running {
    jobs: Sender<DiskJob>,
    done: Receiver<(Direction, Box<Transfer>, io::Result<()>)>,
    thread: JoinHandle<()>,
}

impl DiskThread {
    /// Starts a transfer; `waker` is used when it is done.
    ///
    /// # Errors
    /// The transfer, if there can be no thread, and why.
    pub(super) fn start(
        &mut self,
        waker: &Arc<EventWaker>,
        file: Arc<DiskFile>,
        direction: Direction,
        transfer: Box<Transfer>,
    ) -> Result<(), (Box<Transfer>, io::Error)> {
        if self.running.is_none() {
            match run(Arc::clone(waker)) {
                Ok(running) => self.running = Some(running),
                Err(error) => return Err((transfer, error)),
            }
        }
        let Some(running) = &self.running else { return Ok(()) };
        let job = DiskJob { file, direction, transfer };
        running
            .jobs
            .send(job)
            .map_err(|unsent| (unsent.0.transfer, io::Error::other("the disk's thread ended")))
    }

    /// Takes the next transfer that is done.
    pub(super) fn next(&mut self) -> Option<Completion> {
        let (direction, transfer, result) = self.running.as_ref()?.done.try_recv().ok()?;
        Some(direction.completion(transfer, result))
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        // What was started is done before the files are read by others.
        if let Some(Running { jobs, done, thread }) = self.running.take() {
            drop((jobs, done));
            let _ = thread.join();
        }
    }
}

fn run(waker: Arc<EventWaker>) -> io::Result<Running> {
    let (jobs, queue) = channel::<DiskJob>();
    let (results, done) = channel();
    let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
        for DiskJob { file, direction, mut transfer } in queue {
            let result = carry_out(&file, direction, &mut transfer);
            drop(file);
            // A core that has ended wants no result; its writes are done all the same.
            let _ = results.send((direction, transfer, result));
            waker.wake();
        }
    })?;
    Ok(Running { jobs, done, thread })
}

fn carry_out(file: &DiskFile, direction: Direction, transfer: &mut Transfer) -> io::Result<()> {
    let Transfer { offset, block, .. } = transfer;
    let count = match direction {
        Direction::Read => rustix::io::retry_on_intr(|| rustix::io::pread(file, block.bytes_mut(), *offset))?,
        Direction::Write => rustix::io::retry_on_intr(|| rustix::io::pwrite(file, block.bytes(), *offset))?,
    };
    check_length(direction, count, block.bytes().len())?;
    if direction == Direction::Write && file.sync == Sync::Flush {
        // Never tried again: after a flush that failed the kernel has forgotten what it did not write.
        rustix::fs::fdatasync(file)?;
    }
    Ok(())
}

/// Checks that a transfer was whole. One that is not is an error: the rest of a write would be another write.
pub(super) fn check_length(direction: Direction, count: usize, wanted: usize) -> Result<(), io::Error> {
    match direction {
        _ if count == wanted => Ok(()),
        Direction::Read => Err(io::ErrorKind::UnexpectedEof.into()),
        Direction::Write => Err(Errno::NOSPC.into()),
    }
}
