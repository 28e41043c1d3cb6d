//! `POST /import`: makes an application be what a document says ([`super::export`]), in one transaction.
//!
//! Resources are found by their ids, or by their names if the document gives no id; what is not there is made, with the
//! id that the document gives, so that the same document a second time changes nothing. With `prune=true` what the
//! document does not hold is deleted, of the kinds that it lists. `dryRun=true` says what would be done.
//!
//! `***` keeps the secret that a resource has, and is refused for one that is new. Tokens of webhooks are not read: a
//! webhook that is made gets its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::Engine;
use super::error::ApiError;
use super::export::{FORMAT, FORMAT_MEMBER, SHOWN_CREDENTIALS};
use super::import_flows::{FlowPlan, plan_flows};
use super::kinds::within;
use super::query::Parameters;
use super::routes::{BODY_DEPTH_MAX, Call, Outcome};
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
            let context = Context { document: &document, engine: &*engine, now };
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

/// A document that is being worked on.
pub(super) struct Context<'d> {
    document: &'d Value,
    pub engine: &'d dyn Engine,
    /// Milliseconds since 1970.
    pub now: u64,
}

impl<'d> Context<'d> {
    /// The resources of a kind; `None` if the document says nothing of the kind.
    pub fn list(&self, name: &str) -> Result<Option<&'d [Value]>, ModelError> {
        match self.document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(ModelError::new(name, "must be a list")),
        }
    }
}

/// The change that an import makes to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Change,
    Keep,
    Delete,
}

/// A resource as it is to be.
pub(super) struct Planned<R> {
    pub resource: R,
    pub action: Action,
}

/// A line of the report.
pub(super) struct Item {
    pub kind: &'static str,
    pub id: Id,
    pub name: String,
    pub action: Action,
}

/// The id that a document gives a resource, if it gives one.
pub(super) fn given_id(value: &Value) -> Result<Option<Id>, ModelError> {
    match value.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| must_be_id()),
        Some(_) => Err(must_be_id()),
    }
}

fn must_be_id() -> ModelError {
    ModelError::new("id", "must be 24 hex digits; leave it out to find the resource by its name")
}

/// Resources of an application by id and by name.
pub(super) struct Known<R> {
    by_id: HashMap<Id, R>,
    /// `None` for a name that several have.
    by_name: HashMap<String, Option<Id>>,
}

impl<R> Known<R> {
    pub fn new(resources: Vec<R>, key: impl Fn(&R) -> (Id, String)) -> Known<R> {
        let mut known = Known { by_id: HashMap::new(), by_name: HashMap::new() };
        for resource in resources {
            let (id, name) = key(&resource);
            known.name(name, id);
            known.by_id.insert(id, resource);
        }
        known
    }

    /// Notes a name of a resource, whether it is kept already or not.
    pub fn name(&mut self, name: String, id: Id) {
        let entry = self.by_name.entry(name).or_insert(Some(id));
        if *entry != Some(id) {
            *entry = None;
        }
    }

    /// The id behind a word: an id as it stands, or a name.
    ///
    /// # Errors
    /// The reason if several have the name; `Ok(None)` if none has it.
    pub fn id_of(&self, word: &str) -> Result<Option<Id>, String> {
        if let Ok(id) = word.parse() {
            return Ok(Some(id));
        }
        match self.by_name.get(word) {
            None => Ok(None),
            Some(Some(id)) => Ok(Some(*id)),
            Some(None) => Err(format!("must be an id: several have the name {word:?}")),
        }
    }

    /// The resource that an entry of the document is about; `None` for one that is to be made.
    pub fn find(&self, value: &Value) -> Result<Option<&R>, ModelError> {
        let id = match given_id(value)? {
            Some(id) => Some(id),
            None => {
                let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
                // A name that reads as an id is a name here.
                match self.by_name.get(name) {
                    Some(None) => {
                        return Err(ModelError::new(
                            "id",
                            format!("is required: several have the name {name:?}"),
                        ));
                    }
                    Some(id) => *id,
                    None => None,
                }
            }
        };
        Ok(id.and_then(|id| self.by_id.get(&id)))
    }

