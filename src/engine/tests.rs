//! A core over a kernel in memory: moments that nobody outside can produce are produced at will, and time is a number.

mod workers;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::core::Core;
use super::mailbox::{self, MailboxSender};
use super::message::Message;
use super::turn::Turns;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::random::Random;
use crate::base::slots::Key;
use crate::connection::context::{CoreParts, CoreState, Rules, SharedCounts};
use crate::connection::message::{CoreMessage, OwnMailbox, OwnSender, Peers, ReplyOutcome, ReplySender};
use crate::connection::seal::Seal;
use crate::connection::timeouts::{Timeout, Timeouts};
use crate::connection::tls::CoreTls;
use crate::connection::upgrade::ListenerKind;
use crate::connection::{ChainSource, Fetched, KeysFetched, Services};
use crate::io::{
    BufferLease, CloseHow, Completion, Counters, End, FileId, Io, ListenerId, Operation, ReturnedBuffers,
    SocketId, Wake, Waker,
};
use crate::metrics::Metrics;
use crate::model::{Application, Flow, Webhook};
use crate::registry::{Defaults, Registry};
use crate::reply::Reply;
use crate::settings::Settings;
use crate::store::{Affected, Store};
use crate::verify::access::AccessTokens;
use crate::verify::alexa::ChainUrl;

/// A kernel that does nothing by itself: a test says what completes.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Wires>>);

#[derive(Default)]
struct Wires {
    listeners: u32,
    started: Vec<Operation>,
    completions: VecDeque<Completion>,
    returned: Rc<ReturnedBuffers>,
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

impl Io for Memory {
    type Listener = ();
    type Stream = ();
    type File = ();

    fn add_listener(&mut self, (): ()) -> io::Result<ListenerId> {
        let mut wires = self.0.borrow_mut();
        wires.listeners += 1;
        Ok(ListenerId(wires.listeners - 1))
    }

    fn adopt(&mut self, (): ()) -> io::Result<SocketId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn add_file(&mut self, (): ()) -> FileId {
        FileId { index: 0, generation: 0 }
    }

    fn waker(&self) -> Waker {
        Arc::new(NoWake)
    }

    fn start(&mut self, operation: Operation) {
        self.0.borrow_mut().started.push(operation);
    }

    fn wait(&mut self, _: u64, _: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        completions.extend(self.0.borrow_mut().completions.drain(..));
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}

    fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: KeysFetched) {}
}

/// The only core there is.
struct Alone;

impl Peers for Alone {
    fn count(&self) -> usize {
        1
    }

    fn send(&self, _: usize, message: CoreMessage) -> Result<(), CoreMessage> {
        Err(message)
    }

    fn own_sender(&self) -> OwnSender {
        Box::new(|_| false)
    }

    fn own_mailbox(&self) -> OwnMailbox {
        Arc::new(Err)
    }
}

/// A core with a webhook that waits for replies, and one connection.
struct Scene {
    core: Core<Memory>,
    turns: Turns,
    io: Memory,
    mailbox: MailboxSender<Message<()>>,
    time: Rc<RefCell<u64>>,
    request: Vec<u8>,
    counts: Arc<SharedCounts>,
    /// The flow of the webhook, if it has one.
    flow: Option<Id>,
    /// Readings of the clock.
    readings: Rc<Cell<u32>>,
}

const ACCESS_TOKEN: &str = "0123456789abcdef";
const INGRESS: ListenerId = ListenerId(0);
const WORKERS: ListenerId = ListenerId(1);
const SOCKET: SocketId = SocketId { index: 0, generation: 0 };

/// The default timeouts.
fn timeouts() -> Timeouts {
    Timeouts::from(&Settings::defaults(1).timeouts)
}

impl Scene {
    fn new() -> Scene {
        Scene::with_flow(None)
    }

