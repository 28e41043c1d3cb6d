//! `…/requests`: what was recorded of a webhook's calls: lists, one record, the parameters that narrow both.

use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::AdminState;
use super::call::{Call, Outcome};
use super::dead_letters::time;
use super::error::{ApiError, Kind};
use super::nodes::{MergedPage, Others, page_of, progress_of_all};
use super::query::Parameters;
use super::record_shown::Shower;
use super::record_stream::{stream, wants_stream};
use super::resources::webhook_of;
use crate::base::id::Id;
use crate::model::{Webhook, time_text};
use crate::record::{self, Record, RecordQuery, StatusFilter};
use crate::registry::tail_of;
use crate::store::{Resource, Source as _};

/// The parameters that narrow a list.
pub(super) const RECORD_FILTERS: [&str; 7] =
    ["status", "method", "kind", "connection", "since", "until", "search"];
/// Longest text that is looked for.
const SEARCH_BYTES_MAX: usize = 1_024;

pub(super) async fn requests(call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&[&["page", "perPage", "payload", "updates"], &RECORD_FILTERS[..]].concat())?;
    let query = filters(&parameters)?;
    let shower = shower(&call.state, &webhook, with_payload(&parameters)?).await?;
    let updates = parameters.flag("updates")?;
    let others = Others::of(&call);
    if wants_stream(&call.headers) {
        return stream(&call.state, shower, query, updates, others.follow().await);
    }
    let (page, per_page) = page_of(&parameters)?;
    let merged = if others.are_there() { Some(MergedPage::of(page, per_page)?) } else { None };
    let state = Arc::clone(&call.state);
    let own = async {
        settle(&state, id).await?;
        let state = Arc::clone(&state);
        let (skip, take) = merged.as_ref().map_or((page * per_page, per_page), |merged| (0, merged.newest));
        // Searching takes a while, and payloads are made.
        let answered = tokio::task::spawn_blocking(move || {
            let take = usize::try_from(take).unwrap_or(usize::MAX);
            let found = state.shelf.page(id, &query, skip, take);
            let items = found.records.iter().filter_map(|record| shower.item(record));
            let items: serde_json::Result<Vec<_>> = items.map(|item| to_raw_value(&item)).collect();
            Ok::<OfNode, ApiError>(OfNode {
                items: items.map_err(|error| ApiError::from_engine(500, error.to_string()))?,
                total_count: found.total as u64,
                skipped: found.skipped,
                last_call: state.shelf.book().last_call(id).map(time_text),
                replay: state.record_replays.of(id).map_or(Value::Null, |replay| replay.shown()),
            })
        });
        answered.await.map_err(|_| not_worked())?
    };
    let (all, unreachable) = match &merged {
        None => (own.await?, Vec::new()),
        Some(merged) => {
            let (own, theirs) = tokio::join!(own, others.list::<OfNode>(merged.newest));
            let nodes = std::iter::once(own?).chain(theirs.bodies).collect();
            (OfNode::of_all(nodes, merged), theirs.unreachable)
        }
    };
    shown_list(&RequestList {
        count: all.items.len(),
        all,
        page,
        per_page,
        application_id: application.to_string(),
        webhook_id: id.to_string(),
        unreachable,
    })
}

/// Part of a list that a node has, as its answer tells it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfNode {
    /// As they are written: the numbers of payloads keep their digits.
    items: Vec<Box<RawValue>>,
    total_count: u64,
    skipped: u64,
    last_call: Option<String>,
    replay: Value,
}

