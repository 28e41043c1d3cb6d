//! `…/flows/{flowId}/deadLetters`: deliveries that a flow's nodes gave up
//! ([deliveries](crate::guide::deliveries#dead-letters)).

use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::AdminState;
use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::kinds::flow_of;
use super::nodes::Others;
use super::query::{self, PER_PAGE_DEFAULT, PER_PAGE_MAX, Parameters};
use crate::model::time_text;
use crate::store::StoreError;
use crate::store::letters::{Letter, LetterQuery, Letters};

/// The id that means every letter.
pub(super) const ALL: &str = "all";
/// The parameters that narrow a list.
pub(super) const LETTER_FILTERS: [&str; 5] = ["reason", "nodeId", "since", "until", "search"];

pub(super) async fn list_dead_letters(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?;
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&[&["page", "perPage"], &LETTER_FILTERS[..]].concat())?;
    let page = query::number(parameters.given("page"), "page", 0, u64::from(u32::MAX))?.unwrap_or(0);
    let per_page =
        query::number(parameters.given("perPage"), "perPage", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT);
    let mut query = filters(&parameters)?;
    let id = flow.id;
    let (items, total) = if others.are_there() {
        // Each node's newest, as many as all of them could be.
        let newest = (page + 1) * per_page;
        if newest > PER_PAGE_MAX {
            let must = format!(
                "(`page` + 1) × `perPage` must be at most {PER_PAGE_MAX} in a cluster: narrow the list by `until`"
            );
            return Err(ApiError::validation(must));
        }
        query.take = usize::try_from(newest).unwrap_or(usize::MAX);
        let found = with_letters(&state, move |letters| letters.list(&id, &query)).await?;
        let mut items: Vec<Value> =
            found.letters.iter().map(|(letter, bytes)| shown(letter, *bytes)).collect();
        let mut total = found.total;
        for mut answer in others.ask("GET", Some(newest)).await {
            total += answer["totalCount"].as_u64().unwrap_or(0);
            if let Value::Array(theirs) = answer["items"].take() {
                items.extend(theirs);
            }
        }
        items.sort_by(|one, other| other["time"].as_str().cmp(&one["time"].as_str()));
        let skipped = usize::try_from(page * per_page).unwrap_or(usize::MAX);
        let taken = usize::try_from(per_page).unwrap_or(usize::MAX);
        (items.into_iter().skip(skipped).take(taken).collect(), total)
    } else {
        (query.skip, query.take) = (page * per_page, usize::try_from(per_page).unwrap_or(usize::MAX));
        let found = with_letters(&state, move |letters| letters.list(&id, &query)).await?;
        let items: Vec<Value> = found.letters.iter().map(|(letter, bytes)| shown(letter, *bytes)).collect();
        (items, found.total)
    };
    let answer = json!({
        "count": items.len(), "items": items, "totalCount": total, "page": page, "perPage": per_page,
        "applicationId": flow.application_id.to_string(), "flowId": flow.id.to_string(),
        "replay": state.replays.of(id).map(|replay| replay.shown()),
    });
    Ok(Json(answer).into_response())
}

pub(super) async fn show_dead_letter(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?.id;
    let id = call.parameter("id").to_owned();
    let found = with_letters(&state, move |letters| letters.find(&flow, &id)).await?;
    let Some((_, found)) = found else { return others.first("GET").await.ok_or_else(missing) };
    // The payload is spliced in as it was written, with all its digits.
    let mut text = shown(&found.letter, found.payload.len()).to_string();
    text.pop();
    text.push_str(",\"payload\":");
    text.push_str(&String::from_utf8_lossy(&found.payload));
    text.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

pub(super) async fn drop_dead_letter(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?.id;
    let id = call.parameter("id").to_owned();
    let is_all = id == ALL;
    let dropped = with_letters(&state, move |letters| match id.as_str() {
        ALL => letters.remove_all(&flow).map(Some),
        id => Ok(letters.remove(&flow, id)?.then_some(1)),
    });
    let Some(mut dropped) = dropped.await? else {
        return others.first("DELETE").await.ok_or_else(missing);
    };
    if is_all {
        let theirs = others.ask("DELETE", None).await;
        dropped += theirs.iter().filter_map(|answer| answer["dropped"].as_u64()).sum::<u64>();
    }
    Ok(Json(json!({"success": true, "dropped": dropped})).into_response())
}

pub(super) fn missing() -> ApiError {
    ApiError::new(Kind::NotFound, "the flow has no dead letter with this id")
}

/// Works with the letters on a thread that may wait for the disk.
pub(super) async fn with_letters<T: Send + 'static>(
    state: &AdminState,
    work: impl FnOnce(&Letters) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    state
        .look(move |store| {
            let letters = store.letters()?;
            work(&letters)
        })
        .await
}

pub(super) fn filters(parameters: &Parameters) -> Result<LetterQuery, ApiError> {
    let text = |name| parameters.given(name).map(str::to_owned);
    Ok(LetterQuery {
        reason: text("reason"),
        node: text("nodeId"),
        since_unix_millis: time(parameters, "since")?,
        until_unix_millis: time(parameters, "until")?,
        search: text("search"),
        ..LetterQuery::default()
    })
}

/// A moment: milliseconds since 1970, or RFC 3339.
pub(super) fn time(parameters: &Parameters, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = parameters.given(name) else { return Ok(None) };
    let parsed = text.parse::<u64>().ok().or_else(|| {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    });
    let must =
        || ApiError::validation(format!("`{name}` must be milliseconds since 1970, or as in RFC 3339"));
    parsed.map(Some).ok_or_else(must)
}

fn shown(letter: &Letter, payload_bytes: usize) -> Value {
    json!({
        "id": letter.id, "time": time_text(letter.died_unix_millis), "accepted": time_text(letter.accepted_unix_millis),
        "webhookId": letter.webhook, "nodeId": letter.node, "reason": letter.reason, "attempts": letter.attempts,
        "lastStatus": letter.status, "lastError": letter.error, "lastAnswer": letter.answer,
        "payloadBytes": payload_bytes,
    })
}