    /// With a flow of these nodes, if any.
    fn with_flow(nodes: Option<Value>) -> Scene {
        let time = Rc::new(RefCell::new(NANOS_PER_SECOND));
        let millis = 1_771_521_960_000;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let application = Application::create(&json!({"name": "a"}), millis).unwrap();
        let application = store.insert_application(application).unwrap().value;
        let limits = json!({"payloadBytes": 2_000_000, "requestsPerWindow": 0});
        let fields = json!({"name": "w", "waitForReply": nodes.is_none(), "limits": limits});
        let webhook = Webhook::create(&fields, application.id, millis).unwrap();
        let webhook = store.insert_webhook(webhook).unwrap().value;
        let flow = nodes.map(|nodes| {
            let triggers = json!([{"type": "webhook", "key": webhook.id.to_string()}]);
            let fields = json!({"name": "f", "triggers": triggers, "nodes": nodes});
            store.insert_flow(Flow::create(&fields, application.id, millis).unwrap()).unwrap().value.id
        });
        let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
        let flows = flow.into_iter().collect();
        let affected = Affected { webhooks: vec![webhook.id], flows, ..Affected::default() };
        let now = Now { nanos: NANOS_PER_SECOND, unix_millis: millis };
        registry.refresh(&store, &affected, now).unwrap();
        let rules = Rules {
            has_request_ids: true,
            cors: true,
            public_url: String::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections: 10,
            body_bytes: 1_000_000,
            access_tokens: Arc::new(AccessTokens::only(ACCESS_TOKEN)),
            timeouts: timeouts(),
            context_takeover: false,
            retention_nanos: 86_400 * NANOS_PER_SECOND,
            record_events: 100,
        };
        let counts = Arc::new(SharedCounts::default());
        let (clock, readings) = (Rc::clone(&time), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&readings);
        let state = CoreState::new(CoreParts {
            index: 0,
            clock: Box::new(move || {
                counted.set(counted.get() + 1);
                let nanos = *clock.borrow();
                Now { nanos, unix_millis: millis + nanos / 1_000_000 }
            }),
            rules: Arc::new(rules),
            registry: Arc::new(registry),
            metrics: Arc::clone(Metrics::new(1).core(0).unwrap()),
            seal: Arc::new(Seal::new(None).unwrap()),
            counts: Arc::clone(&counts),
            peers: Box::new(Alone),
            services: Services::with_chains(Arc::new(NoChains)),
            random: Random::new(1),
            tls: CoreTls::default(),
            journal: None,
        });
        let io = Memory::default();
        let (mailbox, receiver) = mailbox::mailbox(8);
        let listeners = vec![((), ListenerKind::Ingress), ((), ListenerKind::Workers)];
        let core = Core::new(io.clone(), state, receiver, listeners, None).unwrap();
        let token = webhook.to_api()["token"].as_str().unwrap().to_owned();
        let request = format!("GET /webhooks/{token} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let mut scene =
            Scene { core, turns: Turns::default(), io, mailbox, time, request, counts, flow, readings };
        scene.complete(Completion::Accepted { listener: INGRESS, socket: SOCKET, peer: None });
        scene
    }

    /// Runs a turn with one completion; returns what was started.
    fn complete(&mut self, completion: Completion) -> Vec<Operation> {
        self.io.0.borrow_mut().completions.push_back(completion);
        self.turn()
    }

    fn turn(&mut self) -> Vec<Operation> {
        let registry = Arc::clone(&self.core.state.registry);
        self.turns.run_one(&mut self.core, &registry).unwrap();
        std::mem::take(&mut self.io.0.borrow_mut().started)
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Operation> {
        self.receive_on(SOCKET, bytes)
    }

    fn receive_on(&mut self, socket: SocketId, bytes: &[u8]) -> Vec<Operation> {
        let home = Rc::clone(&self.io.0.borrow().returned);
        let lease = BufferLease::new(0, bytes.to_vec(), &home);
        self.complete(Completion::Received { socket, lease })
    }

    /// Lets time pass; returns what was started by it.
    fn pass(&mut self, nanos: u64) -> Vec<Operation> {
        *self.time.borrow_mut() += nanos + crate::base::wheel::TICK_NANOS;
        self.turn()
    }

    /// The kernel has sent all of it.
    fn sent(&mut self, operations: Vec<Operation>) -> (String, Vec<Operation>) {
        let bytes = operations.into_iter().find_map(|operation| match operation {
            Operation::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        let bytes = bytes.expect("something is sent");
        let text = String::from_utf8(bytes.clone()).unwrap();
        (text, self.complete(Completion::Sent { socket: SOCKET, bytes }))
    }

    fn reply(&mut self, body: &'static str) -> Vec<Operation> {
        let key = Key { index: 0, generation: 0 };
        let reply = Box::new(Reply { body: Some(body.into()), ..Reply::default() });
        let message = Message::Core(CoreMessage::Reply { key, reply, sender: ReplySender::Node });
        assert!(self.mailbox.send(message).is_ok());
        self.complete(Completion::Woken)
    }
}

/// Names of operations, for comparison.
fn names(operations: &[Operation]) -> Vec<&'static str> {
    let name = |operation: &Operation| match operation {
        Operation::Accept { .. } => "accept",
        Operation::StopAccepting { .. } => "stop accepting",
        Operation::Receive { .. } => "receive",
        Operation::Rest { .. } => "rest",
        Operation::StopReceiving { .. } => "stop receiving",
        Operation::Send { .. } => "send",
        Operation::ShutdownWrite { .. } => "shut down",
        Operation::Close { how: CloseHow::Graceful, .. } => "close",
        Operation::Close { how: CloseHow::Reset, .. } => "reset",
        Operation::Write(_) => "write",
        Operation::Read(_) => "read",
        Operation::CloseFile { .. } => "close file",
    };
    operations.iter().map(name).collect()
}

#[test]
fn a_request_is_answered_in_the_turn_that_it_arrives_in() {
    let mut scene = Scene::new();
    let started = scene.receive(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(names(&started), ["send"]);
    let (answer, started) = scene.sent(started);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(names(&started), [""; 0]);
}

#[test]
fn a_request_in_two_pieces_is_answered_once() {
    let mut scene = Scene::new();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..request.len() {
        assert_eq!(names(&scene.receive(&request[..cut])), [""; 0]);
        let started = scene.receive(&request[cut..]);
        let (answer, _) = scene.sent(started);
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{cut}: {answer}");
    }
}

#[test]
fn a_connection_that_is_quiet_rests_and_then_is_closed() {
    let mut scene = Scene::new();
    let started = scene.receive(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    scene.sent(started);
    assert_eq!(names(&scene.pass(Timeout::Quiet.nanos())), ["rest"]);
    let started = scene.receive(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(names(&started), ["send"], "its kernel has armed it again");
    scene.sent(started);
    assert_eq!(names(&scene.pass(Timeout::Quiet.nanos())), ["rest"]);
    assert_eq!(names(&scene.pass(timeouts().idle.nanos())), ["close"]);
    assert_eq!(scene.counts.connections.load(Ordering::Relaxed), 1);
    scene.complete(Completion::Closed { socket: SOCKET });
    assert_eq!(scene.counts.connections.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reply_answers_its_caller_once_whether_it_waits_for_a_moment_or_for_long() {
    for waited in [0, 2 * NANOS_PER_SECOND, 30 * NANOS_PER_SECOND] {
        let mut scene = Scene::new();
        let request = scene.request.clone();
        assert_eq!(names(&scene.receive(&request)), [""; 0]);
        scene.pass(waited);
        let started = scene.reply("first");
        assert_eq!(names(&scene.reply("late")), [""; 0]);
        let (answer, _) = scene.sent(started);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("first"), "{answer}");
        assert_eq!(scene.core.state.pending.len(), 0);
        let started = scene.receive(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(scene.sent(started).0.starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_request_behind_one_that_waits_is_answered_behind_it() {
    for waited in [0, 5 * NANOS_PER_SECOND] {
        let mut scene = Scene::new();
        let both = [scene.request.as_slice(), b"GET /healthz HTTP/1.1\r\nHost: a\r\n"].concat();
        assert_eq!(names(&scene.receive(&both)), [""; 0]);
        scene.pass(waited);
        assert_eq!(names(&scene.receive(b"\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")), [""; 0]);
        let started = scene.reply("first");
        let (answers, _) = scene.sent(started);
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "404"], "{answers}");
    }
}

#[test]
fn a_caller_without_a_reply_is_told_so_after_its_time() {
    let mut scene = Scene::new();
    let request = scene.request.clone();
    scene.receive(&request);
    assert_eq!(names(&scene.pass(2 * NANOS_PER_SECOND)), ["rest"]);
    let started = scene.pass(60 * NANOS_PER_SECOND);
    assert_eq!(names(&scene.reply("late")), [""; 0]);
    assert!(scene.sent(started).0.starts_with("HTTP/1.1 504 "));
}

#[test]
fn a_caller_that_goes_away_gives_its_slot_back_at_once() {
    for waited in [0, 2 * NANOS_PER_SECOND] {
        let mut scene = Scene::new();
        let request = scene.request.clone();
        scene.receive(&request);
        scene.pass(waited);
        assert_eq!(scene.core.state.pending.len(), 1);
        let started = scene.complete(Completion::Ended { socket: SOCKET, end: End::HalfClosed });
        assert_eq!((names(&started), scene.core.state.pending.len()), (vec!["close"], 0));
    }
}

#[test]
fn a_response_that_is_not_taken_resets_its_peer_and_progress_gives_it_the_whole_time_again() {
    let mut scene = Scene::new();
    scene.receive(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    // The kernel takes none of it for now.
    scene.complete(Completion::SendProgressed { socket: SOCKET });
    let write = timeouts().write.nanos();
    assert_eq!(names(&scene.pass(write - NANOS_PER_SECOND)), [""; 0]);
    scene.complete(Completion::SendProgressed { socket: SOCKET });
    assert_eq!(names(&scene.pass(write - NANOS_PER_SECOND)), [""; 0]);
    assert_eq!(names(&scene.pass(NANOS_PER_SECOND)), ["reset"]);
}

#[test]
fn a_slow_head_is_refused_and_the_refusal_lingers() {
    let mut scene = Scene::new();
    scene.receive(b"GET /healthz HTTP/1.1\r\nHo");
    assert_eq!(names(&scene.pass(timeouts().head.nanos() - NANOS_PER_SECOND)), [""; 0]);
    let started = scene.pass(NANOS_PER_SECOND);
    let (answer, started) = scene.sent(started);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(names(&started), ["shut down"]);
    assert_eq!(names(&scene.receive(b"st: a\r\n\r\nGET / HTTP/1.1\r\n\r\n")), [""; 0]);
    assert_eq!(names(&scene.pass(Timeout::LingerQuiet.nanos())), ["close"]);
}

#[test]
fn what_is_received_behind_a_request_that_waits_is_bounded() {
    let mut scene = Scene::new();
    let request = scene.request.clone();
    scene.receive(&request);
    let started = scene.receive(&[b'x'; 16 * 1024]);
    assert_eq!(names(&started), ["stop receiving"]);
    let started = scene.reply("first");
    let (answers, _) = scene.sent(started);
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.contains("HTTP/1.1 4"), "{answers}");
}

#[test]
fn a_drained_core_serves_what_it_has_and_ends() {
    let mut scene = Scene::new();
    let request = scene.request.clone();
    scene.receive(&request);
    assert!(scene.mailbox.send(Message::Drain).is_ok());
    assert_eq!(names(&scene.complete(Completion::Woken)), ["stop accepting"; 2]);
    let started = scene.reply("first");
    let (answer, started) = scene.sent(started);
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(names(&started), ["close"]);
    scene.complete(Completion::Closed { socket: SOCKET });
    for _ in 0..10 {
        scene.pass(super::drain::CHECK_NANOS);
    }
    assert!(scene.core.is_finished);
}

#[test]
fn a_reply_that_nobody_waits_for_is_refused() {
    let mut scene = Scene::new();
    let (told, outcome) = std::sync::mpsc::channel();
    let reply = Box::new(Reply::default());
    let key = Key { index: 7, generation: 0 };
    let callback = Box::new(move |outcome| told.send(outcome).unwrap());
    let message = CoreMessage::Reply { key, reply, sender: ReplySender::Callback(callback) };
    assert!(scene.mailbox.send(Message::Core(message)).is_ok());
    scene.complete(Completion::Woken);
    assert_eq!(outcome.recv().unwrap(), ReplyOutcome::NotWaiting);
}
