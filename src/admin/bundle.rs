//! `POST …/export` and `POST …/import` of an application, as the platform's clients call them. The export answers a URL
//! from which the bundle is downloaded; the import takes it as the part `importBundle` of a form.
//!
//! A bundle is one JSON document in the API's own shapes. Secrets in it are masked: an import keeps those of resources that
//! are there, and refuses a resource that is new and would have none. The platform's own bundles (zip files, whose layout
//! is not published) are refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::EngineAccess;
use super::call::{BODY_DEPTH_MAX, Call, Outcome};
use super::error::{ApiError, Kind};
use super::kinds::{id_in, within};
use crate::base::id::{Id, TokenText};
use crate::base::json as strict;
use crate::model::{Application, Flow, FlowVersion, GlobalChange, ModelError, Webhook, read_changes};
use crate::store::{ChangeError, Changes, ListQuery, Resource, Source, Store, StoreError};
use crate::trigger;

/// Bytes of a bundle: room for some thousand flows.
const BUNDLE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Exports that wait for their download, the oldest of which make room.
const EXPORTS_MAX: usize = 8;
/// How long an export can be downloaded: the platform's links, too, live for minutes.
const EXPORT_MILLIS: u64 = 10 * 60 * 1000;
/// The version of the document.
const BUNDLE_FORMAT: u64 = 1;
/// First bytes of a zip file.
const ZIP: &[u8] = b"PK";

/// Options of an export without effect: Tidegate has no such resources, and the answer is there at once, so that there is
/// no job whose end could be told.
const EXPORT_IGNORED: [&str; 6] =
    ["includeFiles", "includePrivateFiles", "includeDataTableRows", "includeDevices", "email", "callbackUrl"];

/// Exports that wait for their download.
#[derive(Default)]
pub(super) struct Exports(Mutex<Vec<Export>>);

struct Export {
    key: TokenText,
    expires_millis: u64,
    bundle: Vec<u8>,
}

impl Exports {
    fn keep(&self, bundle: Vec<u8>, now: u64) -> TokenText {
        let key = TokenText::generate();
        let mut exports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        exports.retain(|export| export.expires_millis > now);
        if exports.len() >= EXPORTS_MAX {
            exports.remove(0);
        }
        exports.push(Export { key: key.clone(), expires_millis: now + EXPORT_MILLIS, bundle });
        key
    }

    fn find(&self, key: &str, now: u64) -> Option<Vec<u8>> {
        let exports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let export =
            exports.iter().find(|export| export.key.as_str() == key && export.expires_millis > now)?;
        Some(export.bundle.clone())
    }
}

pub(super) async fn export_application(mut call: Call) -> Outcome {
    let id = call.id(Resource::Application)?;
    let options = call.json_or_nothing().await?;
    check_options(&options)?;
    let bundle = call.state.look(move |store| bundle_of(store, &id)).await?;
    let bundle = bundle.ok_or_else(|| ApiError::missing(Resource::Application))?;
    if bundle.len() > BUNDLE_BYTES_MAX {
        let message =
            format!("the application is over {BUNDLE_BYTES_MAX} bytes, which an import would refuse");
        return Err(ApiError::new(Kind::PayloadTooLarge, message));
    }
    let key = call.state.exports.keep(bundle, call.state.clock.now().unix_millis);
    // The door has checked it.
    let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Ok(Json(json!({"url": format!("http://{host}/exports/{}", key.as_str())})).into_response())
}

/// The download of an export: whoever has the URL may have it.
pub(super) async fn download(call: Call) -> Outcome {
    let found = call.state.exports.find(call.parameter("key"), call.state.clock.now().unix_millis);
    let bundle = found.ok_or_else(|| ApiError::new(Kind::NotFound, "Export was not found, or is too old"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bundle).into_response())
}

pub(super) async fn import_application(mut call: Call) -> Outcome {
    let id = call.id(Resource::Application)?;
    let content_type = call.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    let body = call.bytes_up_to(BUNDLE_BYTES_MAX + BUNDLE_BYTES_MAX / 16).await?;
    let import = Import::of_form(&body, &content_type.unwrap_or_default())?;
    let engine = std::sync::Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let changed = call.state.change(move |store| {
        store.change(move |changes| {
            let application = changes.application(&id)?.ok_or(ChangeError::Missing(Resource::Application))?;
            BundlePlan::new(changes, application, &import, &*engine, now)?.write(changes, now)
        })
    });
    Ok(Json(changed.await?.value.to_api()).into_response())
}

fn check_options(options: &Value) -> Result<(), ApiError> {
    let object = options.as_object().ok_or_else(|| ApiError::validation("the body must be a JSON object"))?;
    for (name, value) in object {
        let is_fine = EXPORT_IGNORED.contains(&name.as_str())
            || (name == "forceJob" && *value == Value::Bool(false))
            || (name == "exportType" && value == "zip");
        if !is_fine {
            return Err(ModelError::new(name, "is not offered here: an export is downloaded at once").into());
        }
    }
    Ok(())
}

