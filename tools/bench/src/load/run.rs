//! The loop.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::connection::{Connection, Reader};
use super::outcome::{Outcome, Second};
use super::{Bound, Length, Plan};
use crate::answer::{Answer, Known};
use crate::frames;
use crate::ring::{Completion, Ring};
use crate::targets::Walk;

/// Buffers and their size: sixteen pipelined answers fit into one. 1 MiB in all stays in the cache, which a server on
/// the same CPU shares.
const BUFFERS: u16 = 64;
const BUFFER_BYTES: usize = 16 * 1024;
/// A send of no more than this into an empty socket buffer never has to wait, so its completion says nothing.
const QUIET_BYTES_MAX: usize = 16 * 1024;
/// How long answers are awaited after the last request.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the watcher is told how far it has come.
const PROGRESS_NANOS: u64 = 250_000_000;
/// How often a closed connection is opened again before the run gives up: a server that closes after each answer
/// is measured, one that refuses is not.
const RECONNECTS_MAX: u64 = 10_000_000;
/// Kinds of operations, above the connection's index in an operation's number.
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// Is told how a run goes, on the generator's thread.
pub trait Watcher {
    /// The measured part begins.
    fn begin(&mut self) {}
    /// The measured part has ended.
    fn end(&mut self) {}
    /// So far; called a few times a second.
    fn progress(&mut self, _elapsed: Duration, _outcome: &Outcome) {}
}

impl Watcher for () {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    /// Nothing more is sent.
    Draining,
}

struct Run<'p> {
    plan: &'p Plan,
    ring: Ring,
    connections: Vec<Connection>,
    /// Those with something to send.
    ready: Vec<usize>,
    /// Those that can take a request (open loop).
    free: VecDeque<usize>,
    constant: Option<Vec<u8>>,
    behind_path: Vec<u8>,
    walk: Walk,
    known: Known,
    outcome: Outcome,
    phase: Phase,
    clock: Instant,
    /// Since `clock`, nanoseconds; read once for each turn.
    now: u64,
    measured_from: u64,
    /// Requests of the open loop, or measured ones of a bounded count, that were assigned to connections.
    assigned: u64,
    under_way: u64,
    expected_length: Option<u64>,
    cpu_before: u64,
}

/// Runs a plan to its end.
///
/// # Errors
/// If a connection cannot be opened or the ring fails. Wrong answers are no error here: see [`Outcome::failure`].
pub fn run(plan: &Plan, watcher: &mut dyn Watcher) -> anyhow::Result<Outcome> {
    crate::system::raise_open_files(plan.connections as u64 + 256).context("the limit of open files")?;
    let mut walk = Walk::new(plan.order, plan.seed);
    let mut connections = Vec::with_capacity(plan.connections);
    let mut path = Vec::new();
    for index in 0..plan.connections {
        path.clear();
        walk.next(&plan.targets, &mut path);
        connections.push(Connection::open(plan, index, &path)?);
    }
    let mut run = Run {
        plan,
        ring: Ring::new(BUFFERS, BUFFER_BYTES)?,
        connections,
        ready: Vec::new(),
        free: VecDeque::new(),
        constant: plan.constant(),
        behind_path: plan.behind_path(),
        walk,
        known: Known::default(),
        outcome: Outcome::new(),
        phase: Phase::Warming,
        clock: Instant::now(),
        now: 0,
        measured_from: 0,
        assigned: 0,
        under_way: 0,
        expected_length: match plan.expect.length {
            Length::Exactly(bytes) => Some(bytes),
            _ => None,
        },
        cpu_before: 0,
    };
    run.drive(watcher)?;
    Ok(run.outcome)
}

