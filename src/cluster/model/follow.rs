//! The watch that every node follows: from the sequence that its copy has, every change in its order.
//!
//! The task does nothing else, since a watch that is not polled loses its heartbeats. An error of the watch is not its
//! end: it goes on from where it was. What must end it is another model in the bucket, or a record of a later version.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::bucket::{OPERATION_HEADER, Record, Shared, SharedModel, WRITE_HEADER};
use super::record::{META_KEY, Meta, ModelChange, ReadError, read};
use crate::base::log::bounded_log;
use crate::base::random::Random;
use crate::cluster::connected;
use crate::cluster::names::Names;
use crate::store::{ChangeOrigin, RecordChange, RecordKey, StoreError};

/// Pauses before the watch is begun again: one that is begun in a loop leaves hundreds of consumers behind.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After such a silence it is looked whether the watch has missed something.
const SILENCE: Duration = Duration::from_secs(15);
/// Records that are applied at a time.
const APPLIED_MAX: usize = 1_000;
/// Records that are written at a time where a node brings its model.
const FILLED_MAX: usize = 500;
/// Window of repeats: writes are told apart by their sequence, not by an id.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);

/// Why the watch has ended.
#[derive(Debug)]
enum WatchEnd {
    /// It is begun again soon.
    Failed(String),
    /// Another model is in the bucket.
    OtherModel,
    /// The node that brought the model has not come to its end.
    Incomplete,
    /// A record that this version cannot read.
    Unreadable(String),
}

impl fmt::Display for WatchEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchEnd::Failed(why) | WatchEnd::Unreadable(why) => f.write_str(why),
            WatchEnd::OtherModel => f.write_str("another model is in its place"),
            WatchEnd::Incomplete => {
                f.write_str("another node is bringing it; if that node is gone for good, delete the bucket")
            }
        }
    }
}

impl From<StoreError> for WatchEnd {
    fn from(error: StoreError) -> WatchEnd {
        WatchEnd::Failed(error.to_string())
    }
}

fn failed(error: impl fmt::Display) -> WatchEnd {
    WatchEnd::Failed(error.to_string())
}

impl SharedModel {
    /// Makes the store a copy of the model, and follows it as long as the connection lives. The store's observer must be
    /// set: it hears of every change from here on.
    pub fn start(self) {
        self.handle.spawn(follow(Arc::clone(&self.shared)));
        let store = Arc::clone(&self.shared.store);
        store.replicate(Arc::new(self));
    }
}

/// Follows the bucket for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut random = Random::from_system();
    let mut pause = PAUSE_MIN;
    loop {
        let before = shared.progress.borrow().applied;
        let ended = match follow_once(&shared).await {
            Err(ended) => ended,
            Ok(never) => match never {},
        };
        bounded_log!(warn, why = %ended, "the model of the cluster is not followed: it is tried again");
        let is_unreadable = matches!(ended, WatchEnd::Unreadable(_));
        shared.progress.send_modify(|progress| {
            progress.failure = is_unreadable.then(|| format!("the cluster's model cannot be read: {ended}"));
        });
        pause =
            if shared.progress.borrow().applied > before { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        let jitter = random.up_to(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 2);
        tokio::time::sleep(pause / 2 + Duration::from_millis(jitter)).await;
    }
}

/// Something that does not exist: the watch ends with an error or not at all.
enum Never {}

