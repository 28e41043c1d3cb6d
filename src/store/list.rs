//! Pages of lists, read from the index of the order that is asked for; only the page's own records are loaded, unless a
//! filter has to look into each.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::advanced::AdvancedQuery;
use super::database::StoreReads;
use super::error::{Resource, StoreError};
use super::glob::Glob;
use super::read::class_key;
use super::tables::{
    COUNTS, ListKey, ORDER, SortField, after_prefix, id_of, list_key, name_of, order_prefix,
};
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowClass, FlowVersion, WEBHOOK_TRIGGER, Webhook};

/// Which page of a list, in which order, of which of its resources.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// From 0.
    pub page: u64,
    /// Resources on a page.
    pub per_page: u64,
    /// The order of the list; equals are in the order of their ids.
    pub sort_field: SortField,
    /// Whether the order is turned round.
    pub descending: bool,
    /// Only those whose name fits.
    pub name: Option<Glob>,
    /// Flows and versions only: what else they must be.
    pub flows: FlowFilter,
}

/// Which flows, or versions of flows, a list has.
#[derive(Clone, Debug, Default)]
pub struct FlowFilter {
    /// Only those of this class.
    pub class: Option<FlowClass>,
    /// Only those that run with a trigger that fits any of these.
    pub triggered: Option<Vec<TriggerMatch>>,
    /// Only those that fit.
    pub query: Option<AdvancedQuery>,
}

/// A trigger that is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerMatch {
    /// Its type; any, if `None`.
    pub type_name: Option<String>,
    /// Its key; any, if `None`.
    pub key: Option<String>,
}

impl TriggerMatch {
    /// The webhook whose triggers alone can fit.
    fn webhook(&self) -> Option<Id> {
        self.type_name.as_deref().filter(|name| *name == WEBHOOK_TRIGGER)?;
        self.key.as_deref()?.parse().ok()
    }

    fn fits(&self, flow: &Flow) -> bool {
        flow.triggers.iter().any(|trigger| {
            self.type_name.as_deref().is_none_or(|name| name == trigger.type_name())
                && self
                    .key
                    .as_ref()
                    .is_none_or(|key| trigger.key().is_some_and(|own| own.eq_ignore_ascii_case(key)))
        })
    }
}

/// A page, and how many resources all pages together have.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The page.
    pub items: Vec<T>,
    /// After the filter.
    pub total: u64,
}

pub(super) fn applications(
    reads: &StoreReads<'_>,
    query: &ListQuery,
) -> Result<Listed<Application>, StoreError> {
    let page = page(reads, &list_key(Resource::Application, None), query, &Narrowed::default())?;
    page.load(|id| reads.application(id))
}

pub(super) fn webhooks(
    reads: &StoreReads<'_>,
    application: &Id,
    query: &ListQuery,
) -> Result<Listed<Webhook>, StoreError> {
    let page = page(reads, &list_key(Resource::Webhook, Some(application)), query, &Narrowed::default())?;
    page.load(|id| reads.webhook(id))
}

pub(super) fn flows(
    reads: &StoreReads<'_>,
    application: &Id,
    query: &ListQuery,
) -> Result<Listed<Flow>, StoreError> {
    let list = list_key(Resource::Flow, Some(application));
    let narrowed = narrowed_flows(reads, &list, &query.flows)?;
    page(reads, &list, query, &narrowed)?.load(|id| reads.flow(id))
}

pub(super) fn flow_versions(
    reads: &StoreReads<'_>,
    flow: &Id,
    query: &ListQuery,
) -> Result<Listed<FlowVersion>, StoreError> {
    let list = list_key(Resource::FlowVersion, Some(flow));
    let mut narrowed = Narrowed::default();
    if let Some(advanced) = &query.flows.query {
        let mut only = HashSet::new();
        for id in ids_of(reads, &list)? {
            let version = reads.flow_version(&id)?;
            only.extend(version.filter(|version| advanced.fits(&version.to_api())).map(|_| id));
        }
        narrowed.only = Some(only);
    }
    page(reads, &list, query, &narrowed)?.load(|id| reads.flow_version(id))
}

