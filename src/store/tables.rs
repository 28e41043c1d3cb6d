//! The tables of the database and how their keys are made.
//!
//! Records are found by id. Beside them stand an index for each order in which lists are asked for, a count for each
//! list, the tokens, and the flows of each webhook; all are written in the transaction that writes the record.

use redb::TableDefinition;

use super::error::Resource;
use crate::base::id::Id;

/// Tokens that there may be: one for each program that drives a server, and no table that grows for ever.
pub(crate) const ACCESS_TOKENS_MAX: usize = 1000;

/// Bytes of an id.
pub(super) const ID_BYTES: usize = 12;
/// Bytes of a token.
pub(super) const TOKEN_BYTES: usize = 40;

pub(super) type IdKey = [u8; ID_BYTES];

/// `format`: which version of this file wrote the tables.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const APPLICATIONS: TableDefinition<'_, &IdKey, &[u8]> = TableDefinition::new("applications");
pub(super) const WEBHOOKS: TableDefinition<'_, &IdKey, &[u8]> = TableDefinition::new("webhooks");
pub(super) const FLOWS: TableDefinition<'_, &IdKey, &[u8]> = TableDefinition::new("flows");
pub(super) const FLOW_VERSIONS: TableDefinition<'_, &IdKey, &[u8]> = TableDefinition::new("flow-versions");
/// The flows whose class is not the default, each with its class as a place in `model::FLOW_CLASSES`.
pub(super) const FLOW_CLASSES: TableDefinition<'_, &IdKey, u8> = TableDefinition::new("flow-classes");
/// Token of a webhook to its id.
pub(super) const TOKENS: TableDefinition<'_, &[u8; TOKEN_BYTES], &IdKey> = TableDefinition::new("tokens");
/// Access tokens beside the first. A database that has none may not have the table.
pub(super) const ACCESS_TOKENS: TableDefinition<'_, &IdKey, &[u8]> = TableDefinition::new("access-tokens");
/// See [`order_key`].
pub(super) const ORDER: TableDefinition<'_, &[u8], ()> = TableDefinition::new("order");
/// See [`list_key`]: how many resources are in a list.
pub(super) const COUNTS: TableDefinition<'_, &ListKey, u64> = TableDefinition::new("counts");
/// Webhook's id, then flow's id.
pub(super) const FLOWS_OF_WEBHOOK: TableDefinition<'_, &[u8; 2 * ID_BYTES], ()> =
    TableDefinition::new("flows-of-webhook");

/// `META`'s key of the version of the tables.
pub(super) const FORMAT_KEY: &str = "format";
/// The version that this file writes. 1: without [`FLOW_VERSIONS`] and [`FLOW_CLASSES`]. 2: without the options and the
/// earlier tokens of webhooks, which a build of that time would leave out, and with them who may call.
pub(super) const FORMAT: u64 = 3;

/// The kind of resource and its owner (an application, or a flow): names a list.
pub(super) type ListKey = [u8; 1 + ID_BYTES];

/// The orders in which a list can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortField {
    /// By name, in the order of its code points.
    #[default]
    Name,
    /// By id.
    Id,
    /// By creation, oldest first.
    CreationDate,
    /// By last update, oldest first.
    LastUpdated,
}

impl SortField {
    pub(super) const ALL: [SortField; 4] =
        [SortField::Name, SortField::Id, SortField::CreationDate, SortField::LastUpdated];

    fn tag(self) -> u8 {
        match self {
            SortField::Name => b'n',
            SortField::Id => b'i',
            SortField::CreationDate => b'c',
            SortField::LastUpdated => b'u',
        }
    }
}

/// The list of a kind: of an application or a flow, or of all applications.
pub(super) fn list_key(resource: Resource, owner: Option<&Id>) -> ListKey {
    let mut key = [0; 1 + ID_BYTES];
    key[0] = match resource {
        Resource::Application => b'a',
        Resource::Webhook => b'w',
        Resource::Flow => b'f',
        Resource::FlowVersion => b'v',
    };
    if let Some(owner) = owner {
        key[1..].copy_from_slice(owner.raw());
    }
    key
}

/// The common prefix of the keys of all resources with one name, in the order by name.
pub(super) fn name_prefix(list: &ListKey, name: &str) -> Vec<u8> {
    let mut key = order_prefix(list, SortField::Name);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key
}

/// The values that lists sort by.
pub(super) struct Sortable<'a> {
    pub id: Id,
    pub name: &'a str,
    pub creation_date: u64,
    pub last_updated: u64,
}

/// List, order, what it sorts by, id. The id ends the key, so that equals come in the order of their ids.
pub(super) fn order_key(list: &ListKey, field: SortField, item: &Sortable<'_>) -> Vec<u8> {
    let mut key = order_prefix(list, field);
    match field {
        SortField::Name => {
            key.extend_from_slice(item.name.as_bytes());
            // Below every character, so that a name comes before those that it begins.
            key.push(0);
        }
        SortField::Id => {}
        SortField::CreationDate => key.extend_from_slice(&item.creation_date.to_be_bytes()),
        SortField::LastUpdated => key.extend_from_slice(&item.last_updated.to_be_bytes()),
    }
    key.extend_from_slice(item.id.raw());
    key
}

/// The common prefix of the keys of one order of one list.
pub(super) fn order_prefix(list: &ListKey, field: SortField) -> Vec<u8> {
    let mut key = list.to_vec();
    key.push(field.tag());
    key
}

/// The first key after all those that begin with a prefix made by [`order_prefix`].
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(tag) = end.last_mut() {
        // The tag is an ASCII letter.
        *tag += 1;
    }
    end
}

/// The id that ends an order's key.
pub(super) fn id_of(key: &[u8]) -> Option<Id> {
    let start = key.len().checked_sub(ID_BYTES)?;
    key[start..].try_into().ok().map(Id::from_raw)
}

/// The name within a key of the order by name.
pub(super) fn name_of<'k>(key: &'k [u8], prefix: &[u8]) -> Option<&'k [u8]> {
    key.get(prefix.len()..key.len().checked_sub(ID_BYTES + 1)?)
}

/// Webhook and flow, joined.
pub(super) fn flow_of_webhook_key(webhook: &Id, flow: &Id) -> [u8; 2 * ID_BYTES] {
    let mut key = [0; 2 * ID_BYTES];
    key[..ID_BYTES].copy_from_slice(webhook.raw());
    key[ID_BYTES..].copy_from_slice(flow.raw());
    key
}
