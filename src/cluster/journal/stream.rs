//! The streams of a cluster's journals, and what JetStream answers to a message.

use std::time::Duration;

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode, publish::PublishAck};
use async_nats::{Client, Message, StatusCode};

use super::shard::ShardAnswer;
use crate::cluster::connected;

/// How long a stream knows the ids of its messages.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Time beyond the retention of deliveries after which messages go that nobody has purged.
const AGE_BEYOND: Duration = Duration::from_secs(3_600);
/// Copies of a stream where NATS is a cluster.
const REPLICAS: usize = 3;

/// JetStream: a stream's limit of bytes or messages is reached.
const STORE_FAILED: u64 = 10_077;
/// JetStream: an account or a server has no room left.
const NO_ROOM: [u64; 3] = [10_023, 10_028, 10_047];
/// JetStream: the message is larger than the stream takes.
const MESSAGE_TOO_LARGE: u64 = 10_054;
/// Time for the first connection, before a stream is given up for now.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The streams of the journals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalStreams {
    /// `cluster.name`.
    pub prefix: String,
    /// How many streams.
    pub shards: usize,
    /// Bytes of all of them.
    pub bytes_max: u64,
    /// How long a delivery is tried.
    pub retention: Duration,
    /// Copies of each; 0: three where NATS is a cluster, else one.
    pub replicas: usize,
}

impl JournalStreams {
    /// Name of a stream.
    #[must_use]
    pub fn stream(&self, shard: usize) -> String {
        match shard {
            0 => format!("{}_journal", self.prefix),
            shard => format!("{}_journal_{shard}", self.prefix),
        }
    }

    /// Subject of the bundles of an incarnation, or of all with `*`.
    #[must_use]
    pub fn subject(&self, shard: usize, incarnation: &str) -> String {
        match shard {
            0 => format!("{}.j.{incarnation}", self.prefix),
            shard => format!("{}.j{shard}.{incarnation}", self.prefix),
        }
    }

    /// The stream that a core's bundles are on: the cores of many nodes are spread evenly.
    #[must_use]
    pub fn shard_of(&self, incarnation: &str, core: usize) -> usize {
        let offset = incarnation.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        offset.wrapping_add(core) % self.shards.max(1)
    }

    fn config(&self, shard: usize, client: &Client) -> Config {
        let is_cluster = client.try_server_info().is_some_and(|info| info.cluster.is_some());
        let replicas = match self.replicas {
            0 if is_cluster => REPLICAS,
            0 => 1,
            replicas => replicas,
        };
        Config {
            name: self.stream(shard),
            subjects: vec![self.subject(shard, "*")],
            description: Some("Journals of Tidegate's nodes".to_owned()),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_bytes: i64::try_from(self.bytes_max / self.shards.max(1) as u64).unwrap_or(i64::MAX),
            max_age: self.retention + AGE_BEYOND,
            duplicate_window: DUPLICATE_WINDOW,
            num_replicas: replicas,
            ..Config::default()
        }
    }

    /// Makes a stream, or changes the limits of the one that there is.
    ///
    /// # Errors
    /// Why JetStream refuses, or that it does not answer.
    pub async fn ensure(
        &self,
        shard: usize,
        client: &Client,
        jetstream: &jetstream::Context,
    ) -> Result<(), String> {
        // A request that is made before is sent once there is a connection: too late to say how many copies there can be.
        if tokio::time::timeout(CONNECT_TIME, connected(client)).await.is_err() {
            return Err("NATS does not answer".to_owned());
        }
        let wanted = self.config(shard, client);
        let stream = match jetstream.get_or_create_stream(wanted.clone()).await {
            Ok(stream) => stream,
            Err(error) => return Err(error.to_string()),
        };
        let found = &stream.cached_info().config;
        let changed = Config {
            max_bytes: wanted.max_bytes,
            max_age: wanted.max_age,
            num_replicas: if self.replicas == 0 { found.num_replicas } else { wanted.num_replicas },
            ..found.clone()
        };
        if changed != *found {
            jetstream.update_stream(&changed).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// The answer to a message that was published.
pub(super) fn answer(message: &Message) -> ShardAnswer {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return ShardAnswer::Unknown;
    }
    match serde_json::from_slice::<Response<PublishAck>>(&message.payload) {
        Ok(Response::Ok(ack)) => ShardAnswer::Stored { sequence: ack.sequence },
        Ok(Response::Err { error }) => refusal(error.error_code(), &error.to_string()),
        Err(_) => ShardAnswer::Unknown,
    }
}

fn refusal(code: ErrorCode, text: &str) -> ShardAnswer {
    match code.0 {
        // Its text tells a limit from a fault.
        STORE_FAILED if text.contains("maximum") => ShardAnswer::Full,
        MESSAGE_TOO_LARGE => ShardAnswer::Refused,
        code if NO_ROOM.contains(&code) => ShardAnswer::Full,
        _ => ShardAnswer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(shards: usize) -> JournalStreams {
        let retention = Duration::from_secs(10);
        JournalStreams { prefix: "tg".to_owned(), shards, bytes_max: 100, retention, replicas: 0 }
    }

    #[test]
    fn streams_have_names_and_subjects_that_do_not_overlap() {
        let one = streams(3);
        assert_eq!((one.stream(0), one.subject(0, "*")), ("tg_journal".to_owned(), "tg.j.*".to_owned()));
        assert_eq!((one.stream(2), one.subject(2, "x")), ("tg_journal_2".to_owned(), "tg.j2.x".to_owned()));
        let shards: Vec<usize> = (0..6).map(|core| one.shard_of("0123", core)).collect();
        assert!((0..3).all(|shard| shards.iter().filter(|other| **other == shard).count() == 2));
        assert_eq!(streams(1).shard_of("0123", 5), 0);
    }

    #[test]
    fn only_what_is_certain_is_no_unknown_fate() {
        assert_eq!(refusal(ErrorCode(10_077), "maximum bytes exceeded"), ShardAnswer::Full);
        assert_eq!(refusal(ErrorCode(10_077), "no such file"), ShardAnswer::Unknown);
        assert_eq!(refusal(ErrorCode(10_047), "insufficient storage"), ShardAnswer::Full);
        assert_eq!(refusal(ErrorCode(10_054), "too large"), ShardAnswer::Refused);
        assert_eq!(refusal(ErrorCode(10_008), "unavailable"), ShardAnswer::Unknown);
    }
}
