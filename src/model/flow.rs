//! A flow: which webhooks trigger it and what happens then (section 3).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{ModelError, StoredError};
use super::fields::{Fields, text};
use super::node::{FlowNode, NODE_ID_CHARS_MAX, NOT_YET};
use super::{Extra, NAME_CHARS_MAX, TEXT_CHARS_MAX, known, time_text};
use crate::base::id::Id;

/// A workflow, checked: node ids are unique, and every `outputIds` names nodes that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Names the resource.
    pub id: Id,
    /// Whose it is.
    pub application_id: Id,
    /// 1 to 255 characters; need not be unique.
    pub name: String,
    /// At most 32,767 characters.
    pub description: String,
    /// A disabled flow gets no triggers.
    pub enabled: bool,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// Milliseconds since 1970.
    pub last_updated: u64,
    /// The webhooks that trigger it. A webhook need not exist (it may come later, or have been deleted); one of
    /// another application triggers nothing.
    pub triggers: Vec<FlowTrigger>,
    /// What happens.
    pub nodes: Vec<FlowNode>,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

/// A webhook that triggers a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowTrigger {
    /// The webhook.
    pub key: Id,
    /// Kept as it was written: a webhook's trigger has no configuration.
    pub config: Option<Value>,
    /// What an editor keeps about it.
    pub meta: Option<Value>,
    /// The nodes it leads to; `None` where the body does not say.
    pub output_ids: Option<OutputIds>,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

/// Ids of nodes, one list for each output. A flat list in a body is the list of the one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputIds(pub Vec<Vec<String>>);

impl OutputIds {
    /// Most outputs, and most ids of one output: the platform's numbers.
    pub const COUNT_MAX: usize = 100;

    /// The ids of all outputs, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<OutputIds>, ModelError> {
        const MUST: &str = "must be a list of lists of node ids, one for each output, or a list of node ids";
        let Some(list) = fields.list("outputIds", Self::COUNT_MAX)? else { return Ok(None) };
        let ids = |list: &[Value]| {
            if list.len() > Self::COUNT_MAX {
                return Err(fields.error("outputIds", format!("must have at most {} ids", Self::COUNT_MAX)));
            }
            list.iter()
                .map(|id| text(id, &(1..=NODE_ID_CHARS_MAX)).map(str::to_owned))
                .collect::<Result<Vec<String>, String>>()
                .map_err(|_| fields.error("outputIds", MUST))
        };
        if list.iter().any(Value::is_string) {
            return Ok(Some(OutputIds(vec![ids(list)?])));
        }
        let outputs: Result<Vec<_>, ModelError> = list
            .iter()
            .map(|output| ids(output.as_array().ok_or_else(|| fields.error("outputIds", MUST))?))
            .collect();
        outputs.map(|outputs| Some(OutputIds(outputs)))
    }

    pub(super) fn to_value(&self) -> Value {
        json!(self.0)
    }
}

impl Flow {
    /// Most triggers of a flow.
    pub const TRIGGERS_MAX: usize = 1_000;
    /// Most nodes of a flow.
    pub const NODES_MAX: usize = 1_000;

    /// A new flow of an application from the body of a POST.
    pub fn create(body: &Value, application_id: Id, unix_millis: u64) -> Result<Flow, ModelError> {
        let mut flow = Flow {
            id: Id::generate(unix_millis),
            application_id,
            name: String::new(),
            description: String::new(),
            enabled: true,
            creation_date: unix_millis,
            last_updated: unix_millis,
            triggers: Vec::new(),
            nodes: Vec::new(),
            extra: Map::new(),
        };
        let mut fields = Fields::of(body, "")?;
        flow.name = fields.required_string("name", 1..=NAME_CHARS_MAX)?;
        flow.read(fields)?;
        flow.refuse_not_yet()?;
        Ok(flow)
    }

    /// Replaces the fields that the body of a PATCH names, triggers and nodes whole. On an error nothing is changed.
    pub fn patch(&mut self, body: &Value, unix_millis: u64) -> Result<(), ModelError> {
        let mut patched = self.clone();
        patched.read(Fields::of(body, "")?)?;
        patched.refuse_not_yet()?;
        patched.last_updated = unix_millis;
        *self = patched;
        Ok(())
    }

    /// The webhooks that trigger it, each once.
    #[must_use]
    pub fn webhook_ids(&self) -> Vec<Id> {
        let mut ids: Vec<Id> = self.triggers.iter().map(|trigger| trigger.key).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), ModelError> {
        if let Some(name) = fields.string("name", 1..=NAME_CHARS_MAX)? {
            self.name = name;
        }
        if let Some(description) = fields.string("description", 0..=TEXT_CHARS_MAX)? {
            self.description = description;
        }
        if let Some(enabled) = fields.boolean("enabled")? {
            self.enabled = enabled;
        }
        if let Some(list) = fields.list("triggers", Self::TRIGGERS_MAX)? {
            self.triggers = list
                .iter()
                .enumerate()
                .map(|(index, value)| FlowTrigger::read(value, &format!("triggers[{index}]")))
                .collect::<Result<_, _>>()?;
        }
        if let Some(list) = fields.list("nodes", Self::NODES_MAX)? {
            self.nodes = read_nodes(list, &self.nodes)?;
        }
        self.check_wiring()?;
        fields.finish("a flow", known::FLOW_IGNORED, known::FLOW_KEPT, &mut self.extra)
    }

