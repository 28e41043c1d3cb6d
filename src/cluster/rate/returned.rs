//! Places of a webhook's concurrency that processes held which have ended for sure: they are given back at once, where others
//! would wait until their lease is over. A node that is only silent keeps its places: it may be cut off, with its calls.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::keeper::{EXPECTED_HEADER, TTL_HEADER};
use super::machine::GIVEN_BACK_SECONDS;
use crate::base::log::bounded_log;
use crate::cluster::Connection;
use crate::cluster::names::Names;

/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// Time for the next message.
const MESSAGE_TIME: Duration = Duration::from_secs(5);

/// Gives back the places of these incarnations, in the background, again until it is done.
pub fn give_back_places(connection: &Connection, names: &Names, ended: &[String]) {
    if ended.is_empty() {
        return;
    }
    let (jetstream, names, ended) = (connection.jetstream.clone(), names.clone(), ended.to_owned());
    connection.spawn(async move {
        loop {
            match give_back(&jetstream, &names, &ended).await {
                Ok(blocks) => return tracing::debug!(blocks, "places of earlier starts were given back"),
                Err(error) => {
                    bounded_log!(warn, %error, "places of earlier starts are not given back yet: it is tried again")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
}

async fn give_back(jetstream: &Context, names: &Names, ended: &[String]) -> Result<usize, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = jetstream.get_stream_no_info(names.limit_stream()).await.map_err(|error| text(&error))?;
    let config = OrderedConfig { filter_subject: names.places("*", "*"), ..OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.map_err(|error| text(&error))?;
    let mut pending = consumer.cached_info().num_pending;
    let mut messages = consumer.messages().await.map_err(|error| text(&error))?;
    let mut blocks = 0;
    while pending > 0 {
        let next = tokio::time::timeout(MESSAGE_TIME, messages.next()).await;
        // One that was the last has expired meanwhile.
        let Ok(next) = next else { break };
        let message = next.ok_or("the list of places ends early")?.map_err(|error| text(&error))?;
        let info = message.info().map_err(|error| text(&error))?;
        pending = info.pending;
        if ended.iter().any(|inc| inc.as_bytes() == &message.payload[..]) {
            let mut headers = HeaderMap::new();
            headers.insert(EXPECTED_HEADER, info.stream_sequence.to_string());
            headers.insert(TTL_HEADER, format!("{GIVEN_BACK_SECONDS}s"));
            let publish = jetstream.publish_with_headers(message.subject.clone(), headers, Bytes::new());
            publish.await.map_err(|error| text(&error))?.await.map_err(|error| text(&error))?;
            blocks += 1;
        }
    }
    Ok(blocks)
}
