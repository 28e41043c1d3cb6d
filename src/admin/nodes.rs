//! Requests about what each node of a cluster keeps for itself: the other nodes are asked, too.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::call::Call;
use super::{Engine, PASSED_ON};

/// The other nodes, as one request asks them.
pub(super) struct Others {
    engine: Arc<dyn Engine>,
    path: String,
    /// Of the request, without the parameters of a page.
    filters: String,
    are_there: bool,
}

impl Others {
    /// The other nodes for a request; none for one that was passed on.
    pub(super) fn of(call: &Call) -> Others {
        let engine = Arc::clone(&call.state.engine);
        let are_there = !call.headers.contains_key(PASSED_ON) && engine.cluster().is_some();
        let is_filter = |part: &&str| !part.starts_with("page=") && !part.starts_with("perPage=");
        let filters: Vec<&str> = call.uri.query().unwrap_or_default().split('&').filter(is_filter).collect();
        Others { engine, path: call.uri.path().to_owned(), filters: filters.join("&"), are_there }
    }

    /// Whether there may be some.
    pub(super) fn are_there(&self) -> bool {
        self.are_there
    }

    /// Asks all of them the same, and for so many items of a list from its begin; returns what they answer with 200.
    pub(super) async fn ask(&self, method: &'static str, items: Option<u64>) -> Vec<Value> {
        let page = items.map(|items| format!("page=0&perPage={items}&")).unwrap_or_default();
        let answers = self.answers(method, format!("{}?{page}{}", self.path, self.filters)).await;
        let whole = answers.into_iter().filter(|(status, _)| *status == 200);
        whole.filter_map(|(_, body)| serde_json::from_slice(&body).ok()).collect()
    }

    /// Asks all of them the same; returns the answer of the one that has what is asked for.
    pub(super) async fn first(&self, method: &'static str) -> Option<Response> {
        let answers = self.answers(method, format!("{}?{}", self.path, self.filters)).await;
        let (_, body) = answers.into_iter().find(|(status, _)| *status == 200)?;
        Some(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    async fn answers(&self, method: &'static str, target: String) -> Vec<(u16, Vec<u8>)> {
        if !self.are_there {
            return Vec::new();
        }
        self.engine.ask_nodes(method, target).await
    }
}
