//! The changes of one write transaction, each of which keeps records, lists, counts and indexes in step.

mod tables;

use std::path::Path;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::error::{ChangeError, Resource, StoreError};
use super::read::{flow_ids_of_webhook, id_named, read_record};
use super::record::Affected;
use super::record_change::RecordChange;
use super::tables::{
    ACCESS_TOKENS, APPLICATIONS, COUNTS, FLOW_CLASSES, FLOW_VERSIONS, FLOWS, FLOWS_OF_WEBHOOK, ID_BYTES,
    IdKey, ListKey, META, ORDER, TOKEN_BYTES, TOKENS, WEBHOOKS, list_key,
};
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, ModelError, Webhook};

pub(super) type RecordTable<'t> = Table<'t, &'static IdKey, &'static [u8]>;

/// A write transaction with its tables open. Each operation checks first and then writes, so that an operation that
/// fails for its caller's sake has changed nothing.
pub struct Changes<'t> {
    pub(super) path: &'t Path,
    applications: RecordTable<'t>,
    webhooks: RecordTable<'t>,
    flows: RecordTable<'t>,
    flow_versions: RecordTable<'t>,
    flow_classes: Table<'t, &'static IdKey, u8>,
    pub(super) tokens: Table<'t, &'static [u8; TOKEN_BYTES], &'static IdKey>,
    pub(super) access_tokens: RecordTable<'t>,
    order: Table<'t, &'static [u8], ()>,
    counts: Table<'t, &'static ListKey, u64>,
    flows_of_webhook: Table<'t, &'static [u8; 2 * ID_BYTES], ()>,
    pub(super) meta: Table<'t, &'static str, u64>,
    /// The records that were written, where they are for a replica.
    pub(super) noted: Option<Vec<RecordChange>>,
    /// The resources that act differently since the change, repeated as they are found.
    pub(super) affected: Affected,
    /// Set where the database failed: the whole transaction is lost.
    pub(super) failed: Option<StoreError>,
}

