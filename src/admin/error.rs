//! The error responses of the REST API ([REST API](crate::guide::rest_api)).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::base::log::bounded_log;
use crate::model::ModelError;
use crate::store::{ChangeError, Resource, StoreError};

/// An answer `{"type", "message"}` with the status that its kind has, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    /// The value of the response's `type`.
    pub kind: Kind,
    /// The status.
    pub status: StatusCode,
    /// The value of the response's `message`.
    pub message: String,
    /// The methods that the path has, where the method is what is wrong.
    pub allow: Option<String>,
}

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 400; also 405 (the path has no such method) and 421 (a `Host` that is not served).
    Validation,
    /// 401.
    Unauthorized,
    /// 403: a right that the token does not have; an `Origin` that is not the listener's own.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 413.
    PayloadTooLarge,
    /// 500, and whatever else an engine answers above it.
    Internal,
}

impl Kind {
    /// The word in `type`.
    #[must_use]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Validation => "Validation",
            Kind::Unauthorized => "Unauthorized",
            Kind::Forbidden => "Forbidden",
            Kind::NotFound => "NotFound",
            Kind::Conflict => "Conflict",
            Kind::PayloadTooLarge => "PayloadTooLarge",
            Kind::Internal => "Internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::Validation => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ApiError {
    /// An error of a kind, with its status.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError { kind, status: kind.status(), message: message.into(), allow: None }
    }

    /// 400.
    pub(super) fn validation(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::Validation, message)
    }

    /// 404 for a resource.
    #[must_use]
    pub(super) fn missing(resource: Resource) -> ApiError {
        ApiError::new(Kind::NotFound, format!("{resource} was not found"))
    }

    /// An engine's status and message.
    #[must_use]
    pub(super) fn from_engine(status: u16, message: String) -> ApiError {
        let kind = match status {
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            413 => Kind::PayloadTooLarge,
            400..=499 => Kind::Validation,
            _ => Kind::Internal,
        };
        let status = StatusCode::from_u16(status).unwrap_or(kind.status());
        ApiError { kind, status, message, allow: None }
    }

    /// The message for the caller.
    #[must_use]
    pub(super) fn text(&self) -> &str {
        &self.message
    }

    /// The same kind and message with another status.
    #[must_use]
    pub(super) fn with_status(self, status: StatusCode) -> ApiError {
        ApiError { status, ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"type": self.kind.as_str(), "message": self.message});
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> ApiError {
        ApiError::validation(error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let told = ApiError::new(Kind::Internal, error.to_string());
        match error {
            // What is not in effect was logged where it failed.
            StoreError::NotApplied { .. } => {}
            StoreError::Unavailable { .. } => return told.with_status(StatusCode::SERVICE_UNAVAILABLE),
            StoreError::NotTaken { .. } => return ApiError::new(Kind::PayloadTooLarge, told.message),
            error => bounded_log!(error, %error, "the model's database failed"),
        }
        told
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> ApiError {
        match error {
            ChangeError::Missing(resource) => ApiError::missing(resource),
            ChangeError::Conflict(_) => ApiError::new(Kind::Conflict, error.to_string()),
            ChangeError::Refused(error) => error.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}
