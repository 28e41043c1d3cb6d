//! The path of a request, and of a message, without sockets: from the bytes that are received to the bytes that are
//! sent, through the modules that the engine calls and in its order, with the counters that it adds to and a clock that
//! moves. The engine's own part is not here: the ring, the timers of connections, the records of requests.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::base::clock::Now;
use tidegate::base::request_id::RequestNumbers;
use tidegate::deliver::{self, Origin};
use tidegate::http::encode::DateField;
use tidegate::http::{self, Limits, Step};
use tidegate::ingress::request::{self, AtBody, AtHead, IngressContext, Waited};
use tidegate::ingress::respond::{self, Cors, Frame};
use tidegate::metrics::{CoreMetrics, Event as Counted, Metrics, Outcome};
use tidegate::registry::{Hook, Pin, Reads, Registry};
use tidegate::reply::{CallerKind, Rendered, Sheet};
use tidegate::trigger::{self, Draft, Hidden, HttpData, Parts, Peer, UpgradeData, WsEvent};
use tidegate::verify::jwt::KeySetCache;
use tidegate::websocket::frame::{Header, Opcode};
use tidegate::websocket::{self, Event, Role, Scratch, mask};

use super::Model;

thread_local! {
    /// The core's, which no webhook here asks.
    static KEY_SETS: KeySetCache = KeySetCache::default();
}

/// The engine's receive buffer, grown.
pub const BUFFER_BYTES: usize = 16 * 1024;
const REPLY_ID: &str = "0123456789abcdef01234567.0123456789abcdef0123456789abcdef";
const PUBLIC_URL: &str = "http://hooks.example.org";
const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
/// What a client masks its frames with.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A connection to a webhook.
pub struct Path {
    registry: Registry,
    now: Now,
    machine: http::Connection,
    buffer: ReceiveBuffer,
    date: DateField,
    draft: Vec<u8>,
    sheet: Sheet,
    metrics: Arc<CoreMetrics>,
    out: Vec<u8>,
}

/// Nanoseconds by which the clock moves with each call: some requests share a millisecond, and few a second.
const STEP_NANOS: u64 = 137_000;
/// Nanoseconds between a request and its answer, as the counter of latencies is told.
const LATENCY_NANOS: u64 = 41_000;

/// The clock of the next call.
fn step(now: Now) -> Now {
    let nanos = now.nanos + STEP_NANOS;
    let millis = nanos / NANOS_PER_MILLISECOND - now.nanos / NANOS_PER_MILLISECOND;
    Now { nanos, unix_millis: now.unix_millis + millis }
}

const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// The counters of a core.
fn metrics() -> Arc<CoreMetrics> {
    Arc::clone(Metrics::new(1).core(0).expect("there is one core"))
}

