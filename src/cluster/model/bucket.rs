//! The bucket as this node writes to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::record::{key_of, value_of};
use super::write::{PublishAnswer, Step, WriteAttempt};
use crate::base::clock::{Clock, NANOS_PER_SECOND};
use crate::cluster::membership::Incarnation;
use crate::cluster::names::Names;
use crate::cluster::{Connection, Replicas};
use crate::store::{NotReplicated, RecordChange, Replica, Store};

/// Messages of one atomic batch: the server takes a thousand.
const BATCH_MESSAGES_MAX: usize = 900;
/// Time for the ack of one attempt: an attempt that finds no leader ends at once.
const PUBLISH_TIME: Duration = Duration::from_secs(3);
/// How long a change waits on a node that has just started.
const ARRIVAL_TIME: Duration = Duration::from_secs(5);
/// How long a write that is there is waited for on this node.
const APPLY_TIME: Duration = Duration::from_secs(10);
/// Writes of which it is remembered where they stand, for those that wait to know their fate.
const SEEN_MAX: usize = 4_096;

/// Names the write of a message, and its place in it: `<write> <number>/<count>`.
pub(super) const WRITE_HEADER: &str = "Tidegate-Write";
/// As in every bucket (ADR-8).
pub(super) const OPERATION_HEADER: &str = "KV-Operation";
pub(super) const OPERATION_DELETE: &str = "DEL";
const EXPECTED_HEADER: &str = "Nats-Expected-Last-Sequence";
// ADR-50.
const BATCH_ID_HEADER: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE_HEADER: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT_HEADER: &str = "Nats-Batch-Commit";
/// The server's code of a stream that has gone on, where it compares a constant.
const WRONG_LAST_CONSTANT: u64 = 10_164;
/// The server's code of a message that is too large for the stream.
const MESSAGE_TOO_LARGE: u64 = 10_054;

/// Progress of the copy, for those who wait.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The last sequence that was seen.
    pub seen: u64,
    /// The last sequence that was applied.
    pub applied: u64,
    /// Whether the copy once was as new as the bucket since this process started.
    pub is_current: bool,
    /// Why the bucket is not followed, if it is not.
    pub failure: Option<String>,
}

/// The model that all nodes share, as this node reaches it.
pub struct SharedModel {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Handle,
}

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) bucket: String,
    pub(super) store: Arc<Store>,
    pub(super) replicas: Replicas,
    pub(super) progress: watch::Sender<Progress>,
    clock: Clock,
    inc: Incarnation,
    ack_timeout: Duration,
    writes: AtomicU64,
    /// Sequences and the writes that they are of.
    seen: Mutex<VecDeque<(u64, Box<str>)>>,
}

/// A message that is to be written.
pub(super) struct Record {
    pub(super) key: String,
    /// `None`: the key is deleted.
    pub(super) value: Option<Bytes>,
}

impl From<&RecordChange> for Record {
    fn from(change: &RecordChange) -> Record {
        let value = change.value.as_deref().map(|bytes| Bytes::from(value_of(bytes)));
        Record { key: key_of(change.kind, &change.id), value }
    }
}

impl SharedModel {
    /// The model of a cluster. Nothing is done before [`Self::start`].
    #[must_use]
    pub fn new(
        connection: &Connection,
        names: &Names,
        inc: Incarnation,
        store: &Arc<Store>,
        replicas: Replicas,
        ack_timeout: Duration,
        clock: Clock,
    ) -> SharedModel {
        let shared = Shared {
            client: connection.client.clone(),
            jetstream: connection.jetstream.clone(),
            bucket: names.model_bucket(),
            store: Arc::clone(store),
            replicas,
            progress: watch::Sender::default(),
            clock,
            inc,
            ack_timeout,
            writes: AtomicU64::new(0),
            seen: Mutex::default(),
        };
        SharedModel { shared: Arc::new(shared), handle: connection.handle().clone() }
    }

    /// The progress of the copy.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }
}

impl Replica for SharedModel {
    fn write(&self, revision: u64, records: &[RecordChange]) -> Result<(), NotReplicated> {
        self.handle.block_on(self.shared.write(revision, records))
    }
}