    fn refuse_not_yet(&self) -> Result<(), ModelError> {
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node.kind.type_name();
            if NOT_YET.contains(&name) {
                return Err(ModelError::new(
                    format!("nodes[{index}].type"),
                    format!("`{name}` is not supported yet: this version does not deliver through it"),
                ));
            }
        }
        Ok(())
    }

    /// As the API shows it, the secrets of nodes masked.
    #[must_use]
    pub fn to_api(&self) -> Value {
        let mut shown = json!({
            "id": self.id.to_string(),
            "flowId": self.id.to_string(),
            "applicationId": self.application_id.to_string(),
            "creationDate": time_text(self.creation_date),
            "lastUpdated": time_text(self.last_updated),
            "name": self.name,
            "description": self.description,
            "enabled": self.enabled,
            "triggers": self.triggers.iter().map(FlowTrigger::to_value).collect::<Vec<_>>(),
            "nodes": self.nodes.iter().map(|node| node.to_value(true)).collect::<Vec<_>>(),
        });
        if let Some(object) = shown.as_object_mut() {
            object.extend(self.extra.clone());
        }
        shown
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let stored = StoredFlow {
            id: self.id,
            application_id: self.application_id,
            name: self.name.clone(),
            description: self.description.clone(),
            disabled: !self.enabled,
            creation_date: self.creation_date,
            last_updated: self.last_updated,
            triggers: self.triggers.iter().map(FlowTrigger::to_value).collect(),
            nodes: self.nodes.iter().map(|node| node.to_value(false)).collect(),
            extra: self.extra.clone(),
        };
        serde_json::to_vec(&stored).expect("strings, numbers and JSON values always serialize")
    }

    /// What [`Flow::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<Flow, StoredError> {
        let bad = |what: &str| StoredError(format!("flow: {what}"));
        let stored: StoredFlow = serde_json::from_slice(bytes).map_err(|e| bad(&e.to_string()))?;
        let triggers: Result<Vec<_>, _> =
            stored.triggers.iter().map(|value| FlowTrigger::read(value, "triggers")).collect();
        Ok(Flow {
            id: stored.id,
            application_id: stored.application_id,
            name: stored.name,
            description: stored.description,
            enabled: !stored.disabled,
            creation_date: stored.creation_date,
            last_updated: stored.last_updated,
            triggers: triggers.map_err(|e| bad(&e.to_string()))?,
            nodes: read_nodes(&stored.nodes, &[]).map_err(|e| bad(&e.to_string()))?,
            extra: stored.extra,
        })
    }
}

impl FlowTrigger {
    fn read(value: &Value, path: &str) -> Result<FlowTrigger, ModelError> {
        let mut fields = Fields::of(value, path)?;
        match fields.value("type") {
            Some(Value::String(kind)) if kind == "webhook" => {}
            Some(Value::String(kind)) => {
                let shown: String = kind.chars().take(NAME_CHARS_MAX).collect();
                return Err(
                    fields.error("type", format!("`{shown}` does not trigger here: it must be webhook"))
                );
            }
            _ => return Err(fields.error("type", "must be webhook")),
        }
        let key = fields.value("key").and_then(Value::as_str).and_then(|key| key.parse().ok());
        let key = key.ok_or_else(|| fields.error("key", "must be the id of a webhook: 24 hex digits"))?;
        let config = fields.object("config")?.cloned().map(Value::Object);
        let meta = fields.object("meta")?.cloned().map(Value::Object);
        let output_ids = OutputIds::read(&mut fields)?;
        fields.finish_strict("a trigger")?;
        Ok(FlowTrigger { key, config, meta, output_ids, extra: Map::new() })
    }

    fn to_value(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("type".to_owned(), Value::from("webhook"));
        shown.insert("key".to_owned(), Value::from(self.key.to_string()));
        let kept = [("config", self.config.clone()), ("meta", self.meta.clone())];
        let output_ids = self.output_ids.as_ref().map(OutputIds::to_value);
        for (name, value) in kept.into_iter().chain([("outputIds", output_ids)]) {
            if let Some(value) = value {
                shown.insert(name.to_owned(), value);
            }
        }
        shown.extend(self.extra.clone());
        Value::Object(shown)
    }
}

/// Reads `nodes`, names those without an id by their place, and sees that no two have the same.
fn read_nodes(list: &[Value], before: &[FlowNode]) -> Result<Vec<FlowNode>, ModelError> {
    let mut nodes = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        nodes.push(FlowNode::read(value, &format!("nodes[{index}]"), before)?);
    }
    let mut ids: HashSet<String> = HashSet::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if !node.id.is_empty() && !ids.insert(node.id.clone()) {
            return Err(ModelError::new(
                format!("nodes[{index}].id"),
                "must be unique among the flow's nodes",
            ));
        }
    }
    for (index, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.id.is_empty()) {
        let free = (index..).map(|n| format!("node{n}")).find(|id| !ids.contains(id));
        node.id = free.unwrap_or_default();
        ids.insert(node.id.clone());
    }
    Ok(nodes)
}

/// A flow's record, secrets in clear.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredFlow {
    id: Id,
    application_id: Id,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default)]
    disabled: bool,
    creation_date: u64,
    last_updated: u64,
    triggers: Vec<Value>,
    nodes: Vec<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    extra: Extra,
}