    pub fn get(&self, id: &Id) -> Option<&R> {
        self.by_id.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = (&Id, &R)> {
        self.by_id.iter()
    }
}

/// An import, checked: only the database can fail it.
struct Plan {
    application: Planned<Application>,
    webhooks: Vec<Planned<Webhook>>,
    flows: FlowPlan,
    deleted: Vec<Item>,
}

impl Plan {
    fn new(changes: &Changes<'_>, context: &Context<'_>, mode: Mode) -> Result<Plan, ChangeError> {
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
    fn prune(&mut self, context: &Context<'_>, known: &Known<Webhook>) -> Result<(), ModelError> {
        if context.list("webhooks")?.is_some() {
            let held: HashSet<Id> = self.webhooks.iter().map(|planned| planned.resource.id).collect();
            let gone = known.ids().filter(|(id, _)| !held.contains(id));
            self.deleted.extend(gone.map(|(id, webhook)| Item {
                kind: "webhook",
                id: *id,
                name: webhook.name.clone(),
                action: Action::Delete,
            }));
        }
        self.deleted.extend(self.flows.unlisted(context)?);
        // The order of a map is none.
        self.deleted.sort_by_key(|item| (item.kind, item.id));
        Ok(())
    }

    fn report(&self, mode: Mode) -> Value {
        let application = Item {
            kind: "application",
            id: self.application.resource.id,
            name: self.application.resource.name.clone(),
            action: self.application.action,
        };
        let webhooks = self.webhooks.iter().map(|planned| Item {
            kind: "webhook",
            id: planned.resource.id,
            name: planned.resource.name.clone(),
            action: planned.action,
        });
        let all: Vec<Item> = std::iter::once(application).chain(webhooks).chain(self.flows.items()).collect();
        let all = || all.iter().chain(&self.deleted);
        let count = |action| all().filter(|item| item.action == action).count();
        let items = all().filter_map(|item| {
            let action = match item.action {
                Action::Create => "created",
                Action::Change => "changed",
                Action::Delete => "deleted",
                Action::Keep => return None,
            };
            Some(json!({"kind": item.kind, "id": item.id.to_string(), "name": item.name, "action": action}))
        });
        json!({
            "applicationId": self.application.resource.id.to_string(),
            "dryRun": mode.is_dry_run,
            "created": count(Action::Create),
            "changed": count(Action::Change),
            "deleted": count(Action::Delete),
            "unchanged": count(Action::Keep),
            "items": items.collect::<Vec<_>>(),
        })
    }

    fn write(self, changes: &mut Changes<'_>) -> Result<(), ChangeError> {
        let id = self.application.resource.id;
        match self.application.action {
            Action::Create => drop(changes.insert_application(self.application.resource)?),
            Action::Change => {
                let new = self.application.resource;
                changes.update_application(&id, |kept| {
                    *kept = new;
                    Ok(())
                })?;
            }
            Action::Keep | Action::Delete => {}
        }
        for Planned { resource, action } in self.webhooks {
            match action {
                Action::Create => drop(changes.insert_webhook(resource)?),
                Action::Change => {
                    let webhook = resource.id;
                    changes.update_webhook(&id, &webhook, |kept| {
                        *kept = resource;
                        Ok(())
                    })?;
                }
                Action::Keep | Action::Delete => {}
            }
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
    context: &Context<'_>,
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
            let mut new = old.clone();
            let mut value = value.clone();
            let globals = value.as_object_mut().and_then(|object| object.remove("globals"));
            new.patch(&value, context.now).map_err(at_fault)?;
            if let Some(globals) = globals {
                new = with_globals(new, globals, mode.prunes, context.now).map_err(at_fault)?;
            }
            new.last_updated = old.last_updated;
            let action = if new == old { Action::Keep } else { Action::Change };
            new.last_updated = context.now;
            Planned { resource: new, action }
        }
        None => {
            let mut made = Application::create(value, context.now).map_err(at_fault)?;
            made.id = given_id(value).map_err(at_fault)?.unwrap_or(made.id);
            Planned { resource: made, action: Action::Create }
        }
    })
}

/// An application with the globals of a document: over those that it has, or in their place.
fn with_globals(
    mut application: Application,
    globals: Value,
    replaces: bool,
    now: u64,
) -> Result<Application, ModelError> {
    if replaces {
        application.patch(&json!({"globals": globals}), now)?;
        return Ok(application);
    }
    let list = globals.as_array().ok_or_else(|| ModelError::new("globals", "must be a list"))?;
    application.change_globals(crate::model::read_changes(list, "globals")?, now)?;
    Ok(application)
}

fn plan_webhooks(
    changes: &Changes<'_>,
    context: &Context<'_>,
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
    context: &Context<'_>,
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
        Some(old) => {
            let mut new = old.clone();
            new.patch(&value, context.now)?;
            new.last_updated = old.last_updated;
            if new == *old {
                return Ok(Planned { resource: new, action: Action::Keep });
            }
            new.last_updated = context.now;
            Planned { resource: new, action: Action::Change }
        }
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
            Planned { resource: made, action: Action::Create }
        }
    };
    context.engine.check_webhook(&planned.resource)?;
    Ok(planned)
}

/// The refusal of an id that is taken.
pub(super) const OTHERS_ID: &str =
    "is that of a resource of another application; export with ids=false to copy one";
