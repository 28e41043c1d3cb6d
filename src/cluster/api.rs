//! Requests of the REST API that one node passes to the others, by subject: about what each keeps for itself.
//!
//! An answer is a sequence of parts on a subject of the asking node, each of which is acknowledged: a node that asks no more
//! has nobody there, which ends the answer. So a stream of events can be passed on, too, and an answer may be larger than
//! a message of NATS.
//!
//! | bytes of a part | field |
//! | --- | --- |
//! | 1 | kind: 0 the end of a frame, 1 a piece of a frame that continues, 2 the end of the answer, 3 the answer broke off |
//! | 2 | status, little endian |
//! | rest | bytes of the frame |

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Request, StatusCode, Subscriber};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::membership::Incarnation;
use super::names::Names;
use crate::base::log::bounded_log;
use crate::base::random::Random;

/// How long the acknowledgement of a part is waited for.
const PART_TIME: Duration = Duration::from_secs(5);
/// Bytes of a part of an answer: a server of NATS takes 1 MiB, unless it is told otherwise.
const PART_BYTES: usize = 256 * 1024;
/// Bytes of an answer that is awaited whole.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Silence of a stream after which its node is taken for gone: each sends a comment every 15 s.
const STREAM_SILENCE: Duration = Duration::from_secs(40);
/// How often nodes are looked for whose stream is not followed.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);
/// How long the streams of the others are waited for before the first event is told.
const OPEN_TIME: Duration = Duration::from_secs(1);
/// Events of other nodes that wait for the reader.
const EVENTS_MAX: usize = 256;
/// Pause before the subject is subscribed to again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The version of the messages. One of another version is refused.
const VERSION: u8 = 2;
/// Status of an answer to a message that cannot be read.
const UNREADABLE: u16 = 400;
/// Status of a complete answer.
const COMPLETE: u16 = 200;
/// Bytes before those of a frame.
const HEAD_BYTES: usize = 3;

/// The frames of an answer's body; an error breaks it off.
pub(crate) type FrameStream = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;
/// Answers a request with what this node has: status and body.
pub(crate) type LocalApi =
    Arc<dyn Fn(PassedRequest) -> Pin<Box<dyn Future<Output = (u16, FrameStream)> + Send>> + Send + Sync>;

/// Nodes that were asked, each with status and body if it answered.
pub(crate) type NodeReplies = Vec<(Incarnation, Option<(u16, Vec<u8>)>)>;

/// A request of the REST API as one node passes it to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassedRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Whether a stream of events is asked for.
    pub(crate) is_stream: bool,
    pub(crate) body: Bytes,
}

/// The begin of a message, up to a line feed; the body follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    v: u8,
    method: String,
    target: String,
    is_stream: bool,
}

impl PassedRequest {
    fn message(&self) -> Bytes {
        let PassedRequest { method, target, is_stream, body } = self;
        let head = serde_json::json!({
            "v": VERSION, "method": method, "target": target, "isStream": is_stream,
        });
        let mut message = head.to_string().into_bytes();
        message.push(b'\n');
        message.extend_from_slice(body);
        message.into()
    }

    fn read(message: &Bytes) -> Option<PassedRequest> {
        let end = memchr::memchr(b'\n', message)?;
        let Head { v, method, target, is_stream } = serde_json::from_slice(&message[..end]).ok()?;
        (v == VERSION).then(|| PassedRequest { method, target, is_stream, body: message.slice(end + 1..) })
    }
}

/// The kinds of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum PartKind {
    Frame = 0,
    Piece = 1,
    End = 2,
    Broken = 3,
}

impl PartKind {
    fn of(byte: u8) -> Option<PartKind> {
        [PartKind::Frame, PartKind::Piece, PartKind::End, PartKind::Broken]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The parts of a frame: its bytes in pieces, the last of which ends it.
fn parts(mut frame: Bytes) -> impl Iterator<Item = (PartKind, Bytes)> {
    std::iter::from_fn(move || {
        (!frame.is_empty()).then(|| {
            let piece = frame.split_to(frame.len().min(PART_BYTES));
            (if frame.is_empty() { PartKind::Frame } else { PartKind::Piece }, piece)
        })
    })
}

/// Asks other nodes.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
    names: Names,
    inc: Incarnation,
}

/// An answer under way.
struct PassedAnswer {
    client: Client,
    parts: Subscriber,
    frame: BytesMut,
}

impl Asker {
    pub(super) fn new(client: Client, names: Names, inc: Incarnation) -> Asker {
        Asker { client, names, inc }
    }

