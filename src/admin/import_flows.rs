//! The flows and versions of a document that is imported ([`super::import`]).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::import_plan::{
    ImportAction, ImportContext, Known, OTHERS_ID, Planned, ReportItem, changed, given_id,
};
use super::kinds::within;
use crate::base::id::Id;
use crate::model::{Flow, FlowVersion, ModelError, WEBHOOK_TRIGGER, Webhook};
use crate::store::{ChangeError, Changes};

/// Flows and versions as they are to be.
pub(super) struct ImportedFlows {
    flows: Vec<Planned<Flow>>,
    /// Places in `flows`.
    places: HashMap<Id, usize>,
    versions: Vec<Planned<FlowVersion>>,
    /// The version that is to run, by flow, for those whose entry says so.
    defaults: HashMap<Id, Option<Id>>,
    /// The flows of the application.
    known_flows: Vec<(Id, String)>,
    /// The versions that the flows of the document have.
    known_versions: Vec<(Id, String)>,
}

/// Reads the flows and versions of a document; triggers may name webhooks by their names.
///
/// # Errors
/// The first entry that is not valid; a database that failed.
pub(super) fn plan_flows(
    changes: &Changes<'_>,
    context: &ImportContext<'_>,
    application: &Id,
    webhooks: &Known<Webhook>,
) -> Result<ImportedFlows, ChangeError> {
    let mut known = Known::new(changes.flows(application)?, |flow| (flow.id, flow.name.clone()));
    let known_flows = known.ids().map(|(id, flow)| (*id, flow.name.clone())).collect();
    let mut plan = ImportedFlows {
        flows: Vec::new(),
        places: HashMap::new(),
        versions: Vec::new(),
        defaults: HashMap::new(),
        known_flows,
        known_versions: Vec::new(),
    };
    let mut words: HashMap<Id, Value> = HashMap::new();
    for (index, value) in context.list("flows")?.unwrap_or_default().iter().enumerate() {
        let mut value = value.clone();
        let default = value.as_object_mut().and_then(|object| object.remove("defaultVersionId"));
        let planned = plan_flow(changes, context, application, &known, webhooks, value);
        let planned = planned.map_err(|error| placed(error, "flows", index))?;
        let id = planned.resource.id;
        if plan.places.insert(id, plan.flows.len()).is_some() {
            let error = ModelError::new("id", "is that of another entry, or its name is");
            return Err(within(error, "flows", index));
        }
        words.extend(default.map(|word| (id, word)));
        plan.flows.push(planned);
    }
    for planned in &plan.flows {
        known.name(planned.resource.name.clone(), planned.resource.id);
    }
    plan.plan_versions(changes, context, &known, webhooks)?;
    plan.choose_defaults(words)?;
    Ok(plan)
}

fn placed(error: ChangeError, list: &str, index: usize) -> ChangeError {
    match error {
        ChangeError::Refused(error) => within(error, list, index),
        error => error,
    }
}

fn plan_flow(
    changes: &Changes<'_>,
    context: &ImportContext<'_>,
    application: &Id,
    known: &Known<Flow>,
    webhooks: &Known<Webhook>,
    mut value: Value,
) -> Result<Planned<Flow>, ChangeError> {
    wire(&mut value, webhooks)?;
    let planned = match known.find(&value)? {
        Some(old) => changed(old, context.now, |new| new.patch(&value, context.now))?,
        None => {
            let mut made = Flow::create(&value, *application, context.now)?;
            if let Some(id) = given_id(&value)? {
                if changes.flow(&id)?.is_some() {
                    return Err(ModelError::new("id", OTHERS_ID).into());
                }
                made.id = id;
            }
            Planned { resource: made, action: ImportAction::Create }
        }
    };
    if planned.action != ImportAction::Keep {
        context.engine.check_flow(&planned.resource)?;
    }
    Ok(planned)
}

/// Puts ids in place of the names by which triggers name webhooks.
fn wire(flow: &mut Value, webhooks: &Known<Webhook>) -> Result<(), ModelError> {
    let triggers = flow.get_mut("triggers").and_then(Value::as_array_mut);
    for (index, trigger) in triggers.into_iter().flatten().enumerate() {
        let is_webhook = trigger.get("type").and_then(Value::as_str) == Some(WEBHOOK_TRIGGER);
        let Some(word) = trigger.get("key").and_then(Value::as_str).filter(|_| is_webhook) else { continue };
        let refused = |must: String| ModelError::new(format!("triggers[{index}].key"), must);
        let found = webhooks.id_of(word).map_err(refused)?;
        let id = found.ok_or_else(|| refused(format!("must name a webhook: none has the name {word:?}")))?;
        trigger["key"] = Value::from(id.to_string());
    }
    Ok(())
}

impl ImportedFlows {
    fn plan_versions(
        &mut self,
        changes: &Changes<'_>,
        context: &ImportContext<'_>,
        known: &Known<Flow>,
        webhooks: &Known<Webhook>,
    ) -> Result<(), ChangeError> {
        let mut kept = HashMap::new();
        for planned in self.flows.iter().filter(|planned| planned.action != ImportAction::Create) {
            let versions = changes.flow_versions(&planned.resource.id)?;
            self.known_versions.extend(versions.iter().map(|version| (version.id, version.version.clone())));
            kept.insert(planned.resource.id, versions);
        }
        let mut seen = HashSet::new();
        for (index, value) in context.list("flowVersions")?.unwrap_or_default().iter().enumerate() {
            let planned = self.plan_version(changes, context, known, webhooks, &mut kept, value);
            let planned = planned.map_err(|error| placed(error, "flowVersions", index))?;
            if !seen.insert((planned.resource.flow.id, planned.resource.version.clone())) {
                let error = ModelError::new("version", "is that of another entry");
                return Err(within(error, "flowVersions", index));
            }
            self.versions.push(planned);
        }
        Ok(())
    }

