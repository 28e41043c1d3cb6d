//! A request on its way to its handler: path, body, and the store as handlers reach it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::Value;

use super::error::{ApiError, Kind};
use super::{AdminState, BODY_BYTES_MAX};
use crate::base::id::Id;
use crate::base::json as strict;
use crate::store::{ChangeError, Resource, Store, StoreError};

/// Deepest nesting of a body. The parser takes 127 levels, and what is kept of a body is read back from records and
/// lists, a few levels further in.
pub(super) const BODY_DEPTH_MAX: usize = 100;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The id of what a request made, among the extensions of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeId(pub Id);

/// A request on its way to its handler.
pub(super) struct Call {
    pub state: Arc<AdminState>,
    pub uri: Uri,
    parameters: Vec<(String, String)>,
    pub headers: HeaderMap,
    body: Body,
}

pub(super) type Outcome = Result<Response, ApiError>;

impl Call {
    pub(super) fn new(state: Arc<AdminState>, parameters: &RawPathParams, request: Request) -> Call {
        let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (parts, body) = request.into_parts();
        Call { state, uri: parts.uri, parameters, headers: parts.headers, body }
    }

    /// A parameter of the path, decoded.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A parameter that names a resource. What is no id names none.
    pub(super) fn id(&self, resource: Resource) -> Result<Id, ApiError> {
        let name = match resource {
            Resource::Application => "applicationId",
            Resource::Webhook => "webhookId",
            Resource::Flow => "flowId",
            Resource::FlowVersion => "flowVersionId",
        };
        self.parameter(name).parse().map_err(|_| ApiError::missing(resource))
    }

    /// The body's bytes, up to [`BODY_BYTES_MAX`].
    pub(super) async fn bytes(&mut self) -> Result<Vec<u8>, ApiError> {
        self.bytes_up_to(BODY_BYTES_MAX).await
    }

    /// The body's bytes, up to so many.
    pub(super) async fn bytes_up_to(&mut self, most: usize) -> Result<Vec<u8>, ApiError> {
        let too_large =
            || ApiError::new(Kind::PayloadTooLarge, format!("the body must be at most {most} bytes"));
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.and_then(|value| value.parse().ok()).is_some_and(|length: u64| length > most as u64) {
            return Err(too_large());
        }
        let body = http_body_util::Limited::new(&mut self.body, most);
        let collected = tokio::time::timeout(BODY_TIMEOUT, http_body_util::BodyExt::collect(body)).await;
        let late = || ApiError::validation("the body took too long").with_status(StatusCode::REQUEST_TIMEOUT);
        match collected.map_err(|_| late())? {
            Ok(collected) => Ok(collected.to_bytes().into()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Err(error) => Err(ApiError::validation(format!("the body could not be read: {error}"))),
        }
    }

    /// As [`Call::json`]; no body at all is an empty object.
    pub(super) async fn json_or_nothing(&mut self) -> Result<Value, ApiError> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() { Ok(Value::Object(serde_json::Map::new())) } else { json_of(&bytes) }
    }

    /// The body as JSON, whatever its `Content-Type` says.
    pub(super) async fn json(&mut self) -> Result<Value, ApiError> {
        json_of(&self.bytes().await?)
    }
}

fn json_of(bytes: &[u8]) -> Result<Value, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::validation(format!("the body must be JSON: {error}")))?;
    if strict::validate(bytes, BODY_DEPTH_MAX) {
        Ok(value)
    } else {
        Err(ApiError::validation(format!("the body must be nested at most {BODY_DEPTH_MAX} levels deep")))
    }
}

impl AdminState {
    /// Looks into the store on a thread that may wait for the disk.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = Arc::clone(&self.store);
        let looked = tokio::task::spawn_blocking(move || look(&store)).await;
        looked
            .map_err(|_| ApiError::new(Kind::Internal, "the request could not be worked on"))?
            .map_err(Into::into)
    }

    /// Changes the store on a thread that may wait for the disk; returns when the change is kept and served.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Store) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = Arc::clone(&self.store);
        let changed = tokio::task::spawn_blocking(move || change(&store)).await;
        changed
            .map_err(|_| ApiError::new(Kind::Internal, "the request could not be worked on"))?
            .map_err(Into::into)
    }
}
