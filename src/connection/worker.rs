//! The WebSocket of an attached worker ([workers](crate::guide::workers)). It speaks the protocol of
//! `deliver::protocol`; what the worker did goes to the owner of its flow's queue, and triggers from there wait here
//! until the connection has room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::CoreState;
use super::flows;
use super::message::{
    ConnectionId, ConnectionMessage, ReplyOutcome, ReplySender, WorkerAction, WorkerAddress, WorkerEvent,
};
use super::upgrade::AcceptedWorker;
use super::websocket::{Expired, Handler, WebSocketConnection};
use crate::base::buffer::ReceiveBuffer;
use crate::deliver::protocol::{self, FrameError, WorkerFrame};
use crate::deliver::workers::WorkerTrigger;
use crate::ingress::socket::Closing;
use crate::ingress::worker::FRAME_BYTES_MAX;
use crate::metrics::ConnectionKind;
use crate::registry::{Backlog, FLOW_BYTES_MAX};

/// Bytes that are sent ahead of the worker's reading; further triggers wait as they are.
const AHEAD_BYTES: usize = 256 * 1024;
/// Bytes of triggers that wait for a worker to read. A flow has no more unacked ([`FLOW_BYTES_MAX`]): where more wait, they
/// are such as were overdue and went to others long ago, from a worker that does not read.
const WAITING_BYTES_MAX: usize = FLOW_BYTES_MAX;
/// Bytes of a frame that is parsed in a negligible time: an ack, a credit.
const SHORT_FRAME_BYTES: usize = 1024;

/// A worker's session: its connection, and the handler of its messages.
pub(crate) struct WorkerSession {
    connection: WebSocketConnection,
    worker: WorkerHandler,
}

/// The worker, as its frames are handled.
struct WorkerHandler {
    backlog: Arc<Backlog>,
    address: WorkerAddress,
    /// Triggers that wait for room on the connection.
    triggers: VecDeque<(u64, Box<WorkerTrigger>)>,
    /// Bytes of their payloads.
    waiting_bytes: usize,
    /// Actions of the present batch.
    actions: Vec<WorkerAction>,
}

