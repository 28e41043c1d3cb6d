//! Routes besides the resources: health, metrics, replies and messages, the node of a cluster.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::nodes::Others;
use super::query::Parameters;
use super::resources::webhook_of;
use crate::base::id::Id;
use crate::base::json::{self as strict, Raw};
use crate::store::Resource;

/// Content type of the exposition format that Prometheus scrapes.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Deepest nesting of a reply, as of a worker's: the body of a request, at its deepest, can be sent back in it.
const REPLY_DEPTH_MAX: usize = strict::DOCUMENT_DEPTH_MAX;
/// The members of a node's status that others show.
const STATUS_PARTS: [&str; 7] = ["ready", "connected", "lease", "model", "rates", "journal", "adoptions"];
const NOT_A_NODE: &str = "This process is not a node of a cluster: cluster.nats is not set";

pub(super) async fn healthz(_call: Call) -> Outcome {
    Ok("ok\n".into_response())
}

pub(super) async fn readyz(call: Call) -> Outcome {
    Ok(if call.state.engine.ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    })
}

pub(super) async fn metrics(call: Call) -> Outcome {
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], call.state.engine.metrics()).into_response())
}

pub(super) async fn cluster(call: Call) -> Outcome {
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&["all"])?;
    let missing = || ApiError::new(Kind::NotFound, NOT_A_NODE);
    let mut own = call.state.engine.cluster().ok_or_else(missing)?;
    if parameters.flag("all")? {
        let theirs = Others::of(&call).ask::<Value>("GET", Vec::new()).await;
        let mut statuses = theirs.bodies;
        statuses.push(own.clone());
        for node in own["nodes"].as_array_mut().into_iter().flatten() {
            let status = statuses.iter().find(|status| status["node"] == node["process"]);
            let told = |status: &Value| {
                let parts = STATUS_PARTS.map(|part| (part.to_owned(), status[part].clone()));
                Value::Object(parts.into_iter().collect())
            };
            node["status"] = status.map_or(Value::Null, told);
        }
    }
    Ok(Json(own).into_response())
}

pub(super) async fn drain_node(call: Call) -> Outcome {
    if !call.state.engine.drain_node() {
        return Err(ApiError::new(Kind::NotFound, NOT_A_NODE));
    }
    Ok(Json(json!({"success": true})).into_response())
}

pub(super) async fn reply(mut call: Call) -> Outcome {
    let body = reply_body(&mut call).await?;
    let reply_id = call.parameter("replyId").to_owned();
    accepted(call.state.engine.reply(reply_id, body).await)
}

pub(super) async fn send_to_connection(mut call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    if !webhook.is_websocket {
        return Err(ApiError::new(Kind::Conflict, "the webhook takes no WebSockets"));
    }
    let missing = || ApiError::new(Kind::NotFound, "the webhook has no open connection with this id");
    let connection: Id = call.parameter("connectionId").parse().map_err(|_| missing())?;
    let others = Others::of(&call);
    let body = reply_body(&mut call).await?;
    match call.state.engine.send_to_websocket(id, connection, body.clone()).await {
        // It may be open at another node.
        Err((404, _)) => others.first("POST", body, missing()).await,
        outcome => accepted(outcome),
    }
}

/// Reads the body of a reply.
async fn reply_body(call: &mut Call) -> Result<Vec<u8>, ApiError> {
    let body = call.bytes().await?;
    if !strict::validate(&body, REPLY_DEPTH_MAX) {
        let must = format!("the body must be JSON, nested at most {REPLY_DEPTH_MAX} levels deep");
        return Err(ApiError::validation(must));
    }
    if Raw::trusted(&body).kind() != strict::Kind::Object {
        return Err(ApiError::validation("the body must be a JSON object"));
    }
    Ok(body)
}

/// Answers with what became of a reply.
fn accepted(outcome: Result<bool, (u16, String)>) -> Outcome {
    match outcome {
        Ok(accepted) => Ok(Json(json!({"success": true, "accepted": accepted})).into_response()),
        Err((status, message)) => Err(ApiError::from_engine(status, message)),
    }
}
