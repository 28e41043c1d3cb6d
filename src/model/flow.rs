//! A flow: which webhooks trigger it and what happens then ([flows](crate::guide::flows)).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::common::{Extra, IDENTITY, NAMES, time_text};
use super::error::{ModelError, StoredError};
use super::fields::{Fields, word_of};
use super::flow_trigger::FlowTrigger;
use super::global::{GLOBALS, Global};
use super::known;
use super::node::FlowNode;
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows, words};
use crate::base::id::Id;

/// The fields of a flow.
pub(crate) static FLOW: ObjectSpec = ObjectSpec {
    name: "a flow",
    groups: &[
        &IDENTITY,
        &NAMES,
        &CONTENT,
        &rows! {
            "flowId": Id, read_only => "";
            "flowClass": CLASS, at_creation, or_text("cloud") =>
                "The platform's class of it; only flows of the class cloud run here.";
            "defaultVersionId": Id, nullable =>
                "The version that runs; null or missing: the flow itself. Without effect on a POST.";
        },
    ],
    ignored: known::FLOW_IGNORED,
    kept: known::FLOW_KEPT,
};

/// Rows of a flow and of its versions.
pub(super) const CONTENT: [FieldSpec; 4] = [
    ENABLED,
    FieldSpec::new(
        "triggers",
        FieldKind::Objects { schema: "Trigger", most: Flow::TRIGGERS_MAX },
        "What starts the flow.",
    ),
    FieldSpec::new(
        "nodes",
        FieldKind::Objects { schema: "Node", most: Flow::NODES_MAX },
        "The steps that it runs.",
    ),
    GLOBALS,
];
pub(super) const ENABLED: FieldSpec =
    FieldSpec::new("enabled", FieldKind::Boolean, "A disabled flow gets no triggers.").or_flag(true);

/// The kind of `flowClass`.
pub(super) const CLASS: FieldKind = FieldKind::Word(&words(&FLOW_CLASSES));

/// A workflow, checked: node ids are unique, and every `outputIds` names nodes that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Names the resource.
    pub id: Id,
    /// The application that it belongs to.
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
    /// The nodes that it runs.
    pub nodes: Vec<FlowNode>,
    /// Values merged over the application's in its payloads and templates.
    pub globals: Vec<Global>,
    /// Fixed when the flow is made.
    pub class: FlowClass,
    /// The version that runs; `None` for the flow itself.
    pub default_version_id: Option<Id>,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

/// The classes of flows, the platform's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlowClass {
    /// Runs on the server: the class of every flow here unless it says otherwise.
    #[default]
    Cloud,
    /// Runs on a gateway.
    Edge,
    /// Runs on a microcontroller.
    Embedded,
    /// Belongs to an experience.
    Experience,
    /// Defines a node.
    CustomNode,
}

/// The words of [`FlowClass`].
pub(crate) const FLOW_CLASSES: [(&str, FlowClass); 5] = [
    ("cloud", FlowClass::Cloud),
    ("edge", FlowClass::Edge),
    ("embedded", FlowClass::Embedded),
    ("experience", FlowClass::Experience),
    ("customNode", FlowClass::CustomNode),
];

