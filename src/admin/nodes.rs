//! Requests about what each node of a cluster keeps for itself: the other nodes are asked, too.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use super::call::Call;
use super::error::ApiError;
use super::query::{PER_PAGE_DEFAULT, PER_PAGE_MAX, Parameters, number};
use super::{EngineAccess, PASSED_ON, ToNodes};

/// How long the answers of other nodes are waited for.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The other nodes, as one request asks them.
pub(super) struct Others {
    engine: Arc<dyn EngineAccess>,
    path: String,
    /// Of the request, without the parameters of a page.
    filters: String,
    are_there: bool,
    time: Duration,
}

/// Answers of the other nodes.
pub(super) struct Answers<T> {
    pub(super) bodies: Vec<T>,
    /// Nodes that did not answer: what they keep is not told.
    pub(super) unreachable: Vec<String>,
}

impl Others {
    /// The other nodes for a request; none for one that was passed on.
    pub(super) fn of(call: &Call) -> Others {
        let engine = Arc::clone(&call.state.engine);
        let are_there = !call.headers.contains_key(PASSED_ON) && engine.cluster().is_some();
        let is_filter = |part: &&str| !part.starts_with("page=") && !part.starts_with("perPage=");
        let filters: Vec<&str> = call.uri.query().unwrap_or_default().split('&').filter(is_filter).collect();
        let path = call.uri.path().to_owned();
        Others { engine, path, filters: filters.join("&"), are_there, time: ANSWER_TIME }
    }

    /// Waits so much longer for the answers.
    pub(super) fn patiently(self, time: Duration) -> Others {
        Others { time: ANSWER_TIME + time, ..self }
    }

    /// Whether there may be some.
    pub(super) fn are_there(&self) -> bool {
        self.are_there
    }

    /// Asks all of them the same; returns what they answer with 200, as it is read: nothing of one that has not heard of the resource yet.
    pub(super) async fn ask<T: DeserializeOwned>(&self, method: &'static str, body: Vec<u8>) -> Answers<T> {
        self.answers(method, format!("{}?{}", self.path, self.filters), body).await
    }

    /// Asks all of them for so many items of a list from its begin.
    pub(super) async fn list<T: DeserializeOwned>(&self, items: u64) -> Answers<T> {
        let target = format!("{}?page=0&perPage={items}&{}", self.path, self.filters);
        self.answers("GET", target, Vec::new()).await
    }

    async fn answers<T: DeserializeOwned>(
        &self,
        method: &'static str,
        target: String,
        body: Vec<u8>,
    ) -> Answers<T> {
        let mut answers = Answers { bodies: Vec::new(), unreachable: Vec::new() };
        for (node, answer) in self.pass(method, target, body).await {
            match answer.map(|(status, body)| (status, serde_json::from_slice(&body))) {
                Some((200, Ok(body))) => answers.bodies.push(body),
                // It has not heard of the resource yet, and so has nothing of it.
                Some((404, _)) => {}
                _ => answers.unreachable.push(node),
            }
        }
        answers
    }

    /// Asks all of them the same; returns the answer of the one that has what is asked for.
    ///
    /// # Errors
    /// None has it: `missing`, or a 503 if nodes that do not answer may have it.
    pub(super) async fn first(
        &self,
        method: &'static str,
        body: Vec<u8>,
        missing: ApiError,
    ) -> Result<Response, ApiError> {
        let answers = self.pass(method, format!("{}?{}", self.path, self.filters), body).await;
        let (mut refused, mut silent) = (None, Vec::new());
        for (node, answer) in answers {
            match answer {
                Some((200, body)) => return Ok(passed_back(200, body)),
                Some((404, _)) => {}
                // Without the thing it would have been a 404.
                Some((status, body)) => refused = Some(passed_back(status, body)),
                None => silent.push(node),
            }
        }
        match refused {
            Some(refused) => Ok(refused),
            None if silent.is_empty() => Err(missing),
            None => {
                let message =
                    format!("{}; {} may have it and does not answer", missing.text(), silent.join(", "));
                Err(ApiError::from_engine(503, message))
            }
        }
    }

