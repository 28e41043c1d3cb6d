//! The messages of a core's mailbox, and the rounds that bring changes of the model to its WebSockets: in turns, so that
//! neither many messages nor many WebSockets hold up what else the core has to do.

use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::connection::{self, Door};
use super::core::{Core, Message, Tap};
use super::plain::Plain;
use super::ready::Ready;
use super::stream::Stream;
use super::{Plan, finish, flows, worker};
use crate::base::log::bounded_log;

/// WebSockets that a change of the model is brought to in one piece: each costs two or three misses of the cache.
pub(super) const ROUND_PLACES: usize = 128;

impl Plan {
    /// Does what others ask, and brings changes of the model to the WebSockets.
    pub(super) async fn serve_mailbox(
        &self,
        core: &Rc<Core>,
        ready: &Ready,
        nonblocking: bool,
    ) -> io::Result<()> {
        loop {
            core.begin_turn();
            let is_done = self.serve_turn(core, nonblocking);
            core.end_turn();
            if !is_done {
                core.pause().await;
            } else if self.receiver.sleep() {
                ready.readable().await?;
                self.receiver.woken();
            }
        }
    }

    /// Serves the mailbox for one turn; returns whether nothing is left to do.
    fn serve_turn(&self, core: &Rc<Core>, nonblocking: bool) -> bool {
        loop {
            // One piece of a round, then messages: neither waits for the other to come to its end.
            let round_is_over = refresh_sockets(core);
            let mut is_turn_over = !round_is_over && core.step(false);
            while !is_turn_over && let Some(message) = self.receiver.receive() {
                is_turn_over = self.take(core, message, nonblocking);
            }
            if is_turn_over {
                return false;
            }
            if core.round.borrow().is_over() {
                return true;
            }
        }
    }

    /// Does what a message asks; returns whether the turn must end.
    fn take(&self, core: &Rc<Core>, message: Message, nonblocking: bool) -> bool {
        let is_short = matches!(
            message,
            Message::Trigger { .. }
                | Message::Give { .. }
                | Message::Complaint { .. }
                | Message::ReplyResult { .. }
        );
        match message {
            Message::Reply { key, reply, done } => {
                let outcome = core.pending.deliver(core, key, reply);
                core.tell_sender(done, outcome);
            }
            Message::Chain { url, outcome } => core.chains.arrived(&url, &outcome, core.now()),
            Message::Adopt { stream, tap } => adopt(core, stream, tap, nonblocking),
            Message::Trigger { backlog, trigger } => flows::take(core, backlog, *trigger),
            Message::Worker { flow, from, event } => flows::hear(core, flow, from, event),
            Message::Give { worker, seq, trigger } => worker::give(core, worker, seq, trigger),
            Message::Complaint { worker, message } => worker::complain(core, worker, &message),
            Message::ReplyResult { worker, reply_id, outcome } => {
                worker::reply_result(core, worker, &reply_id, &outcome);
            }
            Message::ModelChanged { deleted_flows } => {
                for &flow in &*deleted_flows {
                    flows::gone(core, flow);
                }
                if !deleted_flows.is_empty() {
                    worker::close_deleted(core);
                }
                core.round.borrow_mut().begin(core.pending.places());
            }
            Message::Recent { ask } => ask(&mut core.recent.borrow_mut(), core.now()),
            Message::Tls(config) => {
                core.tls.replace(Some(config));
            }
            Message::Drain => {
                if !core.draining.get() {
                    core.drain();
                    monoio::spawn(finish(Rc::clone(core)));
                }
            }
        }
        core.step(is_short)
    }
}

/// Brings changes of the model to some of the WebSockets; returns whether all of them have them.
fn refresh_sockets(core: &Core) -> bool {
    let Some(places) = core.round.borrow_mut().piece(ROUND_PLACES) else {
        return true;
    };
    for socket in core.pending.sockets_within(places) {
        socket.refresh(core);
    }
    core.round.borrow().is_over()
}

/// Serves a connection that was made inside the process.
fn adopt(core: &Rc<Core>, stream: std::os::unix::net::UnixStream, tap: Tap, nonblocking: bool) {
    let adopted = stream.set_nonblocking(nonblocking).and_then(|()| Plain::new(stream.into()));
    match adopted {
        Ok(stream) => {
            core.shared.connections.fetch_add(1, Ordering::Relaxed);
            let peer = Some(std::net::Ipv4Addr::LOCALHOST.into());
            connection::serve(core, Stream::Plain(stream), Door::Ingress, peer, Some(tap));
        }
        // The other end sees its connection close.
        Err(error) => bounded_log!(warn, %error, "a test request's connection cannot be watched"),
    }
}