impl Run<'_> {
    fn drive(&mut self, watcher: &mut dyn Watcher) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            let fd = self.connections[index].stream.as_raw_fd();
            self.ring.receive(fd, RECEIVE | index as u64)?;
            self.offer(index);
        }
        let mut completions: Vec<Completion> = Vec::new();
        let mut next_progress = PROGRESS_NANOS;
        let mut ends = u64::MAX;
        loop {
            self.now = self.nanos();
            self.turn_phase(watcher, &mut ends);
            if self.phase == Phase::Draining && (self.under_way == 0 || self.now >= ends) {
                break;
            }
            self.issue();
            self.send_ready()?;
            let limit = self.wait_limit(ends, next_progress);
            self.ring.wait(Some(Duration::from_nanos(limit)), &mut completions)?;
            self.now = self.nanos();
            for completion in completions.drain(..) {
                self.complete(&completion)?;
            }
            if self.now >= next_progress {
                next_progress = self.now + PROGRESS_NANOS;
                if self.phase == Phase::Measuring {
                    watcher.progress(Duration::from_nanos(self.now - self.measured_from), &self.outcome);
                }
            }
        }
        self.outcome.unanswered += self.under_way;
        if self.under_way > 0 {
            self.outcome.fail(|| format!("no answer within {} s", DRAIN.as_secs()));
        }
        Ok(())
    }

    fn nanos(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// Moves from warming to measuring to draining.
    fn turn_phase(&mut self, watcher: &mut dyn Watcher, ends: &mut u64) {
        if self.phase == Phase::Warming && self.now >= self.plan.warmup.as_nanos() as u64 {
            self.phase = Phase::Measuring;
            self.assigned = 0;
            watcher.begin();
            self.cpu_before = own_cpu_nanos();
            self.measured_from = self.nanos();
            self.now = self.measured_from;
        }
        let over = match self.plan.bound {
            Bound::Time(time) => self.now >= self.measured_from + time.as_nanos() as u64,
            Bound::Count(count) => self.outcome.answered >= count,
        };
        // A server that answers nothing as expected is not asked for ever.
        let hopeless = self.outcome.mismatches + self.outcome.unanswered > 10_000;
        if self.phase == Phase::Measuring && (over || hopeless) {
            self.outcome.elapsed = Duration::from_nanos(self.now - self.measured_from);
            self.outcome.own_cpu_nanos = own_cpu_nanos() - self.cpu_before;
            watcher.end();
            self.phase = Phase::Draining;
            *ends = self.nanos() + DRAIN.as_nanos() as u64;
        }
    }

    /// How long the ring may wait.
    fn wait_limit(&self, ends: u64, next_progress: u64) -> u64 {
        let mut until = next_progress.min(ends);
        match (self.phase, self.plan.bound) {
            (Phase::Warming, _) => until = until.min(self.plan.warmup.as_nanos() as u64),
            (Phase::Measuring, Bound::Time(time)) => {
                until = until.min(self.measured_from + time.as_nanos() as u64)
            }
            _ => {}
        }
        if let Some(rate) = self.plan.rate
            && self.phase != Phase::Draining
            && !self.free.is_empty()
        {
            until = until.min(self.intended(rate));
        }
        until.saturating_sub(self.nanos()).max(1)
    }

    /// When the next request of the open loop should leave.
    fn intended(&self, rate: f64) -> u64 {
        self.measured_from + (self.assigned as f64 * 1e9 / rate) as u64
    }

    /// Gives the requests of the open loop that are due to connections that can take them.
    fn issue(&mut self) {
        let Some(rate) = self.plan.rate else { return };
        if self.phase == Phase::Draining {
            return;
        }
        while self.may_assign() && self.intended(rate) <= self.now {
            let Some(index) = self.free.pop_front() else { return };
            let intended = self.intended(rate);
            self.connections[index].is_free = false;
            for _ in 0..self.plan.burst {
                self.assign(index, intended);
            }
            self.offer(index);
        }
    }

    /// Whether a bounded count has requests left.
    fn may_assign(&self) -> bool {
        match self.plan.bound {
            Bound::Count(count) if self.phase == Phase::Measuring => self.assigned < count,
            _ => true,
        }
    }

    fn assign(&mut self, index: usize, start: u64) {
        self.assigned += 1;
        self.under_way += 1;
        let connection = &mut self.connections[index];
        connection.starts.push_back(start);
        connection.due += 1;
        if !connection.is_ready {
            connection.is_ready = true;
            self.ready.push(index);
        }
    }

    /// The connection can take a request: a closed loop fills it, the open loop remembers it.
    fn offer(&mut self, index: usize) {
        if self.plan.rate.is_some() {
            let connection = &mut self.connections[index];
            let has_room = connection.starts.len() + self.plan.burst <= self.plan.depth;
            if has_room && !connection.is_free && !connection.ended {
                connection.is_free = true;
                self.free.push_back(index);
            }
            return;
        }
        if !self.connections[index].is_ready && !self.connections[index].ended {
            self.connections[index].is_ready = true;
            self.ready.push(index);
        }
    }

    /// Sends on every connection that is ready: one send each, whatever is due on it.
    fn send_ready(&mut self) -> anyhow::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        // One more look at the clock: what was read since the last one took its time.
        self.now = self.nanos();
        for index in ready.drain(..) {
            self.connections[index].is_ready = false;
            let closed_loop = self.plan.rate.is_none() && self.phase != Phase::Draining;
            while closed_loop && self.connections[index].starts.len() < self.plan.depth && self.may_assign() {
                self.assigned += 1;
                self.under_way += 1;
                self.connections[index].starts.push_back(self.now);
                self.connections[index].due += 1;
            }
            self.send(index)?;
        }
        self.ready = ready;
        Ok(())
    }

    fn send(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        if connection.due == 0 || connection.sending.is_some() || connection.ended {
            return Ok(());
        }
        let count = std::mem::take(&mut connection.due);
        // Everything before was answered, so the socket's buffer is empty.
        let alone = connection.starts.len() == count;
        let bytes: &[u8] = match &self.constant {
            Some(constant) => &constant[..constant.len() / self.plan.depth * count],
            None => {
                connection.out.clear();
                for _ in 0..count {
                    connection.out.extend_from_slice(self.plan.method.as_bytes());
                    connection.out.push(b' ');
                    self.walk.next(&self.plan.targets, &mut connection.out);
                    connection.out.extend_from_slice(&self.behind_path);
                }
                &connection.out
            }
        };
        let quiet = alone && bytes.len() <= QUIET_BYTES_MAX;
        connection.sending = (!quiet).then_some(bytes.len());
        let fd = connection.stream.as_raw_fd();
        // SAFETY: the bytes are the plan's, which live longer than the ring's use of them, or the connection's, which
        // are not touched while `sending` is set. Quiet ones were copied when the ring took them: the socket's buffer
        // was empty and has room for them.
        unsafe { self.ring.send(fd, bytes, SEND | index as u64, quiet)? };
        Ok(())
    }

    fn complete(&mut self, completion: &Completion) -> anyhow::Result<()> {
        let index = (completion.user & 0xFFFF_FFFF) as usize;
        if completion.user & !0xFFFF_FFFF == SEND {
            let connection = &mut self.connections[index];
            let whole = connection.sending.take().is_some_and(|bytes| completion.result == bytes as i32);
            if !whole && !connection.ended {
                // The receive says what became of the connection; a broken pipe alone need not wake it.
                connection.stream.shutdown(std::net::Shutdown::Both).ok();
                self.outcome.fail(|| format!("a send came to {}", completion.result));
            } else if connection.due > 0 {
                self.send(index)?;
            } else if connection.ended {
                self.reopen(index)?;
            }
            return Ok(());
        }
        if completion.result > 0 {
            self.received(index, completion);
            self.ring.give_back(completion);
        } else if completion.result != -libc::ENOBUFS {
            return self.gone(index, completion.result);
        }
        if !completion.goes_on() {
            let fd = self.connections[index].stream.as_raw_fd();
            self.ring.receive(fd, RECEIVE | index as u64)?;
        }
        Ok(())
    }

    fn received(&mut self, index: usize, completion: &Completion) {
        let bytes = self.ring.bytes(completion);
        let connection = &mut self.connections[index];
        let mut sink = Sink {
            starts: &mut connection.starts,
            outcome: &mut self.outcome,
            plan: self.plan,
            expected_length: &mut self.expected_length,
            measuring: self.phase == Phase::Measuring,
            now: self.now,
            measured_from: self.measured_from,
            answered: 0,
            surplus: false,
        };
        if sink.measuring {
            sink.outcome.received_bytes += bytes.len() as u64;
        }
        let mut pongs = Vec::new();
        let broken = match &mut connection.reader {
            Reader::Http(reader) => reader
                .take(bytes, &mut self.known, |answer| sink.answer(answer))
                .map_err(|malformed| malformed.to_string()),
            Reader::WebSocket(reader) => reader
                .take(
                    bytes,
                    // An empty message is no answer to ours: it is what an echo has to say of the connection's begin.
                    |length| {
                        if length > 0 {
                            sink.answer(Answer { status: 0, body_bytes: length });
                        }
                    },
                    |ping| frames::write(&mut pongs, 0x8A, ping, Some([0; 4])),
                )
                .map_err(|broken| broken.to_string()),
        };
        self.under_way -= sink.answered;
        let surplus = sink.surplus;
        if !pongs.is_empty() && connection.stream.write_all(&pongs).is_err() {
            self.outcome.fail(|| "a pong could not be sent".to_owned());
        }
        if let Err(what) = broken {
            self.outcome.fail(|| what);
            // The end of the connection is seen by its receive.
            connection.stream.shutdown(std::net::Shutdown::Both).ok();
            connection.ended = true;
        } else if surplus {
            self.outcome.mismatches += 1;
            self.outcome.fail(|| "an answer that nobody asked for".to_owned());
        }
        self.offer(index);
    }

    /// The server has closed, or the connection broke.
    fn gone(&mut self, index: usize, result: i32) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let lost = connection.starts.len() as u64;
        let between = matches!(&connection.reader, Reader::Http(reader) if reader.is_between());
        connection.ended = true;
        connection.starts.clear();
        connection.due = 0;
        self.under_way -= lost;
        if lost > 0 || !between {
            if self.phase != Phase::Warming {
                self.outcome.unanswered += lost.max(1);
            }
            self.outcome.fail(|| match result {
                0 => format!("the server closed a connection with {lost} requests unanswered"),
                errno => {
                    format!("{} with {lost} requests unanswered", std::io::Error::from_raw_os_error(-errno))
                }
            });
        }
        if self.connections[index].sending.is_none() {
            self.reopen(index)?;
        }
        Ok(())
    }

    fn reopen(&mut self, index: usize) -> anyhow::Result<()> {
        if self.phase == Phase::Draining {
            return Ok(());
        }
        self.outcome.reconnects += 1;
        anyhow::ensure!(self.outcome.reconnects < RECONNECTS_MAX, "the server closes every connection");
        let mut path = Vec::new();
        self.walk.next(&self.plan.targets, &mut path);
        let was_free = self.connections[index].is_free;
        let was_ready = self.connections[index].is_ready;
        self.connections[index] = Connection::open(self.plan, index, &path)?;
        self.connections[index].is_free = was_free;
        self.connections[index].is_ready = was_ready;
        let fd = self.connections[index].stream.as_raw_fd();
        self.ring.receive(fd, RECEIVE | index as u64)?;
        self.offer(index);
        Ok(())
    }
}

