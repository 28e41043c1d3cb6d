//! The task of a webhook's WebSocket (section 6): its messages become triggers, replies become messages.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::accept;
use super::closing;
use super::core::{Active, Core};
use super::line::{self, Ended, Line, Speaker, Unsent};
use super::lot::Parked;
use super::pending::{Outcome, Pending};
use super::recent::Note;
use super::spread::{Audience, demand, reply_at_once, run_flows};
use super::stream::Stream;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::workers::Affinity;
use crate::ingress::session::{Refreshed, Session};
use crate::ingress::socket::{CODE_BROKEN, Closing};
use crate::metrics::{ConnectionKind, Event as Counted};
use crate::reply::{self, Rendered, Reply};
use crate::trigger::{Event, UpgradeData, WsEvent, websocket_draft};
use crate::websocket::{Connection as Machine, DeflateParameters, Role};

/// An upgrade that was accepted.
pub(super) struct Upgraded {
    pub(super) session: Session,
    pub(super) deflate: Option<DeflateParameters>,
    pub(super) data: UpgradeData,
}

/// A WebSocket as its core knows it.
pub(super) struct Socket {
    line: Line,
    session: RefCell<Session>,
    data: UpgradeData,
    /// Made when somebody asks for it, and again after a quiet time: it follows from the place.
    reply_id: Cell<Option<Arc<str>>>,
    place: Cell<Option<Key>>,
}

// With the counts of its `Rc` it fills a size of the allocator's (320 bytes): every WebSocket keeps one while it is quiet.
const _: () = assert!(size_of::<Socket>() + 2 * size_of::<usize>() <= 320);

/// What the client's messages do.
struct Conversation<'c> {
    core: &'c Rc<Core>,
    socket: &'c Rc<Socket>,
}

/// What a message that was taken is shown with among the last requests.
const TAKEN: u16 = 200;

/// What is left of a WebSocket while nothing happens on it.
pub(super) struct Quiet {
    pub(super) stream: Stream,
    socket: Rc<Socket>,
}

/// Takes the WebSocket off its core and says goodbye to its flows, once, however its task ends.
struct Leave<'c> {
    core: &'c Rc<Core>,
    socket: &'c Rc<Socket>,
    ended: Option<Ended>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let (core, socket) = (self.core, self.socket);
        core.begin_batch();
        if let Some(place) = socket.place.get() {
            core.pending.remove(place);
        }
        // The flows of now get the disconnect, whatever the session was closed for.
        let _ = socket.session.borrow_mut().refresh(&core.registry);
        socket.session.borrow_mut().end();
        core.metrics.connection_closed(ConnectionKind::WebSocket);
        let ended = self.ended.take().unwrap_or(Ended { code: CODE_BROKEN, reason: "".into() });
        let event = WsEvent::Disconnect { status_code: ended.code, reason: &ended.reason };
        socket.trigger(core, event, true);
        let reason = Some(&*ended.reason).filter(|reason| !reason.is_empty());
        socket.note(core, b"CLOSE", ended.code, 0, reason);
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
        self.core.shared.sockets.fetch_sub(1, Ordering::Relaxed);
        self.core.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a WebSocket to its end. The caller has counted it in `core.shared.connections`.
pub(super) fn serve(
    core: Rc<Core>,
    stream: Stream,
    active: Option<Box<Active>>,
    upgraded: Upgraded,
) -> impl Future<Output = ()> {
    let Upgraded { session, deflate, data } = upgraded;
    let payload_limit = session.hook().payload_bytes as usize;
    let machine = Machine::new(Role::Server, deflate, payload_limit);
    let socket = Rc::new(Socket {
        line: Line::new(&core, machine, payload_limit),
        session: RefCell::new(session),
        data,
        reply_id: Cell::default(),
        place: Cell::new(None),
    });
    core.shared.sockets.fetch_add(1, Ordering::Relaxed);
    core.metrics.connection_opened(ConnectionKind::WebSocket);
    let place = core.pending.insert(Pending::Socket(Rc::clone(&socket)));
    socket.place.set(Some(place));
    converse(core, stream, active, socket, true)
}

