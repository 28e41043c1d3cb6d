//! The rates of this node on the stream `P_limit`: answers the cores' calls that found no token, and renews what it holds.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{Config, StorageType};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::machine::{Books, Operation, RateAnswer, RateUsage, RateVerdict, Terms};
use crate::base::clock::{Clock, NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::cluster::membership::Incarnation;
use crate::cluster::names::Names;
use crate::cluster::{Connection, Replicas, connected};
use crate::engine::{PermitTold, Permits};
use crate::limit::PermitKind;
use crate::registry::{Hook, Registry};

/// How often what is held is looked after.
const POLL: Duration = Duration::from_nanos(super::machine::POLL_NANOS);
/// Time for the ack of a publish.
const PUBLISH_TIME: Duration = Duration::from_millis(1_500);
/// Pauses between attempts to open the stream.
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// Window of repeats, which this stream has no use for.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);
pub(super) const EXPECTED_HEADER: &str = "Nats-Expected-Last-Subject-Sequence";
pub(super) const TTL_HEADER: &str = "Nats-TTL";
/// Waits that are kept to tell of them.
const WAITS_KEPT: usize = 1_024;

/// Calls of a webhook that wait for a token or a place.
struct Ask {
    webhook: Id,
    begun: u64,
    done: PermitTold,
}

/// The limits of this node.
pub struct Rates {
    tokens: mpsc::UnboundedSender<Message>,
    places: mpsc::UnboundedSender<Message>,
    counts: Arc<Counts>,
}

/// A message to a task. Their number is bounded by the cores, which ask once for a webhook.
enum Message {
    Ask(Ask),
    /// The node ends: what it has is given back, and then told.
    Leave(oneshot::Sender<()>),
}

/// Counters of the rates.
#[derive(Debug, Default)]
struct Counts {
    is_open: AtomicBool,
    /// Calls hold more places than the node has: NATS has not renewed them for too long.
    is_overdrawn: AtomicBool,
    granted: AtomicU64,
    refused: AtomicU64,
    cut_off: AtomicU64,
    published: AtomicU64,
    webhooks: AtomicU64,
    tokens: AtomicU64,
    /// The last waits, in nanoseconds.
    waits: Mutex<WaitingCalls>,
}

#[derive(Debug, Default)]
struct WaitingCalls {
    last: Vec<u64>,
    next: usize,
}

impl Permits for Rates {
    fn ask(&self, webhook: Id, kind: PermitKind, done: PermitTold) {
        let asks = match kind {
            PermitKind::Token => &self.tokens,
            PermitKind::Place => &self.places,
        };
        let ask = Ask { webhook, begun: 0, done };
        // At the end of the process nobody looks after the limits: calls find what is held.
        if let Err(mpsc::error::SendError(Message::Ask(ask))) = asks.send(Message::Ask(ask)) {
            (ask.done)();
        }
    }
}

impl Rates {
    /// Looks after the rates of the webhooks of a registry, as long as the connection lives.
    #[must_use]
    pub fn start(
        connection: &Connection,
        names: &Names,
        inc: Incarnation,
        registry: &Arc<Registry>,
        replicas: Replicas,
        clock: Clock,
    ) -> Rates {
        let counts: Arc<Counts> = Arc::default();
        let seed = inc.raw().iter().fold(0_u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        let keep = |kind, terms| {
            let (asks, asked) = mpsc::unbounded_channel();
            let (answers, answered) = mpsc::unbounded_channel();
            let keeper = RateKeeper {
                kind,
                jetstream: connection.jetstream.clone(),
                names: names.clone(),
                inc,
                registry: Arc::clone(registry),
                clock,
                books: Books::new(seed, terms),
                waiting: HashMap::new(),
                answers,
                counts: Arc::clone(&counts),
            };
            connection.spawn(keeper.run(asked, answered));
            asks
        };
        let tokens = keep(PermitKind::Token, Terms::TOKENS);
        let places = keep(PermitKind::Place, Terms::PLACES);
        let (client, stream_names) = (connection.client.clone(), names.clone());
        let (jetstream, opened) = (connection.jetstream.clone(), Arc::clone(&counts));
        connection.spawn(async move {
            connected(&client).await;
            open(jetstream, || stream(&stream_names, replicas.of(&client)), opened).await;
        });
        Rates { tokens, places, counts }
    }

    /// Gives places back: the node ends.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.places.send(Message::Leave(done)).is_ok() {
            // A task that has ended has nothing.
            let _ = tokio::time::timeout(PUBLISH_TIME, left).await;
        }
    }

    /// Whether calls hold places that the node has not any more.
    #[must_use]
    pub fn is_overdrawn(&self) -> bool {
        self.counts.is_overdrawn.load(Ordering::Relaxed)
    }

    /// Whether the stream was found or made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.counts.is_open.load(Ordering::Relaxed)
    }

    /// Webhooks that are looked after, and the tokens of theirs that this node holds.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.counts.webhooks.load(Ordering::Relaxed), self.counts.tokens.load(Ordering::Relaxed))
    }

    /// Of the last calls that waited for a token, how long half of them did, and 99 in 100, in seconds.
    #[must_use]
    pub fn waits(&self) -> (f64, f64) {
        let mut waits = self.counts.waits.lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        waits.sort_unstable();
        let at = |percent: usize| {
            let index = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            waits.get(index).map_or(0.0, |nanos| *nanos as f64 / NANOS_PER_SECOND as f64)
        };
        (at(50), at(99))
    }

    /// Appends what `/metrics` tells.
    pub fn render(&self, page: &mut String) {
        let counts = &self.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (half, most) = self.waits();
        // A string takes everything.
        let _ = writeln!(
            page,
            "# HELP tidegate_cluster_rate_asked_total Calls that asked the cluster for a token of their webhook's rate.\n\
             # TYPE tidegate_cluster_rate_asked_total counter\n\
             tidegate_cluster_rate_asked_total{{outcome=\"granted\"}} {}\n\
             tidegate_cluster_rate_asked_total{{outcome=\"refused\"}} {}\n\
             tidegate_cluster_rate_asked_total{{outcome=\"unanswered\"}} {}\n\
             # HELP tidegate_cluster_rate_wait_seconds How long the last {WAITS_KEPT} of them waited.\n\
             # TYPE tidegate_cluster_rate_wait_seconds gauge\n\
             tidegate_cluster_rate_wait_seconds{{quantile=\"0.5\"}} {half}\n\
             tidegate_cluster_rate_wait_seconds{{quantile=\"0.99\"}} {most}\n\
             # HELP tidegate_cluster_rate_published_total Messages that took or renewed blocks of tokens.\n\
             # TYPE tidegate_cluster_rate_published_total counter\n\
             tidegate_cluster_rate_published_total {}\n\
             # HELP tidegate_cluster_rate_tokens Tokens that this node holds.\n\
             # TYPE tidegate_cluster_rate_tokens gauge\n\
             tidegate_cluster_rate_tokens {}",
            load(&counts.granted),
            load(&counts.refused),
            load(&counts.cut_off),
            load(&counts.published),
            load(&counts.tokens),
        );
    }
}

