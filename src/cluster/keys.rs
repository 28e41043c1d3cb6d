//! The keys of calls (`deduplicate`) of all nodes, on the stream `P_keys`: one message for each key, written by compare and
//! set on its sequence, so that of all nodes one has it.
//!
//! A claim's message goes by its TTL if its node ends; a key that is kept has the window as its TTL. One that is given
//! back says so, since a message cannot be taken away by compare and set.
//!
//! | bytes of a message | field |
//! | --- | --- |
//! | 1 | version of the format |
//! | 1 | state: 0 given back, 1 claimed, 2 kept |
//! | 8 | when it was taken, in milliseconds since 1970, little endian |
//! | 16 | number of the call's claim |

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType};
use bytes::Bytes;
use tokio::runtime::Handle;

use super::connection::{Connection, connected};
use super::names::Names;
use super::node::Replicas;
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::base::random::Random;
use crate::engine::{KeyTold, SharedKey, SharedKeys};
use crate::limit::{KeyOutcome, SharedClaim, Taken};

/// Time for the answer to one request of JetStream.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Pause before a request is made again.
const PAUSE: Duration = Duration::from_millis(250);
/// Pauses of a call whose key another one has claimed: it is kept or given back soon, as a rule.
const CLAIMED_PAUSES_MILLIS: [u64; 5] = [20, 50, 100, 200, 400];
/// How often the end of a claim is tried to be told: then its message goes by its TTL.
const ENDINGS_MAX: usize = 60;
/// How long the message of a key is there that was given back, in seconds.
const GIVEN_BACK_SECONDS: u64 = 1;
/// Bytes of the stream: over them the oldest keys go.
const BYTES_MAX: i64 = 256 * 1024 * 1024;
/// Window of repeats, which this stream has no use for.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);
const EXPECTED_HEADER: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL_HEADER: &str = "Nats-TTL";
const VERSION: u8 = 1;
const MILLIS_PER_SECOND: u64 = 1_000;

/// The keys of all nodes, for the cores of this one.
pub struct Keys {
    handle: Handle,
    stream: Arc<KeyStream>,
    /// How long a claim is tried.
    time: Duration,
}

/// The stream, as this node reaches it.
#[derive(Debug)]
struct KeyStream {
    jetstream: Context,
    names: Names,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum KeyState {
    GivenBack = 0,
    Claimed = 1,
    Kept = 2,
}

/// A message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyMessage {
    state: KeyState,
    unix_millis: u64,
    claim: u128,
}

impl KeyMessage {
    fn bytes(self) -> Bytes {
        let mut bytes = vec![VERSION, self.state as u8];
        bytes.extend_from_slice(&self.unix_millis.to_le_bytes());
        bytes.extend_from_slice(&self.claim.to_le_bytes());
        bytes.into()
    }

    fn read(bytes: &[u8]) -> Option<KeyMessage> {
        let ([version, state], rest) = bytes.split_first_chunk()?;
        let (unix_millis, claim) = rest.split_first_chunk()?;
        let states = [KeyState::GivenBack, KeyState::Claimed, KeyState::Kept];
        let state = states.into_iter().find(|known| *known as u8 == *state)?;
        let claim = u128::from_le_bytes(claim.try_into().ok()?);
        (*version == VERSION).then(|| KeyMessage {
            state,
            unix_millis: u64::from_le_bytes(*unix_millis),
            claim,
        })
    }
}

impl Keys {
    /// The keys on the cluster's stream, which is made if it is not there. A claim is tried for `time`.
    #[must_use]
    pub fn start(
        connection: &Connection,
        names: &Names,
        replicas: Replicas,
        time: Duration,
        clock: Clock,
    ) -> Keys {
        let (jetstream, handle) = (connection.jetstream.clone(), connection.handle().clone());
        let stream = Arc::new(KeyStream { jetstream, names: names.clone(), clock });
        let (client, opened) = (connection.client.clone(), Arc::clone(&stream));
        connection.spawn(async move {
            connected(&client).await;
            opened.open(|| replicas.of(&client)).await;
        });
        Keys { handle, stream, time }
    }
}