async fn follow_once(shared: &Arc<Shared>) -> Result<Never, WatchEnd> {
    let stream = open(shared).await?;
    let meta = meta(shared, &stream).await?;
    let last = stream.get_info().await.map_err(failed)?.state.last_sequence;
    let origin = on_store(shared, |shared| shared.store.origin()).await?;
    let resumed = origin
        .filter(|origin| origin.number == meta.number && (1..=last).contains(&origin.revision))
        .map(|origin| origin.revision);
    if resumed.is_none() {
        set_aside(shared, origin, meta.number).await?;
    }
    let start_sequence = resumed.unwrap_or(0) + 1;
    let config = push::OrderedConfig {
        deliver_subject: shared.client.new_inbox(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        ..push::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(failed)?;
    let messages = consumer.messages().await.map_err(failed)?;
    let watch = Watch {
        shared,
        stream,
        number: meta.number,
        until: last,
        loaded: resumed.is_none().then(HashSet::new),
        seen: resumed.unwrap_or(0),
        group: Vec::new(),
        is_group_open: false,
    };
    watch.run(messages, resumed).await
}

/// A watch under way.
struct Watch<'s> {
    shared: &'s Arc<Shared>,
    stream: Stream,
    number: u64,
    /// The end of the bucket when the watch began.
    until: u64,
    /// The records of a copy that is made from the beginning.
    loaded: Option<HashSet<RecordKey>>,
    seen: u64,
    /// Changes that are not applied yet.
    group: Vec<RecordChange>,
    /// The write that they belong to goes on.
    is_group_open: bool,
}

impl Watch<'_> {
    async fn run(mut self, mut messages: push::Ordered, resumed: Option<u64>) -> Result<Never, WatchEnd> {
        if let Some(revision) = resumed {
            self.applied(revision);
        }
        self.arrived();
        loop {
            let is_full = self.group.len() >= APPLIED_MAX;
            let ready = if is_full && !self.is_group_open { None } else { messages.next().now_or_never() };
            let next = match ready {
                Some(next) => next,
                None if !self.group.is_empty() && !self.is_group_open => {
                    self.apply().await?;
                    continue;
                }
                None => match tokio::time::timeout(SILENCE, messages.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.must_be_current().await?;
                        continue;
                    }
                },
            };
            match next {
                Some(Ok(message)) => self.take(&message)?,
                // It goes on by itself.
                Some(Err(error)) => tracing::debug!(%error, "the watch of the model"),
                None => return Err(failed("the watch has ended")),
            }
            if self.seen >= self.until && !self.is_group_open && self.loaded.is_some() {
                self.complete().await?;
            }
        }
    }

    /// Takes a message.
    fn take(&mut self, message: &async_nats::jetstream::Message) -> Result<(), WatchEnd> {
        let sequence = message.info().map_err(failed)?.stream_sequence;
        if sequence <= self.seen {
            return Ok(());
        }
        let header = |name| message.headers.as_ref()?.get(name).map(|value| value.as_str());
        let prefix = Names::key(&self.shared.bucket, "");
        let key = message.subject.strip_prefix(prefix.as_str()).unwrap_or_default();
        let is_deleted = header(OPERATION_HEADER).is_some();
        let change = read(key, (!is_deleted).then_some(&message.payload[..]));
        match change {
            Ok(ModelChange::Record(record)) => {
                if let Some(loaded) = &mut self.loaded {
                    if record.value.is_some() {
                        loaded.insert(record.key());
                    } else {
                        loaded.remove(&record.key());
                    }
                }
                self.group.push(record);
            }
            Ok(ModelChange::Meta(meta)) if meta.number != self.number => return Err(WatchEnd::OtherModel),
            Ok(ModelChange::Meta(_)) => {}
            Err(error @ ReadError::Newer(_)) => return Err(WatchEnd::Unreadable(format!("{key}: {error}"))),
            Err(error) => bounded_log!(error, %error, "a key of the cluster's model is left out"),
        }
        let (write, place) = header(WRITE_HEADER).and_then(|write| write.split_once(' ')).unwrap_or_default();
        self.is_group_open = place.split_once('/').is_some_and(|(number, count)| number != count);
        self.seen = sequence;
        self.shared.note_seen(sequence, write);
        self.shared.progress.send_modify(|progress| progress.seen = sequence);
        if self.group.is_empty() && !self.is_group_open {
            self.applied(sequence);
        }
        Ok(())
    }

    /// Applies what has been gathered.
    async fn apply(&mut self) -> Result<(), WatchEnd> {
        let group = std::mem::take(&mut self.group);
        // A copy that is not whole must be made from the beginning again.
        let revision = if self.loaded.is_some() { 0 } else { self.seen };
        let origin = ChangeOrigin { number: self.number, revision };
        on_store(self.shared, move |shared| in_effect_or_later(shared.store.apply(origin, &group))).await?;
        self.applied(self.seen);
        self.arrived();
        Ok(())
    }

    /// The copy has come to where the bucket ended: what it did not see is gone.
    async fn complete(&mut self) -> Result<(), WatchEnd> {
        self.apply().await?;
        let Some(loaded) = self.loaded.take() else { return Ok(()) };
        let origin = ChangeOrigin { number: self.number, revision: self.seen };
        on_store(self.shared, move |shared| in_effect_or_later(shared.store.retain(origin, &loaded))).await?;
        self.arrived();
        Ok(())
    }

    fn applied(&self, sequence: u64) {
        if self.loaded.is_none() {
            self.shared.progress.send_modify(|progress| progress.applied = progress.applied.max(sequence));
        }
    }

    /// Tells that the copy is as new as the bucket was, if it is.
    fn arrived(&self) {
        let is_there = self.loaded.is_none() && self.seen >= self.until;
        self.shared.progress.send_if_modified(|progress| {
            let is_news = is_there
                && (!progress.is_current || progress.failure.is_some() || progress.applied < self.seen);
            if is_news {
                (progress.is_current, progress.failure) = (true, None);
                progress.applied = progress.applied.max(self.seen);
            }
            is_news
        });
    }

    /// Nothing was heard for a while: ends the watch if something was missed.
    async fn must_be_current(&self) -> Result<(), WatchEnd> {
        let last = self.stream.get_info().await.map_err(failed)?.state.last_sequence;
        if last > self.seen {
            return Err(failed("it has fallen silent"));
        }
        Ok(())
    }
}