/// Where answers are counted.
struct Sink<'r> {
    starts: &'r mut VecDeque<u64>,
    outcome: &'r mut Outcome,
    plan: &'r Plan,
    expected_length: &'r mut Option<u64>,
    measuring: bool,
    now: u64,
    measured_from: u64,
    answered: u64,
    /// An answer came that no request was for.
    surplus: bool,
}

impl Sink<'_> {
    fn answer(&mut self, answer: Answer) {
        let Some(start) = self.starts.pop_front() else {
            self.surplus = true;
            return;
        };
        self.answered += 1;
        if !self.measuring {
            return;
        }
        self.outcome.answered += 1;
        self.outcome.body_bytes += answer.body_bytes;
        *self.outcome.statuses.entry(answer.status).or_default() += 1;
        let second = ((self.now - self.measured_from) / 1_000_000_000) as usize;
        if self.outcome.seconds.len() <= second {
            self.outcome.seconds.resize(second + 1, Second::default());
        }
        self.outcome.seconds[second].answered += 1;
        // What began while warming up is counted, since the server's work for it may fall here, but not timed.
        if start >= self.measured_from {
            self.outcome.record(self.now - start);
        }
        self.check(answer);
    }

    fn check(&mut self, answer: Answer) {
        let expect = self.plan.expect;
        if let (Some(expected), false) = (expect.status, answer.status == 0)
            && answer.status != expected
        {
            self.outcome.mismatches += 1;
            return self.outcome.fail(|| format!("status {} instead of {expected}", answer.status));
        }
        if expect.length == Length::Any {
            return;
        }
        let expected = *self.expected_length.get_or_insert(answer.body_bytes);
        if answer.body_bytes != expected {
            self.outcome.mismatches += 1;
            self.outcome.fail(|| format!("{} bytes answered instead of {expected}", answer.body_bytes));
        }
    }
}

/// CPU of the calling thread.
fn own_cpu_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and `time` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