impl FlowClass {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&FLOW_CLASSES, self)
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
            globals: Vec::new(),
            class: FlowClass::Cloud,
            default_version_id: None,
            extra: Map::new(),
        };
        let mut fields = Fields::of(body, "", &FLOW)?;
        flow.name = fields.required_string("name")?;
        flow.class = fields.one_of("flowClass", &FLOW_CLASSES)?.unwrap_or_default();
        // A new flow has no versions yet: what another one ran says nothing about it.
        fields.value("defaultVersionId");
        flow.read(fields)?;
        Ok(flow)
    }

    /// Replaces the fields that the body of a PATCH names, triggers and nodes whole. On an error nothing is changed.
    pub fn patch(&mut self, body: &Value, unix_millis: u64) -> Result<(), ModelError> {
        let mut patched = self.clone();
        let mut fields = Fields::of(body, "", &FLOW)?;
        if let Some(value) = fields.value("defaultVersionId") {
            let id = value.as_str().and_then(|text| text.parse().ok());
            if id.is_none() && !value.is_null() {
                let must = "must be the id of a version of this flow, or null";
                return Err(fields.error("defaultVersionId", must));
            }
            patched.default_version_id = id;
        }
        patched.read(fields)?;
        patched.last_updated = unix_millis;
        *self = patched;
        Ok(())
    }

    /// The webhooks that trigger it, each once.
    #[must_use]
    pub fn webhook_ids(&self) -> Vec<Id> {
        let mut ids: Vec<Id> = self.triggers.iter().filter_map(FlowTrigger::webhook).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), ModelError> {
        if let Some(name) = fields.string("name")? {
            self.name = name;
        }
        if let Some(description) = fields.string("description")? {
            self.description = description;
        }
        if let Some(class) = fields.one_of("flowClass", &FLOW_CLASSES)?
            && class != self.class
        {
            return Err(fields.error("flowClass", "is fixed when the flow is created"));
        }
        self.read_content(&mut fields)?;
        fields.finish(&mut self.extra)
    }

    /// Reads what a flow and a version of it both have.
    pub(super) fn read_content(&mut self, fields: &mut Fields<'_>) -> Result<(), ModelError> {
        if let Some(enabled) = fields.boolean("enabled")? {
            self.enabled = enabled;
        }
        let triggers = fields.list("triggers")?;
        if let Some(list) = triggers {
            self.triggers = list
                .iter()
                .enumerate()
                .map(|(index, value)| FlowTrigger::read(value, &format!("triggers[{index}]")))
                .collect::<Result<_, _>>()?;
        }
        let nodes = fields.list("nodes")?;
        if let Some(list) = nodes {
            self.nodes = read_nodes(list, &self.nodes)?;
        }
        if let Some(list) = fields.list("globals")? {
            self.globals = Global::read_list(list, "globals")?;
        }
        // What an earlier version kept is not refused because of another field.
        if triggers.is_some() || nodes.is_some() { self.check_wiring() } else { Ok(()) }
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
            "flowClass": self.class.as_str(),
        });
        if let Some(object) = shown.as_object_mut() {
            if let Some(id) = self.default_version_id {
                object.insert("defaultVersionId".to_owned(), Value::from(id.to_string()));
            }
            object.extend(self.content_to_api());
            object.extend(self.extra.clone());
        }
        shown
    }

    /// The members that a flow and a version of it both show, the secrets of nodes masked.
    pub(super) fn content_to_api(&self) -> Map<String, Value> {
        let members = [
            ("triggers", self.triggers.iter().map(FlowTrigger::to_value).collect::<Vec<_>>()),
            ("nodes", self.nodes.iter().map(|node| node.to_value(true)).collect()),
            ("globals", self.globals.iter().map(Global::to_api).collect()),
        ];
        members.into_iter().map(|(name, list)| (name.to_owned(), Value::Array(list))).collect()
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(&self.stored()).expect("strings, numbers and JSON values always serialize")
    }

    pub(super) fn stored(&self) -> StoredFlow {
        StoredFlow {
            id: self.id,
            application_id: self.application_id,
            name: self.name.clone(),
            description: self.description.clone(),
            disabled: !self.enabled,
            creation_date: self.creation_date,
            last_updated: self.last_updated,
            triggers: self.triggers.iter().map(FlowTrigger::to_value).collect(),
            nodes: self.nodes.iter().map(|node| node.to_value(false)).collect(),
            globals: self.globals.clone(),
            class: (self.class != FlowClass::Cloud).then(|| self.class.as_str().to_owned()),
            default_version_id: self.default_version_id,
            extra: self.extra.clone(),
        }
    }

    /// Reads what [`Flow::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<Flow, StoredError> {
        let stored = serde_json::from_slice(bytes).map_err(|e| StoredError(format!("flow: {e}")))?;
        Flow::of_stored(stored)
    }

    pub(super) fn of_stored(mut stored: StoredFlow) -> Result<Flow, StoredError> {
        let bad = |what: &str| StoredError(format!("flow: {what}"));
        stored.take_from_extra();
        let triggers: Result<Vec<_>, _> =
            stored.triggers.iter().map(|value| FlowTrigger::read(value, "triggers")).collect();
        let class = stored.class.as_deref().map_or(Ok(FlowClass::Cloud), |word| {
            let class = FLOW_CLASSES.iter().find(|(known, _)| *known == word);
            class.map(|(_, class)| *class).ok_or_else(|| bad("flowClass"))
        });
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
            globals: stored.globals,
            class: class?,
            default_version_id: stored.default_version_id,
            extra: stored.extra,
        })
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
pub(super) struct StoredFlow {
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    globals: Vec<Global>,
    /// Left out for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_version_id: Option<Id>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    extra: Extra,
}

impl StoredFlow {
    /// Moves the fields that format 1 kept unread to where they are read now. A value that means nothing is dropped; a
    /// `defaultVersionId` is, since format 1 had no versions.
    fn take_from_extra(&mut self) {
        if let Some(globals) = self.extra.remove("globals") {
            self.globals = Global::from_unchecked(&globals);
        }
        self.extra.remove("defaultVersionId");
        if let Some(Value::String(word)) = self.extra.remove("flowClass")
            && FLOW_CLASSES.iter().any(|(known, class)| *known == word && *class != FlowClass::Cloud)
        {
            self.class = Some(word);
        }
    }
}
