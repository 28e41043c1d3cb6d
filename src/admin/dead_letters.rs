//! `…/flows/{flowId}/deadLetters`: deliveries that a flow's nodes gave up
//! ([deliveries](crate::guide::deliveries#dead-letters)).

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::AdminState;
use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::kinds::flow_of;
use super::nodes::{Others, page_of, progress_of_all};
use super::query::{self, PER_PAGE_MAX, Parameters};
use crate::model::time_text;
use crate::store::StoreError;
use crate::store::letters::{Letter, LetterQuery, LetterSpan, Letters, ListedLetter, SKIPPED_MAX};

/// The id that means every letter.
pub(super) const ALL: &str = "all";
/// The parameters that narrow a list.
pub(super) const LETTER_FILTERS: [&str; 5] = ["reason", "nodeId", "since", "until", "search"];

pub(super) async fn list_dead_letters(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?;
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&[&["page", "perPage", "before"], &LETTER_FILTERS[..]].concat())?;
    let (page, per_page) = page_of(&parameters)?;
    let before = query::number(parameters.given("before"), "before", 0, u64::MAX)?;
    let query = filters(&parameters)?;
    let id = flow.id;
    let list = async |skip: u64, take: u64| {
        let span = LetterSpan { before, skip, take: usize::try_from(take).unwrap_or(usize::MAX) };
        let query = query.clone();
        with_letters(&state, move |letters| letters.list(&id, &query, span)).await
    };
    let skipped = page * per_page;
    let mut replay = state.replays.of(id).map_or(Value::Null, |replay| replay.shown());
    let mut unreachable = Vec::new();
    let (items, total, next) = if others.are_there() {
        // Each node's newest, as many as all of them could be.
        let newest = skipped + per_page;
        if newest > PER_PAGE_MAX {
            let must = format!(
                "(`page` + 1) × `perPage` must be at most {PER_PAGE_MAX} in a cluster: continue with `before`"
            );
            return Err(ApiError::validation(must));
        }
        let mut merged = Merged::default();
        let found = list(0, newest).await?;
        merged.add(found.letters.iter().map(shown_in_list).collect(), found.total, found.next);
        let mut answers = others.list::<Value>(newest).await;
        unreachable = answers.unreachable;
        let replays = answers.bodies.iter_mut().map(|answer| answer["replay"].take());
        replay = progress_of_all(std::iter::once(replay).chain(replays));
        for mut answer in answers.bodies {
            let Value::Array(items) = answer["items"].take() else { continue };
            merged.add(items, answer["totalCount"].as_u64().unwrap_or(0), answer["next"].as_u64());
        }
        merged.page(skipped, per_page)
    } else {
        if skipped > SKIPPED_MAX {
            let must = format!("`page` × `perPage` must be at most {SKIPPED_MAX}: continue with `before`");
            return Err(ApiError::validation(must));
        }
        let found = list(skipped, per_page).await?;
        (found.letters.iter().map(shown_in_list).collect(), found.total, found.next)
    };
    let answer = json!({
        "count": items.len(), "items": items, "totalCount": total, "page": page, "perPage": per_page, "next": next,
        "applicationId": flow.application_id.to_string(), "flowId": flow.id.to_string(),
        "replay": replay, "unreachable": unreachable,
    });
    Ok(Json(answer).into_response())
}

/// The newest letters of several nodes as one list.
#[derive(Default)]
struct Merged {
    items: Vec<Value>,
    total: u64,
    /// The lowest place down to which all nodes have told theirs; `None`: they have told all.
    told_down_to: Option<u64>,
}

impl Merged {
    fn add(&mut self, items: Vec<Value>, total: u64, next: Option<u64>) {
        self.items.extend(items);
        self.total += total;
        self.told_down_to = self.told_down_to.max(next);
    }

    /// A page, how many there are in all, and the place with which the list continues.
    fn page(mut self, skip: u64, take: u64) -> (Vec<Value>, u64, Option<u64>) {
        let place = |item: &Value| item["place"].as_u64().unwrap_or(0);
        // Of lower places another node may have more.
        self.items.retain(|item| self.told_down_to.is_none_or(|told| place(item) >= told));
        self.items.sort_by_key(|item| Reverse(place(item)));
        let count = self.items.len();
        let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(count);
        let mut end = at(skip + take);
        // Letters of two nodes can have one place: what continues before it would leave the second one out.
        while end > 0 && end < count && place(&self.items[end]) == place(&self.items[end - 1]) {
            end += 1;
        }
        let next = if end < count { self.items[..end].last().map(place) } else { self.told_down_to };
        (self.items.drain(at(skip)..end).collect(), self.total, next)
    }
}

pub(super) async fn show_dead_letter(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?.id;
    let id = call.parameter("id").to_owned();
    let found = with_letters(&state, move |letters| letters.find(&flow, &id)).await?;
    let Some((_, found)) = found else { return others.first("GET", Vec::new(), missing()).await };
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
        return others.first("DELETE", Vec::new(), missing()).await;
    };
    if is_all {
        let theirs = others.ask::<Value>("DELETE", Vec::new()).await;
        dropped += theirs.bodies.iter().filter_map(|answer| answer["dropped"].as_u64()).sum::<u64>();
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

/// A letter of a list: with its place.
fn shown_in_list(listed: &ListedLetter) -> Value {
    let mut item = shown(&listed.letter, listed.payload_bytes);
    item["place"] = json!(listed.place);
    item
}

fn shown(letter: &Letter, payload_bytes: usize) -> Value {
    json!({
        "id": letter.id, "time": time_text(letter.died_unix_millis), "accepted": time_text(letter.accepted_unix_millis),
        "webhookId": letter.webhook, "nodeId": letter.node, "reason": letter.reason, "attempts": letter.attempts,
        "lastStatus": letter.status, "lastError": letter.error, "lastAnswer": letter.answer,
        "payloadBytes": payload_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(places: &[u64]) -> Vec<Value> {
        places.iter().map(|place| json!({"place": place})).collect()
    }

    fn page(merged: &[(&[u64], Option<u64>)], skip: u64, take: u64) -> (Vec<u64>, Option<u64>) {
        let mut all = Merged::default();
        for (places, next) in merged {
            all.add(items(places), places.len() as u64, *next);
        }
        let (items, _, next) = all.page(skip, take);
        (items.iter().filter_map(|item| item["place"].as_u64()).collect(), next)
    }

    #[test]
    fn letters_of_several_nodes_are_one_list_down_to_where_all_have_told_theirs() {
        let whole: &[(&[u64], Option<u64>)] = &[(&[9, 5, 1], None), (&[8, 2], None)];
        assert_eq!(page(whole, 0, 3), (vec![9, 8, 5], Some(5)));
        assert_eq!(page(whole, 3, 3), (vec![2, 1], None));
        assert_eq!(page(whole, 9, 3), (vec![], None));
        // The second has looked down to 6 alone: it may have a 5, too.
        let part: &[(&[u64], Option<u64>)] = &[(&[9, 5, 1], None), (&[8], Some(6))];
        assert_eq!(page(part, 0, 9), (vec![9, 8], Some(6)));
        assert_eq!(page(part, 0, 1), (vec![9], Some(9)));
        // What continues before 8 would leave the other 8 out.
        let equal: &[(&[u64], Option<u64>)] = &[(&[9, 8, 1], None), (&[8, 2], None)];
        assert_eq!(page(equal, 0, 2), (vec![9, 8, 8], Some(8)));
        assert_eq!(page(&[], 0, 2), (vec![], None));
    }
}
