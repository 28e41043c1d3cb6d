//! Reads that transactions of either kind make.

use std::path::Path;

use redb::ReadableTable;

use super::error::{Resource, StoreError};
use super::record::ModelRecord;
use super::tables::{ID_BYTES, IdKey, id_of, list_key, name_prefix};
use crate::base::id::Id;
use crate::model::{self, AccessToken, FlowClass};

/// The entry of a class in [`model::FLOW_CLASSES`]; `None` for the default.
pub(super) fn class_key(class: FlowClass) -> Option<u8> {
    let place = model::FLOW_CLASSES.iter().position(|(_, known)| *known == class)?;
    u8::try_from(place).ok().filter(|_| class != FlowClass::default())
}

/// The access tokens of a table of either kind of transaction.
pub(super) fn read_access_tokens(
    table: &impl ReadableTable<&'static IdKey, &'static [u8]>,
    path: &Path,
) -> Result<Vec<AccessToken>, StoreError> {
    let mut tokens = Vec::new();
    for entry in table.iter().map_err(|error| StoreError::database(path, error))? {
        let (_, bytes) = entry.map_err(|error| StoreError::database(path, error))?;
        let token = AccessToken::from_stored(bytes.value());
        tokens.push(token.map_err(|error| StoreError::record(path, &error))?);
    }
    Ok(tokens)
}

/// The record of an id in a table of either kind of transaction.
pub(super) fn read_record<R: ModelRecord>(
    table: &impl ReadableTable<&'static IdKey, &'static [u8]>,
    path: &Path,
    id: &Id,
) -> Result<Option<R>, StoreError> {
    let bytes = table.get(id.raw()).map_err(|error| StoreError::database(path, error))?;
    let record = bytes.map(|bytes| R::read(bytes.value()));
    record.transpose().map_err(|error| StoreError::record(path, &error))
}

/// The flows that have a trigger on a webhook, whatever their application, in the order of their ids.
pub(super) fn flow_ids_of_webhook(
    table: &impl ReadableTable<&'static [u8; 2 * ID_BYTES], ()>,
    webhook: &Id,
) -> Result<Vec<Id>, redb::StorageError> {
    let (mut first, mut last) = ([0x00; 2 * ID_BYTES], [0xFF; 2 * ID_BYTES]);
    first[..ID_BYTES].copy_from_slice(webhook.raw());
    last[..ID_BYTES].copy_from_slice(webhook.raw());
    let mut ids = Vec::new();
    for entry in table.range::<&[u8; 2 * ID_BYTES]>(&first..=&last)? {
        let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
        ids.extend(id_of(key.value()));
    }
    Ok(ids)
}

/// The resource of a list that has a name; the first one by id, if there are several.
pub(super) fn id_named(
    order: &impl ReadableTable<&'static [u8], ()>,
    resource: Resource,
    owner: &Id,
    name: &str,
) -> Result<Option<Id>, redb::StorageError> {
    let prefix = name_prefix(&list_key(resource, Some(owner)), name);
    let mut range = order.range::<&[u8]>(prefix.as_slice()..)?;
    let Some(entry) = range.next() else { return Ok(None) };
    let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
    let is_named = key.value().starts_with(&prefix) && key.value().len() == prefix.len() + ID_BYTES;
    Ok(if is_named { id_of(key.value()) } else { None })
}
