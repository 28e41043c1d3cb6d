//! A resource of the model as the database keeps it.

use super::tables::Sortable;
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, StoredError, Webhook};

/// The resources that act differently since a commit, each once, deleted ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Webhooks: changed themselves, or through their application or a flow that they trigger.
    pub webhooks: Vec<Id>,
    /// Flows that were made, changed or deleted.
    pub flows: Vec<Id>,
    /// Whether access tokens came or went on another node.
    pub access_tokens: bool,
}

/// A resource as a table keeps it.
pub(super) trait ModelRecord: Sized {
    fn read(bytes: &[u8]) -> Result<Self, StoredError>;
}

impl ModelRecord for FlowVersion {
    fn read(bytes: &[u8]) -> Result<FlowVersion, crate::model::StoredError> {
        FlowVersion::from_stored(bytes)
    }
}

impl ModelRecord for Application {
    fn read(bytes: &[u8]) -> Result<Application, crate::model::StoredError> {
        Application::from_stored(bytes)
    }
}

impl ModelRecord for Webhook {
    fn read(bytes: &[u8]) -> Result<Webhook, crate::model::StoredError> {
        Webhook::from_stored(bytes)
    }
}

impl ModelRecord for Flow {
    fn read(bytes: &[u8]) -> Result<Flow, crate::model::StoredError> {
        Flow::from_stored(bytes)
    }
}

/// Returns what the lists sort the resource by.
pub(super) fn sortable_application(application: &Application) -> Sortable<'_> {
    Sortable {
        id: application.id,
        name: &application.name,
        creation_date: application.creation_date,
        last_updated: application.last_updated,
    }
}

/// Returns what the lists sort the resource by.
pub(super) fn sortable_webhook(webhook: &Webhook) -> Sortable<'_> {
    Sortable {
        id: webhook.id,
        name: &webhook.name,
        creation_date: webhook.creation_date,
        last_updated: webhook.last_updated,
    }
}

/// Returns what the lists sort the resource by.
pub(super) fn sortable_flow(flow: &Flow) -> Sortable<'_> {
    Sortable {
        id: flow.id,
        name: &flow.name,
        creation_date: flow.creation_date,
        last_updated: flow.last_updated,
    }
}

/// Returns what the lists sort the resource by.
pub(super) fn sortable_version(version: &FlowVersion) -> Sortable<'_> {
    Sortable {
        id: version.id,
        name: &version.version,
        creation_date: version.creation_date,
        last_updated: version.last_updated,
    }
}
