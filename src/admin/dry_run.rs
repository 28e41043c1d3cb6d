//! `POST /preview` with a flow: which of its nodes a payload reaches and what each of them makes of it. The flow need not
//! be saved; what is wrong with it is told of all of its nodes at once. Nothing is sent or kept.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::AdminState;
use super::error::ApiError;
use crate::base::id::Id;
use crate::base::json::{Kind, Raw};
use crate::deliver::dry_run::{Made, NodeRun, dry_run};
use crate::deliver::publication::Publication;
use crate::deliver::request::ForwardRequest;
use crate::model::{Application, Flow, ModelError, Webhook};
use crate::registry::{self, Defaults, FlowPlan};
use crate::reply::{CallerKind, Reply, to_http};
use crate::store::{Resource, Source};
use crate::trigger::{Event, Payload, RawBody};

/// Characters of a body or a message that an answer shows of one node: a page to read. A thousand nodes are still bounded.
const SHOWN_CHARS_MAX: usize = 65_536;
/// The text in place of a secret that is kept and not shown; a dry run signs with none.
const KEPT: &str = "***";
/// A core more would change nothing: no limit is looked at.
const CORES: usize = 1;

/// A dry run that was asked for.
pub(super) struct DryRunRequest {
    application: Id,
    webhook: Option<Id>,
    flow: Value,
}

impl DryRunRequest {
    /// Reads what is asked beside the payload.
    pub(super) fn read(document: &Raw<'_>, flow: Raw<'_>) -> Result<DryRunRequest, ApiError> {
        let id = |name: &str| match document.get(name).filter(|value| value.kind() != Kind::Null) {
            None => Ok(None),
            Some(value) => {
                let id = value.as_str().and_then(|text| text.parse::<Id>().ok());
                id.map(Some).ok_or_else(|| ApiError::from(ModelError::new(name, "must be 24 hex digits")))
            }
        };
        let application = id("applicationId")?;
        let missing =
            || ModelError::new("applicationId", "must be there: its globals are what templates read");
        let application = application.ok_or_else(missing)?;
        let mut flow: Value = serde_json::from_slice(flow.bytes())
            .map_err(|error| ModelError::new("flow", format!("must be an object: {error}")))?;
        let object = flow.as_object_mut().ok_or_else(|| ModelError::new("flow", "must be an object"))?;
        // A flow that has no name yet can be tried all the same.
        if object.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            object.insert("name".to_owned(), Value::from("a flow"));
        }
        drop_kept_secrets(object);
        Ok(DryRunRequest { application, webhook: id("webhookId")?, flow })
    }

    /// Runs the flow; the answer of the API. `payload` is an object.
    pub(super) async fn run(self, state: &AdminState, payload: Vec<u8>) -> Result<Value, ApiError> {
        let DryRunRequest { application: id, webhook, flow } = self;
        let now = state.clock.now();
        let (flow, errors) = checked(&flow, id, now.unix_millis);
        let called = flow.as_ref().and_then(|flow| trigger_of(flow, webhook));
        let (application, webhook) = state
            .look(move |store| {
                let webhook = called.map(|webhook| store.webhook(&webhook)).transpose()?.flatten();
                Ok((store.application(&id)?, webhook.filter(|webhook| webhook.application_id == id)))
            })
            .await?;
        let application = application.ok_or_else(|| ApiError::missing(Resource::Application))?;
        let Some(flow) = flow.filter(|_| errors.is_empty()) else {
            return Ok(json!({ "nodes": [], "errors": errors }));
        };
        let Some(called) = called else {
            return Ok(json!({ "nodes": [], "errors": [] }));
        };
        let webhook = match webhook {
            Some(webhook) => webhook,
            None => plain_webhook(called, id, now.unix_millis)?,
        };
        let defaults = Defaults::new(CORES, &state.about.limits);
        // Rendering is work: not on the thread that answers everybody.
        let ran = tokio::task::spawn_blocking(move || {
            let Some(plan) = registry::plan_alone(&defaults, &application, &webhook, &flow, now) else {
                return Ok(Vec::new());
            };
            let payload = payload_of(Raw::trusted(&payload), &application, &webhook, &flow, &plan, now)?;
            let caller = CallerKind::of(webhook.is_websocket);
            let runs = dry_run(&plan, &payload, caller, now.unix_millis / 1000);
            Ok(runs.iter().map(|run| shown(run, &webhook, &plan)).collect())
        });
        let nodes: Result<Vec<Value>, ApiError> =
            ran.await.map_err(|_| ApiError::from_engine(500, "the flow could not be run".into()))?;
        Ok(json!({ "nodes": nodes?, "errors": [] }))
    }
}

/// Takes secrets that are masked out of the nodes: what they were is not known here.
fn drop_kept_secrets(flow: &mut Map<String, Value>) {
    let is_kept = |secret: &Value| match secret {
        Value::String(text) => text == KEPT,
        Value::Array(list) => list.iter().any(|one| one == KEPT),
        _ => false,
    };
    for node in flow.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten() {
        let config = node.get_mut("config").and_then(Value::as_object_mut);
        if let Some(config) = config.filter(|config| config.get("secret").is_some_and(is_kept)) {
            config.remove("secret");
        }
    }
}

