//! Replies to callers of other nodes, by subject: a `replyId` names the node whose connection waits.
//!
//! A reply is one request of core NATS. The node answers what became of it; where nobody listens, the node is gone, and
//! its callers with it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::connection::Connection;
use super::membership::Incarnation;
use super::names::Names;
use crate::base::log::bounded_log;
use crate::engine::{Done, Outcome, RemoteReplies};
use crate::reply::{Close, Reply};

/// How long the answer of another node is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Pause before the subject is subscribed to again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The version of the messages. One of a later version is refused.
const VERSION: u8 = 1;
const HEADER: &str = "Tidegate-Reply";

/// Hands a reply to the caller of this node that it names.
pub type LocalReplies = Arc<dyn Fn(&str, Box<Reply>, Done) + Send + Sync>;

/// The parts of a reply besides its body, as a message carries them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    v: u8,
    reply_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    has_body: bool,
    is_binary: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    close: Option<(u16, String)>,
}

/// Outcome of a reply.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WaitedReply {
    Accepted,
    NotWaiting,
    Refused(String),
}

impl Head {
    fn of(reply_id: &str, reply: &Reply) -> Head {
        Head {
            v: VERSION,
            reply_id: reply_id.to_owned(),
            code: reply.response_code,
            headers: reply.headers.clone(),
            has_body: reply.body.is_some(),
            is_binary: reply.is_binary,
            close: reply.close.as_ref().map(|close| (close.code, close.reason.clone())),
        }
    }

    /// The reply; `None` if text is no text.
    fn reply(self, body: Bytes) -> Option<Reply> {
        if !self.is_binary && std::str::from_utf8(&body).is_err() {
            return None;
        }
        Some(Reply {
            only_for: None,
            response_code: self.code,
            headers: self.headers,
            body: self.has_body.then_some(body),
            is_binary: self.is_binary,
            stream: None,
            close: self.close.map(|(code, reason)| Close { code, reason }),
        })
    }
}

/// Passes replies to other nodes.
pub struct Replies {
    client: Client,
    handle: Handle,
    names: Names,
}

impl Replies {
    /// Over a connection.
    #[must_use]
    pub fn new(connection: &Connection, names: &Names) -> Replies {
        let (client, handle) = (connection.client.clone(), connection.handle().clone());
        Replies { client, handle, names: names.clone() }
    }
}

impl RemoteReplies for Replies {
    fn send(&self, node: Incarnation, reply_id: &str, reply: Box<Reply>, done: Done) {
        let (client, subject) = (self.client.clone(), self.names.reply(node));
        let head = serde_json::to_string(&Head::of(reply_id, &reply));
        self.handle.spawn(async move {
            let Ok(head) = head else { return done(Outcome::NotWaiting) };
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, head);
            let body = reply.body.unwrap_or_default();
            let request = Request::new().headers(headers).payload(body).timeout(Some(ANSWER_TIME));
            done(match client.send_request(subject, request).await {
                Ok(message) => match serde_json::from_slice(&message.payload) {
                    Ok(WaitedReply::Accepted) => Outcome::Accepted,
                    Ok(WaitedReply::NotWaiting) => Outcome::NotWaiting,
                    Ok(WaitedReply::Refused(why)) => Outcome::Refused(why),
                    Err(error) => Outcome::Refused(format!("the node answers what cannot be read: {error}")),
                },
                Err(error) if error.kind() == RequestErrorKind::NoResponders => Outcome::NotWaiting,
                Err(error) => {
                    bounded_log!(warn, %error, "a reply could not be passed to another node");
                    Outcome::Refused(
                        "the node that the caller is connected to does not answer: send it again".to_owned(),
                    )
                }
            });
        });
    }
}

/// Takes replies of other nodes for callers of this one, as long as the connection lives.
pub fn serve(connection: &Connection, names: &Names, inc: Incarnation, local: LocalReplies) {
    let (client, subject) = (connection.client.clone(), names.reply(inc));
    connection.spawn(async move {
        loop {
            match client.subscribe(subject.clone()).await {
                Ok(mut subscriber) => {
                    while let Some(message) = subscriber.next().await {
                        if let Some(inbox) = message.reply.clone() {
                            let client = client.clone();
                            let head = message.headers.as_ref().and_then(|headers| headers.get(HEADER));
                            let head = head.map(|head| head.as_str().to_owned()).unwrap_or_default();
                            let (answer, answered) = tokio::sync::oneshot::channel();
                            take(&head, message.payload, &local, answer);
                            tokio::spawn(async move {
                                // An engine that has ended tells nobody.
                                let Ok(answer) = answered.await else { return };
                                let text = serde_json::to_vec(&answer).unwrap_or_default();
                                if let Err(error) = client.publish(inbox, text.into()).await {
                                    tracing::debug!(%error, "the answer to a reply of another node");
                                }
                            });
                        }
                    }
                }
                Err(error) => {
                    bounded_log!(warn, %error, "replies of other nodes cannot be taken: it is tried again")
                }
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
    });
}

/// Hands a reply over; its answer is told when it is known.
fn take(head: &str, body: Bytes, local: &LocalReplies, answer: tokio::sync::oneshot::Sender<WaitedReply>) {
    let read = serde_json::from_str::<Head>(head).ok().filter(|head| head.v <= VERSION);
    let read = read.and_then(|head| Some((head.reply_id.clone(), head.reply(body)?)));
    let Some((reply_id, reply)) = read else {
        bounded_log!(error, "a reply of another node cannot be read: is it of a later version?");
        let _ = answer.send(WaitedReply::Refused("the node cannot read the reply".to_owned()));
        return;
    };
    let done: Done = Box::new(move |outcome| {
        // The asking node may have given up.
        let _ = answer.send(match outcome {
            Outcome::Accepted => WaitedReply::Accepted,
            Outcome::NotWaiting | Outcome::WrongCaller(_) => WaitedReply::NotWaiting,
            Outcome::Refused(why) => WaitedReply::Refused(why),
        });
    });
    local(&reply_id, Box::new(reply), done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_the_same_on_the_other_side() {
        let reply = Reply {
            response_code: Some(201),
            headers: vec![("X-A".to_owned(), "1\u{7f}é".to_owned()), ("x-a".to_owned(), "2".to_owned())],
            body: Some(Bytes::from_static(b"text")),
            close: Some(Close { code: 4000, reason: "done".to_owned() }),
            ..Reply::default()
        };
        for reply in [Reply { body: None, close: None, ..reply.clone() }, reply] {
            let head = serde_json::to_string(&Head::of("a.b", &reply)).unwrap();
            assert!(!head.contains('\n'));
            let read: Head = serde_json::from_str(&head).unwrap();
            assert_eq!(read.reply_id, "a.b");
            assert_eq!(read.reply(reply.body.clone().unwrap_or_default()), Some(reply));
        }
        let bad = Head::of("a.b", &Reply { body: Some(Bytes::new()), ..Reply::default() });
        assert_eq!(bad.reply(Bytes::from_static(&[0xFF])), None, "text is UTF-8");
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_nobody_gets_it() {
        let local: LocalReplies = Arc::new(|_, _, _| panic!("nobody gets it"));
        for head in ["", "{}", r#"{"v":2,"replyId":"a","hasBody":false,"isBinary":false}"#] {
            let (answer, mut answered) = tokio::sync::oneshot::channel();
            take(head, Bytes::new(), &local, answer);
            assert!(matches!(answered.try_recv(), Ok(WaitedReply::Refused(_))), "{head}");
        }
    }
}