/// An application with its webhooks, flows and versions, secrets masked.
fn bundle_of(store: &Store, id: &Id) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(application) = store.application(id)? else { return Ok(None) };
    let all = ListQuery { per_page: u64::MAX, ..ListQuery::default() };
    let shown = |values: Vec<Value>| Value::Array(values);
    let document = json!({
        "tidegate": BUNDLE_FORMAT,
        "application": application.to_api(),
        "webhooks": shown(store.webhooks(id, &all)?.items.iter().map(Webhook::to_api).collect()),
        "flows": shown(store.flows(id, &all)?.items.iter().map(Flow::to_api).collect()),
        "flowVersions": shown(store.flows_by_version(id, None, &all)?.items.iter().map(FlowVersion::to_api).collect()),
    });
    Ok(Some(document.to_string().into_bytes()))
}

/// A bundle as it was sent, and which kinds of it are wanted.
struct Import {
    document: Value,
    include: Option<Vec<String>>,
}

impl Import {
    fn of_form(body: &[u8], content_type: &[u8]) -> Result<Import, ApiError> {
        let part = |name: &str| trigger::form_part(body, content_type, name);
        let bundle = part("importBundle").ok_or_else(|| {
            ApiError::validation("the body must be multipart/form-data with the part `importBundle`")
        })?;
        if bundle.starts_with(ZIP) {
            return Err(ApiError::validation(
                "`importBundle` must be an export of Tidegate: the platform's zip files are not read here, but their \
                flows can be sent to flows/import",
            ));
        }
        let document: Value = serde_json::from_slice(bundle).map_err(|error| {
            ApiError::validation(format!("`importBundle` must be an export of Tidegate: {error}"))
        })?;
        if !strict::validate(bundle, BODY_DEPTH_MAX) {
            return Err(ApiError::validation(format!(
                "`importBundle` must be nested at most {BODY_DEPTH_MAX} levels deep"
            )));
        }
        if document.get("tidegate").and_then(Value::as_u64) != Some(BUNDLE_FORMAT) {
            return Err(ApiError::validation("`importBundle` must be an export of this version of Tidegate"));
        }
        let options: Value = match part("options") {
            None => json!({}),
            Some(text) => serde_json::from_slice(text)
                .map_err(|error| ApiError::validation(format!("`options` must be JSON: {error}")))?,
        };
        if options.get("importUrl").is_some() {
            return Err(ApiError::validation("`options.importUrl` is not offered here: send the bundle"));
        }
        let include = options
            .get("include")
            .and_then(Value::as_array)
            .map(|kinds| kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect());
        Ok(Import { document, include })
    }

    /// The resources of a kind that are wanted.
    fn list(&self, kind: &str, name: &str) -> Result<&[Value], ModelError> {
        if self.include.as_ref().is_some_and(|kinds| !kinds.iter().any(|wanted| wanted == kind)) {
            return Ok(&[]);
        }
        match self.document.get(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(ModelError::new(name, "must be a list")),
        }
    }
}

/// A resource that is to be kept, and whether it is there already.
struct BundleItem<R> {
    resource: R,
    is_new: bool,
}

/// An import, checked.
struct BundlePlan {
    application: Application,
    globals: Vec<GlobalChange>,
    webhooks: Vec<BundleItem<Webhook>>,
    flows: Vec<BundleItem<Flow>>,
    versions: Vec<FlowVersion>,
    /// By flow: the name of the version that is to run.
    defaults: HashMap<Id, String>,
}

