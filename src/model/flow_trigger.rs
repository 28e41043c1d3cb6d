//! A trigger of a flow: the webhook that starts it, or one of the platform's other triggers, which is kept and inert.

use serde_json::{Map, Value, json};

use super::common::{NAME_CHARS_MAX, NODE_ID_CHARS_MAX};
use super::error::ModelError;
use super::fields::{Fields, text};
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows};
use crate::base::id::Id;

/// The type of a trigger that runs here.
pub(crate) const WEBHOOK_TRIGGER: &str = "webhook";

/// Longest key of an inert trigger: the platform's number.
const KEY_CHARS_MAX: usize = 1_024;

/// The fields of a trigger.
pub(crate) static TRIGGER: ObjectSpec = ObjectSpec::new(
    "a trigger",
    &[
        &rows! {
            "type": text(1, NAME_CHARS_MAX), required => "`webhook` starts the flow; any other type is kept and inert.";
            "key": text(0, KEY_CHARS_MAX) => "The id of a webhook, where the type is `webhook`.";
            "config": AnyObject => "Kept as it is.";
        },
        &[META, OUTPUT_IDS],
    ],
);

/// Data of an editor.
pub(super) const META: FieldSpec = FieldSpec::new("meta", FieldKind::AnyObject, "Kept as it is.");

pub(super) const OUTPUT_IDS: FieldSpec = FieldSpec::new(
    "outputIds",
    FieldKind::OutputIds { most: OutputIds::COUNT_MAX },
    "A list of node ids for each output; a flat list is that of one output.",
);

/// A trigger of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowTrigger {
    /// The event that starts the flow.
    pub kind: TriggerKind,
    /// Kept as it was written: a webhook's trigger has no configuration.
    pub config: Option<Value>,
    /// Data of an editor about it.
    pub meta: Option<Value>,
    /// The nodes that it leads to; `None` if the body does not name any list.
    pub output_ids: Option<OutputIds>,
}

/// The event that starts a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    /// Calls of a webhook. It need not exist; one of another application triggers nothing.
    Webhook(Id),
    /// A trigger of the platform that does not run here (`timer`, `virtualButton`, `flowError` …).
    Inert {
        /// Its `type`.
        type_name: String,
        /// Its `key`, if it has one.
        key: Option<String>,
    },
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
        let Some(list) = fields.list("outputIds")? else { return Ok(None) };
        let ids = |list: &[Value]| {
            let ids = list.iter().map(|id| text(id, &(1..=NODE_ID_CHARS_MAX)).map(str::to_owned));
            let ids = ids.collect::<Option<Vec<String>>>().filter(|ids| ids.len() <= Self::COUNT_MAX);
            ids.ok_or_else(|| fields.must_be("outputIds"))
        };
        if list.iter().any(Value::is_string) {
            return Ok(Some(OutputIds(vec![ids(list)?])));
        }
        let outputs: Result<Vec<_>, ModelError> = list
            .iter()
            .map(|output| ids(output.as_array().ok_or_else(|| fields.must_be("outputIds"))?))
            .collect();
        outputs.map(|outputs| Some(OutputIds(outputs)))
    }

    pub(super) fn to_value(&self) -> Value {
        json!(self.0)
    }
}

impl FlowTrigger {
    /// The webhook that starts the flow through this trigger.
    #[must_use]
    pub fn webhook(&self) -> Option<Id> {
        match self.kind {
            TriggerKind::Webhook(id) => Some(id),
            TriggerKind::Inert { .. } => None,
        }
    }

    /// Its `type`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match &self.kind {
            TriggerKind::Webhook(_) => WEBHOOK_TRIGGER,
            TriggerKind::Inert { type_name, .. } => type_name,
        }
    }

    /// Its `key`.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match &self.kind {
            TriggerKind::Webhook(id) => Some(id.to_string()),
            TriggerKind::Inert { key, .. } => key.clone(),
        }
    }

    pub(super) fn read(value: &Value, path: &str) -> Result<FlowTrigger, ModelError> {
        let mut fields = Fields::of(value, path, &TRIGGER)?;
        let type_name = fields.required_string("type")?;
        let kind = if type_name == WEBHOOK_TRIGGER {
            let key = fields.value("key").and_then(Value::as_str).and_then(|key| key.parse().ok());
            let must = "must be the id of a webhook: 24 hex digits";
            TriggerKind::Webhook(key.ok_or_else(|| fields.error("key", must))?)
        } else {
            TriggerKind::Inert { type_name, key: fields.string("key")? }
        };
        let config = fields.object("config")?.cloned().map(Value::Object);
        let meta = fields.object("meta")?.cloned().map(Value::Object);
        let output_ids = OutputIds::read(&mut fields)?;
        fields.finish_strict()?;
        Ok(FlowTrigger { kind, config, meta, output_ids })
    }

    pub(super) fn to_value(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("type".to_owned(), Value::from(self.type_name()));
        let members = [
            ("key", self.key().map(Value::from)),
            ("config", self.config.clone()),
            ("meta", self.meta.clone()),
            ("outputIds", self.output_ids.as_ref().map(OutputIds::to_value)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                shown.insert(name.to_owned(), value);
            }
        }
        Value::Object(shown)
    }
}
