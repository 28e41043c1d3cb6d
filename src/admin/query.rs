//! The parameters of lists, as the platform's clients write them.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use serde_json::Value;

use super::error::ApiError;
use crate::base::id::Id;
use crate::store::{Glob, ListQuery, SortField, Triggered};

/// Default of `perPage`.
pub(super) const PER_PAGE_DEFAULT: u64 = 100;
/// Largest `perPage`.
pub(super) const PER_PAGE_MAX: u64 = 1_000;
/// Most entries of a `triggerFilter`, the platform's number.
const TRIGGER_FILTER_MAX: usize = 100;

pub(super) const SORT_FIELDS: [(&str, SortField); 4] = [
    ("name", SortField::Name),
    ("id", SortField::Id),
    ("creationDate", SortField::CreationDate),
    ("lastUpdated", SortField::LastUpdated),
];

/// A list's parameters, and the words of them that the answer repeats.
#[derive(Debug)]
pub(super) struct ListParameters {
    pub query: ListQuery,
    pub filter: String,
}

impl ListParameters {
    pub fn sort_field(&self) -> &'static str {
        let field = self.query.sort_field;
        SORT_FIELDS.iter().find(|(_, known)| *known == field).map_or("name", |(word, _)| word)
    }

    pub fn sort_direction(&self) -> &'static str {
        if self.query.descending { "desc" } else { "asc" }
    }
}

/// The parameters of a target, decoded, in order.
pub(super) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let parsed = Query::<Vec<(String, String)>>::try_from_uri(uri);
    parsed.map(|Query(list)| list).map_err(|_| ApiError::validation("the query string cannot be read"))
}

/// A parameter that means yes or no; absent or blank means no. In any case: Python's clients write `True`.
pub(super) fn flag(parameters: &[(String, String)], name: &str) -> Result<bool, ApiError> {
    match last(parameters, name).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        _ => Err(ApiError::validation(format!("`{name}` must be true or false"))),
    }
}

/// Reads what a list is asked for. Blank is as good as absent, and unknown parameters are passed over.
pub(super) fn list(parameters: &[(String, String)], with_triggers: bool) -> Result<ListParameters, ApiError> {
    let given = |name: &str| given(parameters, name);
    let page = number(given("page"), "page", 0, u64::from(u32::MAX))?.unwrap_or(0);
    let per_page = number(given("perPage"), "perPage", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT);
    let sort_field = match given("sortField") {
        None => SortField::Name,
        Some(word) => {
            SORT_FIELDS.iter().find(|(known, _)| *known == word).map(|(_, field)| *field).ok_or_else(
                || ApiError::validation("`sortField` must be one of: name, id, creationDate, lastUpdated"),
            )?
        }
    };
    let descending = match given("sortDirection") {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("asc") => false,
        Some(word) if word.eq_ignore_ascii_case("desc") => true,
        Some(_) => return Err(ApiError::validation("`sortDirection` must be asc or desc")),
    };
    if given("filterField").is_some_and(|field| field != "name") {
        return Err(ApiError::validation("`filterField` must be name"));
    }
    let filter = given("filter").unwrap_or_default().to_owned();
    let name = (!filter.is_empty()).then(|| Glob::parse(&filter));
    let triggered = if with_triggers { trigger_filter(parameters)? } else { None };
    let query = ListQuery { page, per_page, sort_field, descending, name, triggered };
    Ok(ListParameters { query, filter })
}

/// A parameter's value; blank is as good as absent.
pub(super) fn given<'p>(parameters: &'p [(String, String)], name: &str) -> Option<&'p str> {
    last(parameters, name).filter(|value| !value.is_empty())
}

fn last<'p>(parameters: &'p [(String, String)], name: &str) -> Option<&'p str> {
    parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
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
fn trigger_filter(parameters: &[(String, String)]) -> Result<Option<Triggered>, ApiError> {
    const MUST: &str = "`triggerFilter` must be a list of {type, key}";
    let bad = || ApiError::validation(MUST);
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
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
    let mut webhooks = Vec::new();
    for entry in entries.into_values() {
        // Webhooks are all that triggers here: an entry of another type fits nothing.
        if entry.kind.is_some_and(|kind| kind != "webhook") {
            continue;
        }
        match entry.key {
            None => return Ok(Some(Triggered::ByAny)),
            Some(key) => webhooks.extend(key.parse::<Id>().ok()),
        }
    }
    Ok(Some(Triggered::By(webhooks)))
}

#[derive(Default)]
struct Entry {
    kind: Option<String>,
    key: Option<String>,
}

impl Entry {
    fn set(&mut self, field: &str, value: &str) -> Option<()> {
        match field {
            "type" => self.kind = Some(value.to_owned()),
            "key" => self.key = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }
}
