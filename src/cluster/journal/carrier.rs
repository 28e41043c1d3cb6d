//! Carries the batches of the cores to JetStream: a task for each stream, on the thread of the connection, runs a
//! [`Shard`] and does what it asks for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream;
use async_nats::{Client, HeaderMap, Message, PublishErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::shard::{Shard, ShardAction, ShardAnswer};
use super::stream::{JournalStreams, answer};
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::cluster::connection::Connection;
use crate::engine::BatchCarrier;
use crate::io::Waker;
use crate::journal::{Batch, BatchFate};

/// Pause before it is tried again to make a stream, or to listen for acks.
const ENSURE_PAUSE: Duration = Duration::from_secs(1);
/// Time for a message to find room in the client, which has none while it is not connected.
const PUBLISH_TIME: Duration = Duration::from_millis(500);
/// A task without anything to do looks again after this time.
const IDLE: Duration = Duration::from_secs(60);

/// The journals of a node's cores on JetStream.
pub struct Carrier {
    shared: Arc<Shared>,
    shards: Vec<mpsc::UnboundedSender<(u16, Batch)>>,
    /// The shard of each core.
    shard_of: Vec<usize>,
}

struct Shared {
    incarnation: String,
    streams: JournalStreams,
    clock: Clock,
    cores: Vec<Mutex<CoreFates>>,
}

#[derive(Default)]
struct CoreFates {
    ended: VecDeque<(u64, BatchFate)>,
    waker: Option<Waker>,
}

impl Shared {
    fn core(&self, core: u16) -> Option<MutexGuard<'_, CoreFates>> {
        let fates = self.cores.get(usize::from(core))?;
        // Whole values are put in and taken out.
        Some(fates.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, core: u16, batch: u64, fate: BatchFate) {
        let Some(mut fates) = self.core(core) else { return };
        fates.ended.push_back((batch, fate));
        if let Some(waker) = &fates.waker {
            waker.wake();
        }
    }
}

impl Carrier {
    /// Starts the tasks of the journals of so many cores, under an incarnation that no other start has.
    #[must_use]
    pub fn start(
        connection: &Connection,
        streams: JournalStreams,
        incarnation: &str,
        cores: usize,
        clock: Clock,
    ) -> Carrier {
        let shard_of = (0..cores).map(|core| streams.shard_of(incarnation, core)).collect();
        let count = streams.shards.max(1);
        let shared = Arc::new(Shared {
            incarnation: incarnation.to_owned(),
            streams,
            clock,
            cores: std::iter::repeat_with(Mutex::default).take(cores).collect(),
        });
        let start = |index| {
            let (sender, batches) = mpsc::unbounded_channel();
            let task = Task {
                index,
                shared: Arc::clone(&shared),
                client: connection.client.clone(),
                jetstream: connection.jetstream.clone(),
            };
            connection.spawn(task.run(batches));
            sender
        };
        let shards = (0..count).map(start).collect();
        Carrier { shared, shards, shard_of }
    }
}

impl BatchCarrier for Carrier {
    fn carry(&self, core: u16, batch: Batch, waker: &Waker) {
        let number = batch.number;
        if let Some(mut fates) = self.shared.core(core) {
            fates.waker = Some(Arc::clone(waker));
        }
        let shard = self.shard_of.get(usize::from(core)).and_then(|shard| self.shards.get(*shard));
        // Each core has one batch under way: what waits is bounded.
        if shard.is_none_or(|shard| shard.send((core, batch)).is_err()) {
            // The thread has ended, and the process with it.
            self.shared.tell(core, number, BatchFate::Refused);
        }
    }

    fn fate(&self, core: u16) -> Option<(u64, BatchFate)> {
        self.shared.core(core)?.ended.pop_front()
    }
}

/// The task of one stream.
struct Task {
    index: usize,
    shared: Arc<Shared>,
    client: Client,
    jetstream: jetstream::Context,
}

/// An event that ended a task's wait.
enum Happened {
    Batch(u16, Batch),
    Acked(Message),
    Purged { below: u64, is_done: bool },
    Time,
    Over,
}

impl Task {
    async fn run(self, mut batches: mpsc::UnboundedReceiver<(u16, Batch)>) {
        let inbox = self.client.new_inbox();
        let mut acks = self.begin(&inbox).await;
        let (purged, mut purges) = mpsc::unbounded_channel();
        let (mut shard, mut actions) = (Shard::default(), Vec::new());
        loop {
            let now = self.shared.clock.now().nanos;
            let pause = shard.deadline().map_or(IDLE, |at| Duration::from_nanos(at.saturating_sub(now)));
            let happened = tokio::select! {
                batch = batches.recv() => batch.map_or(Happened::Over, |(core, batch)| Happened::Batch(core, batch)),
                Some(message) = acks.next() => Happened::Acked(message),
                Some((below, is_done)) = purges.recv() => Happened::Purged { below, is_done },
                () = tokio::time::sleep(pause) => Happened::Time,
            };
            let now = self.shared.clock.now().nanos;
            match happened {
                Happened::Over => return,
                Happened::Batch(core, batch) => {
                    shard.hand_over(core, batch, now, &mut actions);
                    // Those of the other cores that wait already go along in the next message.
                }
                Happened::Acked(message) => {
                    if let Some(number) = number_of(&message.subject, &inbox) {
                        shard.on_answer(number, answer(&message), now, &mut actions);
                    }
                }
                Happened::Purged { below, is_done } => shard.on_purged(below, is_done, now),
                Happened::Time => {}
            }
            shard.on_time(now, &mut actions);
            // What one action leads to is carried out with it.
            while !actions.is_empty() {
                for action in std::mem::take(&mut actions) {
                    self.carry_out(action, &inbox, &purged, &mut shard, &mut actions).await;
                }
            }
        }
    }

    /// Makes the stream and listens for acks, again until both are done.
    async fn begin(&self, inbox: &str) -> Subscriber {
        let stream = self.shared.streams.stream(self.index);
        loop {
            match self.shared.streams.ensure(self.index, &self.client, &self.jetstream).await {
                Ok(()) => match self.client.subscribe(format!("{inbox}.*")).await {
                    Ok(acks) => return acks,
                    Err(error) => {
                        bounded_log!(warn, %error, "acks of NATS cannot be listened for: it is tried again")
                    }
                },
                Err(error) => {
                    bounded_log!(warn, %stream, %error, "the stream of the journal cannot be used: it is tried again");
                }
            }
            tokio::time::sleep(ENSURE_PAUSE).await;
        }
    }

    async fn carry_out(
        &self,
        action: ShardAction,
        inbox: &str,
        purged: &mpsc::UnboundedSender<(u64, bool)>,
        shard: &mut Shard,
        actions: &mut Vec<ShardAction>,
    ) {
        match action {
            ShardAction::Tell { core, batch, fate } => {
                if fate == BatchFate::Full {
                    bounded_log!(error, "the journal's stream is full: triggers are answered with 503");
                }
                self.shared.tell(core, batch, fate);
            }
            ShardAction::Publish { number, message } => {
                if let Some(answer) = self.publish(number, message, inbox).await {
                    shard.on_answer(number, answer, self.shared.clock.now().nanos, actions);
                }
            }
            ShardAction::Purge { below } => {
                let (jetstream, purged) = (self.jetstream.clone(), purged.clone());
                let stream = self.shared.streams.stream(self.index);
                let subject = self.shared.streams.subject(self.index, &self.shared.incarnation);
                tokio::spawn(async move {
                    let result = purge(&jetstream, &stream, &subject, below).await;
                    if let Err(error) = &result {
                        bounded_log!(warn, %stream, %error, "the journal's stream cannot be purged: it is tried again");
                    }
                    // The task may have ended.
                    let _ = purged.send((below, result.is_ok()));
                });
            }
        }
    }

    /// Sends a message; the ack comes to the inbox. Returns what is known without one.
    async fn publish(&self, number: u64, message: Bytes, inbox: &str) -> Option<ShardAnswer> {
        let subject = self.shared.streams.subject(self.index, &self.shared.incarnation);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{number}", self.shared.incarnation));
        let reply = format!("{inbox}.{number}");
        let publish = self.client.publish_with_reply_and_headers(subject, reply, headers, message);
        match tokio::time::timeout(PUBLISH_TIME, publish).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                bounded_log!(
                    error,
                    bytes_max = self.client.max_payload(),
                    "a trigger is larger than NATS takes: set max_payload of its servers to 8MB"
                );
                Some(ShardAnswer::Refused)
            }
            Ok(Err(_)) | Err(_) => Some(ShardAnswer::Unknown),
        }
    }
}

/// The number of a message, of the subject that its ack comes to.
fn number_of(subject: &str, inbox: &str) -> Option<u64> {
    subject.strip_prefix(inbox)?.strip_prefix('.')?.parse().ok()
}

/// Purges the messages of a subject below a number of the stream.
async fn purge(
    jetstream: &jetstream::Context,
    stream: &str,
    subject: &str,
    below: u64,
) -> Result<(), String> {
    let stream = jetstream.get_stream_no_info(stream).await.map_err(|error| error.to_string())?;
    let purge = stream.purge().filter(subject).sequence(below);
    purge.await.map(drop).map_err(|error| error.to_string())
}