impl BundlePlan {
    fn new(
        changes: &Changes<'_>,
        application: Application,
        import: &Import,
        engine: &dyn EngineAccess,
        now: u64,
    ) -> Result<BundlePlan, ChangeError> {
        let id = application.id;
        let globals = import.document.get("application").and_then(|shown| shown.get("globals"));
        let globals = match globals.and_then(Value::as_array) {
            Some(list)
                if import.include.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind == "Global")) =>
            {
                read_changes(list, "application.globals")?
            }
            _ => Vec::new(),
        };
        let mut ids: HashMap<Id, Id> = HashMap::new();
        let mut webhooks = Vec::new();
        for (index, value) in import.list("Webhook", "webhooks")?.iter().enumerate() {
            let old = id_in(value, "id");
            let known = old.map(|old| changes.webhook_of(&id, &old)).and_then(Result::ok);
            let is_new = known.is_none();
            let resource = match known {
                Some(mut webhook) => webhook.patch(value, now).map(|()| webhook),
                None => Webhook::create(value, id, now),
            };
            let resource = resource.and_then(|webhook| engine.check_webhook(&webhook).map(|()| webhook));
            let resource = resource.map_err(|error| within(error, "webhooks", index))?;
            ids.extend(old.map(|old| (old, resource.id)));
            webhooks.push(BundleItem { resource, is_new });
        }
        let mut plan = BundlePlan {
            application,
            globals,
            webhooks,
            flows: Vec::new(),
            versions: Vec::new(),
            defaults: HashMap::new(),
        };
        plan.read_flows(changes, import, engine, now, &ids)?;
        Ok(plan)
    }

    fn read_flows(
        &mut self,
        changes: &Changes<'_>,
        import: &Import,
        engine: &dyn EngineAccess,
        now: u64,
        webhook_ids: &HashMap<Id, Id>,
    ) -> Result<(), ChangeError> {
        let id = self.application.id;
        let mut flow_ids: HashMap<Id, Id> = HashMap::new();
        let mut defaults: HashMap<Id, Id> = HashMap::new();
        for (index, value) in import.list("Flow", "flows")?.iter().enumerate() {
            let mut value = value.clone();
            let (old, default) = (id_in(&value, "id"), id_in(&value, "defaultVersionId"));
            if let Some(object) = value.as_object_mut() {
                object.remove("defaultVersionId");
            }
            rewire(&mut value, webhook_ids);
            let known = old.map(|old| changes.flow_of(&id, &old)).and_then(Result::ok);
            let is_new = known.is_none();
            let resource = match known {
                Some(mut flow) => flow.patch(&value, now).map(|()| flow),
                None => Flow::create(&value, id, now),
            };
            let resource = resource.and_then(|flow| engine.check_flow(&flow).map(|()| flow));
            let resource = resource.map_err(|error| within(error, "flows", index))?;
            flow_ids.extend(old.map(|old| (old, resource.id)));
            defaults.extend(default.map(|default| (default, resource.id)));
            self.flows.push(BundleItem { resource, is_new });
        }
        for (index, value) in import.list("FlowVersion", "flowVersions")?.iter().enumerate() {
            let mut value = value.clone();
            rewire(&mut value, webhook_ids);
            let refused = || {
                let must = "must be the id of a flow of this bundle, or of this application";
                within(ModelError::new("flowId", must), "flowVersions", index)
            };
            let old = id_in(&value, "flowId").ok_or_else(refused)?;
            let flow_id = flow_ids.get(&old).copied().unwrap_or(old);
            let planned = self.flows.iter().find(|planned| planned.resource.id == flow_id);
            let flow = match planned {
                Some(planned) => planned.resource.clone(),
                None => changes.flow_of(&id, &flow_id).map_err(|_| refused())?,
            };
            let version = FlowVersion::create(&value, &flow, now)
                .and_then(|version| engine.check_flow(&version.flow).map(|()| version));
            let version = version.map_err(|error| within(error, "flowVersions", index))?;
            if let Some(flow) = id_in(&value, "id").and_then(|old| defaults.get(&old)) {
                self.defaults.insert(*flow, version.version.clone());
            }
            self.versions.push(version);
        }
        Ok(())
    }

    /// Writes what was checked: only the database can fail.
    fn write(self, changes: &mut Changes<'_>, now: u64) -> Result<Application, ChangeError> {
        let id = self.application.id;
        let globals = self.globals;
        let application =
            changes.update_application(&id, |application| application.change_globals(globals, now))?;
        for BundleItem { resource, is_new } in self.webhooks {
            if is_new {
                changes.insert_webhook(resource)?;
            } else {
                let webhook = resource.id;
                changes.update_webhook(&id, &webhook, |kept| {
                    *kept = resource;
                    Ok(())
                })?;
            }
        }
        for BundleItem { resource, is_new } in self.flows {
            if is_new {
                changes.insert_flow(resource)?;
            } else {
                let flow = resource.id;
                changes.update_flow(&id, &flow, |kept| {
                    *kept = resource;
                    Ok(())
                })?;
            }
        }
        for version in self.versions {
            let (flow, name) = (version.flow.id, version.version.clone());
            let kept = changes.insert_flow_version(version, true)?;
            if self.defaults.get(&flow) == Some(&name) {
                changes.update_flow(&id, &flow, |flow| {
                    flow.default_version_id = Some(kept.id);
                    Ok(())
                })?;
            }
        }
        Ok(application)
    }
}

/// Has the triggers of a flow name the webhooks that were made for those that they name.
fn rewire(flow: &mut Value, webhooks: &HashMap<Id, Id>) {
    let triggers = flow.get_mut("triggers").and_then(Value::as_array_mut);
    for trigger in triggers.into_iter().flatten() {
        if let Some(new) = id_in(trigger, "key").and_then(|old| webhooks.get(&old)) {
            trigger["key"] = Value::from(new.to_string());
        }
    }
}
