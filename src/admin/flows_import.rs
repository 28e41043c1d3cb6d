//! `POST …/flows/import`: flows and versions of flows at once, as the platform exports them, in one transaction.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::call::{Call, Outcome};
use super::kinds::{id_in, must_be_there, within};
use super::resources::{Save, with_warnings};
use crate::base::id::Id;
use crate::model::{Flow, FlowVersion, ModelError};
use crate::store::{ChangeError, Changes, Resource, Store, StoreError};

/// Most flows, and most versions, of one import: the platform's numbers.
const IMPORT_MAX: usize = 1_000;

/// Flows and versions that are to be made, checked, with the ids that they had where they come from.
#[derive(Default)]
pub(super) struct FlowImport {
    flows: Vec<(Option<Id>, Flow)>,
    versions: Vec<(Option<Id>, FlowVersion)>,
    /// The version that is to run, by flow: its id where it comes from.
    defaults: HashMap<Id, Id>,
}

/// The resources that an import made.
pub(super) struct Imported {
    flows: Vec<Flow>,
    versions: Vec<FlowVersion>,
    flow_ids: HashMap<Id, Id>,
    version_ids: HashMap<Id, Id>,
}

pub(super) async fn import_flows(mut call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let save = Save::read(&mut call).await?;
    let answer = call.state.change(move |store| {
        let imported = store.change(move |changes| {
            must_be_there(changes, &application)?;
            FlowImport::read(changes, application, &save)?.write(changes, application)
        })?;
        Ok(imported.value.answer(store)?)
    });
    Ok((StatusCode::CREATED, Json(answer.await?)).into_response())
}

impl FlowImport {
    /// Reads and checks all of it; nothing is written.
    fn read(changes: &Changes<'_>, application: Id, save: &Save) -> Result<FlowImport, ChangeError> {
        let (flows, versions) = lists(&save.body)?;
        let mut import = FlowImport::default();
        for (index, value) in flows.iter().enumerate() {
            let flow =
                Flow::create(value, application, save.now).map_err(|error| within(error, "flows", index))?;
            save.engine.check_flow(&flow).map_err(|error| within(error, "flows", index))?;
            if let Some(version) = id_in(value, "defaultVersionId") {
                import.defaults.insert(flow.id, version);
            }
            import.flows.push((id_in(value, "id").or_else(|| id_in(value, "flowId")), flow));
        }
        let mut names = HashSet::new();
        for (index, value) in versions.iter().enumerate() {
            let flow = import.flow_of_version(changes, application, value, index)?;
            let version = FlowVersion::create(value, &flow, save.now)
                .map_err(|error| within(error, "flowVersions", index))?;
            save.engine.check_flow(&version.flow).map_err(|error| within(error, "flowVersions", index))?;
            let is_taken = changes.flow_version_of(&flow, &version.version).is_ok();
            if is_taken || !names.insert((flow.id, version.version.clone())) {
                return Err(ChangeError::Conflict(Resource::FlowVersion));
            }
            import.versions.push((id_in(value, "id").or_else(|| id_in(value, "flowVersionId")), version));
        }
        Ok(import)
    }

    /// The flow of a version: one of this import, or else one that is there.
    fn flow_of_version(
        &self,
        changes: &Changes<'_>,
        application: Id,
        value: &Value,
        index: usize,
    ) -> Result<Flow, ChangeError> {
        let must = "must be the id of a flow of this import, or of one of this application";
        let refused = || within(ModelError::new("flowId", must), "flowVersions", index);
        let id = id_in(value, "flowId").ok_or_else(refused)?;
        if let Some((_, flow)) = self.flows.iter().find(|(known, _)| *known == Some(id)) {
            return Ok(flow.clone());
        }
        match changes.flow_of(&application, &id) {
            Err(ChangeError::Missing(_)) => Err(refused()),
            found => found,
        }
    }

    /// Writes what was read. Everything was checked: only the database can fail.
    fn write(self, changes: &mut Changes<'_>, application: Id) -> Result<Imported, ChangeError> {
        let mut imported = Imported {
            flows: Vec::new(),
            versions: Vec::new(),
            flow_ids: HashMap::new(),
            version_ids: HashMap::new(),
        };
        for (old, flow) in self.flows {
            imported.flow_ids.extend(old.map(|old| (old, flow.id)));
            imported.flows.push(changes.insert_flow(flow)?);
        }
        for (old, version) in self.versions {
            let version = changes.insert_flow_version(version, false)?;
            imported.version_ids.extend(old.map(|old| (old, version.id)));
            imported.versions.push(version);
        }
        for flow in &mut imported.flows {
            let default = self.defaults.get(&flow.id).and_then(|old| imported.version_ids.get(old));
            if let Some(version) = default.copied() {
                *flow = changes.update_flow(&application, &flow.id, |flow| {
                    flow.default_version_id = Some(version);
                    Ok(())
                })?;
            }
        }
        Ok(imported)
    }
}

impl Imported {
    fn answer(&self, store: &Store) -> Result<Value, StoreError> {
        let flows: Result<Vec<Value>, _> = self.flows.iter().map(|flow| with_warnings(store, flow)).collect();
        Ok(json!({
            "flows": flows?,
            "flowVersions": self.versions.iter().map(FlowVersion::to_api).collect::<Vec<_>>(),
            "importedFlowIdMap": id_map(&self.flow_ids),
            "importedVersionIdMap": id_map(&self.version_ids),
        }))
    }
}

fn id_map(ids: &HashMap<Id, Id>) -> Value {
    ids.iter()
        .map(|(old, new)| (old.to_string(), Value::from(new.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn lists(body: &Value) -> Result<(&[Value], &[Value]), ModelError> {
    let object = body.as_object().ok_or_else(|| ModelError::new("body", "must be a JSON object"))?;
    let list = |name: &str| match object.get(name) {
        None => Ok(&[][..]),
        Some(Value::Array(list)) if list.len() <= IMPORT_MAX => Ok(list.as_slice()),
        Some(_) => Err(ModelError::new(name, format!("must be a list of at most {IMPORT_MAX}"))),
    };
    if let Some(unknown) = object.keys().find(|name| !["flows", "flowVersions"].contains(&name.as_str())) {
        return Err(ModelError::new(unknown, "is not a field of an import of flows"));
    }
    Ok((list("flows")?, list("flowVersions")?))
}
