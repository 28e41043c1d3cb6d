//! `POST /import`: makes an application be what a document says ([`super::export`]), in one transaction.
//!
//! Resources are found by their ids, or by their names if the document gives no id; what is not there is made, with the
//! id that the document gives, so that the same document a second time changes nothing. With `prune=true` what the
//! document does not hold is deleted, of the kinds that it lists. `dryRun=true` says what would be done.
//!
//! `***` keeps the secret that a resource has, and is refused for one that is new. Tokens of webhooks are not read: a
//! webhook that is made gets its own.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::call::{BODY_DEPTH_MAX, Call, Outcome};
use super::error::ApiError;
use super::export::{FORMAT, FORMAT_MEMBER, SHOWN_CREDENTIALS};
use super::import_flows::{ImportedFlows, plan_flows};
use super::import_plan::{
    ImportAction, ImportContext, Known, OTHERS_ID, Planned, ReportItem, changed, given_id,
};
use super::kinds::within;
use super::query::Parameters;
use crate::base::id::Id;
use crate::base::json as strict;
use crate::model::yaml;
use crate::model::{Application, MASK, ModelError, Webhook};
use crate::store::{ChangeError, Changes, Resource};

/// Bytes of a document: room for some thirty thousand webhooks.
pub(super) const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Members that a document may have.
const MEMBERS: [&str; 5] = [FORMAT_MEMBER, "application", "webhooks", "flows", "flowVersions"];

/// How an import is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    application: Option<Id>,
    is_dry_run: bool,
    prunes: bool,
}

pub(super) async fn import(mut call: Call) -> Outcome {
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&["applicationId", "dryRun", "prune"])?;
    let application = parameters.given("applicationId").map(str::parse).transpose();
    let mode = Mode {
        application: application.map_err(|_| ApiError::missing(Resource::Application))?,
        is_dry_run: parameters.flag("dryRun")?,
        prunes: parameters.flag("prune")?,
    };
    let content_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_yaml = content_type.is_some_and(|value| value.to_ascii_lowercase().contains("yaml"));
    let body = call.bytes_up_to(DOCUMENT_BYTES_MAX).await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let report = call.state.change(move |store| {
        let document = read(&body, is_yaml)?;
        store.change(move |changes| {
            let context = ImportContext { document: &document, engine: &*engine, now };
            let plan = Plan::new(changes, &context, mode)?;
            let report = plan.report(mode);
            if !mode.is_dry_run {
                plan.write(changes)?;
            }
            Ok(report)
        })
    });
    Ok(Json(report.await?.value).into_response())
}

fn read(body: &[u8], is_yaml: bool) -> Result<Value, ModelError> {
    let refused = |why: String| ModelError::new("body", why);
    let text = std::str::from_utf8(body).map_err(|_| refused("must be text in UTF-8".to_owned()))?;
    let document: Value = if is_yaml {
        yaml::read(text).map_err(|error| refused(format!("must be YAML: {error}")))?
    } else {
        serde_json::from_str(text).map_err(|error| refused(format!("must be JSON: {error}")))?
    };
    if !strict::validate(document.to_string().as_bytes(), BODY_DEPTH_MAX) {
        return Err(refused(format!("must be nested at most {BODY_DEPTH_MAX} levels deep")));
    }
    let members =
        document.as_object().ok_or_else(|| refused("must be an object, as an export is".to_owned()))?;
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(ModelError::new(unknown, format!("is not one of: {}", MEMBERS.join(", "))));
    }
    if members.get(FORMAT_MEMBER).is_some_and(|version| version.as_u64() != Some(FORMAT)) {
        return Err(ModelError::new(FORMAT_MEMBER, format!("must be {FORMAT}: this version reads no other")));
    }
    Ok(document)
}

/// An import, checked: only the database can fail it.
struct Plan {
    application: Planned<Application>,
    webhooks: Vec<Planned<Webhook>>,
    flows: ImportedFlows,
    deleted: Vec<ReportItem>,
}

impl Plan {
    fn new(changes: &Changes<'_>, context: &ImportContext<'_>, mode: Mode) -> Result<Plan, ChangeError> {
        let application = plan_application(changes, context, mode)?;
        let id = application.resource.id;
        let mut known = Known::new(changes.webhooks(&id)?, |webhook| (webhook.id, webhook.name.clone()));
        let webhooks = plan_webhooks(changes, context, &id, &known)?;
        for planned in &webhooks {
            known.name(planned.resource.name.clone(), planned.resource.id);
        }
        let flows = plan_flows(changes, context, &id, &known)?;
        let mut plan = Plan { application, webhooks, flows, deleted: Vec::new() };
        if mode.prunes {
            plan.prune(context, &known)?;
        }
        Ok(plan)
    }

    /// Notes what the document does not hold, of the kinds that it lists.
    fn prune(&mut self, context: &ImportContext<'_>, known: &Known<Webhook>) -> Result<(), ModelError> {
        if context.list("webhooks")?.is_some() {
            let held: HashSet<Id> = self.webhooks.iter().map(|planned| planned.resource.id).collect();
            let gone = known.ids().filter(|(id, _)| !held.contains(id));
            self.deleted.extend(gone.map(|(id, webhook)| ReportItem {
                kind: "webhook",
                id: *id,
                name: webhook.name.clone(),
                action: ImportAction::Delete,
            }));
        }
        self.deleted.extend(self.flows.unlisted(context)?);
        // The order of a map is none.
        self.deleted.sort_by_key(|item| (item.kind, item.id));
        Ok(())
    }

