//! The parameters of lists, as the platform's clients write them. A parameter that a list does not know is refused: it was
//! meant to narrow it.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use serde_json::Value;

use super::error::ApiError;
use crate::model::{FLOW_CLASSES, FlowClass};
use crate::store::{AdvancedQuery, FlowFilter, Glob, ListQuery, SortField, TriggerMatch};

/// Default of `perPage`.
pub(super) const PER_PAGE_DEFAULT: u64 = 100;
/// Largest `perPage`.
pub(super) const PER_PAGE_MAX: u64 = 1_000;
/// Most entries of a `triggerFilter`, the platform's number.
const TRIGGER_FILTER_MAX: usize = 100;

/// Parameters that the platform's clients may send with any list and that do not narrow it here: they ask for members
/// that no answer has, or for checks that are always made. Those that begin with `_` (`_links`, …) are ignored likewise.
const WITHOUT_EFFECT: [&str; 4] =
    ["includeCustomNodes", "strictValidation", "summaryExclude", "summaryInclude"];
/// Parameters of every list.
const OF_EVERY_LIST: [&str; 6] = ["page", "perPage", "sortField", "sortDirection", "filterField", "filter"];

/// The query parameters that a list accepts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListKind {
    /// The words of `sortField`; the first is the default.
    pub sort_fields: &'static [(&'static str, SortField)],
    /// The word of `filterField`.
    pub filter_field: &'static str,
    /// Its further parameters.
    pub more: &'static [&'static str],
}

const BY_NAME: &[(&str, SortField)] = &[
    ("name", SortField::Name),
    ("id", SortField::Id),
    ("creationDate", SortField::CreationDate),
    ("lastUpdated", SortField::LastUpdated),
];

/// The applications. They all have one owner, so that `ownerId` orders them by their ids.
pub(super) static APPLICATIONS: ListKind = ListKind {
    sort_fields: &[
        ("name", SortField::Name),
        ("id", SortField::Id),
        ("creationDate", SortField::CreationDate),
        ("lastUpdated", SortField::LastUpdated),
        ("ownerId", SortField::Id),
    ],
    filter_field: "name",
    more: &[],
};
/// The webhooks of an application.
pub(super) static WEBHOOKS: ListKind = ListKind { sort_fields: BY_NAME, filter_field: "name", more: &[] };
/// The flows of an application.
pub(super) static FLOWS: ListKind = ListKind {
    sort_fields: BY_NAME,
    filter_field: "name",
    more: &["flowClass", "triggerFilter", "query", "allVersions"],
};
/// The versions of a flow.
pub(super) static FLOW_VERSIONS: ListKind = ListKind {
    sort_fields: &[
        ("version", SortField::Name),
        ("id", SortField::Id),
        ("creationDate", SortField::CreationDate),
        ("lastUpdated", SortField::LastUpdated),
    ],
    filter_field: "version",
    more: &["query"],
};
/// The versions of an application's flows that have one name.
pub(super) static FLOWS_BY_VERSION: ListKind = ListKind {
    sort_fields: BY_NAME,
    filter_field: "name",
    more: &["version", "flowClass", "triggerFilter", "query"],
};

/// A list's parameters, and the words of them that the answer repeats.
#[derive(Debug)]
pub(super) struct ListParameters {
    pub query: ListQuery,
    pub sort_field: &'static str,
    pub filter_field: &'static str,
    pub filter: String,
    /// `version`, where the list knows it.
    pub version: Option<String>,
}

/// The word for a direction.
pub(super) fn direction(descending: bool) -> &'static str {
    if descending { "desc" } else { "asc" }
}

