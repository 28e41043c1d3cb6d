//! Requests of the REST API that one node passes to the others, by subject: about what each keeps for itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Request};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::base::log::bounded_log;

/// How long the answer of a node is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Pause before the subject is subscribed to again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The version of the messages. One of a later version is refused.
const VERSION: u8 = 1;
/// Status of an answer to a message that cannot be read.
const UNREADABLE: u16 = 400;

/// Answers a request, method and target, with what this node has: status and body.
pub(crate) type LocalApi =
    Arc<dyn Fn(String, String) -> Pin<Box<dyn Future<Output = (u16, Vec<u8>)> + Send>> + Send + Sync>;

#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    v: u8,
    method: String,
    target: String,
}

/// Asks the nodes behind these subjects; returns status and body of those that answer.
pub(super) async fn ask(
    client: Client,
    subjects: Vec<String>,
    method: String,
    target: String,
) -> Vec<(u16, Vec<u8>)> {
    let Ok(asked) = serde_json::to_vec(&Asked { v: VERSION, method, target }) else { return Vec::new() };
    let asked = Bytes::from(asked);
    let answers = join_all(subjects.into_iter().map(|subject| {
        let request = Request::new().payload(asked.clone()).timeout(Some(ANSWER_TIME));
        client.send_request(subject, request)
    }));
    let read = |answer: Result<async_nats::Message, async_nats::RequestError>| match answer {
        Ok(message) => {
            let (status, body) = message.payload.split_first_chunk()?;
            Some((u16::from_le_bytes(*status), body.to_vec()))
        }
        Err(error) => {
            bounded_log!(warn, %error, "another node does not answer: what it keeps is not shown");
            None
        }
    };
    answers.await.into_iter().filter_map(read).collect()
}

/// Answers requests of other nodes, as long as the connection lives.
pub(super) async fn serve(client: Client, subject: String, local: LocalApi) {
    loop {
        match client.subscribe(subject.clone()).await {
            Ok(mut subscriber) => {
                while let Some(message) = subscriber.next().await {
                    let Some(inbox) = message.reply else { continue };
                    let (client, local) = (client.clone(), Arc::clone(&local));
                    let asked = serde_json::from_slice::<Asked>(&message.payload).ok();
                    tokio::spawn(async move {
                        let (status, body) = match asked.filter(|asked| asked.v <= VERSION) {
                            Some(asked) => local(asked.method, asked.target).await,
                            None => (UNREADABLE, Vec::new()),
                        };
                        let answer = [&status.to_le_bytes()[..], &body].concat();
                        if let Err(error) = client.publish(inbox, answer.into()).await {
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
