//! The task of an attached worker (section 10). It speaks the protocol of `deliver::protocol` on a [`Line`]; what the
//! worker did goes to its flow's home (see `flows`), and what the home sends it waits here until the line has room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::closing;
use super::core::{Active, Core, Message};
use super::flows::{self, Did, WorkerAddress, WorkerEvent};
use super::line::{self, Line, Speaker};
use super::pending::Outcome;
use super::stream::Stream;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::protocol::{self, FrameError, WorkerFrame};
use crate::deliver::workers::WorkerTrigger;
use crate::ingress::socket::Closing;
use crate::ingress::worker::FRAME_BYTES_MAX;
use crate::metrics::ConnectionKind;
use crate::registry::{Backlog, FLOW_BYTES_MAX};
use crate::reply::Reply;
use crate::websocket::{Connection as Machine, Role};

/// Bytes that are put on the line ahead of the worker's reading; further triggers wait as they are.
const LINE_BYTES: usize = 256 * 1024;
/// Bytes of triggers that wait for a worker to read. A flow has no more unacked ([`FLOW_BYTES_MAX`]): where more waits,
/// they are such as were late and went to others long ago, from a worker that does not read.
const WAITING_BYTES_MAX: usize = FLOW_BYTES_MAX;
/// Bytes of a frame that is parsed in a time that is no matter: an ack, a credit.
const SHORT_FRAME_BYTES: usize = 1024;
/// How long until a home that was too busy is told again that a worker left.
const RETRY: std::time::Duration = std::time::Duration::from_millis(10);

/// A worker whose handshake was accepted.
pub(super) struct Attached {
    pub(super) backlog: Arc<Backlog>,
}

/// A worker as its core knows it.
pub(super) struct Desk {
    line: Line,
    flow: Id,
    backlog: Arc<Backlog>,
    place: Cell<Option<Key>>,
    /// Triggers that wait for room on the line.
    triggers: RefCell<VecDeque<(u64, Box<WorkerTrigger>)>>,
    /// Bytes of their payloads.
    waiting: Cell<usize>,
}

/// The worker's side of the conversation.
struct Conversation<'c> {
    core: &'c Rc<Core>,
    desk: &'c Rc<Desk>,
    address: WorkerAddress,
    did: Vec<Did>,
}

/// Takes the worker off its core and its flow, however its task ends.
struct Leave<'c> {
    core: &'c Rc<Core>,
    desk: &'c Rc<Desk>,
    address: WorkerAddress,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let core = self.core;
        core.workers.borrow_mut().remove(self.address.key);
        let (flow, from) = (self.desk.flow, self.address);
        if let Err(mut event) = flows::tell(core, flow, from, WorkerEvent::Gone) {
            // What the worker had is given to others only once its home knows.
            let core = Rc::clone(core);
            monoio::spawn(async move {
                while let Err(again) = flows::tell(&core, flow, from, event) {
                    event = again;
                    monoio::time::sleep(RETRY).await;
                }
            });
        }
    }
}

/// Uncounts the connection once its socket is let go.
struct Connected<'c> {
    core: &'c Rc<Core>,
    key: Key,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.core.remove_connection(self.key);
        self.core.shared.workers.fetch_sub(1, Ordering::Relaxed);
        self.core.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.core.metrics.connection_closed(ConnectionKind::Worker);
    }
}

/// Serves a worker to its end. The caller has counted it in `core.shared.connections`.
pub(super) async fn serve(
    core: Rc<Core>,
    mut stream: Stream,
    active: Option<Box<Active>>,
    attached: Attached,
) {
    let flow = attached.backlog.flow();
    let machine = Machine::new(Role::Server, None, FRAME_BYTES_MAX);
    let desk = Rc::new(Desk {
        line: Line::new(&core, machine, FRAME_BYTES_MAX),
        flow,
        backlog: Arc::clone(&attached.backlog),
        place: Cell::new(None),
        triggers: RefCell::default(),
        waiting: Cell::new(0),
    });
    let key = core.workers.borrow_mut().insert(Rc::clone(&desk));
    desk.place.set(Some(key));
    core.shared.workers.fetch_add(1, Ordering::Relaxed);
    core.metrics.connection_opened(ConnectionKind::Worker);
    let _connected = Connected { core: &core, key: desk.line.key() };
    let address = WorkerAddress { core: u16::try_from(core.index).unwrap_or(u16::MAX), key };
    let leave = Leave { core: &core, desk: &desk, address };
    if flows::tell(&core, flow, address, WorkerEvent::Attached(attached.backlog)).is_err() {
        desk.line.close_for(&core, Closing::Busy);
    }
    // The core may have been told before the worker was attached here.
    if desk.backlog.is_deleted() {
        desk.line.close_for(&core, Closing::FlowDeleted);
    }
    let mut conversation = Conversation { core: &core, desk: &desk, address, did: Vec::new() };
    line::run(&core, &mut stream, &desk.line, active, &mut conversation).await;
    desk.triggers.borrow_mut().clear();
    // What it had goes to others at once, although it may take its time to see the Close.
    drop(leave);
    closing::see_off(&core, &stream, &desk.line).await;
}

