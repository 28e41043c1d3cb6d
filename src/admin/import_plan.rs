//! Parts of a plan that an import of a document makes: what it knows of the application, and each resource as it is to be.

use std::collections::HashMap;

use serde_json::Value;

use super::EngineAccess;
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, ModelError, Webhook};
use crate::store::{ChangeError, Changes};

/// The refusal of an id that is taken.
pub(super) const OTHERS_ID: &str =
    "is that of a resource of another application; export with ids=false to copy one";

/// A document that is being worked on.
pub(super) struct ImportContext<'d> {
    pub document: &'d Value,
    pub engine: &'d dyn EngineAccess,
    /// Milliseconds since 1970.
    pub now: u64,
}

impl<'d> ImportContext<'d> {
    /// The resources of a kind; `None` if the document says nothing of the kind.
    pub(super) fn list(&self, name: &str) -> Result<Option<&'d [Value]>, ModelError> {
        match self.document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(ModelError::new(name, "must be a list")),
        }
    }
}

/// The change that an import makes to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImportAction {
    Create,
    Change,
    Keep,
    Delete,
}

/// A resource as it is to be.
pub(super) struct Planned<R> {
    pub resource: R,
    pub action: ImportAction,
}

/// A resource that a document gives anew.
pub(super) trait ImportedResource: Clone + PartialEq {
    /// Its kind, as the report names it.
    const KIND: &'static str;

    fn id(&self) -> Id;
    /// The name that the report shows.
    fn title(&self) -> &str;
    /// When it was changed last, in milliseconds since 1970.
    fn last_updated(&mut self) -> &mut u64;
    /// Keeps a new one.
    fn insert(self, changes: &mut Changes<'_>) -> Result<Self, ChangeError>;
    /// Puts it in the place of the one of the application that has its id.
    fn replace(self, changes: &mut Changes<'_>, application: &Id) -> Result<Self, ChangeError>;
}

macro_rules! imported {
    ($($resource:ident, $kind:literal, $title:ident, $insert:expr, $replace:expr;)+) => {
        $(impl ImportedResource for $resource {
            const KIND: &'static str = $kind;

            fn id(&self) -> Id {
                self.id
            }

            fn title(&self) -> &str {
                &self.$title
            }

            fn last_updated(&mut self) -> &mut u64 {
                &mut self.last_updated
            }

            fn insert(self, changes: &mut Changes<'_>) -> Result<$resource, ChangeError> {
                let insert: fn(&mut Changes<'_>, $resource) -> Result<$resource, ChangeError> = $insert;
                insert(changes, self)
            }

            fn replace(self, changes: &mut Changes<'_>, application: &Id) -> Result<$resource, ChangeError> {
                let replace: fn(&mut Changes<'_>, &Id, $resource) -> Result<$resource, ChangeError> = $replace;
                replace(changes, application, self)
            }
        })+
    };
}

imported! {
    Application, "application", name, |changes, new| changes.insert_application(new),
        |changes, _, new| changes.update_application(&new.id(), put(new));
    Webhook, "webhook", name, |changes, new| changes.insert_webhook(new),
        |changes, application, new| changes.update_webhook(application, &new.id(), put(new));
    Flow, "flow", name, |changes, new| changes.insert_flow(new),
        |changes, application, new| changes.update_flow(application, &new.id(), put(new));
    // It replaces the one with its name.
    FlowVersion, "flowVersion", version, |changes, new| changes.insert_flow_version(new, true),
        |changes, _, new| changes.insert_flow_version(new, true);
}

/// The alteration that leaves nothing of what was there.
fn put<R>(new: R) -> impl FnOnce(&mut R) -> Result<(), ModelError> {
    move |kept| {
        *kept = new;
        Ok(())
    }
}

impl<R: ImportedResource> Planned<R> {
    /// Its line of the report.
    pub(super) fn item(&self) -> ReportItem {
        ReportItem {
            kind: R::KIND,
            id: self.resource.id(),
            name: self.resource.title().to_owned(),
            action: self.action,
        }
    }

    /// Writes it as it is to be.
    ///
    /// # Errors
    /// A database that failed.
    pub(super) fn write(self, changes: &mut Changes<'_>, application: &Id) -> Result<(), ChangeError> {
        match self.action {
            ImportAction::Create => self.resource.insert(changes).map(drop),
            ImportAction::Change => self.resource.replace(changes, application).map(drop),
            ImportAction::Keep | ImportAction::Delete => Ok(()),
        }
    }
}

/// Plans a resource that is there: `patch` makes of it what the document says. Its time changes only if anything else does.
///
/// # Errors
/// As `patch`.
pub(super) fn changed<R: ImportedResource>(
    old: &R,
    now: u64,
    patch: impl FnOnce(&mut R) -> Result<(), ModelError>,
) -> Result<Planned<R>, ModelError> {
    let mut new = old.clone();
    let last_updated = *new.last_updated();
    patch(&mut new)?;
    *new.last_updated() = last_updated;
    let action = if new == *old { ImportAction::Keep } else { ImportAction::Change };
    if action == ImportAction::Change {
        *new.last_updated() = now;
    }
    Ok(Planned { resource: new, action })
}

/// A line of the report.
pub(super) struct ReportItem {
    pub kind: &'static str,
    pub id: Id,
    pub name: String,
    pub action: ImportAction,
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
    pub(super) fn new(resources: Vec<R>, key: impl Fn(&R) -> (Id, String)) -> Known<R> {
        let mut known = Known { by_id: HashMap::new(), by_name: HashMap::new() };
        for resource in resources {
            let (id, name) = key(&resource);
            known.name(name, id);
            known.by_id.insert(id, resource);
        }
        known
    }

    /// Notes a name of a resource, whether it is kept already or not.
    pub(super) fn name(&mut self, name: String, id: Id) {
        let entry = self.by_name.entry(name).or_insert(Some(id));
        if *entry != Some(id) {
            *entry = None;
        }
    }

    /// The id behind a word: an id as it stands, or a name.
    ///
    /// # Errors
    /// The reason if several have the name; `Ok(None)` if none has it.
    pub(super) fn id_of(&self, word: &str) -> Result<Option<Id>, String> {
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
    pub(super) fn find(&self, value: &Value) -> Result<Option<&R>, ModelError> {
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

    pub(super) fn get(&self, id: &Id) -> Option<&R> {
        self.by_id.get(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (&Id, &R)> {
        self.by_id.iter()
    }
}