impl SharedKeys for Keys {
    fn claim(&self, key: SharedKey, done: KeyTold) {
        let (stream, time, handle) = (Arc::clone(&self.stream), self.time, self.handle.clone());
        self.handle.spawn(async move {
            let subject = stream.subject(&key);
            let mut random = Random::from_system();
            let claim = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
            let message = KeyMessage { state: KeyState::Claimed, unix_millis: key.taken.unix_millis, claim };
            let claiming = stream.claim(&subject, &key, message);
            done(match tokio::time::timeout(time, claiming).await {
                Ok(Claiming::Taken(taken)) => KeyOutcome::Taken(taken),
                Ok(Claiming::Has(sequence)) => KeyOutcome::Claimed(Box::new(ClaimOnStream(Some(Ending {
                    handle,
                    stream,
                    subject,
                    sequence: Some(sequence),
                    message,
                    window_millis: key.window_millis,
                })))),
                Err(_) => {
                    bounded_log!(
                        warn,
                        "the cluster does not tell whether a key was taken: its call is refused"
                    );
                    // A publish whose ack was lost may have taken it.
                    let window_millis = key.window_millis;
                    let unknown = Ending { handle, stream, subject, sequence: None, message, window_millis };
                    unknown.tell(KeyState::GivenBack);
                    KeyOutcome::Unknown
                }
            });
        });
    }
}

/// The outcome of a claim.
enum Claiming {
    /// With the sequence of its message.
    Has(u64),
    Taken(Taken),
}