impl Speaker for Conversation<'_> {
    fn hear(&mut self, text: bool, data: &[u8]) {
        if data.len() > SHORT_FRAME_BYTES {
            self.core.worked();
        }
        match if text { protocol::parse(data) } else { Err(FrameError::Binary) } {
            Ok(WorkerFrame::Ready { credit }) => self.did.push(Did::Ready(credit)),
            Ok(WorkerFrame::Ack { seqs }) => self.did.extend(seqs.into_iter().map(Did::Ack)),
            Ok(WorkerFrame::Nack { seq }) => self.did.push(Did::Nack(seq)),
            Ok(WorkerFrame::Reply { reply_id, seq, reply }) => {
                self.did.push(Did::Replied { reply_id: reply_id.as_str().into(), seq });
                self.reply(reply_id, reply);
            }
            Err(error) => self.desk.say(self.core, |out| protocol::error(out, &error.to_string())),
        }
    }

    fn turn(&mut self) {
        if self.did.is_empty() {
            return;
        }
        let event = WorkerEvent::Did(std::mem::take(&mut self.did));
        if flows::tell(self.core, self.desk.flow, self.address, event).is_err() {
            self.desk.line.close_for(self.core, Closing::Busy);
        }
    }

    fn refill(&mut self) -> bool {
        self.desk.put_on_line(self.core)
    }
}

impl Conversation<'_> {
    /// Passes a reply on; the worker is told what became of it.
    fn reply(&self, reply_id: String, reply: Box<Reply>) {
        let (core, key) = (self.core, self.address.key);
        if let Some(outcome) = core.reply_here(&reply_id, reply, |reply| {
            let Some(own) = core.mailboxes.get(core.index).cloned() else { return };
            let id = reply_id.clone();
            let done = Box::new(move |outcome| {
                // The worker goes without this one frame. Not counted: this may run on another core, whose counters are
                // not this one's.
                if own.send(Message::ReplyResult { worker: key, reply_id: id, outcome }).is_err() {
                    tracing::debug!(
                        "a worker is not told what became of its reply: its core's mailbox is full"
                    );
                }
            });
            core.reply(&reply_id, reply, Some(done));
        }) {
            self.desk.reply_result(core, &reply_id, &outcome);
        }
    }
}

impl Desk {
    /// Says something that `write` writes.
    fn say(&self, core: &Core, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = core.draft.take();
        out.clear();
        write(&mut out);
        // A worker that does not read is closed by the line itself.
        let _ = self.line.send(core, true, &out);
        core.give_draft(out);
    }

    fn reply_result(&self, core: &Core, reply_id: &str, outcome: &Outcome) {
        if let Outcome::Refused(reason) = outcome {
            self.say(core, |out| protocol::error(out, reason));
        }
        self.say(core, |out| protocol::reply_result(out, reply_id, *outcome == Outcome::Accepted));
    }

    /// Puts triggers on the line while there is room. True if it put any.
    fn put_on_line(&self, core: &Core) -> bool {
        let mut put = false;
        while self.line.unsent() < LINE_BYTES {
            let Some((seq, trigger)) = self.triggers.borrow_mut().pop_front() else { break };
            self.waiting.set(self.waiting.get() - trigger.payload.len());
            self.say(core, |out| {
                protocol::trigger(out, seq, trigger.attempt, &trigger.node_id, &trigger.payload);
            });
            put = true;
        }
        put
    }
}

/// A trigger for a worker of this core. One that has left meanwhile has its triggers given to others.
pub(super) fn give(core: &Core, worker: Key, seq: u64, trigger: Box<WorkerTrigger>) {
    let Some(desk) = core.workers.borrow().get(worker).map(Rc::clone) else { return };
    // One that is leaving has it given to others when it has left.
    if !desk.line.is_open() {
        return;
    }
    desk.waiting.set(desk.waiting.get() + trigger.payload.len());
    desk.triggers.borrow_mut().push_back((seq, trigger));
    desk.put_on_line(core);
    if desk.waiting.get() > WAITING_BYTES_MAX {
        desk.line.close_for(core, Closing::TooSlow);
    }
}

/// Tells a worker of this core what it did wrong.
pub(super) fn complain(core: &Core, worker: Key, message: &str) {
    if let Some(desk) = core.workers.borrow().get(worker).map(Rc::clone) {
        desk.say(core, |out| protocol::error(out, message));
    }
}

/// Tells a worker of this core what became of its reply.
pub(super) fn reply_result(core: &Core, worker: Key, reply_id: &str, outcome: &Outcome) {
    if let Some(desk) = core.workers.borrow().get(worker).map(Rc::clone) {
        desk.reply_result(core, reply_id, outcome);
    }
}

/// Closes the workers whose flow was deleted.
pub(super) fn close_deleted(core: &Core) {
    for desk in desks(core) {
        if desk.backlog.is_deleted() {
            desk.line.close_for(core, Closing::FlowDeleted);
        }
    }
}

/// Closes every worker of this core: the process stops.
pub(super) fn close_all(core: &Core) {
    for desk in desks(core) {
        desk.line.close_for(core, Closing::Restart);
    }
}

fn desks(core: &Core) -> Vec<Rc<Desk>> {
    core.workers.borrow().iter().map(|(_, desk)| Rc::clone(desk)).collect()
}
