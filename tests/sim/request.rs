//! What a core does with a connection: reads requests, decides, waits, answers.

use std::sync::Arc;

use tidegate::base::clock::NANOS_PER_SECOND;
use tidegate::base::slots::Key;
use tidegate::deliver::workers::WorkerTrigger;
use tidegate::deliver::{self, Delivery, Effect, Origin};
use tidegate::http::Step;
use tidegate::ingress::request::{self, AtBody, AtHead, Door, Waited};
use tidegate::ingress::respond::{self, Answer, Cors, Frame};
use tidegate::registry::{Action, Hook};
use tidegate::reply::{CallerKind, Reply, Sheet, to_http};
use tidegate::trigger::{Hidden, HttpData, Payload, Peer, http_event};
use tidegate::verify::jwt::KeySetCache;

use super::observer::Fate;
use super::world::{Mail, Timer, Waiting, World, at};

const FRAME: Frame<'_> = Frame {
    date: b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
    keep_alive: true,
    http10: false,
    head_only: false,
    cors: Cors::Any,
};

impl World {
    /// Reads all that can be read of a connection.
    pub fn read(&mut self, connection: usize) {
        loop {
            let from = &mut self.connections[connection];
            match from.machine.poll(&mut from.buffer) {
                Step::NeedData | Step::Paused => return,
                Step::Head => self.head(connection),
                Step::Request => {
                    self.request(connection);
                    if self.connections[connection].waits.is_some() {
                        return;
                    }
                }
                Step::Dropped => {}
                other => panic!("clients send nothing that makes {other:?}"),
            }
            let from = &self.connections[connection];
            if from.closed {
                return;
            }
        }
    }

