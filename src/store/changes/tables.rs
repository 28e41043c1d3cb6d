//! A record in the tables: written, listed, counted and found by what it names.

use redb::ReadableTable as _;

use super::{Changes, RecordTable, failed};
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, Webhook};
use crate::store::error::{Resource, StoreError};
use crate::store::read::class_key;
use crate::store::record::{sortable_application, sortable_flow, sortable_version, sortable_webhook};
use crate::store::record_change::{RecordChange, RecordKind};
use crate::store::tables::{
    ListKey, SortField, Sortable, after_prefix, flow_of_webhook_key, id_of, list_key, order_key, order_prefix,
};

impl<'t> Changes<'t> {
    pub(crate) fn put_application(
        &mut self,
        old: Option<&Application>,
        new: &Application,
    ) -> Result<(), StoreError> {
        let list = list_key(Resource::Application, None);
        self.relist(&list, old.map(sortable_application).as_ref(), Some(&sortable_application(new)))?;
        self.keep(RecordKind::Application, new.id, &new.to_stored())
    }

    /// Removes an application; its webhooks and flows are not looked at.
    pub(crate) fn remove_application(&mut self, application: &Application) -> Result<(), StoreError> {
        let list = list_key(Resource::Application, None);
        self.relist(&list, Some(&sortable_application(application)), None)?;
        self.drop_record(RecordKind::Application, &application.id)
    }

    pub(crate) fn put_webhook(&mut self, old: Option<&Webhook>, new: &Webhook) -> Result<(), StoreError> {
        let list = list_key(Resource::Webhook, Some(&new.application_id));
        self.relist(&list, old.map(sortable_webhook).as_ref(), Some(&sortable_webhook(new)))?;
        self.affected.webhooks.push(new.id);
        self.keep(RecordKind::Webhook, new.id, &new.to_stored())
    }

    /// Removes a webhook and its tokens.
    pub(crate) fn remove_webhook(&mut self, webhook: &Webhook) -> Result<(), StoreError> {
        let list = list_key(Resource::Webhook, Some(&webhook.application_id));
        self.relist(&list, Some(&sortable_webhook(webhook)), None)?;
        for token in webhook.tokens() {
            self.tokens.remove(token.key().as_bytes()).map_err(|error| failed(self.path, error))?;
        }
        self.affected.webhooks.push(webhook.id);
        self.drop_record(RecordKind::Webhook, &webhook.id)
    }

    pub(crate) fn put_flow(&mut self, old: Option<&Flow>, new: &Flow) -> Result<(), StoreError> {
        let list = list_key(Resource::Flow, Some(&new.application_id));
        self.relist(&list, old.map(sortable_flow).as_ref(), Some(&sortable_flow(new)))?;
        let before = old.map_or_else(|| Ok(Vec::new()), |old| self.webhooks_of(old))?;
        let after = self.webhooks_of(new)?;
        self.rewire(new.id, &before, &after)?;
        if let Some(class) = class_key(new.class) {
            self.flow_classes.insert(new.id.raw(), class).map_err(|error| failed(self.path, error))?;
        }
        self.keep(RecordKind::Flow, new.id, &new.to_stored())
    }

    /// Removes a flow and its versions.
    pub(crate) fn remove_flow(&mut self, flow: &Flow) -> Result<(), StoreError> {
        let list = list_key(Resource::Flow, Some(&flow.application_id));
        let webhooks = self.webhooks_of(flow)?;
        self.relist(&list, Some(&sortable_flow(flow)), None)?;
        self.rewire(flow.id, &webhooks, &[])?;
        let versions = list_key(Resource::FlowVersion, Some(&flow.id));
        for version in self.ids_of_list(&versions)? {
            self.remove_version(&versions, &version)?;
        }
        self.flow_classes.remove(flow.id.raw()).map_err(|error| failed(self.path, error))?;
        self.drop_record(RecordKind::Flow, &flow.id)
    }

    pub(crate) fn put_version(
        &mut self,
        flow: &Flow,
        old: Option<&FlowVersion>,
        new: &FlowVersion,
    ) -> Result<(), StoreError> {
        let list = list_key(Resource::FlowVersion, Some(&flow.id));
        let before = self.webhooks_of(flow)?;
        self.relist(&list, old.map(sortable_version).as_ref(), Some(&sortable_version(new)))?;
        self.keep(RecordKind::FlowVersion, new.id, &new.to_stored())?;
        if flow.default_version_id == Some(new.id) {
            let after = self.webhooks_of(flow)?;
            self.rewire(flow.id, &before, &after)?;
        }
        Ok(())
    }

