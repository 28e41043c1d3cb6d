//! Takes over what an incarnation that has ended left open: its bundles are read, what is open in them is put into this
//! node's own journal, and then they are purged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt as _;
use tokio::sync::oneshot;

use super::stream::JournalStreams;
use crate::base::log::bounded_log;
use crate::engine::{NotReplayed, ReplayCallback};
use crate::journal::{BundleReplay, LeftOpen};

/// Entries that are on their way into this node's journal at a time.
const UNDER_WAY_MAX: usize = 1_024;
/// Pause before an entry is offered again that the journal had no room for.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Time for the next message of a replay.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Readings of one stream: a message that was published late is found by the next.
const ROUNDS_MAX: usize = 8;

/// Puts entries into this node's journal.
pub trait Heir: Send + Sync {
    /// Takes an entry; `done` is told once the journal has it. Never blocks.
    fn inherit(&self, entry: Box<LeftOpen>, done: ReplayCallback);
}

/// Why an incarnation was not taken over whole.
#[derive(Debug)]
pub enum ReplayError {
    /// JetStream refuses, or does not answer: to be tried again.
    Stream(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Stream(why) => write!(f, "the journal of another node cannot be read: {why}"),
        }
    }
}

impl std::error::Error for ReplayError {}

/// The part of an incarnation that was taken over, and the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeoverShare {
    /// Entries that were open.
    pub triggers: usize,
    /// Bundles and entries that this version cannot read: they stay until the stream drops them, and are not tried again.
    pub unreadable: usize,
}

/// Takes over incarnations.
#[derive(Clone)]
pub struct AdoptionReplay {
    pub jetstream: jetstream::Context,
    pub streams: JournalStreams,
    pub heir: Arc<dyn Heir>,
}

impl AdoptionReplay {
    /// Takes over an incarnation that has ended, for which nothing is published any more, but what is late already.
    ///
    /// # Errors
    /// [`ReplayError`]; what was taken over until then is delivered twice if it is tried again.
    pub async fn run(&self, incarnation: &str) -> Result<TakeoverShare, ReplayError> {
        let mut taken = TakeoverShare::default();
        for shard in 0..self.streams.shards.max(1) {
            let name = self.streams.stream(shard);
            let failed = |error: &dyn fmt::Display| ReplayError::Stream(format!("{name}: {error}"));
            let stream = self.jetstream.get_stream_no_info(&name).await.map_err(|error| failed(&error))?;
            let subject = self.streams.subject(shard, incarnation);
            for _ in 0..ROUNDS_MAX {
                let Some(last) = last_of(&stream, &subject).await? else { break };
                let (left, unread, below) = self.read(&stream, &subject, last).await?;
                let count = left.len();
                let refused = self.hand_over(left).await;
                taken.triggers += count - refused;
                taken.unreadable += unread + refused;
                let below = if refused > 0 { 0 } else { below };
                if below > 0 {
                    let purge = stream.purge().filter(&subject).sequence(below);
                    purge.await.map_err(|error| failed(&error))?;
                }
                if below <= last {
                    break;
                }
            }
        }
        Ok(taken)
    }

    /// Reads the bundles up to the message `last`: what is open, how many bundles cannot be read, and the number below which
    /// all was read.
    async fn read(
        &self,
        stream: &Stream<()>,
        subject: &str,
        last: u64,
    ) -> Result<(Vec<LeftOpen>, usize, u64), ReplayError> {
        let failed = |error: &dyn fmt::Display| ReplayError::Stream(format!("{subject}: {error}"));
        let config = OrderedConfig {
            filter_subject: subject.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ..OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
        let mut messages = consumer.messages().await.map_err(|error| failed(&error))?;
        let (mut replay, mut unread, mut below) = (BundleReplay::default(), 0, last + 1);
        loop {
            let next = tokio::time::timeout(MESSAGE_TIME, messages.next()).await;
            let next = next.map_err(|_| failed(&"no message comes"))?;
            let message =
                next.ok_or_else(|| failed(&"its end is missing"))?.map_err(|error| failed(&error))?;
            let sequence = message.info().map_err(|error| failed(&error))?.stream_sequence;
            if let Err(error) = replay.take(&message.payload) {
                bounded_log!(error, %subject, %error, "a bundle of another node's journal is not read");
                unread += 1;
                below = below.min(sequence);
            }
            if sequence >= last {
                return Ok((replay.finish(), unread, below));
            }
        }
    }

    /// Puts entries into this node's journal; returns how many it does not take whenever they are offered.
    async fn hand_over(&self, left: Vec<LeftOpen>) -> usize {
        let offers = left.into_iter().map(|entry| self.offer(entry));
        let taken = futures_util::stream::iter(offers).buffer_unordered(UNDER_WAY_MAX);
        taken.filter(|is_taken| std::future::ready(!is_taken)).count().await
    }

    /// Offers an entry until it is taken; `false` if it never will be.
    async fn offer(&self, entry: LeftOpen) -> bool {
        loop {
            let (tell, told) = oneshot::channel();
            let done = Box::new(move |outcome| {
                // Nobody waits any more if the process ends.
                let _ = tell.send(outcome);
            });
            self.heir.inherit(Box::new(entry.clone()), done);
            match told.await.unwrap_or(Err(NotReplayed::Busy)) {
                Ok(()) => return true,
                Err(NotReplayed::Gone) => return false,
                Err(NotReplayed::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
    }
}

/// The number of the last message of a subject.
async fn last_of(stream: &Stream<()>, subject: &str) -> Result<Option<u64>, ReplayError> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.sequence)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(ReplayError::Stream(format!("{subject}: {error}"))),
    }
}