/// A change that is kept and not in effect is tried again by others.
fn in_effect_or_later(applied: Result<(), StoreError>) -> Result<(), StoreError> {
    match applied {
        Err(StoreError::NotApplied { .. }) => Ok(()),
        applied => applied,
    }
}

/// Works on the store, on a thread that may wait for the disk.
async fn on_store<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, WatchEnd> {
    let shared = Arc::clone(shared);
    Ok(tokio::task::spawn_blocking(move || work(&shared)).await.map_err(failed)??)
}

/// The stream behind the bucket, made if it is missing.
async fn open(shared: &Shared) -> Result<Stream, WatchEnd> {
    connected(&shared.client).await;
    let config = Config {
        name: Names::stream_of(&shared.bucket),
        subjects: vec![shared.subject(">")],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: shared.replicas.of(&shared.client),
        allow_rollup: true,
        deny_delete: true,
        allow_atomic_publish: true,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    };
    shared.jetstream.get_or_create_stream(config).await.map_err(failed)
}

/// Reads the bucket's [`Meta`]. An empty bucket gets the model of this node.
async fn meta(shared: &Arc<Shared>, stream: &Stream) -> Result<Meta, WatchEnd> {
    let origin = on_store(shared, |shared| shared.store.origin()).await?;
    match stream.get_last_raw_message_by_subject(&shared.subject(META_KEY)).await {
        Ok(message) => {
            let unreadable = |error: ReadError| WatchEnd::Unreadable(error.to_string());
            match read(META_KEY, Some(&message.payload)).map_err(unreadable)? {
                ModelChange::Meta(meta) if meta.is_complete => Ok(meta),
                ModelChange::Meta(meta) if origin.is_some_and(|origin| origin.number == meta.number) => {
                    fill(shared, stream, meta.number).await
                }
                _ => Err(WatchEnd::Incomplete),
            }
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            let number = Random::from_system().next_u64();
            on_store(shared, move |shared| shared.store.apply(ChangeOrigin { number, revision: 0 }, &[]))
                .await?;
            fill(shared, stream, number).await
        }
        Err(error) => Err(failed(error)),
    }
}

/// Brings the model of this node into the bucket.
async fn fill(shared: &Arc<Shared>, stream: &Stream, number: u64) -> Result<Meta, WatchEnd> {
    let records = on_store(shared, |shared| {
        let mut records = Vec::new();
        shared.store.for_each_record(&mut |kind, id, bytes| {
            let value = Some(bytes.to_vec());
            records.push(Record::from(&RecordChange { kind, id, value }));
        })?;
        Ok(records)
    });
    let mut records = records.await?;
    let meta = |is_complete| {
        let value = Some(Bytes::from(Meta { number, is_complete }.to_value()));
        Record { key: META_KEY.to_owned(), value }
    };
    let not_written = |error: crate::store::NotReplicated| failed(error);
    let mut base = stream.get_info().await.map_err(failed)?.state.last_sequence;
    if records.len() > FILLED_MAX {
        base = shared.write_batch(base, &[meta(false)]).await.map_err(not_written)?;
        while records.len() > FILLED_MAX {
            let chunk: Vec<Record> = records.drain(..FILLED_MAX).collect();
            base = shared.write_batch(base, &chunk).await.map_err(not_written)?;
        }
    }
    records.push(meta(true));
    shared.write_batch(base, &records).await.map_err(not_written)?;
    bounded_log!(info, "the model of this node is the cluster's");
    Ok(Meta { number, is_complete: true })
}

/// Keeps a copy of a model that is about to be replaced by the cluster's.
async fn set_aside(shared: &Arc<Shared>, origin: Option<ChangeOrigin>, number: u64) -> Result<(), WatchEnd> {
    if origin.is_some_and(|origin| origin.number == number) {
        return Ok(());
    }
    let kept = on_store(shared, |shared| shared.store.set_aside()).await?;
    if let Some(kept) = kept {
        bounded_log!(
            warn,path = %kept.display(), "the model of this node is replaced by the cluster's, and kept in this file");
    }
    Ok(())
}
