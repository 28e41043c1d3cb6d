//! An application: the owner of webhooks, flows and globals ([REST API](crate::guide::rest_api)).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::common::{Extra, IDENTITY, NAMES, time_text};
use super::error::{ModelError, StoredError};
use super::fields::Fields;
use super::global::{GLOBALS, Global, GlobalChange, apply_changes};
use super::known;
use super::spec::ObjectSpec;
use crate::base::id::Id;

/// The fields of an application.
pub(crate) static APPLICATION: ObjectSpec = ObjectSpec {
    name: "an application",
    groups: &[&IDENTITY, &NAMES, &[GLOBALS]],
    ignored: known::APPLICATION_IGNORED,
    kept: known::APPLICATION_KEPT,
};

/// An application, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Names the resource.
    pub id: Id,
    /// 1 to 255 characters; need not be unique.
    pub name: String,
    /// At most 32,767 characters.
    pub description: String,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// Milliseconds since 1970.
    pub last_updated: u64,
    /// Values that templates and payloads see, keys unique, in the order given.
    pub globals: Vec<Global>,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

impl Application {
    /// A new application from the body of a POST.
    pub fn create(body: &Value, unix_millis: u64) -> Result<Application, ModelError> {
        let mut application = Application {
            id: Id::generate(unix_millis),
            name: String::new(),
            description: String::new(),
            creation_date: unix_millis,
            last_updated: unix_millis,
            globals: Vec::new(),
            extra: Map::new(),
        };
        let mut fields = Fields::of(body, "", &APPLICATION)?;
        application.name = fields.required_string("name")?;
        application.read(fields)?;
        Ok(application)
    }

    /// Replaces the fields that the body of a PATCH names, globals whole. On an error nothing is changed.
    pub fn patch(&mut self, body: &Value, unix_millis: u64) -> Result<(), ModelError> {
        let mut patched = self.clone();
        patched.read(Fields::of(body, "", &APPLICATION)?)?;
        patched.last_updated = unix_millis;
        *self = patched;
        Ok(())
    }

    /// Changes single globals by their keys. On an error nothing is changed.
    pub fn change_globals(&mut self, changes: Vec<GlobalChange>, unix_millis: u64) -> Result<(), ModelError> {
        apply_changes(&mut self.globals, changes)?;
        self.last_updated = unix_millis;
        Ok(())
    }

    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), ModelError> {
        if let Some(name) = fields.string("name")? {
            self.name = name;
        }
        if let Some(description) = fields.string("description")? {
            self.description = description;
        }
        if let Some(list) = fields.list("globals")? {
            self.globals = Global::read_list(list, "globals")?;
        }
        fields.finish(&mut self.extra)
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_api(&self) -> Value {
        let mut shown = json!({
            "id": self.id.to_string(),
            "applicationId": self.id.to_string(),
            "creationDate": time_text(self.creation_date),
            "lastUpdated": time_text(self.last_updated),
            "name": self.name,
            "description": self.description,
            "globals": self.globals.iter().map(Global::to_api).collect::<Vec<_>>(),
        });
        if let Some(object) = shown.as_object_mut() {
            object.extend(self.extra.clone());
        }
        shown
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let stored = StoredApplication {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            creation_date: self.creation_date,
            last_updated: self.last_updated,
            globals: self.globals.clone(),
            extra: self.extra.clone(),
        };
        serde_json::to_vec(&stored).expect("strings, numbers and JSON values always serialize")
    }

    /// Reads the bytes that [`Application::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<Application, StoredError> {
        let bad = |what: &str| StoredError(format!("application: {what}"));
        let stored: StoredApplication = serde_json::from_slice(bytes).map_err(|e| bad(&e.to_string()))?;
        Ok(Application {
            id: stored.id,
            name: stored.name,
            description: stored.description,
            creation_date: stored.creation_date,
            last_updated: stored.last_updated,
            globals: stored.globals,
            extra: stored.extra,
        })
    }
}

/// An application's record.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredApplication {
    id: Id,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    creation_date: u64,
    last_updated: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    globals: Vec<Global>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    extra: Extra,
}