    pub(crate) fn remove_version(&mut self, list: &ListKey, id: &Id) -> Result<(), StoreError> {
        if let Some(version) = self.flow_version(id)? {
            self.relist(list, Some(&sortable_version(&version)), None)?;
        }
        self.drop_record(RecordKind::FlowVersion, id)
    }

    /// Writes a record.
    pub(crate) fn keep(&mut self, kind: RecordKind, id: Id, bytes: &[u8]) -> Result<(), StoreError> {
        self.note(kind, id, Some(bytes));
        let path = self.path;
        let written = self.records(kind).insert(id.raw(), bytes).map(drop);
        written.map_err(|error| failed(path, error))
    }

    /// Removes a record.
    pub(crate) fn drop_record(&mut self, kind: RecordKind, id: &Id) -> Result<(), StoreError> {
        self.note(kind, *id, None);
        let path = self.path;
        let removed = self.records(kind).remove(id.raw()).map(drop);
        removed.map_err(|error| failed(path, error))
    }

    /// Notes a record that was written, where changes are made for a replica.
    fn note(&mut self, kind: RecordKind, id: Id, value: Option<&[u8]>) {
        if let Some(noted) = &mut self.noted {
            noted.push(RecordChange { kind, id, value: value.map(<[u8]>::to_vec) });
        }
    }

    fn records(&mut self, kind: RecordKind) -> &mut RecordTable<'t> {
        match kind {
            RecordKind::Application => &mut self.applications,
            RecordKind::Webhook => &mut self.webhooks,
            RecordKind::Flow => &mut self.flows,
            RecordKind::FlowVersion => &mut self.flow_versions,
            RecordKind::AccessToken => &mut self.access_tokens,
        }
    }

    /// The webhooks that a flow names, each once: the flow itself, and the version that runs in its place.
    fn webhooks_of(&self, flow: &Flow) -> Result<Vec<Id>, StoreError> {
        let mut webhooks = flow.webhook_ids();
        if let Some(id) = flow.default_version_id
            && let Some(version) = self.flow_version(&id)?
        {
            webhooks.extend(version.flow.webhook_ids());
            webhooks.sort_unstable();
            webhooks.dedup();
        }
        Ok(webhooks)
    }

    /// Moves a resource within its list's orders, and counts it.
    fn relist(
        &mut self,
        list: &ListKey,
        old: Option<&Sortable<'_>>,
        new: Option<&Sortable<'_>>,
    ) -> Result<(), StoreError> {
        for field in SortField::ALL {
            let old_key = old.map(|old| order_key(list, field, old));
            let new_key = new.map(|new| order_key(list, field, new));
            if old_key == new_key {
                continue;
            }
            if let Some(key) = old_key {
                self.order.remove(key.as_slice()).map_err(|error| failed(self.path, error))?;
            }
            if let Some(key) = new_key {
                self.order.insert(key.as_slice(), ()).map_err(|error| failed(self.path, error))?;
            }
        }
        if old.is_some() != new.is_some() {
            let count = self.counts.get(list).map_err(|error| failed(self.path, error))?;
            let count = count.map_or(0, |count| count.value());
            let count = if new.is_some() { count + 1 } else { count.saturating_sub(1) };
            if count == 0 {
                self.counts.remove(list).map_err(|error| failed(self.path, error))?;
            } else {
                self.counts.insert(list, count).map_err(|error| failed(self.path, error))?;
            }
        }
        Ok(())
    }

    /// Moves a flow from the webhooks that it named to those that it names; all of them are affected.
    fn rewire(&mut self, flow: Id, old: &[Id], new: &[Id]) -> Result<(), StoreError> {
        self.affected.flows.push(flow);
        self.affected.webhooks.extend(old.iter().chain(new));
        for webhook in old.iter().filter(|webhook| !new.contains(webhook)) {
            let key = flow_of_webhook_key(webhook, &flow);
            self.flows_of_webhook.remove(&key).map_err(|error| failed(self.path, error))?;
        }
        for webhook in new {
            let key = flow_of_webhook_key(webhook, &flow);
            self.flows_of_webhook.insert(&key, ()).map_err(|error| failed(self.path, error))?;
        }
        Ok(())
    }

    pub(crate) fn ids_of_list(&self, list: &ListKey) -> Result<Vec<Id>, StoreError> {
        let prefix = order_prefix(list, SortField::Id);
        let end = after_prefix(&prefix);
        let range = self.order.range::<&[u8]>(prefix.as_slice()..end.as_slice());
        let mut ids = Vec::new();
        for entry in range.map_err(|error| failed(self.path, error))? {
            let (key, _) = entry.map_err(|error| failed(self.path, error))?;
            ids.extend(id_of(key.value()));
        }
        Ok(ids)
    }
}