/// The stream: for each block the message of the node that has it.
fn stream(names: &Names, replicas: usize) -> Config {
    Config {
        name: names.limit_stream(),
        subjects: vec![names.limit("*", "*"), names.places("*", "*")],
        max_messages_per_subject: 1,
        // In memory a restart of the server would forget what was spent.
        storage: StorageType::File,
        num_replicas: replicas,
        allow_message_ttl: true,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

async fn open(jetstream: Context, config: impl Fn() -> Config, counts: Arc<Counts>) {
    loop {
        match jetstream.get_or_create_stream(config()).await {
            Ok(_) => return counts.is_open.store(true, Ordering::Relaxed),
            Err(error) => {
                bounded_log!(warn, %error, "the stream of the cluster's rates cannot be opened: it is tried again")
            }
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

/// A task: it looks after the tokens of all webhooks, or their places.
struct RateKeeper {
    kind: PermitKind,
    jetstream: Context,
    names: Names,
    inc: Incarnation,
    registry: Arc<Registry>,
    clock: Clock,
    books: Books,
    waiting: HashMap<Id, Vec<Ask>>,
    answers: mpsc::UnboundedSender<(Operation, RateAnswer)>,
    counts: Arc<Counts>,
}

impl RateKeeper {
    async fn run(
        mut self,
        mut asked: mpsc::UnboundedReceiver<Message>,
        mut answered: mpsc::UnboundedReceiver<(Operation, RateAnswer)>,
    ) {
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = asked.recv() => match message {
                    Some(Message::Ask(ask)) => self.on_ask(ask),
                    Some(Message::Leave(done)) => return self.leave(done).await,
                    None => return,
                },
                answer = answered.recv() => if let Some((operation, answer)) = answer {
                    self.on_answer(&operation, answer);
                },
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        let (webhook, now) = (ask.webhook, self.clock.now());
        self.waiting.entry(webhook).or_default().push(Ask { begun: now.nanos, ..ask });
        self.books.demand(webhook, now);
        self.poll(webhook, now);
    }

    fn on_answer(&mut self, operation: &Operation, answer: RateAnswer) {
        let now = self.clock.now();
        let verdict = self.books.on_answer(operation, answer, now);
        let outcome = verdict.map(|verdict| self.tell(operation.webhook, verdict, now));
        if let Some(outcome) = outcome {
            self.release(operation.webhook, outcome, now);
        }
        self.poll(operation.webhook, now);
    }

    /// Gives everything back, and ends.
    async fn leave(mut self, done: oneshot::Sender<()>) {
        let registry = &self.registry;
        let lower = |webhook| registry.by_id(webhook).is_none_or(|hook| hook.concurrency.lower(0));
        for operation in self.books.give_all_back(self.clock.now(), lower) {
            // What is not given back goes by itself, later.
            let _ = self.publishing(&operation).await;
        }
        // Who asked may have waited long enough.
        let _ = done.send(());
    }

    fn on_tick(&mut self) {
        let now = self.clock.now();
        let webhooks: Vec<Id> = self.books.webhooks().collect();
        for webhook in &webhooks {
            self.poll(*webhook, now);
        }
        if self.kind == PermitKind::Token {
            let tokens: u64 = webhooks.iter().map(|webhook| u64::from(self.books.held(*webhook))).sum();
            self.counts.tokens.store(tokens, Ordering::Relaxed);
            self.counts.webhooks.store(webhooks.len() as u64, Ordering::Relaxed);
        }
    }

    fn usage(&self, hook: &Hook, now: Now) -> Option<RateUsage> {
        match self.kind {
            PermitKind::Token => {
                let rate = hook.rate.as_ref()?;
                let (tokens, window_seconds) = rate.limit();
                Some(RateUsage { tokens, window_seconds, spent: rate.used(now) })
            }
            PermitKind::Place => {
                let tokens = hook.concurrency_limit;
                (tokens > 0).then(|| RateUsage { tokens, window_seconds: 0, spent: hook.concurrency.held() })
            }
        }
    }

    fn poll(&mut self, webhook: Id, now: Now) {
        let hook = self.registry.by_id(webhook);
        let usage = hook.as_deref().and_then(|hook| self.usage(hook, now));
        let mut operations = Vec::new();
        let mut outcome = GrantOutcome::Granted;
        let lower = &mut |tokens| hook.as_ref().is_some_and(|hook| hook.concurrency.lower(tokens));
        for verdict in self.books.poll(webhook, usage, now, &mut operations, lower) {
            outcome = self.tell(webhook, verdict, now);
        }
        operations.into_iter().for_each(|operation| self.publish(operation));
        if !self.books.is_awaited(webhook) {
            self.release(webhook, outcome, now);
        }
    }

    /// Puts a verdict into effect; returns its meaning for the calls that wait.
    fn tell(&self, webhook: Id, verdict: RateVerdict, now: Now) -> GrantOutcome {
        let hook = self.registry.by_id(webhook);
        let rate =
            hook.as_ref().and_then(|hook| hook.rate.as_ref()).filter(|_| self.kind == PermitKind::Token);
        match verdict {
            RateVerdict::Holds { tokens, until } => {
                rate.inspect(|rate| rate.hold(tokens, until, now));
                if let Some(hook) = hook.filter(|_| self.kind == PermitKind::Place) {
                    hook.concurrency.have(tokens);
                    let held = hook.concurrency.held();
                    // More than a limit that was lowered are nobody else's.
                    if held > tokens && held <= hook.concurrency_limit {
                        self.counts.is_overdrawn.store(true, Ordering::Relaxed);
                    }
                }
                GrantOutcome::Granted
            }
            RateVerdict::Refused { until } => {
                rate.inspect(|rate| rate.refuse_until(until, false));
                GrantOutcome::Refused
            }
            RateVerdict::CutOff { until } => {
                bounded_log!(
                    warn,
                    "the cluster does not answer: calls that need a token or a place are refused"
                );
                rate.inspect(|rate| rate.refuse_until(until, true));
                GrantOutcome::CutOff
            }
        }
    }

    /// Tells the calls that wait that they are decided.
    fn release(&mut self, webhook: Id, outcome: GrantOutcome, now: Now) {
        let Some(waiting) = self.waiting.remove(&webhook) else { return };
        let count = match outcome {
            GrantOutcome::Granted => &self.counts.granted,
            GrantOutcome::Refused => &self.counts.refused,
            GrantOutcome::CutOff => &self.counts.cut_off,
        };
        count.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        let mut waits = self.counts.waits.lock().unwrap_or_else(PoisonError::into_inner);
        for ask in waiting {
            waits.note(now.nanos.saturating_sub(ask.begun));
            (ask.done)();
        }
    }

    fn publish(&self, operation: Operation) {
        let (publishing, answers) = (self.publishing(&operation), self.answers.clone());
        self.counts.published.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let answer = publishing.await;
            // The task that asked ends with the connection.
            let _ = answers.send((operation, answer));
        });
    }

    /// Publishes to the subject of a block.
    fn publishing(&self, operation: &Operation) -> impl Future<Output = RateAnswer> + Send + use<> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_HEADER, operation.expected.to_string());
        headers.insert(TTL_HEADER, format!("{}s", operation.ttl_seconds));
        let (webhook, block) = (operation.webhook.to_string(), operation.block.to_string());
        let subject = match self.kind {
            PermitKind::Token => self.names.limit(&webhook, &block),
            PermitKind::Place => self.names.places(&webhook, &block),
        };
        let payload = Bytes::from(self.inc.to_string());
        let jetstream = self.jetstream.clone();
        async move {
            let publish = async { jetstream.publish_with_headers(subject, headers, payload).await?.await };
            match tokio::time::timeout(PUBLISH_TIME, publish).await {
                Ok(Ok(ack)) => RateAnswer::Stored(ack.sequence),
                Ok(Err(error)) => answer_of(&error),
                Err(_) => RateAnswer::Unknown,
            }
        }
    }
}

/// Outcome of calls that asked for a token.
#[derive(Clone, Copy)]
enum GrantOutcome {
    Granted,
    Refused,
    CutOff,
}

impl WaitingCalls {
    fn note(&mut self, nanos: u64) {
        if self.last.len() < WAITS_KEPT {
            self.last.push(nanos);
        } else {
            self.last[self.next] = nanos;
            self.next = (self.next + 1) % WAITS_KEPT;
        }
    }
}

/// The meaning of a publish's error for its block.
fn answer_of(error: &PublishError) -> RateAnswer {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => RateAnswer::Taken,
        _ => RateAnswer::Unknown,
    }
}
