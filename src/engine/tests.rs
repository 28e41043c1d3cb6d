//! A connection on a core without its loop: moments that nobody outside can make come at will.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;

use super::chains::{ChainSource, Fetched};
use super::connection::{Connection, Door, Ongoing, WRITE_NANOS};
use super::core::{Core, Rules, Shared};
use super::exchange::Next;
use super::fd;
use super::lot;
use super::pending::{self, Seal, Waited};
use super::plain::Plain;
use super::runtime::{self, Loop};
use super::stream::Stream;
use crate::base::clock::Clock;
use crate::http;
use crate::ingress::respond::Answer;
use crate::metrics::{Metrics, Outcome};
use crate::model::{Application, Webhook};
use crate::registry::{Defaults, Registry};
use crate::reply::Reply;
use crate::settings::Settings;
use crate::store::{Affected, Store};
use crate::verify::alexa::ChainUrl;
use crate::verify::secret::Expected;

/// More than the buffers of a Unix socket hold.
const REPLY_BYTES: usize = 2_000_000;
/// What the caller takes at a time.
const PART_BYTES: usize = 64 * 1024;

/// Fetches nothing.
struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}
}

/// A core with one webhook that waits for replies, and a connection on it.
struct Scene {
    core: Rc<Core>,
    connection: Connection,
    caller: UnixStream,
    request: Vec<u8>,
}

impl Scene {
    /// Within a loop.
    fn new() -> Scene {
        let clock = Clock::new();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let millis = clock.now().unix_millis;
        let application = Application::create(&json!({"name": "a"}), millis).unwrap();
        let application = store.insert_application(application).unwrap().value;
        let fields = json!({"name": "w", "waitForReply": true, "limits": {"payloadBytes": REPLY_BYTES}});
        let webhook = Webhook::create(&fields, application.id, millis).unwrap();
        let webhook = store.insert_webhook(webhook).unwrap().value;
        let registry = Registry::new(Defaults::new(1, &Settings::defaults(1).limits));
        let affected = Affected { webhooks: vec![webhook.id], flows: Vec::new() };
        registry.refresh(&store, &affected, clock.now()).unwrap();
        let rules = Rules {
            cors: true,
            on_ring: true,
            public_url: String::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections: 10,
            body_bytes: 1_000_000,
            access_token: Expected::secret(b"0123456789abcdef"),
            context_takeover: false,
        };
        let core = Rc::new(
            Core::new(
                0,
                clock,
                Arc::new(rules),
                Arc::new(registry),
                Arc::clone(Metrics::new(1).core(0).unwrap()),
                Arc::new(Seal::new().unwrap()),
                Arc::new(Shared::default()),
                Vec::new(),
                Arc::new(NoChains),
            )
            .unwrap(),
        );
        let (served, caller) = UnixStream::pair().unwrap();
        for socket in [&served, &caller] {
            socket.set_nonblocking(true).unwrap();
        }
        let (key, watch) = core.add_connection(u64::MAX);
        let connection = Connection {
            core: Rc::clone(&core),
            stream: Stream::Plain(Plain::new(OwnedFd::from(served)).unwrap()),
            door: Door::Ingress,
            peer: None,
            tap: None,
            key,
            watch,
            http: http::Connection::new(http::Limits::default()),
            active: None,
            request: Ongoing::default(),
        };
        let shown = webhook.to_api();
        let target = format!("/webhooks/{}", shown["token"].as_str().unwrap());
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        Scene { core, connection, caller, request }
    }

    /// The caller has taken nothing for a while, and the core had nothing to do: what is written next waits from its
    /// first byte. When that was.
    fn idle(&self) -> u64 {
        while fd::send(&self.connection.stream, &[b'x'; 1024]).is_ok() {}
        while fd::send(&self.connection.stream, b"x").is_ok() {}
        self.core.age_batch();
        self.core.now().nanos
    }

    /// Asserts that what was made ready since `idle` is written with its whole time, and with the whole time again for
    /// each part.
    async fn written_in_its_time(mut self, idle: u64) {
        let (core, watch) = (Rc::clone(&self.core), Rc::clone(&self.connection.watch));
        let mut flushing = pin!(self.connection.flush());
        let mut poll = async || poll_fn(|context| Poll::Ready(flushing.as_mut().poll(context))).await;
        assert!(poll().await.is_pending(), "the buffers are full");
        let mut given = watch.deadline();
        assert!(given >= idle + WRITE_NANOS, "it has the time of what was last done on the core");
        let (mut parts, mut taken) = (0, vec![0; PART_BYTES]);
        loop {
            core.age_batch();
            let before = core.now().nanos;
            // What was there may be less, and what was not comes with the next part.
            let _ = self.caller.read(&mut taken);
            monoio::time::sleep(Duration::from_millis(1)).await;
            let done = poll().await;
            if watch.deadline() != given {
                given = watch.deadline();
                assert!(given >= before + WRITE_NANOS, "part {parts}: it has the time of another");
                parts += 1;
            }
            match done {
                Poll::Ready(done) => return assert!(done && parts > 0, "{parts} parts"),
                Poll::Pending => {}
            }
        }
    }
}

