//! Whole lists as a write transaction sees them, for changes of many resources at once.

use super::changes::Changes;
use super::error::{Resource, StoreError};
use super::tables::list_key;
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, Webhook};

impl Changes<'_> {
    /// Every application, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn applications(&self) -> Result<Vec<Application>, StoreError> {
        let ids = self.ids_of_list(&list_key(Resource::Application, None))?;
        read_all(ids, |id| self.application(id))
    }

    /// The webhooks of an application, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn webhooks(&self, application: &Id) -> Result<Vec<Webhook>, StoreError> {
        let ids = self.ids_of_list(&list_key(Resource::Webhook, Some(application)))?;
        read_all(ids, |id| self.webhook(id))
    }

    /// The flows of an application, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flows(&self, application: &Id) -> Result<Vec<Flow>, StoreError> {
        let ids = self.ids_of_list(&list_key(Resource::Flow, Some(application)))?;
        read_all(ids, |id| self.flow(id))
    }

    /// The versions of a flow, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flow_versions(&self, flow: &Id) -> Result<Vec<FlowVersion>, StoreError> {
        let ids = self.ids_of_list(&list_key(Resource::FlowVersion, Some(flow)))?;
        read_all(ids, |id| self.flow_version(id))
    }
}

fn read_all<R>(
    ids: Vec<Id>,
    read: impl Fn(&Id) -> Result<Option<R>, StoreError>,
) -> Result<Vec<R>, StoreError> {
    ids.iter().filter_map(|id| read(id).transpose()).collect()
}