    async fn pass(
        &self,
        method: &'static str,
        target: String,
        body: Vec<u8>,
    ) -> Vec<(String, Option<(u16, Vec<u8>)>)> {
        if !self.are_there {
            return Vec::new();
        }
        self.engine.ask_nodes(ToNodes { method, target, body, time: self.time }).await
    }

    /// Follows their streams; returns once they are open.
    pub(super) async fn follow(&self) -> Option<Receiver<Bytes>> {
        if !self.are_there {
            return None;
        }
        self.engine.follow_nodes(format!("{}?{}", self.path, self.filters)).await
    }
}

/// The answer of another node as that of this one.
fn passed_back(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A page of a list that several nodes have parts of.
pub(super) struct MergedPage {
    /// Items that each node is asked for: its newest, as many as all of the page and those before it could be.
    pub(super) newest: u64,
    skip: usize,
    take: usize,
}

impl MergedPage {
    /// # Errors
    /// Each node would have to answer with too many.
    pub(super) fn of(page: u64, per_page: u64) -> Result<MergedPage, ApiError> {
        let newest = (page + 1) * per_page;
        if newest > PER_PAGE_MAX {
            let must = format!(
                "(`page` + 1) × `perPage` must be at most {PER_PAGE_MAX} in a cluster: narrow the list by `until`"
            );
            return Err(ApiError::validation(must));
        }
        let items = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(MergedPage { newest, skip: items(page * per_page), take: items(per_page) })
    }

    /// The items of the page out of all, by their times, as RFC 3339 writes them.
    pub(super) fn items<T>(&self, mut all: Vec<(String, T)>) -> Vec<T> {
        // Those of one node stay in their order.
        all.sort_by(|(one, _), (other, _)| other.cmp(one));
        all.into_iter().skip(self.skip).take(self.take).map(|(_, item)| item).collect()
    }
}

/// `page` and `perPage` of a list.
pub(super) fn page_of(parameters: &Parameters) -> Result<(u64, u64), ApiError> {
    let page = number(parameters.given("page"), "page", 0, u64::from(u32::MAX))?.unwrap_or(0);
    let per_page = number(parameters.given("perPage"), "perPage", 1, PER_PAGE_MAX)?;
    Ok((page, per_page.unwrap_or(PER_PAGE_DEFAULT)))
}

/// The progress of a replay that each node makes of its own: that of all together.
pub(super) fn progress_of_all(each: impl Iterator<Item = Value>) -> Value {
    each.filter(Value::is_object).fold(Value::Null, |all, one| {
        let sum = |name: &str| {
            json!(all[name].as_u64().unwrap_or(0).saturating_add(one[name].as_u64().unwrap_or(0)))
        };
        let is_running = all["isRunning"] == true || one["isRunning"] == true;
        json!({
            "success": true, "total": sum("total"), "replayed": sum("replayed"), "failed": sum("failed"),
            "isRunning": is_running,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_all_nodes_has_the_newest_of_all() {
        let item = |second: u8, name: &'static str| (format!("2026-01-01T00:00:0{second}Z"), name);
        let all = vec![
            item(9, "a9"),
            item(5, "a5"),
            item(5, "a5 too"),
            item(8, "b8"),
            item(5, "b5"),
            item(1, "b1"),
        ];
        let page = |page| MergedPage::of(page, 2).expect("a page").items(all.clone());
        assert_eq!((page(0), page(1), page(2)), (vec!["a9", "b8"], vec!["a5", "a5 too"], vec!["b5", "b1"]));
        assert!(MergedPage::of(9, 100).is_ok());
        assert!(MergedPage::of(10, 100).is_err());
    }

    #[test]
    fn the_progress_of_all_nodes_is_a_sum_that_runs_while_one_does() {
        let one = json!({"success": true, "total": 3, "replayed": 2, "failed": 1, "isRunning": false});
        let other = json!({"success": true, "total": 2, "replayed": 0, "failed": 0, "isRunning": true});
        let all = progress_of_all([Value::Null, one, Value::Null, other].into_iter());
        assert_eq!(all, json!({"success": true, "total": 5, "replayed": 2, "failed": 1, "isRunning": true}));
        assert_eq!(progress_of_all([Value::Null].into_iter()), Value::Null);
    }
}