/// Goes on with one that was parked.
pub(super) fn resume(core: &Rc<Core>, quiet: Quiet) {
    let Quiet { stream, socket } = quiet;
    accept::spawn(core, converse(Rc::clone(core), stream, None, socket, false));
}

/// Ends one that is parked: the core ends.
pub(super) fn end(core: &Rc<Core>, quiet: &Quiet) {
    let socket = &quiet.socket;
    let _connected = Connected { core, key: socket.line.key() };
    drop(Leave { core, socket, ended: None });
}

/// The task of a WebSocket, from its upgrade or from when something is to be done, until it is quiet again or ends.
async fn converse(
    core: Rc<Core>,
    mut stream: Stream,
    mut active: Option<Box<Active>>,
    socket: Rc<Socket>,
    begins: bool,
) {
    let connected = Connected { core: &core, key: socket.line.key() };
    let mut leave = Leave { core: &core, socket: &socket, ended: None };
    if begins {
        core.begin_batch();
        // The webhook may have changed between its head and now.
        socket.refresh(&core);
        if core.draining.get() {
            socket.line.close_for(&core, Closing::Restart);
        }
        if !socket.trigger(&core, WsEvent::Connect, false) {
            socket.line.close_for(&core, Closing::Busy);
        }
    } else {
        socket.line.unparked(&core);
    }
    let mut conversation = Conversation { core: &core, socket: &socket };
    let ended = loop {
        match line::run(&core, &mut stream, &socket.line, active.take(), &mut conversation).await {
            Some(ended) => break ended,
            None => {
                socket.reply_id.take();
                let quiet = Quiet { stream, socket: Rc::clone(&socket) };
                match socket.line.park(&core, Parked::Socket(quiet)) {
                    Err(Parked::Socket(quiet)) => stream = quiet.stream,
                    // The guards go on with whoever takes it up again.
                    Ok(()) | Err(_) => {
                        std::mem::forget((leave, connected));
                        return;
                    }
                }
            }
        }
    };
    leave.ended = Some(ended);
    drop(leave);
    Box::pin(closing::see_off(&core, &stream, &socket.line)).await;
}

impl Speaker for Conversation<'_> {
    const PARKS: bool = true;

    fn attend(&mut self) {
        self.socket.refresh(self.core);
    }

    fn hear(&mut self, text: bool, data: &[u8]) {
        let (core, socket) = (self.core, self.socket);
        core.metrics.event(Counted::MessageReceived);
        if socket.is_over_rate(core) {
            core.metrics.event(Counted::MessageThrottled);
            socket.refuse(core, data.len(), Closing::OverRate);
        } else if socket.trigger(core, WsEvent::Message { text, data }, false) {
            socket.note(core, b"MESSAGE", TAKEN, data.len(), None);
        } else {
            socket.refuse(core, data.len(), Closing::Busy);
        }
    }
}

impl Socket {
    /// Whose it is.
    pub(super) fn webhook(&self) -> Id {
        self.session.borrow().hook().webhook_id
    }

    /// Shows a message or the end among the webhook's last requests.
    fn note(&self, core: &Core, method: &[u8], status: u16, bytes: usize, refusal: Option<&str>) {
        core.recent.borrow_mut().note(Note {
            webhook: self.webhook(),
            now: core.now_of_batch(),
            duration_nanos: Some(0),
            method,
            path: self.data.path(),
            query: None,
            status,
            bytes: bytes as u64,
            refusal,
            payload: core.shown.take(),
        });
    }

    /// Closes it for a message.
    fn refuse(&self, core: &Core, bytes: usize, closing: Closing) {
        self.note(core, b"MESSAGE", closing.code(), bytes, Some(closing.reason()));
        self.line.close_for(core, closing);
    }

    /// The one `replyId` of the connection; it stays the same when its place has been given up.
    fn reply_id(&self, core: &Core) -> Arc<str> {
        let make = || self.place.get().map(|place| core.reply_id(place, self.webhook())).unwrap_or_default();
        let id = self.reply_id.take().unwrap_or_else(|| make().into());
        self.reply_id.set(Some(Arc::clone(&id)));
        id
    }