    fn report(&self, mode: Mode) -> Value {
        let webhooks = self.webhooks.iter().map(Planned::item);
        let all: Vec<ReportItem> =
            std::iter::once(self.application.item()).chain(webhooks).chain(self.flows.items()).collect();
        let all = || all.iter().chain(&self.deleted);
        let count = |action| all().filter(|item| item.action == action).count();
        let items = all().filter_map(|item| {
            let action = match item.action {
                ImportAction::Create => "created",
                ImportAction::Change => "changed",
                ImportAction::Delete => "deleted",
                ImportAction::Keep => return None,
            };
            Some(json!({"kind": item.kind, "id": item.id.to_string(), "name": item.name, "action": action}))
        });
        json!({
            "applicationId": self.application.resource.id.to_string(),
            "dryRun": mode.is_dry_run,
            "created": count(ImportAction::Create),
            "changed": count(ImportAction::Change),
            "deleted": count(ImportAction::Delete),
            "unchanged": count(ImportAction::Keep),
            "items": items.collect::<Vec<_>>(),
        })
    }

    fn write(self, changes: &mut Changes<'_>) -> Result<(), ChangeError> {
        let id = self.application.resource.id;
        self.application.write(changes, &id)?;
        for webhook in self.webhooks {
            webhook.write(changes, &id)?;
        }
        self.flows.write(changes, &id)?;
        for item in self.deleted {
            match item.kind {
                "webhook" => changes.delete_webhook(&id, &item.id, false)?,
                "flow" => changes.delete_flow(&id, &item.id)?,
                _ => {
                    let version = changes.flow_version(&item.id)?;
                    if let Some(version) = version {
                        changes.delete_flow_version(&id, &version.flow.id, &item.id.to_string())?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn plan_application(
    changes: &Changes<'_>,
    context: &ImportContext<'_>,
    mode: Mode,
) -> Result<Planned<Application>, ChangeError> {
    let nothing = json!({});
    let value = context.document.get("application").unwrap_or(&nothing);
    let at_fault = |error: ModelError| ChangeError::Refused(error.within("application"));
    let found = match mode.application {
        Some(id) => Some(changes.application(&id)?.ok_or(ChangeError::Missing(Resource::Application))?),
        None => {
            let known =
                Known::new(changes.applications()?, |application| (application.id, application.name.clone()));
            known.find(value).map_err(at_fault)?.cloned()
        }
    };
    Ok(match found {
        Some(old) => {
            let mut value = value.clone();
            let globals = value.as_object_mut().and_then(|object| object.remove("globals"));
            let planned = changed(&old, context.now, |new| {
                new.patch(&value, context.now)?;
                globals.map_or(Ok(()), |globals| set_globals(new, globals, mode.prunes, context.now))
            });
            planned.map_err(at_fault)?
        }
        None => {
            let mut made = Application::create(value, context.now).map_err(at_fault)?;
            made.id = given_id(value).map_err(at_fault)?.unwrap_or(made.id);
            Planned { resource: made, action: ImportAction::Create }
        }
    })
}

/// Gives an application the globals of a document: over those that it has, or in their place.
fn set_globals(
    application: &mut Application,
    globals: Value,
    replaces: bool,
    now: u64,
) -> Result<(), ModelError> {
    if replaces {
        return application.patch(&json!({"globals": globals}), now);
    }
    let list = globals.as_array().ok_or_else(|| ModelError::new("globals", "must be a list"))?;
    application.change_globals(crate::model::read_changes(list, "globals")?, now)
}

fn plan_webhooks(
    changes: &Changes<'_>,
    context: &ImportContext<'_>,
    application: &Id,
    known: &Known<Webhook>,
) -> Result<Vec<Planned<Webhook>>, ChangeError> {
    let mut planned: Vec<Planned<Webhook>> = Vec::new();
    let mut seen = HashSet::new();
    for (index, value) in context.list("webhooks")?.unwrap_or_default().iter().enumerate() {
        let one = plan_webhook(changes, context, application, known, value);
        let one = one.map_err(|error| match error {
            ChangeError::Refused(error) => within(error, "webhooks", index),
            error => error,
        })?;
        if !seen.insert(one.resource.id) {
            let error = ModelError::new("id", "is that of another entry, or its name is");
            return Err(within(error, "webhooks", index));
        }
        planned.push(one);
    }
    Ok(planned)
}

fn plan_webhook(
    changes: &Changes<'_>,
    context: &ImportContext<'_>,
    application: &Id,
    known: &Known<Webhook>,
    value: &Value,
) -> Result<Planned<Webhook>, ChangeError> {
    let mut value = value.clone();
    let masked: Vec<&str> = SHOWN_CREDENTIALS
        .into_iter()
        .filter(|field| value.get(field).and_then(Value::as_str) == Some(MASK))
        .collect();
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !masked.contains(&name.as_str()));
    }
    let planned = match known.find(&value)? {
        Some(old) => changed(old, context.now, |new| new.patch(&value, context.now))?,
        None => {
            let id = given_id(&value)?;
            if let Some(id) = id
                && changes.webhook(&id)?.is_some()
            {
                return Err(ModelError::new("id", OTHERS_ID).into());
            }
            if let Some(field) = masked.first() {
                let must = format!("must be the credential itself: {MASK} keeps one, and there is none");
                return Err(ModelError::new(*field, must).into());
            }
            let mut made = Webhook::create(&value, *application, context.now)?;
            made.id = id.unwrap_or(made.id);
            Planned { resource: made, action: ImportAction::Create }
        }
    };
    if planned.action != ImportAction::Keep {
        context.engine.check_webhook(&planned.resource)?;
    }
    Ok(planned)
}
