//! The router of the admin listener, built from the table of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::call::{Call, MadeId};
use super::error::{ApiError, Kind};
use super::route::{Route, Verb};
use super::routes::ROUTES;
use super::{AdminState, door};
use crate::base::visible::visible;
use crate::verify::access::Granted;

/// The router of the admin listener.
pub(crate) fn router(state: Arc<AdminState>) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&'static str> = Vec::new();
    for route in ROUTES {
        if !paths.contains(&route.path) {
            paths.push(route.path);
        }
    }
    for path in paths {
        let mut methods = MethodRouter::new();
        let mut names = vec!["OPTIONS"];
        for route in ROUTES.iter().filter(|route| route.path == path) {
            let handler = Guarded { route };
            names.push(route.method.as_str());
            if route.method == Verb::Get {
                names.push("HEAD");
            }
            methods = methods.on(
                route.method.filter(),
                move |State(state): State<Arc<AdminState>>,
                      parameters: Result<RawPathParams, RawPathParamsRejection>,
                      request: Request| async move {
                    // What is no UTF-8 names nothing.
                    let Ok(parameters) = parameters else { return no_such_path().await.into_response() };
                    handler.answer(state, &parameters, request).await
                },
            );
        }
        let allow = names.join(", ");
        router = router.route(path, methods.fallback(move |request: Request| no_such_method(request, allow)));
    }
    let entered = axum::middleware::from_fn_with_state(Arc::clone(&state), door::enter);
    router.fallback(no_such_path).layer(entered).with_state(state)
}

/// A route whose callers need a right.
#[derive(Clone, Copy)]
struct Guarded {
    route: &'static Route,
}

impl Guarded {
    async fn answer(self, state: Arc<AdminState>, parameters: &RawPathParams, request: Request) -> Response {
        let route = self.route;
        let granted: Option<Granted> = request.extensions().get().cloned();
        if let Some(right) = route.access.lacks(granted.as_ref()) {
            let message = format!("the access token has no right to {}", right.as_str());
            return ApiError::new(Kind::Forbidden, message).into_response();
        }
        let path = request.uri().path().to_owned();
        let answer = (route.handler)(Call::new(state, parameters, request)).await;
        let response = answer.unwrap_or_else(IntoResponse::into_response);
        if let Some(granted) = granted.filter(|_| route.is_change() && response.status().is_success()) {
            let made = response.extensions().get().map(|MadeId(id)| tracing::field::display(id));
            tracing::info!(token = %visible(&granted.name), change = route.name, path, made, "changed over the API");
        }
        response
    }
}

async fn no_such_path() -> ApiError {
    ApiError::new(Kind::NotFound, "there is nothing at this path; /openapi.json lists what there is")
}

async fn no_such_method(request: Request, allow: String) -> Response {
    if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if let Ok(allow) = HeaderValue::try_from(allow) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        return response;
    }
    let mut error = ApiError::validation(format!("the method must be one of {allow}"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED);
    error.allow = Some(allow);
    error.into_response()
}