impl KeyStream {
    async fn open(&self, replicas: impl Fn() -> usize) {
        loop {
            let config = Config {
                name: self.names.keys_stream(),
                subjects: vec![self.names.key_of_call("*", "*")],
                max_messages_per_subject: 1,
                max_bytes: BYTES_MAX,
                discard: DiscardPolicy::Old,
                storage: StorageType::File,
                num_replicas: replicas(),
                allow_message_ttl: true,
                duplicate_window: DUPLICATE_WINDOW,
                ..Config::default()
            };
            match self.jetstream.get_or_create_stream(config).await {
                Ok(_) => return,
                Err(error) => {
                    bounded_log!(warn, %error, "the stream of the calls' keys cannot be opened: it is tried again")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn subject(&self, key: &SharedKey) -> String {
        use std::fmt::Write as _;
        let mut token = String::with_capacity(40);
        for byte in key.mark.0.iter().chain(key.taken.key.raw()) {
            // A string takes everything.
            let _ = write!(token, "{byte:02x}");
        }
        self.names.key_of_call(&key.webhook.to_string(), &token)
    }

    /// Claims a key, and tries it until it is known whether it has it.
    async fn claim(&self, subject: &str, key: &SharedKey, message: KeyMessage) -> Claiming {
        let mut pauses = CLAIMED_PAUSES_MILLIS.into_iter().filter(|_| key.waits_for_others);
        let mut expected = 0;
        loop {
            match self.publish(subject, expected, key.claim_seconds, message).await {
                Ok(Some(sequence)) => return Claiming::Has(sequence),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a key of a call cannot be claimed yet");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let last = match self.last(subject).await {
                Ok(last) => last,
                Err(error) => {
                    tracing::debug!(%error, "a key of a call cannot be looked up yet");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some((sequence, last)) = last else {
                expected = 0;
                continue;
            };
            let Some(last) = last else {
                bounded_log!(error, "the key of a call cannot be read: is it of a later version?");
                return Claiming::Taken(Taken::Kept);
            };
            let age_millis = message.unix_millis.saturating_sub(last.unix_millis);
            match last.state {
                // The ack was lost.
                KeyState::Claimed if last.claim == message.claim => return Claiming::Has(sequence),
                KeyState::GivenBack => expected = sequence,
                _ if age_millis >= key.window_millis => expected = sequence,
                KeyState::Kept => return Claiming::Taken(Taken::Kept),
                KeyState::Claimed => match pauses.next() {
                    Some(pause) => tokio::time::sleep(Duration::from_millis(pause)).await,
                    None => return Claiming::Taken(Taken::Claimed),
                },
            }
        }
    }

    /// Publishes a message, if the last one has this sequence (0: there is none); returns its own.
    async fn publish(
        &self,
        subject: &str,
        expected: u64,
        seconds: u64,
        message: KeyMessage,
    ) -> Result<Option<u64>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_HEADER, expected.to_string());
        headers.insert(TTL_HEADER, format!("{seconds}s"));
        let publish = async {
            let subject = subject.to_owned();
            self.jetstream.publish_with_headers(subject, headers, message.bytes()).await?.await
        };
        match tokio::time::timeout(ANSWER_TIME, publish).await {
            Ok(Ok(ack)) => Ok(Some(ack.sequence)),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// The last message of a subject with its sequence, as far as this version can read it.
    async fn last(&self, subject: &str) -> Result<Option<(u64, Option<KeyMessage>)>, String> {
        let look = async {
            let stream = self.jetstream.get_stream_no_info(self.names.keys_stream()).await;
            let stream = stream.map_err(|error| error.to_string())?;
            match stream.get_last_raw_message_by_subject(subject).await {
                Ok(found) => Ok(Some((found.sequence, KeyMessage::read(&found.payload)))),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        tokio::time::timeout(ANSWER_TIME, look).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

/// A claim that this node has on the stream, until it is known what becomes of it.
#[derive(Debug)]
struct ClaimOnStream(Option<Ending>);

impl SharedClaim for ClaimOnStream {
    fn keep(mut self: Box<Self>) {
        if let Some(ending) = self.0.take() {
            ending.tell(KeyState::Kept);
        }
    }
}

impl Drop for ClaimOnStream {
    fn drop(&mut self) {
        if let Some(ending) = self.0.take() {
            ending.tell(KeyState::GivenBack);
        }
    }
}

/// The end of a claim, to be told on the stream.
#[derive(Debug)]
struct Ending {
    handle: Handle,
    stream: Arc<KeyStream>,
    subject: String,
    /// Of the claim's message; `None`: it is not known whether it is there.
    sequence: Option<u64>,
    message: KeyMessage,
    window_millis: u64,
}

impl Ending {
    /// Tells it in the background, again until it is there.
    fn tell(self, state: KeyState) {
        let handle = self.handle.clone();
        handle.spawn(self.run(state));
    }

    async fn run(mut self, state: KeyState) {
        let seconds = match state {
            KeyState::Kept => {
                let age_millis = self.stream.clock.now().unix_millis.saturating_sub(self.message.unix_millis);
                self.window_millis.saturating_sub(age_millis).div_ceil(MILLIS_PER_SECOND).max(1)
            }
            KeyState::GivenBack | KeyState::Claimed => GIVEN_BACK_SECONDS,
        };
        let claim = self.message.claim;
        let message = KeyMessage { state, ..self.message };
        for _ in 0..ENDINGS_MAX {
            let told = match self.sequence {
                Some(sequence) => self.stream.publish(&self.subject, sequence, seconds, message).await,
                None => Ok(None),
            };
            match told {
                Ok(Some(_)) => return,
                Ok(None) => match self.stream.last(&self.subject).await {
                    // Another call's; or it is told already, and the ack was lost.
                    Ok(Some((_, last)))
                        if last.is_none_or(|last| last.claim != claim || last.state == state) =>
                    {
                        return;
                    }
                    Ok(Some((sequence, _))) => {
                        self.sequence = Some(sequence);
                        continue;
                    }
                    // Its time was over: what is kept is written anew.
                    Ok(None) if state == KeyState::Kept && self.sequence != Some(0) => {
                        self.sequence = Some(0);
                        continue;
                    }
                    Ok(None) => return,
                    Err(error) => tracing::debug!(%error, "the end of a key's claim cannot be told yet"),
                },
                Err(error) => tracing::debug!(%error, "the end of a key's claim cannot be told yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        bounded_log!(
            warn,
            "the cluster was not told what became of the key of a call: its claim ends by its time"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_and_one_of_another_version_is_not() {
        for state in [KeyState::GivenBack, KeyState::Claimed, KeyState::Kept] {
            let message = KeyMessage { state, unix_millis: 1_771_521_960_000, claim: u128::MAX - 7 };
            let bytes = message.bytes();
            assert_eq!(KeyMessage::read(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(KeyMessage::read(&bytes[..length]), None, "{length}");
            }
            let later = [&[VERSION + 1], &bytes[1..]].concat();
            assert_eq!(KeyMessage::read(&later), None);
        }
    }
}