/// Reads the flow, and tells what is wrong with it: every node that is not what it must be, else the first fault beside
/// the nodes.
fn checked(flow: &Value, application: Id, now: u64) -> (Option<Flow>, Vec<Value>) {
    let shown = |error: &ModelError| json!({ "field": error.field(), "message": error.message() });
    let nodes = flow.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut errors = Vec::new();
    for (index, node) in nodes.iter().take(Flow::NODES_MAX).enumerate() {
        let mut alone = node.clone();
        if let Some(object) = alone.as_object_mut() {
            // The nodes that it leads to are not with it.
            object.remove("outputIds");
        }
        let read = Flow::create(&json!({"name": "a flow", "nodes": [alone]}), application, now)
            .and_then(|flow| registry::check_flow(&flow));
        if let Err(error) = read {
            let field = error.field().replacen("nodes[0]", &format!("nodes[{index}]"), 1);
            errors.push(shown(&ModelError::new(field, error.message())));
        }
    }
    if !errors.is_empty() {
        return (None, errors);
    }
    match Flow::create(flow, application, now) {
        Ok(flow) => (Some(flow), errors),
        Err(error) => (None, vec![shown(&error)]),
    }
}

/// The webhook that triggers the flow: the one that is asked for, else its first.
fn trigger_of(flow: &Flow, asked: Option<Id>) -> Option<Id> {
    let triggers = || flow.triggers.iter().filter_map(|trigger| trigger.webhook());
    asked.filter(|id| triggers().any(|trigger| trigger == *id)).or_else(|| triggers().next())
}

/// In place of a webhook that is not there.
fn plain_webhook(id: Id, application: Id, now: u64) -> Result<Webhook, ModelError> {
    let mut webhook = Webhook::create(&json!({"name": "a webhook"}), application, now)?;
    webhook.id = id;
    Ok(webhook)
}

/// The payload as the flow would get it: time and data as they were given, the rest its own.
fn payload_of(
    given: Raw<'_>,
    application: &Application,
    webhook: &Webhook,
    flow: &Flow,
    plan: &FlowPlan,
    now: crate::base::clock::Now,
) -> Result<Payload, ApiError> {
    let event = Event::sample(given, now);
    let event = event.ok_or_else(|| ModelError::new("payload.data", "must be an object"))?;
    let raw = raw_body(given);
    let tail = match given.get("globals").filter(|globals| globals.kind() == Kind::Object) {
        None => Arc::clone(&plan.tail),
        Some(globals) => Arc::new(crate::trigger::Tail::new(
            application.id,
            &application.name,
            webhook.id,
            flow.id,
            &flow.name,
            globals.bytes().into(),
        )),
    };
    Ok(Payload { event: event.with_raw(raw), tail })
}

/// The caller's body, as far as the payload tells what it was.
fn raw_body(payload: Raw<'_>) -> RawBody {
    let data = payload.get("data").unwrap_or(Raw::NULL);
    let content_type = data.get("headers").and_then(|headers| headers.get("content-type"));
    let content_type = content_type.and_then(|value| value.as_str().map(|text| text.as_bytes().into()));
    let kept = data.get("rawBody").and_then(|raw| raw.as_str());
    let kept = kept.and_then(|raw| crate::base::text::base64_decode(raw.as_bytes()));
    let bytes = match (kept, data.get("body")) {
        (Some(bytes), _) => bytes,
        (None, Some(body)) if body.kind() == Kind::String => {
            let mut text = Vec::new();
            body.write_text(&mut text);
            text
        }
        (None, Some(body)) if body.kind() != Kind::Null => body.bytes().to_vec(),
        _ => Vec::new(),
    };
    RawBody { bytes: bytes.into(), content_type, content_encoding: None }
}

fn shown(run: &NodeRun, webhook: &Webhook, plan: &FlowPlan) -> Value {
    let mut node = json!({ "id": &*run.node_id, "afterDelivery": run.is_after_delivery });
    let (name, value) = match &run.made {
        Made::Reply(to, reply) => ("reply", shown_reply(to.as_deref(), reply, webhook, plan)),
        Made::Condition(is_true) => ("condition", Value::from(*is_true)),
        Made::Message(text) => ("message", Value::from(cut(text))),
        Made::Request(request) => ("request", shown_request(request)),
        Made::Publication(publication) => ("publication", shown_publication(publication)),
        Made::Delivery => ("worker", Value::from(true)),
        Made::Nothing => return node,
        Made::Error(error) => ("error", Value::from(error.as_str())),
    };
    node[name] = value;
    node
}

fn shown_reply(to: Option<&str>, reply: &Reply, webhook: &Webhook, plan: &FlowPlan) -> Value {
    let is_socket = reply.only_for == Some(CallerKind::WebSocket);
    let body = reply.body.as_deref().unwrap_or_default();
    let mut shown = json!({ "replyId": to, "isWebsocketMessage": is_socket, "isBinary": reply.is_binary, "body": cut(&String::from_utf8_lossy(body)) });
    // Whether somebody is there to get it.
    shown["isSent"] = Value::from(to.is_some() || webhook.is_websocket || webhook.wait_for_reply);
    if is_socket {
        return shown;
    }
    match to_http(reply, webhook.response_code, plan.reply_bytes_max as usize) {
        Ok(http) => {
            shown["statusCode"] = Value::from(http.status);
            let mut headers = vec![json!(["Content-Type", http.content_type])];
            headers.extend(http.headers.iter().map(|(name, value)| json!([name, value])));
            shown["headers"] = Value::Array(headers);
        }
        Err(error) => shown["error"] = Value::from(error.to_string()),
    }
    shown
}

fn shown_request(request: &ForwardRequest) -> Value {
    let headers: Vec<Value> =
        request.headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
    json!({
        "method": request.method.as_str(),
        "url": request.url,
        "headers": headers,
        "body": cut(&String::from_utf8_lossy(&request.body)),
    })
}

fn shown_publication(publication: &Publication) -> Value {
    json!({
        "subject": publication.subject,
        "headers": publication.headers,
        "body": cut(&String::from_utf8_lossy(&publication.body)),
    })
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN_CHARS_MAX)).unwrap_or(text)
}