impl Path {
    pub fn new(model: &Model, now: Now) -> Path {
        Path {
            registry: model.registry(now),
            now,
            machine: http::Connection::new(Limits::default()),
            buffer: ReceiveBuffer::with_capacity(BUFFER_BYTES),
            date: DateField::new(),
            draft: Vec::new(),
            sheet: Sheet::default(),
            metrics: metrics(),
            out: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Serves whole requests that are received at once; returns the bytes that are sent.
    pub fn serve(&mut self, received: &[u8]) -> &[u8] {
        let Path { registry, now, machine, buffer, date, draft, sheet, metrics, out } = self;
        *now = step(*now);
        out.clear();
        metrics.received(received.len());
        buffer.extend(received);
        let pin = registry.pin();
        let mut taken = None;
        loop {
            match machine.poll(buffer) {
                Step::Head => match at_head(&pin, *now, machine, buffer, date, out) {
                    Ok((hook, limit)) => {
                        taken = Some(hook);
                        machine.take_body(limit);
                    }
                    Err((outcome, status, drop_limit)) => {
                        count(metrics, outcome, status);
                        machine.drop_body(drop_limit);
                    }
                },
                Step::Request => {
                    let hook = taken.take().expect("its head was taken");
                    let request = machine.request(buffer);
                    let at_body = request::at_body(*now, hook, &request, machine.body(buffer), PUBLIC_URL);
                    assert!(matches!(at_body, AtBody::Pass), "nothing is verified here");
                    let frame = frame(date, *now, machine.keep_alive());
                    if hook.flows.is_empty() {
                        let answer = request::default_answer(hook);
                        respond::answer(out, &answer, &frame);
                        count(metrics, answer.outcome(), answer.status());
                    } else {
                        metrics.event(Counted::Trigger);
                        reply(hook, *now, &request, machine.body(buffer), draft, sheet, &mut |reply| {
                            let limit = hook.payload_bytes as usize;
                            let reply = reply.to_http(hook.response_code, limit).expect("a small reply");
                            respond::reply(out, &reply, &frame);
                            metrics.event(Counted::ReplyAccepted);
                            count(metrics, Outcome::Ok, reply.status);
                        });
                    }
                    machine.finish(buffer);
                }
                Step::Dropped => {}
                Step::NeedData => {
                    metrics.sent(out.len());
                    return out;
                }
                other => panic!("the requests are whole and good, not {other:?}"),
            }
        }
    }
}

/// Counts a response.
fn count(metrics: &CoreMetrics, outcome: Outcome, status: u16) {
    metrics.count(outcome);
    metrics.status(status);
    metrics.latency(LATENCY_NANOS);
}

/// Decides a head: the webhook that takes the body, and how much of it.
///
/// # Errors
/// The outcome and the status of the answer, which is written, and how much of the body is dropped.
fn at_head<'g>(
    pin: &'g Pin<'_>,
    now: Now,
    machine: &http::Connection,
    buffer: &ReceiveBuffer,
    date: &mut DateField,
    out: &mut Vec<u8>,
) -> Result<(&'g Arc<Hook>, usize), (Outcome, u16, u64)> {
    let at_head = KEY_SETS.with(|key_sets| {
        let door = IngressContext {
            core: 0,
            now,
            peer: None,
            trusted_proxies: &[],
            key_sets,
            waited: Waited::Nothing,
            is_replay: false,
        };
        request::at_head(door, pin, &machine.request(buffer))
    });
    match at_head {
        AtHead::Take { hook, limit } => Ok((hook, limit)),
        AtHead::Answer(answer, hook) => {
            respond::answer(out, &answer, &frame(date, now, machine.keep_alive()));
            Err((answer.outcome(), answer.status(), request::drop_limit(hook.map(|hook| &**hook))))
        }
        other => panic!("the webhook takes requests, not {other:?}"),
    }
}

thread_local! {
    static NUMBERS: Cell<RequestNumbers> = Cell::new(RequestNumbers::starting_at(1));
}

fn frame(date: &mut DateField, now: Now, keep_alive: bool) -> Frame<'_> {
    let mut numbers = NUMBERS.get();
    let number = numbers.next_number();
    let id = Some(numbers.id(number));
    NUMBERS.set(numbers);
    let date = date.line(now.unix_millis);
    Frame { date, keep_alive, http10: false, head_only: false, cors: Cors::Any, id }
}

