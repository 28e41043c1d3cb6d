//! `GET /export`: an application with its webhooks, flows, versions and globals as one document that people keep under
//! version control, in JSON or YAML. [`super::import`] reads it.
//!
//! The document has the API's own shapes without what the server adds (dates, owners). Secrets stand as `***`, and so do
//! the tokens of webhooks, which make their URLs; a credential that is a template names globals and is shown. With
//! `ids=false` no id is in it, and triggers name webhooks by their names: what is imported then is found by name.

use std::collections::HashMap;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::query::Parameters;
use crate::base::id::Id;
use crate::model::yaml;
use crate::model::{Flow, FlowVersion, MASK, Webhook};
use crate::store::{ListQuery, Resource, Source, Store, StoreError};

/// The version of the document: that of a bundle, whose shape it has.
pub(super) const FORMAT: u64 = 1;
/// Member that says which version it is.
pub(super) const FORMAT_MEMBER: &str = "tidegate";
/// Fields of a resource that are the server's own.
const SERVERS_OWN: [&str; 8] = [
    "webhookId",
    "flowId",
    "flowVersionId",
    "applicationId",
    "creationDate",
    "lastUpdated",
    "previousTokens",
    "warnings",
];
/// Fields of a webhook that hold a credential, which the API shows because the platform's clients expect it.
pub(super) const SHOWN_CREDENTIALS: [&str; 2] = ["basicAuthPassword", "verificationCode"];
/// The beginning of a template's expression.
const TEMPLATE: &str = "{{";

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

pub(super) async fn export(call: Call) -> Outcome {
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&["applicationId", "format", "ids"])?;
    let given = parameters
        .given("applicationId")
        .ok_or_else(|| ApiError::validation("`applicationId` must name the application to export"))?;
    let id: Id = given.parse().map_err(|_| ApiError::missing(Resource::Application))?;
    let format = format(&call, parameters.given("format"))?;
    let with_ids = match parameters.given("ids") {
        None => true,
        Some(_) => parameters.flag("ids")?,
    };
    let written = call.state.look(move |store| {
        let document = document(store, &id, with_ids)?;
        Ok(document.map(|document| match format {
            Format::Json => Ok(document.to_string()),
            Format::Yaml => yaml::write(&document),
        }))
    });
    let written = written.await?.ok_or_else(|| ApiError::missing(Resource::Application))?;
    let text = written.map_err(|why| ApiError::new(Kind::Internal, why))?;
    let content_type = match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// The format that is asked for: by the parameter, or else by `Accept`.
fn format(call: &Call, given: Option<&str>) -> Result<Format, ApiError> {
    match given {
        Some("json") => Ok(Format::Json),
        Some("yaml") => Ok(Format::Yaml),
        Some(_) => Err(ApiError::validation("`format` must be one of: json, yaml")),
        None => {
            let accepted = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let is_yaml = accepted.is_some_and(|accepted| accepted.contains("yaml"));
            Ok(if is_yaml { Format::Yaml } else { Format::Json })
        }
    }
}

fn document(store: &Store, id: &Id, with_ids: bool) -> Result<Option<Value>, StoreError> {
    let Some(application) = store.application(id)? else { return Ok(None) };
    let all = ListQuery { per_page: u64::MAX, ..ListQuery::default() };
    let webhooks = store.webhooks(id, &all)?.items;
    let flows = store.flows(id, &all)?.items;
    let versions = store.flows_by_version(id, None, &all)?.items;
    let names = if with_ids { None } else { Some(ExportNames::new(&webhooks, &flows, &versions)) };
    let shown = |value: Value| {
        let mut shown = without_servers_own(value);
        if names.is_some()
            && let Some(object) = shown.as_object_mut()
        {
            object.remove("id");
        }
        shown
    };
    Ok(Some(json!({
        FORMAT_MEMBER: FORMAT,
        "application": shown(application.to_api()),
        "webhooks": webhooks.iter().map(|webhook| shown(masked(webhook))).collect::<Vec<_>>(),
        "flows": flows.iter().map(|flow| {
            let mut value = shown(flow.to_api());
            value["defaultVersionId"] = flow.default_version_id.map_or(Value::Null, |id| Value::from(id.to_string()));
            named(value, names.as_ref())
        }).collect::<Vec<_>>(),
        "flowVersions": versions.iter().map(|version| {
            let mut value = shown(version.to_api());
            value["flowId"] = Value::from(version.flow.id.to_string());
            named(value, names.as_ref())
        }).collect::<Vec<_>>(),
    })))
}

fn without_servers_own(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !SERVERS_OWN.contains(&name.as_str()));
    }
    value
}

/// A webhook with its credentials masked.
fn masked(webhook: &Webhook) -> Value {
    let mut shown = webhook.to_api();
    shown["token"] = Value::from(MASK);
    for field in SHOWN_CREDENTIALS {
        let text = shown[field].as_str().unwrap_or_default();
        if !text.is_empty() && !text.contains(TEMPLATE) {
            shown[field] = Value::from(MASK);
        }
    }
    shown
}

/// ExportNames in place of ids.
struct ExportNames {
    webhooks: HashMap<String, String>,
    flows: HashMap<String, String>,
    versions: HashMap<String, String>,
}

impl ExportNames {
    fn new(webhooks: &[Webhook], flows: &[Flow], versions: &[FlowVersion]) -> ExportNames {
        let text = |id: &Id| id.to_string();
        ExportNames {
            webhooks: webhooks.iter().map(|webhook| (text(&webhook.id), webhook.name.clone())).collect(),
            flows: flows.iter().map(|flow| (text(&flow.id), flow.name.clone())).collect(),
            versions: versions.iter().map(|version| (text(&version.id), version.version.clone())).collect(),
        }
    }
}

/// A flow or a version whose references are names, where there are no ids. One of a resource that is gone stays an id.
fn named(mut value: Value, names: Option<&ExportNames>) -> Value {
    let Some(names) = names else { return value };
    let Some(object) = value.as_object_mut() else { return value };
    let rename = |object: &mut Map<String, Value>, field: &str, names: &HashMap<String, String>| {
        if let Some(name) = object.get(field).and_then(Value::as_str).and_then(|id| names.get(id)) {
            object.insert(field.to_owned(), Value::from(name.as_str()));
        }
    };
    rename(object, "defaultVersionId", &names.versions);
    rename(object, "flowId", &names.flows);
    let triggers = object.get_mut("triggers").and_then(Value::as_array_mut);
    for trigger in triggers.into_iter().flatten().filter_map(Value::as_object_mut) {
        rename(trigger, "key", &names.webhooks);
    }
    value
}