fn on_a_loop(test: impl AsyncFnOnce(Scene)) {
    runtime::block_on(Loop::Epoll, async { test(Scene::new()).await }).unwrap();
}

#[test]
fn a_reply_after_a_long_wait_has_its_time_from_when_it_is_written() {
    on_a_loop(async |mut scene| {
        let active = scene.connection.active.get_or_insert_with(|| scene.core.take_active());
        active.buffer.extend(&scene.request);
        let Next::Wait(waiting) = scene.connection.process() else { panic!("it waits for a reply") };
        let idle = scene.idle();
        let waited = Waited::Reply(reply(&vec![b'x'; REPLY_BYTES]));
        assert!(matches!(scene.connection.replied(*waiting, waited), Next::Read));
        scene.written_in_its_time(idle).await;
    });
}

/// Bytes of the caller's answer, as far as they have come.
async fn answered(caller: &mut UnixStream) -> String {
    let mut taken = vec![0; PART_BYTES];
    for _ in 0..1000 {
        if let Ok(bytes) = caller.read(&mut taken) {
            return String::from_utf8(taken[..bytes].to_vec()).unwrap();
        }
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no answer")
}

fn reply(body: &[u8]) -> Box<Reply> {
    let body = Some(body.to_vec().into());
    Box::new(Reply { body, ..Reply::default() })
}

/// A caller in the lot, whose reply and time-out come in one turn of the loop, in this order.
fn waits_in_the_lot(reply_first: bool) {
    on_a_loop(async move |scene| {
        let Scene { core, mut connection, mut caller, request } = scene;
        monoio::spawn(lot::keep(Rc::clone(&core), core.lot.ready().unwrap()));
        let active = connection.active.get_or_insert_with(|| core.take_active());
        active.buffer.extend(&request);
        let Next::Wait(waiting) = connection.process() else { panic!("it waits for a reply") };
        let (place, key) = (waiting.place, connection.key);
        assert!(connection.park_waiting(waiting).is_ok());
        assert_eq!(core.parked(), [key]);
        if reply_first {
            assert_eq!(core.pending.deliver(&core, place, reply(b"first")), pending::Outcome::Accepted);
            assert!(!core.pending.time_out(&core, place));
        } else {
            assert!(core.pending.time_out(&core, place));
        }
        assert_eq!(core.pending.deliver(&core, place, reply(b"late")), pending::Outcome::NotWaiting);
        let answer = answered(&mut caller).await;
        let expected = if reply_first { ("HTTP/1.1 200 ", "first") } else { ("HTTP/1.1 504 ", "reply\"}") };
        assert!(answer.starts_with(expected.0) && answer.ends_with(expected.1), "{answer}");
        assert_eq!((core.pending.remove(place).is_none(), core.parked()), (true, Vec::new()));
        // Nothing more comes, and the connection goes on.
        caller.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(answered(&mut caller).await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_reply_before_its_time_out_calls_its_caller_out_of_the_lot_once() {
    waits_in_the_lot(true);
}

#[test]
fn a_time_out_before_the_reply_calls_its_caller_out_of_the_lot_once() {
    waits_in_the_lot(false);
}

#[test]
fn a_wait_that_is_over_is_not_left_to_the_lot() {
    on_a_loop(async |mut scene| {
        let core = Rc::clone(&scene.core);
        let active = scene.connection.active.get_or_insert_with(|| core.take_active());
        active.buffer.extend(&scene.request);
        let Next::Wait(waiting) = scene.connection.process() else { panic!("it waits for a reply") };
        assert_eq!(core.pending.deliver(&core, waiting.place, reply(b"")), pending::Outcome::Accepted);
        assert!(scene.connection.park_waiting(waiting).is_err());
        assert_eq!(core.parked(), []);
    });
}

#[test]
fn a_refusal_on_an_idle_core_has_its_time_from_when_it_is_written() {
    on_a_loop(async |mut scene| {
        let idle = scene.idle();
        let text = "x".repeat(REPLY_BYTES);
        scene.connection.refuse(&Answer::Refused(Outcome::SlowRequest, 408, &text));
        scene.written_in_its_time(idle).await;
    });
}