impl<'t> Changes<'t> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        path: &'t Path,
    ) -> Result<Changes<'t>, StoreError> {
        fn open<'t, K: redb::Key + 'static, V: redb::Value + 'static>(
            transaction: &'t WriteTransaction,
            path: &Path,
            table: TableDefinition<'_, K, V>,
        ) -> Result<Table<'t, K, V>, StoreError> {
            transaction.open_table(table).map_err(|error| StoreError::database(path, error))
        }
        Ok(Changes {
            path,
            applications: open(transaction, path, APPLICATIONS)?,
            webhooks: open(transaction, path, WEBHOOKS)?,
            flows: open(transaction, path, FLOWS)?,
            flow_versions: open(transaction, path, FLOW_VERSIONS)?,
            flow_classes: open(transaction, path, FLOW_CLASSES)?,
            tokens: open(transaction, path, TOKENS)?,
            access_tokens: open(transaction, path, ACCESS_TOKENS)?,
            order: open(transaction, path, ORDER)?,
            counts: open(transaction, path, COUNTS)?,
            flows_of_webhook: open(transaction, path, FLOWS_OF_WEBHOOK)?,
            meta: open(transaction, path, META)?,
            noted: None,
            affected: Affected::default(),
            failed: None,
        })
    }

    /// See [`super::Store::insert_application`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert_application(&mut self, application: Application) -> Result<Application, ChangeError> {
        if self.application(&application.id)?.is_some() {
            return Err(ChangeError::Conflict(Resource::Application));
        }
        self.put_application(None, &application)?;
        Ok(application)
    }

    /// See [`super::Store::update_application`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update_application(
        &mut self,
        id: &Id,
        alter: impl FnOnce(&mut Application) -> Result<(), ModelError>,
    ) -> Result<Application, ChangeError> {
        let old = self.application(id)?.ok_or(ChangeError::Missing(Resource::Application))?;
        let mut new = old.clone();
        alter(&mut new)?;
        self.put_application(Some(&old), &new)?;
        let webhooks = self.ids_of_list(&list_key(Resource::Webhook, Some(id)))?;
        self.affected.webhooks.extend(webhooks);
        Ok(new)
    }

    /// See [`super::Store::delete_application`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete_application(&mut self, id: &Id) -> Result<(), ChangeError> {
        let application = self.application(id)?.ok_or(ChangeError::Missing(Resource::Application))?;
        for flow in self.ids_of_list(&list_key(Resource::Flow, Some(id)))? {
            self.delete_flow(id, &flow)?;
        }
        for webhook in self.ids_of_list(&list_key(Resource::Webhook, Some(id)))? {
            self.delete_webhook(id, &webhook, false)?;
        }
        Ok(self.remove_application(&application)?)
    }

    /// See [`super::Store::insert_webhook`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert_webhook(&mut self, webhook: Webhook) -> Result<Webhook, ChangeError> {
        if self.application(&webhook.application_id)?.is_none() {
            return Err(ChangeError::Missing(Resource::Application));
        }
        let token = webhook.token.key();
        let token_taken =
            self.tokens.get(token.as_bytes()).map_err(|error| failed(self.path, error))?.is_some();
        if token_taken || self.webhook(&webhook.id)?.is_some() {
            return Err(ChangeError::Conflict(Resource::Webhook));
        }
        self.tokens.insert(token.as_bytes(), webhook.id.raw()).map_err(|error| failed(self.path, error))?;
        self.put_webhook(None, &webhook)?;
        Ok(webhook)
    }

    /// See [`super::Store::update_webhook`]. Its token, id and application stay.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update_webhook(
        &mut self,
        application: &Id,
        id: &Id,
        alter: impl FnOnce(&mut Webhook) -> Result<(), ModelError>,
    ) -> Result<Webhook, ChangeError> {
        let old = self.webhook_of(application, id)?;
        let mut new = old.clone();
        alter(&mut new)?;
        (new.id, new.application_id) = (old.id, old.application_id);
        (new.token, new.previous_tokens) = (old.token.clone(), old.previous_tokens.clone());
        self.put_webhook(Some(&old), &new)?;
        Ok(new)
    }

    /// See [`super::Store::delete_webhook`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete_webhook(&mut self, application: &Id, id: &Id, with_flows: bool) -> Result<(), ChangeError> {
        let webhook = self.webhook_of(application, id)?;
        if with_flows {
            let flows = flow_ids_of_webhook(&self.flows_of_webhook, id);
            for flow in flows.map_err(|error| failed(self.path, error))? {
                if self.flow(&flow)?.is_some_and(|flow| flow.application_id == *application) {
                    self.delete_flow(application, &flow)?;
                }
            }
        }
        Ok(self.remove_webhook(&webhook)?)
    }

    /// See [`super::Store::insert_flow`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert_flow(&mut self, flow: Flow) -> Result<Flow, ChangeError> {
        if self.application(&flow.application_id)?.is_none() {
            return Err(ChangeError::Missing(Resource::Application));
        }
        if self.flow(&flow.id)?.is_some() {
            return Err(ChangeError::Conflict(Resource::Flow));
        }
        self.put_flow(None, &flow)?;
        Ok(flow)
    }

    /// See [`super::Store::update_flow`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update_flow(
        &mut self,
        application: &Id,
        id: &Id,
        alter: impl FnOnce(&mut Flow) -> Result<(), ModelError>,
    ) -> Result<Flow, ChangeError> {
        let old = self.flow_of(application, id)?;
        let mut new = old.clone();
        alter(&mut new)?;
        (new.id, new.application_id) = (old.id, old.application_id);
        if let Some(version) = new.default_version_id
            && self.flow_version(&version)?.is_none_or(|version| version.flow.id != *id)
        {
            let must = "must be the id of a version of this flow, or null";
            return Err(ModelError::new("defaultVersionId", must).into());
        }
        self.put_flow(Some(&old), &new)?;
        Ok(new)
    }

    /// See [`super::Store::delete_flow`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete_flow(&mut self, application: &Id, id: &Id) -> Result<(), ChangeError> {
        let flow = self.flow_of(application, id)?;
        Ok(self.remove_flow(&flow)?)
    }

    /// Keeps a new version of a flow. With `may_replace` it takes the place, and the id, of the one with its name.
    ///
    /// # Errors
    ///
    /// If the flow is missing, the name is taken, or the database failed.
    pub fn insert_flow_version(
        &mut self,
        mut version: FlowVersion,
        may_replace: bool,
    ) -> Result<FlowVersion, ChangeError> {
        let flow = self.flow_of(&version.flow.application_id.clone(), &version.flow.id.clone())?;
        let named = id_named(&self.order, Resource::FlowVersion, &flow.id, &version.version);
        let old = match named.map_err(|error| failed(self.path, error))? {
            Some(_) if !may_replace => return Err(ChangeError::Conflict(Resource::FlowVersion)),
            Some(id) => self.flow_version(&id)?,
            None => None,
        };
        if let Some(old) = &old {
            // Whatever names the version goes on naming it.
            (version.id, version.creation_date) = (old.id, old.creation_date);
        }
        self.put_version(&flow, old.as_ref(), &version)?;
        Ok(version)
    }

    /// Alters the version of a flow that an id or a name names. If it is the one that runs, the flow's webhooks are
    /// affected.
    ///
    /// # Errors
    ///
    /// If there is none, `alter` refused, or the database failed.
    pub fn update_flow_version(
        &mut self,
        application: &Id,
        flow: &Id,
        word: &str,
        alter: impl FnOnce(&mut FlowVersion) -> Result<(), ModelError>,
    ) -> Result<FlowVersion, ChangeError> {
        let flow = self.flow_of(application, flow)?;
        let old = self.flow_version_of(&flow, word)?;
        let mut new = old.clone();
        alter(&mut new)?;
        self.put_version(&flow, Some(&old), &new)?;
        Ok(new)
    }

    /// Deletes the version of a flow that an id or a name names.
    ///
    /// # Errors
    ///
    /// If there is none, it is the one that runs, or the database failed.
    pub fn delete_flow_version(
        &mut self,
        application: &Id,
        flow: &Id,
        word: &str,
    ) -> Result<(), ChangeError> {
        let flow = self.flow_of(application, flow)?;
        let id = &self.flow_version_of(&flow, word)?.id;
        if flow.default_version_id == Some(*id) {
            let must = "must name another version, or null, before the version that runs can be deleted";
            return Err(ModelError::new("defaultVersionId", must).into());
        }
        self.remove_version(&list_key(Resource::FlowVersion, Some(&flow.id)), id)?;
        Ok(())
    }

    /// The application, if there is one.
    ///
    /// # Errors
    ///
    /// Where the database failed.
    pub fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        read_record(&self.applications, self.path, id)
    }

    /// The version with an id, whichever flow it belongs to.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flow_version(&self, id: &Id) -> Result<Option<FlowVersion>, StoreError> {
        read_record(&self.flow_versions, self.path, id)
    }

    /// The version of a flow with an id, or else with a name.
    ///
    /// # Errors
    ///
    /// If there is none, or the database failed.
    pub fn flow_version_of(&self, flow: &Flow, word: &str) -> Result<FlowVersion, ChangeError> {
        let id = match word.parse() {
            Ok(id) => Some(id),
            Err(_) => id_named(&self.order, Resource::FlowVersion, &flow.id, word)
                .map_err(|error| failed(self.path, error))?,
        };
        let version = id.map_or(Ok(None), |id| self.flow_version(&id))?;
        let version = version.filter(|version| version.flow.id == flow.id);
        version.ok_or(ChangeError::Missing(Resource::FlowVersion))
    }

    /// The webhook with an id, whichever application it belongs to.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        read_record(&self.webhooks, self.path, id)
    }

    /// The flow with an id, whichever application it belongs to.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        read_record(&self.flows, self.path, id)
    }

    /// A webhook of an application.
    ///
    /// # Errors
    ///
    /// If there is none, or the database failed.
    pub fn webhook_of(&self, application: &Id, id: &Id) -> Result<Webhook, ChangeError> {
        let webhook = self.webhook(id)?.filter(|webhook| webhook.application_id == *application);
        webhook.ok_or(ChangeError::Missing(Resource::Webhook))
    }

    /// A flow of an application.
    ///
    /// # Errors
    ///
    /// If there is none, or the database failed.
    pub fn flow_of(&self, application: &Id, id: &Id) -> Result<Flow, ChangeError> {
        let flow = self.flow(id)?.filter(|flow| flow.application_id == *application);
        flow.ok_or(ChangeError::Missing(Resource::Flow))
    }
}

pub(super) fn failed(path: &Path, error: redb::StorageError) -> StoreError {
    StoreError::database(path, error)
}