impl Shared {
    /// The subject of a key.
    pub(super) fn subject(&self, key: &str) -> String {
        Names::key(&self.bucket, key)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, VecDeque<(u64, Box<str>)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a message that the watch has brought.
    pub(super) fn note_seen(&self, sequence: u64, write: &str) {
        let mut seen = self.seen();
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back((sequence, write.into()));
    }

    async fn write(&self, revision: u64, records: &[RecordChange]) -> Result<(), NotReplicated> {
        let progress = self.progress.borrow().clone();
        if let Some(why) = progress.failure {
            return Err(NotReplicated::Unavailable(why));
        }
        if !progress.is_current {
            return Err(self.arrival().await);
        }
        let mut base = revision;
        for (number, chunk) in records.chunks(BATCH_MESSAGES_MAX).enumerate() {
            let messages: Vec<Record> = chunk.iter().map(Record::from).collect();
            base = match self.write_batch(base, &messages).await {
                Ok(sequence) => sequence,
                Err(NotReplicated::Conflict) if number == 0 => {
                    self.applied(base + 1).await?;
                    return Err(NotReplicated::Conflict);
                }
                Err(error) if number == 0 => return Err(error),
                Err(error) => {
                    let why = format!("a part of the change is kept: repeat it ({error})");
                    return Err(NotReplicated::Unavailable(why));
                }
            };
        }
        self.applied(base).await
    }

    /// Waits until the copy is as new as the bucket: the change is made again then.
    async fn arrival(&self) -> NotReplicated {
        let mut progress = self.progress.subscribe();
        let is_current = progress.wait_for(|progress| progress.is_current);
        match tokio::time::timeout(ARRIVAL_TIME, is_current).await {
            Ok(Ok(_)) => NotReplicated::Conflict,
            _ => NotReplicated::Unavailable("this node has not got the cluster's model yet".to_owned()),
        }
    }

    /// Waits until a sequence was applied here.
    async fn applied(&self, sequence: u64) -> Result<(), NotReplicated> {
        let mut progress = self.progress.subscribe();
        let is_applied = progress.wait_for(|progress| progress.applied >= sequence);
        match tokio::time::timeout(APPLY_TIME, is_applied).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotReplicated::Unavailable(
                "the change is kept, and not in effect on this node yet".to_owned(),
            )),
        }
    }

    /// Writes messages as a whole behind the sequence `base`; returns the sequence of the last.
    pub(super) async fn write_batch(&self, base: u64, messages: &[Record]) -> Result<u64, NotReplicated> {
        let write = format!("{}-{}", self.inc, self.writes.fetch_add(1, Ordering::Relaxed));
        let patience = u64::try_from(self.ack_timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.clock.now().nanos.saturating_add(patience);
        let mut attempt = WriteAttempt::new(base, messages.len() as u64, deadline);
        let mut progress = self.progress.subscribe();
        for number in 0.. {
            if let Some((sequence, found)) = self.seen().iter().find(|(sequence, _)| *sequence > base) {
                attempt.on_seen(*sequence, **found == *write);
            }
            match attempt.poll(self.clock.now()) {
                Step::Publish => {
                    let publish = self.publish(base, &write, number, messages);
                    let answer = tokio::time::timeout(PUBLISH_TIME, publish).await;
                    attempt.on_answer(answer.unwrap_or(PublishAnswer::Unknown), self.clock.now());
                }
                Step::Wait(until) => {
                    let wait = until.saturating_sub(self.clock.now().nanos).min(NANOS_PER_SECOND);
                    // Whichever is first: what has changed is looked at above.
                    let _ = tokio::time::timeout(Duration::from_nanos(wait.max(1)), progress.changed()).await;
                }
                Step::Stored(sequence) => return Ok(sequence),
                Step::Conflict => return Err(NotReplicated::Conflict),
                Step::Refused(why) => return Err(NotReplicated::Refused(why)),
                Step::Unknown => break,
            }
        }
        let why = "NATS does not answer; the change may be kept all the same".to_owned();
        Err(NotReplicated::Unavailable(why))
    }

    /// One attempt to publish.
    async fn publish(&self, base: u64, write: &str, number: u64, messages: &[Record]) -> PublishAnswer {
        let count = messages.len();
        let batch = format!("{write}-{number}");
        for (at, message) in messages.iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(WRITE_HEADER, format!("{write} {}/{count}", at + 1));
            if at == 0 {
                headers.insert(EXPECTED_HEADER, base.to_string());
            }
            if message.value.is_none() {
                headers.insert(OPERATION_HEADER, OPERATION_DELETE);
            }
            if count > 1 {
                headers.insert(BATCH_ID_HEADER, batch.as_str());
                headers.insert(BATCH_SEQUENCE_HEADER, (at + 1).to_string());
            }
            let (subject, payload) = (self.subject(&message.key), message.value.clone().unwrap_or_default());
            if at + 1 < count {
                if let Err(error) = self.client.publish_with_headers(subject, headers, payload).await {
                    return PublishAnswer::Refused(error.to_string());
                }
                continue;
            }
            if count > 1 {
                headers.insert(BATCH_COMMIT_HEADER, "1");
            }
            let sent = match self.jetstream.publish_with_headers(subject, headers, payload).await {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            return sent.map_or_else(|error| answer_of(&error), |ack| PublishAnswer::Stored(ack.sequence));
        }
        PublishAnswer::Stored(base)
    }
}

/// The meaning of a publish's error for its messages.
fn answer_of(error: &PublishError) -> PublishAnswer {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (error.kind(), source.map(|error| error.error_code().0)) {
        (PublishErrorKind::WrongLastSequence, _) | (_, Some(WRONG_LAST_CONSTANT)) => PublishAnswer::WrongLast,
        (PublishErrorKind::MaxPayloadExceeded, _) | (_, Some(MESSAGE_TOO_LARGE)) => PublishAnswer::Refused(
            "the record is larger than NATS takes: raise max_payload of its servers (8MB)".to_owned(),
        ),
        _ => PublishAnswer::Unknown,
    }
}