/// The parameters of a target, decoded, in order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of a target.
    pub(super) fn of(uri: &Uri) -> Result<Parameters, ApiError> {
        let parsed = Query::<Vec<(String, String)>>::try_from_uri(uri);
        parsed
            .map(|Query(list)| Parameters(list))
            .map_err(|_| ApiError::validation("the query string cannot be read"))
    }

    /// Every value of a parameter that is not blank.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// A parameter's value, the last one if there are several; blank is as good as absent.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.last(name).filter(|value| !value.is_empty())
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that means yes or no; absent or blank means no. In any case: Python's clients write `True`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.last(name).unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "false" | "0" => Ok(false),
            "true" | "1" => Ok(true),
            _ => Err(ApiError::validation(format!("`{name}` must be true or false"))),
        }
    }

    /// `sortDirection`.
    pub(super) fn descending(&self, default: bool) -> Result<bool, ApiError> {
        match self.given("sortDirection") {
            None => Ok(default),
            Some(word) if word.eq_ignore_ascii_case("asc") => Ok(false),
            Some(word) if word.eq_ignore_ascii_case("desc") => Ok(true),
            Some(_) => Err(ApiError::validation("`sortDirection` must be asc or desc")),
        }
    }

    /// Refuses parameters other than these and those without effect.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        for (name, value) in &self.0 {
            let base = name.split('[').next().unwrap_or_default();
            let is_known = known.contains(&base) || WITHOUT_EFFECT.contains(&base) || base.starts_with('_');
            if !is_known && !value.is_empty() {
                let shown: String = base.chars().take(crate::model::NAME_CHARS_MAX).collect();
                let known = known.join(", ");
                return Err(ApiError::validation(format!(
                    "`{shown}` does not narrow this list: it knows {known}"
                )));
            }
        }
        Ok(())
    }

    /// Reads what a list is asked for.
    pub(super) fn list(&self, kind: &ListKind) -> Result<ListParameters, ApiError> {
        self.only(&[&OF_EVERY_LIST, kind.more].concat())?;
        let page = number(self.given("page"), "page", 0, u64::from(u32::MAX))?.unwrap_or(0);
        let per_page = number(self.given("perPage"), "perPage", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT);
        let (sort_field, by) = match self.given("sortField") {
            None => kind.sort_fields[0],
            Some(word) => *kind.sort_fields.iter().find(|(known, _)| *known == word).ok_or_else(|| {
                let words: Vec<&str> = kind.sort_fields.iter().map(|(word, _)| *word).collect();
                ApiError::validation(format!("`sortField` must be one of: {}", words.join(", ")))
            })?,
        };
        let descending = self.descending(false)?;
        let filter_field = match self.given("filterField") {
            None => "",
            Some(field) if field == kind.filter_field => kind.filter_field,
            Some(_) => {
                return Err(ApiError::validation(format!("`filterField` must be {}", kind.filter_field)));
            }
        };
        let filter = self.given("filter").unwrap_or_default().to_owned();
        let advanced = if kind.more.contains(&"query") { self.advanced()? } else { None };
        let mut query = ListQuery { page, per_page, sort_field: by, descending, ..ListQuery::default() };
        if advanced.is_none() {
            // A filter of no field does not filter, and an advanced query overrides it (as the clients' pages say).
            query.name = (!filter_field.is_empty() && !filter.is_empty()).then(|| Glob::parse(&filter));
            query.flows = self.flow_filter(kind)?;
        }
        query.flows.query = advanced;
        let version =
            if kind.more.contains(&"version") { self.given("version").map(str::to_owned) } else { None };
        Ok(ListParameters { query, sort_field, filter_field, filter, version })
    }

    fn flow_filter(&self, kind: &ListKind) -> Result<FlowFilter, ApiError> {
        let mut filter = FlowFilter::default();
        if kind.more.contains(&"flowClass") {
            filter.class = Some(match self.given("flowClass") {
                None => FlowClass::default(),
                Some(word) => {
                    let known = FLOW_CLASSES.iter().find(|(known, _)| *known == word);
                    let words: Vec<&str> = FLOW_CLASSES.iter().map(|(word, _)| *word).collect();
                    let must =
                        || ApiError::validation(format!("`flowClass` must be one of: {}", words.join(", ")));
                    known.map(|(_, class)| *class).ok_or_else(must)?
                }
            });
        }
        if kind.more.contains(&"triggerFilter") {
            filter.triggered = trigger_filter(&self.0)?;
        }
        if self.flag("allVersions")? {
            return Err(ApiError::validation(
                "`allVersions` is not offered here: list the versions of each flow",
            ));
        }
        Ok(filter)
    }

    fn advanced(&self) -> Result<Option<AdvancedQuery>, ApiError> {
        let Some(text) = self.given("query") else { return Ok(None) };
        let value: Value =
            serde_json::from_str(text).map_err(|_| ApiError::validation("`query` must be a JSON object"))?;
        if self.flag("allVersions")? {
            return Err(ApiError::validation(
                "`allVersions` is not offered here: list the versions of each flow",
            ));
        }
        Ok(AdvancedQuery::parse(&value, "query").map(Some)?)
    }
}

pub(super) fn number(
    value: Option<&str>,
    name: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|n| digits && (least..=most).contains(n));
    let error = || ApiError::validation(format!("`{name}` must be an integer from {least} to {most}"));
    number.map(Some).ok_or_else(error)
}

/// `triggerFilter`: entries `{type, key}`, any of which a flow's trigger must fit. The clients flatten it to
/// `triggerFilter[0][type]=webhook&triggerFilter[0][key]=…`; JSON text is taken too.
fn trigger_filter(parameters: &[(String, String)]) -> Result<Option<Vec<TriggerMatch>>, ApiError> {
    const MUST: &str = "`triggerFilter` must be a list of {type, key}";
    let bad = || ApiError::validation(MUST);
    let mut entries: BTreeMap<String, QueryEntry> = BTreeMap::new();
    for (name, value) in parameters {
        let Some(rest) = name.strip_prefix("triggerFilter") else { continue };
        if rest.is_empty() {
            if value.is_empty() {
                continue;
            }
            let json: Value = serde_json::from_str(value).map_err(|_| bad())?;
            let list = match json {
                Value::Array(list) => list,
                object => vec![object],
            };
            for (index, entry) in list.iter().enumerate() {
                let object = entry.as_object().ok_or_else(bad)?;
                for (field, value) in object {
                    let value = value.as_str().ok_or_else(bad)?;
                    entries.entry(format!("json {index}")).or_default().set(field, value).ok_or_else(bad)?;
                }
            }
            continue;
        }
        // `[0][type]`, or `[type]` for a single entry.
        let inner = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(bad)?;
        let (index, field) = inner.split_once("][").unwrap_or(("", inner));
        entries.entry(index.to_owned()).or_default().set(field, value).ok_or_else(bad)?;
    }
    if entries.len() > TRIGGER_FILTER_MAX {
        return Err(ApiError::validation(format!("{MUST}, at most {TRIGGER_FILTER_MAX}")));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let matches = entries.into_values().map(|entry| TriggerMatch { type_name: entry.kind, key: entry.key });
    Ok(Some(matches.collect()))
}

#[derive(Default)]
struct QueryEntry {
    kind: Option<String>,
    key: Option<String>,
}

impl QueryEntry {
    fn set(&mut self, field: &str, value: &str) -> Option<()> {
        match field {
            "type" => self.kind = Some(value.to_owned()),
            "key" => self.key = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }
}