/// The versions of an application's flows, in one list. The order is made in memory: there is no index for it.
pub(super) fn flows_by_version(
    reads: &StoreReads<'_>,
    application: &Id,
    version: Option<&str>,
    query: &ListQuery,
) -> Result<Listed<FlowVersion>, StoreError> {
    let mut found: Vec<(String, FlowVersion)> = Vec::new();
    for id in ids_of(reads, &list_key(Resource::Flow, Some(application)))? {
        let Some(flow) = reads.flow(&id)? else { continue };
        let fits = |version: &FlowVersion| {
            query.name.as_ref().is_none_or(|glob| glob.matches(&flow.name))
                && query.flows.class.is_none_or(|class| class == flow.class)
                && fits_any(query.flows.triggered.as_deref(), &version.flow)
                && query.flows.query.as_ref().is_none_or(|advanced| advanced.fits(&version.to_api()))
        };
        let versions = match version {
            Some(name) => reads.flow_version_named(&id, name)?.into_iter().collect(),
            None => {
                let ids = ids_of(reads, &list_key(Resource::FlowVersion, Some(&id)))?;
                let loaded = ids.iter().filter_map(|id| reads.flow_version(id).transpose());
                loaded.collect::<Result<Vec<_>, _>>()?
            }
        };
        found.extend(versions.into_iter().filter(fits).map(|version| (flow.name.clone(), version)));
    }
    found.sort_by(|(name, one), (other_name, other)| {
        let order = match query.sort_field {
            SortField::Name => name.cmp(other_name),
            SortField::Id => Ordering::Equal,
            SortField::CreationDate => one.creation_date.cmp(&other.creation_date),
            SortField::LastUpdated => one.last_updated.cmp(&other.last_updated),
        };
        order.then_with(|| one.id.cmp(&other.id))
    });
    if query.descending {
        found.reverse();
    }
    let total = found.len() as u64;
    let skipped = usize::try_from(query.page.saturating_mul(query.per_page)).unwrap_or(usize::MAX);
    let taken = usize::try_from(query.per_page).unwrap_or(usize::MAX);
    let items = found.into_iter().skip(skipped).take(taken).map(|(_, version)| version).collect();
    Ok(Listed { items, total })
}

fn fits_any(wanted: Option<&[TriggerMatch]>, flow: &Flow) -> bool {
    wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted.fits(flow)))
}

/// The resources of a list that a filter leaves.
#[derive(Default)]
struct Narrowed {
    /// These alone; all, if `None`.
    only: Option<HashSet<Id>>,
    /// Not these.
    without: HashSet<Id>,
}

impl Narrowed {
    fn has(&self, id: &Id) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(id)) && !self.without.contains(id)
    }

    fn leaves_all(&self) -> bool {
        self.only.is_none() && self.without.is_empty()
    }
}

fn narrowed_flows(
    reads: &StoreReads<'_>,
    list: &ListKey,
    filter: &FlowFilter,
) -> Result<Narrowed, StoreError> {
    let mut narrowed = Narrowed::default();
    if let Some(class) = filter.class {
        let classes = reads.classes()?;
        match class_key(class) {
            None => {
                // A flow of another application is no flow of this list: it must not cost the count its short cut.
                for (id, _) in classes {
                    let is_here =
                        reads.flow(&id)?.is_some_and(|flow| list[1..] == flow.application_id.raw()[..]);
                    narrowed.without.extend(is_here.then_some(id));
                }
            }
            Some(key) => {
                let of_class = classes.into_iter().filter(|(_, class)| *class == key).map(|(id, _)| id);
                narrowed.only = Some(of_class.collect());
            }
        }
    }
    if filter.triggered.is_none() && filter.query.is_none() {
        return Ok(narrowed);
    }
    let mut only = HashSet::new();
    for id in candidates(reads, list, filter.triggered.as_deref())? {
        if !narrowed.has(&id) {
            continue;
        }
        let Some(flow) = reads.flow(&id)? else { continue };
        let fits = filter.query.as_ref().is_none_or(|query| query.fits(&flow.to_api()));
        if fits && fits_any(filter.triggered.as_deref(), &reads.running(flow)?) {
            only.insert(id);
        }
    }
    narrowed.only = Some(only);
    Ok(narrowed)
}