    /// Asks these nodes; returns status and body of each that answers within a time.
    pub(super) async fn ask(
        self,
        nodes: Vec<Incarnation>,
        request: PassedRequest,
        time: Duration,
    ) -> NodeReplies {
        let message = request.message();
        let answers = nodes.into_iter().map(|node| {
            let answer = self.whole(node, message.clone());
            async move {
                let answer = tokio::time::timeout(time, answer).await;
                match answer.unwrap_or_else(|_| Err("it does not answer in time".to_owned())) {
                    Ok(answer) => (node, Some(answer)),
                    Err(error) => {
                        bounded_log!(warn, %node, %error, "what another node keeps is not shown");
                        (node, None)
                    }
                }
            }
        });
        join_all(answers).await
    }

    /// Passes the events of the streams of other nodes on, of those that join later, too, until nobody takes them. Returns
    /// once the streams are open, or have had some time for it.
    pub(super) async fn follow(
        self,
        others: impl Fn() -> Vec<Incarnation> + Send + 'static,
        request: PassedRequest,
    ) -> mpsc::Receiver<Bytes> {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (opened, mut all_open) = mpsc::channel::<()>(1);
        let message = request.message();
        tokio::spawn(async move {
            let mut followed: HashMap<Incarnation, JoinHandle<()>> = HashMap::new();
            let mut opened = Some(opened);
            loop {
                followed.retain(|_, stream| !stream.is_finished());
                for node in others() {
                    followed.entry(node).or_insert_with(|| {
                        let (asker, message) = (self.clone(), message.clone());
                        let (events, opened) = (events.clone(), opened.clone());
                        tokio::spawn(async move {
                            if let Err(error) = asker.pass_on(node, message, &events, opened).await {
                                bounded_log!(warn, %node, %error, "events of another node are not shown");
                            }
                        })
                    });
                }
                opened = None;
                tokio::select! {
                    () = events.closed() => break,
                    () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
                }
            }
            followed.values().for_each(JoinHandle::abort);
        });
        // Each stream drops its sender when it is open. Late ones are followed all the same.
        let _ = tokio::time::timeout(OPEN_TIME, all_open.recv()).await;
        receiver
    }

    async fn begin(&self, node: Incarnation, message: Bytes) -> Result<PassedAnswer, String> {
        let client = self.client.clone();
        let inbox = self.names.answer(self.inc, Random::from_system().next_u64());
        // The server knows of the subscription before it gets the request: both go by the same connection.
        let parts = client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
        let sent = client.publish_with_reply(self.names.api(node), inbox, message).await;
        sent.map_err(|error| error.to_string())?;
        Ok(PassedAnswer { client, parts, frame: BytesMut::new() })
    }

