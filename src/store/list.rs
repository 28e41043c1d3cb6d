//! Pages of lists, read from the index of the order that is asked for; only the page's own records are loaded.

use std::collections::HashSet;

use super::database::Reads;
use super::error::{Resource, StoreError};
use super::glob::Glob;
use super::tables::{
    COUNTS, ListKey, ORDER, SortField, after_prefix, id_of, list_key, name_of, order_prefix,
};
use crate::base::id::Id;
use crate::model::{Application, Flow, Webhook};

/// Which page of a list, in which order, of which of its resources.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// From 0.
    pub page: u64,
    /// Resources on a page.
    pub per_page: u64,
    /// What they are ordered by; equals are in the order of their ids.
    pub sort_field: SortField,
    /// Whether the order is turned round.
    pub descending: bool,
    /// Only those whose name fits.
    pub name: Option<Glob>,
    /// Flows only: those that are triggered so.
    pub triggered: Option<Triggered>,
}

/// Which flows a list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// Those that one of these webhooks triggers.
    By(Vec<Id>),
    /// Those that any webhook triggers.
    ByAny,
}

/// A page, and how many resources all pages together have.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The page.
    pub items: Vec<T>,
    /// After the filter.
    pub total: u64,
}

pub(super) fn applications(reads: &Reads<'_>, query: &ListQuery) -> Result<Listed<Application>, StoreError> {
    let page = page(reads, &list_key(Resource::Application, None), query)?;
    page.load(|id| reads.application(id))
}

pub(super) fn webhooks(
    reads: &Reads<'_>,
    application: &Id,
    query: &ListQuery,
) -> Result<Listed<Webhook>, StoreError> {
    let page = page(reads, &list_key(Resource::Webhook, Some(application)), query)?;
    page.load(|id| reads.webhook(id))
}

pub(super) fn flows(
    reads: &Reads<'_>,
    application: &Id,
    query: &ListQuery,
) -> Result<Listed<Flow>, StoreError> {
    let page = page(reads, &list_key(Resource::Flow, Some(application)), query)?;
    page.load(|id| reads.flow(id))
}

impl Listed<Id> {
    fn load<T>(self, load: impl Fn(&Id) -> Result<Option<T>, StoreError>) -> Result<Listed<T>, StoreError> {
        let items = self.items.iter().filter_map(|id| load(id).transpose()).collect::<Result<_, _>>()?;
        Ok(Listed { items, total: self.total })
    }
}

fn page(reads: &Reads<'_>, list: &ListKey, query: &ListQuery) -> Result<Listed<Id>, StoreError> {
    let order = reads.table(ORDER)?;
    let chosen = chosen(reads, list, query)?;
    let total = match &chosen {
        Some(chosen) => chosen.len() as u64,
        None => {
            let counts = reads.table(COUNTS)?;
            let count = counts.get(list).map_err(|error| reads.failed(error))?;
            count.map_or(0, |count| count.value())
        }
    };
    let mut listed = Listed { items: Vec::new(), total };
    let mut to_skip = query.page.saturating_mul(query.per_page);
    if to_skip >= total || query.per_page == 0 {
        return Ok(listed);
    }
    let prefix = order_prefix(list, query.sort_field);
    let end = after_prefix(&prefix);
    let mut range =
        order.range::<&[u8]>(prefix.as_slice()..end.as_slice()).map_err(|error| reads.failed(error))?;
    loop {
        let entry = if query.descending { range.next_back() } else { range.next() };
        let Some(entry) = entry else { return Ok(listed) };
        let (key, _) = entry.map_err(|error| reads.failed(error))?;
        let Some(id) = id_of(key.value()) else { continue };
        if chosen.as_ref().is_some_and(|chosen| !chosen.contains(&id)) {
            continue;
        }
        if to_skip > 0 {
            to_skip -= 1;
            continue;
        }
        listed.items.push(id);
        if listed.items.len() as u64 == query.per_page {
            return Ok(listed);
        }
    }
}

/// The resources of a list that pass the query's filters; `None` where it has none.
fn chosen(reads: &Reads<'_>, list: &ListKey, query: &ListQuery) -> Result<Option<HashSet<Id>>, StoreError> {
    let chosen: Option<HashSet<Id>> = match &query.triggered {
        None => None,
        Some(Triggered::ByAny) => Some(reads.flow_ids_with_triggers()?),
        Some(Triggered::By(webhooks)) => {
            let mut flows = HashSet::new();
            for webhook in webhooks {
                flows.extend(reads.flow_ids_of_webhook(webhook)?);
            }
            Some(flows)
        }
    };
    if query.name.is_none() && chosen.is_none() {
        return Ok(None);
    }
    let order = reads.table(ORDER)?;
    let prefix = order_prefix(list, SortField::Name);
    let end = after_prefix(&prefix);
    let range =
        order.range::<&[u8]>(prefix.as_slice()..end.as_slice()).map_err(|error| reads.failed(error))?;
    let mut passed = HashSet::new();
    for entry in range {
        let (key, _) = entry.map_err(|error| reads.failed(error))?;
        let key = key.value();
        let (Some(id), Some(name)) = (id_of(key), name_of(key, &prefix)) else { continue };
        let triggered = chosen.as_ref().is_none_or(|chosen| chosen.contains(&id));
        let named = query.name.as_ref().is_none_or(|glob| glob.matches(&String::from_utf8_lossy(name)));
        if triggered && named {
            passed.insert(id);
        }
    }
    Ok(Some(passed))
}