/// The flows that triggers like these can have: from the index of webhooks if all of them name one, else the whole list.
fn candidates(
    reads: &StoreReads<'_>,
    list: &ListKey,
    triggered: Option<&[TriggerMatch]>,
) -> Result<Vec<Id>, StoreError> {
    let webhooks: Option<Vec<Id>> =
        triggered.and_then(|wanted| wanted.iter().map(TriggerMatch::webhook).collect());
    let Some(webhooks) = webhooks else { return ids_of(reads, list) };
    let mut ids = Vec::new();
    for webhook in webhooks {
        ids.extend(reads.flow_ids_of_webhook(&webhook)?);
    }
    Ok(ids)
}

impl Listed<Id> {
    fn load<T>(self, load: impl Fn(&Id) -> Result<Option<T>, StoreError>) -> Result<Listed<T>, StoreError> {
        let items = self.items.iter().filter_map(|id| load(id).transpose()).collect::<Result<_, _>>()?;
        Ok(Listed { items, total: self.total })
    }
}

fn page(
    reads: &StoreReads<'_>,
    list: &ListKey,
    query: &ListQuery,
    narrowed: &Narrowed,
) -> Result<Listed<Id>, StoreError> {
    let chosen = chosen(reads, list, query.name.as_ref(), narrowed)?;
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
    each_of(reads, list, query.sort_field, query.descending, &mut |key, _| {
        let Some(id) = id_of(key) else { return true };
        if chosen.as_ref().is_some_and(|chosen| !chosen.contains(&id)) {
            return true;
        }
        if to_skip > 0 {
            to_skip -= 1;
            return true;
        }
        listed.items.push(id);
        (listed.items.len() as u64) < query.per_page
    })?;
    Ok(listed)
}

/// The resources of a list that pass its filters; `None` if it has none.
fn chosen(
    reads: &StoreReads<'_>,
    list: &ListKey,
    name: Option<&Glob>,
    narrowed: &Narrowed,
) -> Result<Option<HashSet<Id>>, StoreError> {
    if name.is_none() && narrowed.leaves_all() {
        return Ok(None);
    }
    let mut passed = HashSet::new();
    each_of(reads, list, SortField::Name, false, &mut |key, prefix| {
        let (Some(id), Some(own)) = (id_of(key), name_of(key, prefix)) else { return true };
        if narrowed.has(&id) && name.is_none_or(|glob| glob.matches(&String::from_utf8_lossy(own))) {
            passed.insert(id);
        }
        true
    })?;
    Ok(Some(passed))
}

fn ids_of(reads: &StoreReads<'_>, list: &ListKey) -> Result<Vec<Id>, StoreError> {
    let mut ids = Vec::new();
    each_of(reads, list, SortField::Id, false, &mut |key, _| {
        ids.extend(id_of(key));
        true
    })?;
    Ok(ids)
}

/// Calls `each` with every key of a list and the prefix that they share, in an order, until it answers `false`.
fn each_of(
    reads: &StoreReads<'_>,
    list: &ListKey,
    field: SortField,
    descending: bool,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), StoreError> {
    let order = reads.table(ORDER)?;
    let prefix = order_prefix(list, field);
    let end = after_prefix(&prefix);
    let mut range =
        order.range::<&[u8]>(prefix.as_slice()..end.as_slice()).map_err(|error| reads.failed(error))?;
    loop {
        let entry = if descending { range.next_back() } else { range.next() };
        let Some(entry) = entry else { return Ok(()) };
        let (key, ()) =
            entry.map(|(key, value)| (key, value.value())).map_err(|error| reads.failed(error))?;
        if !each(key.value(), &prefix) {
            return Ok(());
        }
    }
}