    async fn whole(&self, node: Incarnation, message: Bytes) -> Result<(u16, Vec<u8>), String> {
        let mut answer = self.begin(node, message).await?;
        let mut body = Vec::new();
        loop {
            let (status, frame) = answer.frame().await?;
            let Some(frame) = frame else { return Ok((status, body)) };
            body.extend_from_slice(&frame);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("it answers with more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
    }

    async fn pass_on(
        &self,
        node: Incarnation,
        message: Bytes,
        events: &mpsc::Sender<Bytes>,
        mut opened: Option<mpsc::Sender<()>>,
    ) -> Result<(), String> {
        let mut answer = self.begin(node, message).await?;
        loop {
            let next = tokio::time::timeout(STREAM_SILENCE, answer.frame()).await;
            let (status, frame) = next.map_err(|_| "it is silent".to_owned())??;
            drop(opened.take());
            match frame {
                Some(event) if status == COMPLETE => {
                    if events.send(event).await.is_err() {
                        return Ok(());
                    }
                }
                // A webhook that is not there yet, or no room for a further stream.
                Some(_) => return Err(format!("it answers with the status {status}")),
                None => return Ok(()),
            }
        }
    }
}

impl PassedAnswer {
    /// The next frame, with the answer's status; `None` at its end.
    async fn frame(&mut self) -> Result<(u16, Option<Bytes>), String> {
        loop {
            let message = self.parts.next().await.ok_or("the connection to NATS ends")?;
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return Err("it is not there".to_owned());
            }
            let unreadable = || "its answer cannot be read: is it of another version?".to_owned();
            let (head, bytes) = message.payload.split_first_chunk::<HEAD_BYTES>().ok_or_else(unreadable)?;
            let (kind, status) = (PartKind::of(head[0]), u16::from_le_bytes([head[1], head[2]]));
            let Some(acknowledged) = message.reply.clone() else { return Err(unreadable()) };
            let acknowledged = self.client.publish(acknowledged, Bytes::new()).await;
            acknowledged.map_err(|error| error.to_string())?;
            match kind.ok_or_else(unreadable)? {
                PartKind::End => return Ok((status, None)),
                PartKind::Broken => return Err("its answer broke off".to_owned()),
                PartKind::Piece if self.frame.len() + bytes.len() > ANSWER_BYTES_MAX => {
                    return Err(format!("it answers with more than {ANSWER_BYTES_MAX} bytes"));
                }
                PartKind::Piece => self.frame.extend_from_slice(bytes),
                PartKind::Frame => {
                    self.frame.extend_from_slice(bytes);
                    return Ok((status, Some(self.frame.split().freeze())));
                }
            }
        }
    }
}

/// Answers requests of other nodes, as long as the connection lives.
pub(super) async fn serve(client: Client, subject: String, local: LocalApi) {
    loop {
        match client.subscribe(subject.clone()).await {
            Ok(mut subscriber) => {
                while let Some(message) = subscriber.next().await {
                    let Some(inbox) = message.reply else { continue };
                    let (client, local) = (client.clone(), Arc::clone(&local));
                    tokio::spawn(async move {
                        let (status, frames) = match PassedRequest::read(&message.payload) {
                            Some(request) => local(request).await,
                            None => (UNREADABLE, Box::pin(futures_util::stream::empty()) as FrameStream),
                        };
                        let to = inbox.to_string();
                        if let Err(error) = answer(&client, &to, status, frames).await {
                            tracing::debug!(%error, "the answer to a request of another node");
                        }
                    });
                }
            }
            Err(error) => {
                bounded_log!(warn, %error, "requests of other nodes cannot be taken: it is tried again")
            }
        }
        tokio::time::sleep(SUBSCRIBE_PAUSE).await;
    }
}

/// Sends an answer, until it ends or nobody takes it.
async fn answer(
    client: &Client,
    inbox: &str,
    status: u16,
    mut frames: FrameStream,
) -> Result<(), async_nats::RequestError> {
    let send = |kind: PartKind, bytes: Bytes| {
        let mut part = BytesMut::with_capacity(HEAD_BYTES + bytes.len());
        part.extend_from_slice(&[kind as u8]);
        part.extend_from_slice(&status.to_le_bytes());
        part.extend_from_slice(&bytes);
        let request = Request::new().payload(part.freeze()).timeout(Some(PART_TIME));
        client.send_request(inbox.to_owned(), request)
    };
    while let Some(frame) = frames.next().await {
        let Ok(frame) = frame else {
            send(PartKind::Broken, Bytes::new()).await?;
            return Ok(());
        };
        for (kind, bytes) in parts(frame) {
            send(kind, bytes).await?;
        }
    }
    send(PartKind::End, Bytes::new()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_one_of_another_version_is_not() {
        for body in [&b""[..], b"{\"a\":\n1}\n"] {
            let request = PassedRequest {
                method: "POST".to_owned(),
                target: "/a?b=\u{e9}\n".to_owned(),
                is_stream: true,
                body: Bytes::copy_from_slice(body),
            };
            assert_eq!(PassedRequest::read(&request.message()), Some(request));
        }
        for message in ["", "\n", "{}\n", r#"{"v":3,"method":"GET","target":"/","isStream":false}"#] {
            assert_eq!(PassedRequest::read(&Bytes::from(format!("{message}\n"))), None, "{message}");
        }
    }

    #[test]
    fn a_frame_is_cut_into_parts_and_only_the_last_ends_it() {
        let cut = |bytes: usize| -> Vec<(PartKind, usize)> {
            parts(Bytes::from(vec![b'a'; bytes])).map(|(kind, bytes)| (kind, bytes.len())).collect()
        };
        assert_eq!(cut(0), []);
        assert_eq!(cut(1), [(PartKind::Frame, 1)]);
        assert_eq!(cut(PART_BYTES), [(PartKind::Frame, PART_BYTES)]);
        assert_eq!(cut(PART_BYTES + 1), [(PartKind::Piece, PART_BYTES), (PartKind::Frame, 1)]);
    }
}