/// Has the webhook's flow reply.
fn reply(
    hook: &Hook,
    now: Now,
    request: &http::Request<'_>,
    body: &[u8],
    draft: &mut Vec<u8>,
    sheet: &mut Sheet,
    send: &mut dyn FnMut(Rendered<'_>),
) {
    let data = HttpData {
        method: request.method_bytes(),
        path: request::split_path(request.path()).map_or(&b"/"[..], |(_, more)| more),
        query: request.query(),
        fields: request.fields(),
        body,
        peer: PEER,
        peer_is_trusted: false,
        hidden: hook.hidden(),
        raw_body: hook.has_raw_body(),
        claims: None,
        cast: hook.cast,
        annotate_multipart: hook.annotate_multipart,
        payload_limit: hook.payload_bytes as usize,
        reply_id: Some(REPLY_ID),
    };
    let event = trigger::http_draft(draft, now, &data, parts(hook)).expect("no coding is to be undone");
    run(hook, &event, sheet, send);
}

fn parts(hook: &Hook) -> Parts {
    let Reads::Templates(parts) = hook.reads else { panic!("there is no worker") };
    parts
}

fn run(hook: &Hook, event: &Draft<'_>, sheet: &mut Sheet, send: &mut dyn FnMut(Rendered<'_>)) {
    let origin = Origin { caller: CallerKind::of(hook.is_websocket), has_reply_id: true };
    for plan in &hook.flows {
        let payload = event.payload(&plan.tail);
        deliver::reply_at_once(plan, &payload, origin, sheet, &mut |_, reply| {
            send(reply.expect("a node that fits"));
        });
    }
}

/// A WebSocket of a webhook.
pub struct SocketPath {
    now: Now,
    hook: Arc<Hook>,
    data: UpgradeData,
    machine: websocket::Connection,
    buffer: ReceiveBuffer,
    scratch: Scratch,
    draft: Vec<u8>,
    sheet: Sheet,
    metrics: Arc<CoreMetrics>,
    out: Vec<u8>,
}

impl SocketPath {
    pub fn new(model: &Model, now: Now) -> SocketPath {
        let registry = model.registry(now);
        let hook = registry.by_id(model.webhooks[0].id).expect("it was loaded");
        let fields = [(&b"host"[..], &b"hooks.example.org"[..]), (b"user-agent", b"device/2.1")];
        let fields = fields.into_iter();
        SocketPath {
            now,
            machine: websocket::Connection::new(Role::Server, None, hook.payload_bytes as usize),
            hook,
            data: UpgradeData::new(
                b"/readings",
                Some(b"floor=1"),
                fields,
                PEER,
                false,
                Hidden::default(),
                None,
            ),
            buffer: ReceiveBuffer::with_capacity(BUFFER_BYTES),
            scratch: Scratch::default(),
            draft: Vec::new(),
            sheet: Sheet::default(),
            metrics: metrics(),
            out: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Takes whole frames that are received at once; returns the bytes that are sent.
    pub fn on_frames(&mut self, received: &[u8]) -> &[u8] {
        let SocketPath { now, hook, data, machine, buffer, scratch, draft, sheet, metrics, out } = self;
        *now = step(*now);
        out.clear();
        metrics.received(received.len());
        buffer.extend(received);
        loop {
            match machine.poll(buffer, out, scratch) {
                Event::NeedData => {
                    metrics.sent(out.len());
                    return out;
                }
                Event::Message { text } => {
                    metrics.event(Counted::MessageReceived);
                    let rate = hook.rate.as_ref().expect("the webhook has a rate");
                    assert!(rate.take(0, *now).is_ok(), "a rate that is never reached");
                    let event = WsEvent::Message { text, data: machine.message_in(buffer) };
                    let event = trigger::websocket_draft(draft, *now, data, event, REPLY_ID, parts(hook));
                    metrics.event(Counted::Trigger);
                    run(hook, &event, sheet, &mut |reply| {
                        metrics.event(Counted::MessageSent);
                        let body = reply.body().unwrap_or_default();
                        assert!(machine.send(out, scratch, !reply.is_binary(), body), "it is open");
                    });
                    machine.done(buffer);
                }
                other => panic!("the frames are whole and good, not {other:?}"),
            }
        }
    }
}

/// A client's text frame.
pub fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut payload = text.to_vec();
    mask::apply(&mut payload, KEY);
    let mut frame = Vec::new();
    Header { fin: true, compressed: false, opcode: Opcode::Text, key: Some(KEY), length: text.len() as u64 }
        .write(&mut frame);
    frame.extend_from_slice(&payload);
    frame
}
