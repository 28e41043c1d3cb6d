//! A version of a flow: what it was at a time, which can be made to run in place of what is being worked on ([REST
//! API](crate::guide::rest_api)).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::common::{Extra, IDENTITY, NAME_CHARS_MAX, TEXT_CHARS_MAX, time_text};
use super::error::{ModelError, StoredError};
use super::fields::Fields;
use super::flow::{CLASS, CONTENT, ENABLED, Flow, StoredFlow};
use super::known;
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows};
use crate::base::id::Id;

/// The word for what is being worked on, as opposed to a version.
pub(crate) const DEVELOP: &str = "develop";

/// The fields of a version.
pub(crate) static FLOW_VERSION: ObjectSpec = ObjectSpec {
    name: "a flow version",
    groups: &[
        &IDENTITY,
        &rows! {
            "flowVersionId": Id, read_only => "";
            "flowId": Id, read_only => "";
            "flowClass": CLASS, read_only => "The flow's.";
            "version": text(1, NAME_CHARS_MAX), required => "Its name, unique among the versions of the flow.";
        },
        &[NOTES],
        &CONTENT,
    ],
    ignored: known::FLOW_VERSION_IGNORED,
    kept: known::FLOW_VERSION_KEPT,
};

/// The fields of a version that can change.
pub(crate) static FLOW_VERSION_PATCH: ObjectSpec =
    ObjectSpec::new("a flow version that can change", &[&[NOTES, ENABLED]]);

const NOTES: FieldSpec =
    FieldSpec::new("notes", FieldKind::Text { least: 0, most: TEXT_CHARS_MAX }, "For people.").or_text("");

/// A version of a flow, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowVersion {
    /// Names the resource.
    pub id: Id,
    /// 1 to 255 characters, unique among the versions of the flow.
    pub version: String,
    /// At most 32,767 characters.
    pub notes: String,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// Milliseconds since 1970.
    pub last_updated: u64,
    /// The flow with the triggers, nodes and globals of this version; its own fields (name, dates) are those of the time
    /// when the version was made.
    pub flow: Flow,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

impl FlowVersion {
    /// A version of `flow` from the body of a POST. Triggers, nodes and globals that the body does not name are the
    /// flow's.
    pub fn create(body: &Value, flow: &Flow, unix_millis: u64) -> Result<FlowVersion, ModelError> {
        let mut fields = Fields::of(body, "", &FLOW_VERSION)?;
        let version = fields.required_string("version")?;
        if version == DEVELOP || version.parse::<Id>().is_ok() {
            let must = format!("must not be `{DEVELOP}`, nor 24 hex digits: those name other things");
            return Err(fields.error("version", must));
        }
        let mut content = flow.clone();
        content.enabled = true;
        content.default_version_id = None;
        content.read_content(&mut fields)?;
        let mut made = FlowVersion {
            id: Id::generate(unix_millis),
            version,
            notes: String::new(),
            creation_date: unix_millis,
            last_updated: unix_millis,
            flow: content,
            extra: Map::new(),
        };
        if let Some(notes) = fields.string("notes")? {
            made.notes = notes;
        }
        fields.finish(&mut made.extra)?;
        Ok(made)
    }

    /// Replaces `notes` and `enabled`, the only fields of a version that can change. On an error nothing is changed.
    pub fn patch(&mut self, body: &Value, unix_millis: u64) -> Result<(), ModelError> {
        let mut patched = self.clone();
        let mut fields = Fields::of(body, "", &FLOW_VERSION_PATCH)?;
        if let Some(notes) = fields.string("notes")? {
            patched.notes = notes;
        }
        if let Some(enabled) = fields.boolean("enabled")? {
            patched.flow.enabled = enabled;
        }
        fields.finish_strict()?;
        patched.last_updated = unix_millis;
        *self = patched;
        Ok(())
    }

    /// The flow as it runs while this version is the default of `flow`.
    #[must_use]
    pub fn running(self, flow: &Flow) -> Flow {
        Flow {
            id: flow.id,
            application_id: flow.application_id,
            name: flow.name.clone(),
            enabled: flow.enabled && self.flow.enabled,
            ..self.flow
        }
    }

    /// As the API shows it, the secrets of nodes masked.
    #[must_use]
    pub fn to_api(&self) -> Value {
        let mut shown = json!({
            "id": self.id.to_string(),
            "flowVersionId": self.id.to_string(),
            "flowId": self.flow.id.to_string(),
            "applicationId": self.flow.application_id.to_string(),
            "creationDate": time_text(self.creation_date),
            "lastUpdated": time_text(self.last_updated),
            "version": self.version,
            "notes": self.notes,
            "flowClass": self.flow.class.as_str(),
            "enabled": self.flow.enabled,
        });
        if let Some(object) = shown.as_object_mut() {
            object.extend(self.flow.content_to_api());
            object.extend(self.extra.clone());
        }
        shown
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let stored = StoredFlowVersion {
            id: self.id,
            version: self.version.clone(),
            notes: self.notes.clone(),
            creation_date: self.creation_date,
            last_updated: self.last_updated,
            flow: self.flow.stored(),
            extra: self.extra.clone(),
        };
        serde_json::to_vec(&stored).expect("strings, numbers and JSON values always serialize")
    }

    /// Reads what [`FlowVersion::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<FlowVersion, StoredError> {
        let bad = |what: &str| StoredError(format!("flow version: {what}"));
        let stored: StoredFlowVersion = serde_json::from_slice(bytes).map_err(|e| bad(&e.to_string()))?;
        Ok(FlowVersion {
            id: stored.id,
            version: stored.version,
            notes: stored.notes,
            creation_date: stored.creation_date,
            last_updated: stored.last_updated,
            flow: Flow::of_stored(stored.flow)?,
            extra: stored.extra,
        })
    }
}

/// A version's record, secrets in clear.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredFlowVersion {
    id: Id,
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notes: String,
    creation_date: u64,
    last_updated: u64,
    flow: StoredFlow,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    extra: Extra,
}