impl OfNode {
    /// The page of all nodes.
    fn of_all(nodes: Vec<OfNode>, page: &MergedPage) -> OfNode {
        #[derive(Deserialize)]
        struct Timed {
            time: String,
        }
        let (mut all, mut replays) = (Vec::new(), Vec::new());
        let (mut total_count, mut skipped, mut last_call) = (0, 0, None);
        for node in nodes {
            total_count += node.total_count;
            skipped += node.skipped;
            last_call = last_call.max(node.last_call);
            replays.push(node.replay);
            all.extend(node.items.into_iter().map(|item| {
                let timed = serde_json::from_str::<Timed>(item.get());
                (timed.map_or_else(|_| String::new(), |timed| timed.time), item)
            }));
        }
        let replay = progress_of_all(replays.into_iter());
        OfNode { items: page.items(all), total_count, skipped, last_call, replay }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestList {
    #[serde(flatten)]
    all: OfNode,
    count: usize,
    page: u64,
    per_page: u64,
    application_id: String,
    webhook_id: String,
    unreachable: Vec<String>,
}

fn shown_list(list: &RequestList) -> Outcome {
    json_answer(serde_json::to_vec(list))
}

pub(super) async fn show_request(call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    Parameters::of(&call.uri)?.only(&[])?;
    let shower = shower(&call.state, &webhook, true).await?;
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let Some(record) = find(&state, id, call.parameter("requestId")).await? else {
        return others.first("GET", Vec::new(), missing()).await;
    };
    let answered = tokio::task::spawn_blocking(move || serde_json::to_vec(&shower.whole(&record)));
    json_answer(answered.await.map_err(|_| not_worked())?)
}

/// The record of this node that a path names.
///
/// # Errors
/// It names none; the cores do not answer.
pub(super) async fn find(state: &AdminState, webhook: Id, request: &str) -> Result<Option<Record>, ApiError> {
    let request: Id = request.parse().map_err(|_| missing())?;
    settle(state, webhook).await?;
    Ok(state.shelf.find(webhook, request))
}

pub(super) fn missing() -> ApiError {
    ApiError::new(Kind::NotFound, "the webhook has no record with this id")
}

/// Has the cores hand over what they have of a webhook.
pub(super) async fn settle(state: &AdminState, webhook: Id) -> Result<(), ApiError> {
    let settled = state.engine.settle_records(&[webhook]).await;
    settled.map_err(|(status, message)| ApiError::from_engine(status, message))
}

async fn shower(state: &Arc<AdminState>, webhook: &Webhook, with_payload: bool) -> Result<Shower, ApiError> {
    let application = webhook.application_id;
    let application = state.look(move |store| store.application(&application)).await?;
    let application = application.ok_or_else(|| ApiError::missing(Resource::Application))?;
    let tail = tail_of(&application, webhook.id);
    Ok(Shower { state: Arc::clone(state), webhook: webhook.id, tail, with_payload })
}

fn json_answer(answered: Result<Vec<u8>, serde_json::Error>) -> Outcome {
    let text = answered.map_err(|error| ApiError::from_engine(500, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn not_worked() -> ApiError {
    ApiError::new(Kind::Internal, "the request could not be worked on")
}

/// Answers with a value.
pub(super) fn shown(value: Value) -> Outcome {
    Ok(Json(value).into_response())
}

/// `payload`: whether each item of a list has its payload.
fn with_payload(parameters: &Parameters) -> Result<bool, ApiError> {
    match parameters.given("payload") {
        None => Ok(true),
        Some(_) => parameters.flag("payload"),
    }
}

/// Reads what narrows a list.
pub(super) fn filters(parameters: &Parameters) -> Result<RecordQuery, ApiError> {
    let words = |name| parameters.given(name).into_iter().flat_map(|text| text.split(','));
    let bad = |message: String| ApiError::validation(message);
    let status = |text: &str| {
        let must = || bad("`status` must be statuses or classes of them with commas, such as 404,5xx".into());
        StatusFilter::parse(text).ok_or_else(must)
    };
    let kind = |text: &str| {
        let known = record::Kind::ALL.iter().find(|(name, _)| *name == text);
        let names: Vec<&str> = record::Kind::ALL.iter().map(|(name, _)| *name).collect();
        let must = || bad(format!("`kind` must be some of: {}", names.join(", ")));
        known.map(|(_, kind)| *kind).ok_or_else(must)
    };
    let connection = parameters.given("connection").map(str::parse).transpose();
    let connection = connection.map_err(|_| bad("`connection` must be a connectionId".into()))?;
    let search = parameters.given("search");
    if search.is_some_and(|text| text.len() > SEARCH_BYTES_MAX) {
        return Err(bad(format!("`search` must be at most {SEARCH_BYTES_MAX} bytes")));
    }
    Ok(RecordQuery {
        statuses: words("status").map(status).collect::<Result<_, _>>()?,
        methods: words("method").map(str::to_owned).collect(),
        kinds: words("kind").map(kind).collect::<Result<_, _>>()?,
        connection,
        since_unix_millis: time(parameters, "since")?,
        until_unix_millis: time(parameters, "until")?,
        search: search.map(str::to_owned),
        ..RecordQuery::default()
    })
}
