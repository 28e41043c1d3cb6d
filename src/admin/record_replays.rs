//! `…/requests/…/replay`: recorded requests are sent again through the ingress, one or many, with progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::nodes::{Others, progress_of_all};
use super::query::Parameters;
use super::record_shown::why_not_replayed;
use super::replays::Progress;
use super::requests::{RECORD_FILTERS, filters, find, missing, settle, shown};
use super::resources::webhook_of;
use super::{AdminState, Replay, Replayed};
use crate::base::id::Id;
use crate::model::Webhook;
use crate::record::{Record, RecordQuery};
use crate::store::Resource;

/// Requests of one replay.
const REPLAYED_MAX: usize = 10_000;
/// Pause between two: a hundred a second.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests that wait for their responses at a time.
const IN_FLIGHT_MAX: usize = 100;
/// The first status that says that the server failed.
const FIRST_SERVER_ERROR: u16 = 500;

pub(super) async fn replay_request(call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    Parameters::of(&call.uri)?.only(&[])?;
    let state = Arc::clone(&call.state);
    let Some(record) = find(&state, id, call.parameter("requestId")).await? else {
        let seconds = webhook.limits.reply_timeout_seconds;
        let seconds = seconds.unwrap_or(state.about.limits.reply_timeout_seconds);
        // The replay may wait for its reply.
        let others = Others::of(&call).patiently(Duration::from_secs(u64::from(seconds)));
        return others.first("POST", Vec::new(), missing()).await;
    };
    let replayed = replay(&state, &webhook, &record).await?;
    settle(&state, id).await?;
    let query = RecordQuery { replay_of: Some(record.id()), ..RecordQuery::default() };
    let made = state.shelf.page(id, &query, 0, 1).records.pop();
    shown(json!({
        "success": true, "statusCode": replayed.status_code, "durationMs": replayed.duration_ms,
        "id": made.map(|record| record.id().to_string()),
    }))
}

/// Sends the request of a record again.
async fn replay(state: &AdminState, webhook: &Webhook, record: &Record) -> Result<Replayed, ApiError> {
    if let Some(why) = why_not_replayed(record) {
        return Err(ApiError::new(Kind::Conflict, format!("this cannot be replayed: {why}")));
    }
    let request = request_of(webhook, record)
        .ok_or_else(|| ApiError::new(Kind::Internal, "the record cannot be read"))?;
    let peer = record.call().and_then(|call| call.peer);
    let replay = Replay { record: record.id(), peer, request };
    let replayed = state.engine.replay_request(webhook.id, replay).await;
    replayed.map_err(|(status, message)| ApiError::from_engine(status, message))
}

/// The request of a record, byte for byte, to the webhook's present token.
fn request_of(webhook: &Webhook, record: &Record) -> Option<Vec<u8>> {
    let call = record.call()?;
    let mut request = Vec::with_capacity(call.fields.len() + call.body.len() + call.path.len() + 128);
    request.extend_from_slice(call.method);
    request.extend_from_slice(b" /webhooks/");
    request.extend_from_slice(webhook.token.as_str().as_bytes());
    request.extend_from_slice(call.path);
    request.extend_from_slice(if call.is_http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    request.extend_from_slice(call.fields);
    request.extend_from_slice(b"\r\n");
    if call.is_chunked {
        if !call.body.is_empty() {
            request.extend_from_slice(format!("{:x}\r\n", call.body.len()).as_bytes());
            request.extend_from_slice(call.body);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
    } else {
        request.extend_from_slice(call.body);
    }
    Some(request)
}

pub(super) async fn replay_requests(mut call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&RECORD_FILTERS)?;
    let others = Others::of(&call);
    let body = call.json_or_nothing().await?;
    let query = RecordQuery { ids: ids(&body)?, ..filters(&parameters)? };
    let state = Arc::clone(&call.state);
    settle(&state, id).await?;
    let looked = Arc::clone(&state);
    let found = tokio::task::spawn_blocking(move || looked.shelf.page(id, &query, 0, REPLAYED_MAX));
    let found =
        found.await.map_err(|_| ApiError::new(Kind::Internal, "the request could not be worked on"))?;
    let records: Vec<Id> = found
        .records
        .iter()
        .rev()
        .filter(|record| why_not_replayed(record).is_none())
        .map(Record::id)
        .collect();
    let progress = Arc::new(Progress { total: (records.len() as u64).into(), ..Progress::default() });
    if !state.record_replays.begin(id, &progress) {
        return Err(ApiError::new(Kind::Conflict, "requests of the webhook are being replayed already"));
    }
    let answer = progress.shown();
    tokio::spawn(replay_all(state, webhook, records, progress));
    // Each node sends its own.
    let theirs = others.ask::<Value>("POST", body.to_string().into_bytes()).await;
    shown(progress_of_all(std::iter::once(answer).chain(theirs.bodies)))
}

/// `{"ids": […]}`.
fn ids(body: &Value) -> Result<Option<Vec<Id>>, ApiError> {
    let must =
        || ApiError::validation(format!("`ids` must be a list of at most {REPLAYED_MAX} ids of requests"));
    if body.is_null() {
        return Ok(None);
    }
    let Some(object) = body.as_object() else {
        return Err(ApiError::validation("the body must be a JSON object"));
    };
    if let Some(other) = object.keys().find(|key| *key != "ids") {
        return Err(ApiError::validation(format!("`{other}` is not a field of a replay")));
    }
    let Some(ids) = object.get("ids") else { return Ok(None) };
    let ids = ids.as_array().filter(|ids| ids.len() <= REPLAYED_MAX).ok_or_else(must)?;
    let id = |id: &Value| id.as_str().and_then(|id| id.parse().ok()).ok_or_else(must);
    ids.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// Sends requests again, the oldest first.
async fn replay_all(state: Arc<AdminState>, webhook: Webhook, records: Vec<Id>, progress: Arc<Progress>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let webhook = Arc::new(webhook);
    for id in records {
        // Closed by nobody.
        let Ok(place) = Arc::clone(&in_flight).acquire_owned().await else { break };
        let (state, webhook, progress) = (Arc::clone(&state), Arc::clone(&webhook), Arc::clone(&progress));
        tokio::spawn(async move {
            let sent = match state.shelf.find(webhook.id, id) {
                Some(record) => replay(&state, &webhook, &record).await.ok(),
                None => None,
            };
            let is_good = sent.is_some_and(|replayed| replayed.status_code < FIRST_SERVER_ERROR);
            let count: &AtomicU64 = if is_good { &progress.replayed } else { &progress.failed };
            count.fetch_add(1, Ordering::Relaxed);
            drop(place);
        });
        tokio::time::sleep(PAUSE).await;
    }
    // Those that wait for their responses.
    let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
    let _ = in_flight.acquire_many(all).await;
    progress.is_over.store(true, Ordering::Relaxed);
}