    /// Whether one more message is over the webhook's rate.
    fn is_over_rate(&self, core: &Core) -> bool {
        let session = self.session.borrow();
        let Some(rate) = &session.hook().rate else { return false };
        let taken = rate.take(core.index, core.call_time());
        core.was_short();
        taken.is_err()
    }

    /// Writes an event of the present batch and hands it to the flows. False: it cannot be taken.
    fn trigger(&self, core: &Rc<Core>, event: WsEvent<'_>, last: bool) -> bool {
        let demand = {
            let session = self.session.borrow();
            if session.hook().flows.is_empty() {
                return true;
            }
            demand(core, session.hook(), None)
        };
        core.worked();
        let mut draft = core.draft.take();
        let written = {
            let asked = demand.is_kept || demand.parts.has_reply_id();
            let reply_id = asked.then(|| self.reply_id(core));
            let reply_id = reply_id.as_deref().unwrap_or_default();
            websocket_draft(&mut draft, core.now_of_batch(), &self.data, event, reply_id, demand.parts)
        };
        if demand.is_kept {
            let event = written.keep();
            core.give_draft(draft);
            return self.run_flows(core, event, last);
        }
        let send = &mut |reply: &Rendered<'_>| match reply.body() {
            // The end of a connection that broke finds it open.
            Some(body) if !last => self.say(core, !reply.is_binary(), body),
            _ => Outcome::NotWaiting,
        };
        reply_at_once(core, self.session.borrow().hook(), &written, true, send);
        core.give_draft(draft);
        true
    }

    fn run_flows(&self, core: &Rc<Core>, event: Event, last: bool) -> bool {
        let hook = Arc::clone(self.session.borrow().hook());
        let reply_id = self.reply_id(core);
        let affinity = self
            .place
            .get()
            .map(|place| Affinity { key: (u16::try_from(core.index).unwrap_or(u16::MAX), place), last });
        let audience = Audience {
            tap: None,
            affinity,
            reply_id: Some(&reply_id),
            place: self.place.get(),
            expires_nanos: None,
            must: last,
        };
        run_flows(core, &hook, event, &audience).is_ok()
    }

    /// Takes over what has changed in the model; closes the connection if it may not stay.
    pub(super) fn refresh(&self, core: &Core) {
        // A message whose flows reply to their own connection: the session was refreshed before it.
        let Ok(mut session) = self.session.try_borrow_mut() else { return };
        let refreshed = session.refresh(&core.registry);
        let payload_limit = session.hook().payload_bytes as usize;
        drop(session);
        match refreshed {
            Refreshed::Unchanged => {}
            Refreshed::Changed => self.line.set_payload_limit(payload_limit),
            Refreshed::Ended(closing) => self.line.close_for(core, closing),
        }
    }

    /// Closes it: the process stops.
    pub(super) fn restart(&self, core: &Core) {
        self.line.close_for(core, Closing::Restart);
    }

    /// Takes a reply's message, its close, or both.
    pub(super) fn deliver(&self, core: &Core, reply: &Reply) -> Outcome {
        // The reply may be sent by one who knows of a change that the round has not brought here yet.
        self.refresh(core);
        if !self.line.is_open() {
            return Outcome::NotWaiting;
        }
        if let Some(body) = &reply.body {
            match self.say(core, !reply.is_binary, body) {
                Outcome::Accepted => {}
                unsent => return unsent,
            }
        }
        if let Some(close) = &reply.close {
            self.line.close(core, close.code, &close.reason);
        }
        Outcome::Accepted
    }

    /// Puts a message on the line.
    fn say(&self, core: &Core, text: bool, message: &[u8]) -> Outcome {
        if let Err(error) = reply::check_size(Some(message), self.line.payload_limit()) {
            // Where nobody is there any more it does not matter how long it is.
            return if self.line.is_open() {
                Outcome::Refused(error.to_string())
            } else {
                Outcome::NotWaiting
            };
        }
        match self.line.send(core, text, message) {
            Ok(()) => {
                core.metrics.event(Counted::MessageSent);
                Outcome::Accepted
            }
            Err(Unsent::Closed) => Outcome::NotWaiting,
            Err(Unsent::TooSlow) => Outcome::Refused(Closing::TooSlow.reason().into()),
        }
    }
}