impl WorkerSession {
    /// Begins a session whose handshake was accepted. `carry` is what was received behind it.
    pub(crate) fn begin(
        core: &mut CoreState,
        id: ConnectionId,
        accepted: AcceptedWorker,
        carry: ReceiveBuffer,
    ) -> WorkerSession {
        core.counts.workers.fetch_add(1, Ordering::Relaxed);
        core.metrics.connection_opened(ConnectionKind::Worker);
        let backlog = accepted.backlog;
        let address = WorkerAddress { core: core.number(), connection: id };
        let now = core.now().nanos;
        let mut connection = WebSocketConnection::new(None, FRAME_BYTES_MAX, carry, now);
        let attached = WorkerEvent::Attached(Arc::clone(&backlog));
        if flows::tell(core, backlog.flow(), address, attached).is_err() {
            connection.close_for(core, Closing::Busy);
        }
        let mut worker = WorkerHandler {
            backlog,
            address,
            triggers: VecDeque::new(),
            waiting_bytes: 0,
            actions: Vec::new(),
        };
        // The core may have been told before the worker was attached here.
        worker.close_if_deleted(core, &mut connection);
        connection.resume(core, &mut worker);
        WorkerSession { connection, worker }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> &mut WebSocketConnection {
        &mut self.connection
    }

    /// Whether something is done once the send that is started now has ended: as of any WebSocket, or triggers wait for room.
    pub(crate) fn awaits_sent(&self) -> bool {
        self.connection.awaits_sent() || !self.worker.triggers.is_empty()
    }

    /// Takes received bytes.
    pub(crate) fn on_received(&mut self, core: &mut CoreState, received: &mut Vec<u8>) {
        self.connection.on_received(core, &mut self.worker, received);
    }

    /// Continues with what was received in an earlier turn.
    pub(crate) fn resume(&mut self, core: &mut CoreState) {
        self.connection.resume(core, &mut self.worker);
    }

    /// Notes that the send in flight has ended.
    pub(crate) fn on_sent(&mut self, core: &mut CoreState, bytes: usize) {
        self.connection.on_sent(core, &mut self.worker, bytes);
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self, core: &mut CoreState) -> Expired {
        let expired = self.connection.on_deadline(core);
        if expired == Expired::Quiet {
            self.connection.release(core);
        }
        expired
    }

    /// Takes a message.
    pub(crate) fn on_message(&mut self, core: &mut CoreState, message: ConnectionMessage) {
        let WorkerSession { connection, worker } = self;
        match message {
            ConnectionMessage::Trigger { seq, trigger } => worker.on_trigger(core, connection, seq, trigger),
            ConnectionMessage::Complaint(message) => {
                say(core, connection, |out| protocol::error(out, &message));
            }
            ConnectionMessage::ReplyResult { reply_id, outcome } => {
                if let ReplyOutcome::Refused(reason) = &outcome {
                    say(core, connection, |out| protocol::error(out, reason));
                }
                let is_accepted = outcome == ReplyOutcome::Accepted;
                say(core, connection, |out| protocol::reply_result(out, &reply_id, is_accepted));
            }
            ConnectionMessage::CloseWorker(closing) => connection.close_for(core, closing),
            ConnectionMessage::FlowsDeleted => worker.close_if_deleted(core, connection),
            other => core.refuse_message(other),
        }
    }

    /// Ends the session: what the worker had goes to others at once. To be called once.
    pub(crate) fn end(&mut self, core: &mut CoreState) {
        core.metrics.connection_closed(ConnectionKind::Worker);
        self.worker.triggers.clear();
        flows::tell_gone(core, self.worker.backlog.flow(), self.worker.address);
        self.connection.release(core);
    }
}

impl Handler for WorkerHandler {
    fn on_message(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        text: bool,
        data: &[u8],
    ) {
        if data.len() > SHORT_FRAME_BYTES {
            core.worked();
        }
        match if text { protocol::parse(data) } else { Err(FrameError::Binary) } {
            Ok(WorkerFrame::Ready { credit }) => self.actions.push(WorkerAction::Ready(credit)),
            Ok(WorkerFrame::Ack { seqs }) => self.actions.extend(seqs.into_iter().map(WorkerAction::Ack)),
            Ok(WorkerFrame::Nack { seq }) => self.actions.push(WorkerAction::Nack(seq)),
            Ok(WorkerFrame::Reply { reply_id, seq, reply }) => {
                self.actions.push(WorkerAction::Replied { reply_id: reply_id.as_str().into(), seq });
                let sender = ReplySender::Worker { worker: self.address, reply_id: reply_id.clone() };
                core.reply(&reply_id, reply, sender);
            }
            Err(error) => say(core, connection, |out| protocol::error(out, &error.to_string())),
        }
    }

    fn after_batch(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        if self.actions.is_empty() {
            return;
        }
        if flows::tell_actions(core, self.backlog.flow(), self.address, &mut self.actions).is_err() {
            connection.close_for(core, Closing::Busy);
        }
    }

    fn on_drained(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        self.send_triggers(core, connection);
    }
}

impl WorkerHandler {
    fn close_if_deleted(&self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        if self.backlog.is_deleted() {
            connection.close_for(core, Closing::FlowDeleted);
        }
    }

    /// Takes a trigger. One that is leaving has it given to others when it has left.
    fn on_trigger(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        seq: u64,
        trigger: Box<WorkerTrigger>,
    ) {
        if !connection.is_open() {
            return;
        }
        self.waiting_bytes += trigger.payload.len();
        self.triggers.push_back((seq, trigger));
        self.send_triggers(core, connection);
        if self.waiting_bytes > WAITING_BYTES_MAX {
            connection.close_for(core, Closing::TooSlow);
        }
    }

    /// Sends triggers while there is room.
    fn send_triggers(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        while connection.unsent() < AHEAD_BYTES {
            let Some((seq, trigger)) = self.triggers.pop_front() else { break };
            self.waiting_bytes -= trigger.payload.len();
            say(core, connection, |out| {
                protocol::trigger(out, seq, trigger.attempt, &trigger.node_id, &trigger.payload);
            });
        }
    }
}

/// Sends what `write` writes.
fn say(core: &mut CoreState, connection: &mut WebSocketConnection, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = std::mem::take(&mut core.draft);
    out.clear();
    write(&mut out);
    // A worker that does not read is closed by the connection itself.
    let _ = connection.send(core, true, &out);
    core.give_draft(out);
}