    /// The number that the client has given to the request, the last segment of its path.
    fn call_of(&self, connection: usize) -> usize {
        let from = &self.connections[connection];
        let path = from.machine.request(&from.buffer).path().to_vec();
        let number = path.rsplit(|&byte| byte == b'/').next().expect("a path");
        std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).expect("a number")
    }

    fn head(&mut self, connection: usize) {
        let call = self.call_of(connection);
        let from = &self.connections[connection];
        let now = at(self.cores[from.core].clock);
        let pin = self.registry.pin();
        let request = from.machine.request(&from.buffer);
        let at_head = request::at_head(
            Door {
                core: from.core,
                now,
                peer: None,
                trusted_proxies: &[],
                key_sets: &KeySetCache::default(),
                waited: Waited::Nothing,
            },
            &pin,
            &request,
        );
        let (answer, hook, closes) = match at_head {
            AtHead::Take { hook, limit } => {
                let (hook, index) = (Arc::clone(hook), self.webhook_index(hook));
                drop(pin);
                self.observer.passed(index, self.time);
                let to = &mut self.connections[connection];
                to.hook = Some(hook);
                to.machine.take_body(limit);
                return;
            }
            AtHead::Answer(answer, hook) => (answer, hook, false),
            AtHead::Close(answer, hook) => (answer, hook, true),
            AtHead::Upgrade { .. } => panic!("no webhook here takes WebSockets"),
            AtHead::Keys { .. } | AtHead::Permit { .. } => panic!("nothing here is waited for"),
        };
        let index = hook.map(|hook| self.webhook_index(hook));
        match (&answer, index) {
            (Answer::OverRate(_), Some(index)) => self.observer.over_rate(index, self.time),
            (Answer::Unauthorized(_) | Answer::TooLarge, Some(index)) => {
                self.observer.passed(index, self.time)
            }
            (Answer::NotFound, None) => {}
            other => panic!("{other:?}"),
        }
        let bytes = written(&answer);
        let drop_limit = request::drop_limit(hook.map(|hook| &**hook));
        drop(pin);
        self.observer.calls[call].fate = Fate::Refused;
        self.respond(connection, &bytes);
        let to = &mut self.connections[connection];
        if closes {
            to.closed = true;
        } else {
            to.machine.drop_body(drop_limit);
        }
    }

    /// A request is whole: steps 8 to 10 of section 4.
    fn request(&mut self, connection: usize) {
        let call = self.call_of(connection);
        let from = &mut self.connections[connection];
        let core = from.core;
        let clock = self.cores[core].clock;
        let hook = from.hook.take().expect("a head comes before its body");
        let request = from.machine.request(&from.buffer);
        let body = from.machine.body(&from.buffer);
        let at_body = request::at_body(at(clock), &hook, &request, body, "http://a");
        assert!(matches!(at_body, AtBody::Pass), "nothing is verified here");
        let mut waits = None;
        if hook.wait_for_reply {
            let index = self.observer.calls[call].webhook;
            if !hook.concurrency.try_acquire(hook.concurrency_limit) {
                self.observer.found_no_place(index, hook.concurrency_limit);
                self.observer.calls[call].fate = Fate::Refused;
                self.finish(connection, &written(&Answer::OverConcurrency));
                return;
            }
            self.observer.took_place(call, hook.concurrency_limit);
            waits = Some(self.wait(core, connection, call, &hook));
        }
        self.observer.calls[call].fate = if waits.is_some() { Fate::Waits } else { Fate::Answered };
        self.trigger(connection, call, &hook, waits);
        match waits {
            Some(key) => self.connections[connection].waits = Some(key),
            None => self.finish(connection, &written(&request::default_answer(&hook))),
        }
    }

    fn wait(&mut self, core: usize, connection: usize, call: usize, hook: &Arc<Hook>) -> Key {
        let at = &mut self.cores[core];
        let deadline = at.clock + u64::from(hook.reply_timeout_seconds) * NANOS_PER_SECOND;
        // The timer's key is the slot's, which is there only with its timer: a place-holder stands in between.
        let timer = at.wheel.insert(deadline, Timer::Reply(Key { index: u32::MAX, generation: 0 }));
        let waiting = Waiting { call, connection, hook: Arc::clone(hook), timer, came: None };
        let key = at.slots.insert(waiting);
        at.wheel.cancel(timer);
        let timer = at.wheel.insert(deadline, Timer::Reply(key));
        at.slots.get_mut(key).expect("just inserted").timer = timer;
        key
    }

    /// Runs the webhook's flows.
    fn trigger(&mut self, connection: usize, call: usize, hook: &Arc<Hook>, waits: Option<Key>) {
        let from = &self.connections[connection];
        let (core, clock) = (from.core, self.cores[from.core].clock);
        let reply_id = waits.map(|key| reply_id(core, key));
        let request = from.machine.request(&from.buffer);
        let data = HttpData {
            method: request.method_bytes(),
            path: request.path(),
            query: None,
            fields: request.fields(),
            body: from.machine.body(&from.buffer),
            peer: Peer::Local,
            peer_is_trusted: false,
            hidden: Hidden::default(),
            raw_body: false,
            claims: None,
            cast: hook.cast,
            annotate_multipart: false,
            payload_limit: hook.payload_bytes as usize,
            reply_id: reply_id.as_deref(),
        };
        let event = http_event(&mut Vec::new(), at(clock), &data).expect("no body is coded");
        let mut effects = Vec::new();
        for plan in &hook.flows {
            let payload = Payload { event: event.clone(), tail: Arc::clone(&plan.tail) };
            let origin = Origin { caller: CallerKind::Http, has_reply_id: reply_id.is_some() };
            deliver::run(plan, &payload, origin, &mut Sheet::default(), &mut effects);
        }
        for effect in effects {
            match effect {
                Effect::Reply { reply_id: named, reply } => {
                    let own = reply_id.as_deref().expect("only a call that waits is replied to");
                    self.reply(named.as_deref().unwrap_or(own), reply);
                }
                Effect::Deliver(Delivery { plan, step, payload, behind }) => {
                    let Action::Worker(config) = &plan.steps[step].action else { panic!("a worker's node") };
                    assert!(plan.backlog.reserve(payload.len()), "far from the backlog's bounds");
                    self.observer.offered(call);
                    let timeout = u64::from(hook.reply_timeout_seconds) * NANOS_PER_SECOND;
                    let trigger = Box::new(WorkerTrigger {
                        node_id: Arc::clone(&plan.steps[step].node_id),
                        payload,
                        ack_timeout_nanos: u64::from(config.ack_timeout_seconds) * NANOS_PER_SECOND,
                        max_in_flight: config.max_in_flight,
                        affinity: None,
                        reply_id: reply_id.as_deref().map(Arc::from),
                        expires_nanos: waits.map(|_| clock + timeout),
                        attempt: 1,
                        behind,
                        receipt: None,
                    });
                    let flow = self.observer.calls[call].webhook;
                    self.post(self.home(flow), Mail::Trigger { flow, trigger });
                }
                Effect::Failed { error, .. } => panic!("every node fits its webhook: {error}"),
            }
        }
    }

    /// A reply is on its way to the core that its id names.
    pub fn reply(&mut self, reply_id: &str, reply: Box<Reply>) {
        let numbers: Vec<u32> = reply_id.split('.').map(|part| part.parse().expect("our own id")).collect();
        let key = Key { index: numbers[1], generation: numbers[2] };
        self.post(numbers[0] as usize, Mail::Reply { key, reply });
    }

    /// A reply came to its core: the first one wins.
    pub fn settle(&mut self, core: usize, key: Key, reply: Box<Reply>) {
        let at = &mut self.cores[core];
        let Some(Waiting { call, came: came @ None, .. }) = at.slots.get_mut(key) else { return };
        *came = Some(Some(reply));
        at.ready.push(key);
        self.observer.accepted(*call);
    }

    pub fn time_out(&mut self, core: usize, key: Key) {
        let at = &mut self.cores[core];
        if let Some(Waiting { came: came @ None, .. }) = at.slots.get_mut(key) {
            *came = Some(None);
            at.ready.push(key);
        }
    }

    /// Sends what came to the caller, and reads on.
    pub fn answer(&mut self, core: usize, key: Key) {
        // Its caller may have left since.
        let Some(waiting) = self.release(core, key) else { return };
        self.observer.calls[waiting.call].fate = Fate::Answered;
        let bytes = match waiting.came.flatten() {
            None => written(&Answer::ReplyTimeout),
            Some(reply) => {
                let limit = waiting.hook.payload_bytes as usize;
                let http = to_http(&reply, waiting.hook.response_code, limit).expect("a small reply");
                let mut bytes = Vec::new();
                respond::reply(&mut bytes, &http, &FRAME);
                bytes
            }
        };
        self.connections[waiting.connection].waits = None;
        self.finish(waiting.connection, &bytes);
        self.read(waiting.connection);
    }

    /// A client went away.
    pub fn gone(&mut self, connection: usize) {
        let from = &mut self.connections[connection];
        from.closed = true;
        let (core, waits) = (from.core, from.waits.take());
        if let Some(waiting) = waits.and_then(|key| self.release(core, key)) {
            self.observer.calls[waiting.call].fate = Fate::Gone;
        }
    }

    /// Frees the slot, its timer and its place.
    fn release(&mut self, core: usize, key: Key) -> Option<Waiting> {
        let waiting = self.cores[core].slots.remove(key)?;
        self.cores[core].wheel.cancel(waiting.timer);
        waiting.hook.concurrency.release();
        self.observer.gave_place_back(waiting.call);
        Some(waiting)
    }

    fn finish(&mut self, connection: usize, bytes: &[u8]) {
        self.respond(connection, bytes);
        let to = &mut self.connections[connection];
        to.machine.finish(&mut to.buffer);
    }

    /// The client reads the bytes as any client would.
    fn respond(&mut self, connection: usize, bytes: &[u8]) {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else {
            panic!("{}", bytes.escape_ascii())
        };
        let status = response.code.expect("a status line");
        let body = std::str::from_utf8(&bytes[head..]).expect("text");
        // Only what a flow makes is a bare number.
        self.observer.responded(connection, status, body.parse().ok());
    }
}

fn written(answer: &Answer<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    respond::answer(&mut bytes, answer, &FRAME);
    bytes
}

fn reply_id(core: usize, key: Key) -> String {
    format!("{core}.{}.{}", key.index, key.generation)
}