    fn plan_version(
        &self,
        changes: &Changes<'_>,
        context: &ImportContext<'_>,
        known: &Known<Flow>,
        webhooks: &Known<Webhook>,
        kept: &mut HashMap<Id, Vec<FlowVersion>>,
        value: &Value,
    ) -> Result<Planned<FlowVersion>, ChangeError> {
        let mut value = value.clone();
        wire(&mut value, webhooks)?;
        let word = value.get("flowId").and_then(Value::as_str).unwrap_or_default();
        let refused = |must: &str| ModelError::new("flowId", must);
        let flow_id = known.id_of(word).map_err(|must| refused(&must))?;
        let planned = flow_id.and_then(|id| self.places.get(&id)).and_then(|place| self.flows.get(*place));
        let flow = planned.map(|planned| &planned.resource).or_else(|| known.get(&flow_id?));
        let flow = flow.ok_or_else(|| refused("must be the id or the name of a flow"))?;
        let name = value.get("version").and_then(Value::as_str).unwrap_or_default();
        let versions = match kept.entry(flow.id) {
            Entry::Occupied(kept) => kept.into_mut(),
            // A flow of the application that the document does not list.
            Entry::Vacant(place) => place.insert(changes.flow_versions(&flow.id)?),
        };
        let Some(old) = versions.iter().find(|old| old.version == name) else {
            let mut made = FlowVersion::create(&value, flow, context.now)?;
            if let Some(id) = given_id(&value)?
                && changes.flow_version(&id)?.is_none()
            {
                made.id = id;
            }
            context.engine.check_flow(&made.flow)?;
            return Ok(Planned { resource: made, action: ImportAction::Create });
        };
        // Its nodes' secrets are its own, not those that the flow has now.
        let planned = changed(old, context.now, |new| {
            *new = FlowVersion::create(&value, &old.flow, context.now)?;
            (new.id, new.creation_date) = (old.id, old.creation_date);
            Ok(())
        })?;
        if planned.action != ImportAction::Keep {
            context.engine.check_flow(&planned.resource.flow)?;
        }
        Ok(planned)
    }

    /// Finds the version that each flow is to run, by its name or by the id that the document or the application has.
    fn choose_defaults(&mut self, words: HashMap<Id, Value>) -> Result<(), ChangeError> {
        for (index, planned) in self.flows.iter_mut().enumerate() {
            let flow = &mut planned.resource;
            let Some(word) = words.get(&flow.id) else { continue };
            let chosen = match word.as_str() {
                None => None,
                Some(word) => {
                    let own = self.versions.iter().map(|version| &version.resource);
                    let mut own = own.filter(|version| version.flow.id == flow.id);
                    let named = own.find(|version| version.version == word || version.id.to_string() == word);
                    let kept = || {
                        let mut kept = self.known_versions.iter();
                        kept.find(|(id, _)| id.to_string() == word).map(|(id, _)| *id)
                    };
                    let chosen = named.map(|version| version.id).or_else(kept);
                    Some(chosen.ok_or_else(|| {
                        let must = "must be the id or the name of a version of this flow, or null";
                        within(ModelError::new("defaultVersionId", must), "flows", index)
                    })?)
                }
            };
            if flow.default_version_id != chosen {
                self.defaults.insert(flow.id, chosen);
                if planned.action == ImportAction::Keep {
                    planned.action = ImportAction::Change;
                }
            }
        }
        Ok(())
    }

    /// The resources that the document does not hold, of the kinds that it lists.
    pub(super) fn unlisted(&self, context: &ImportContext<'_>) -> Result<Vec<ReportItem>, ModelError> {
        let mut unlisted = Vec::new();
        let mut note = |kind, known: &[(Id, String)], held: HashSet<Id>| {
            let gone = known.iter().filter(|(id, _)| !held.contains(id));
            unlisted.extend(gone.map(|(id, name)| ReportItem {
                kind,
                id: *id,
                name: name.clone(),
                action: ImportAction::Delete,
            }));
        };
        if context.list("flows")?.is_some() {
            let held = self.flows.iter().map(|planned| planned.resource.id).collect();
            note("flow", &self.known_flows, held);
        }
        if context.list("flowVersions")?.is_some() {
            let held = self.versions.iter().map(|planned| planned.resource.id);
            // The version that runs stays.
            let running = self.flows.iter().filter_map(|planned| {
                let flow = &planned.resource;
                self.defaults.get(&flow.id).copied().unwrap_or(flow.default_version_id)
            });
            note("flowVersion", &self.known_versions, held.chain(running).collect());
        }
        Ok(unlisted)
    }

    /// A line for each.
    pub(super) fn items(&self) -> impl Iterator<Item = ReportItem> {
        self.flows.iter().map(Planned::item).chain(self.versions.iter().map(Planned::item))
    }

    /// Writes what was planned.
    ///
    /// # Errors
    /// A database that failed.
    pub(super) fn write(self, changes: &mut Changes<'_>, application: &Id) -> Result<(), ChangeError> {
        for flow in self.flows {
            flow.write(changes, application)?;
        }
        for version in self.versions {
            version.write(changes, application)?;
        }
        for (flow, version) in self.defaults {
            changes.update_flow(application, &flow, |kept| {
                kept.default_version_id = version;
                Ok(())
            })?;
        }
        Ok(())
    }
}
