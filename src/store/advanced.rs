//! The advanced query of the platform's clients (`flows.get({query})`): conditions over a resource as the API shows it.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::model::{ModelError, time_text};

/// Fields that hold one value.
const SCALAR_FIELDS: [&str; 8] =
    ["name", "id", "creationDate", "lastUpdated", "flowClass", "enabled", "version", "customNodeSupports"];
/// Fields that hold a list of triggers or of nodes.
const LIST_FIELDS: [&str; 2] = ["triggers", "nodes"];

/// A query, checked: every name and operator in it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct AdvancedQuery(Vec<QueryCondition>);

/// One condition; those of a query all have to hold.
#[derive(Clone, Debug, PartialEq)]
enum QueryCondition {
    All(Vec<AdvancedQuery>),
    Any(Vec<AdvancedQuery>),
    None(Vec<AdvancedQuery>),
    Field {
        name: String,
        tests: Vec<Test>,
        ignores_case: bool,
    },
    /// Whether an entry of a list has these members.
    Entry {
        list: String,
        members: Map<String, Value>,
        is_wanted: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
struct Test {
    operator: Operator,
    operand: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsWith,
    EndsWith,
    Contains,
    In,
    NotIn,
}

const OPERATORS: [(&str, Operator); 11] = [
    ("$eq", Operator::Equal),
    ("$ne", Operator::NotEqual),
    ("$gt", Operator::Greater),
    ("$lt", Operator::Less),
    ("$gte", Operator::GreaterOrEqual),
    ("$lte", Operator::LessOrEqual),
    ("$startsWith", Operator::StartsWith),
    ("$endsWith", Operator::EndsWith),
    ("$contains", Operator::Contains),
    ("$in", Operator::In),
    ("$nin", Operator::NotIn),
];

impl AdvancedQuery {
    /// Reads a query; `path` is where it stands.
    ///
    /// # Errors
    /// The first name, operator or operand that is not known.
    pub fn parse(value: &Value, path: &str) -> Result<AdvancedQuery, ModelError> {
        let object = value.as_object().ok_or_else(|| ModelError::new(path, "must be an object"))?;
        let conditions = object.iter().map(|(name, value)| {
            let path = format!("{path}.{name}");
            match name.as_str() {
                "$and" => queries(value, &path).map(QueryCondition::All),
                "$or" => queries(value, &path).map(QueryCondition::Any),
                "$nor" => queries(value, &path).map(QueryCondition::None),
                scalar if SCALAR_FIELDS.contains(&scalar) => field(scalar, value, &path),
                list if LIST_FIELDS.contains(&list) => entry(list, value, &path),
                _ => Err(ModelError::new(path, "is not a field or an operator that a query can have")),
            }
        });
        conditions.collect::<Result<_, _>>().map(AdvancedQuery)
    }

    /// Whether a resource, as the API shows it, fits.
    #[must_use]
    pub fn fits(&self, shown: &Value) -> bool {
        self.0.iter().all(|condition| match condition {
            QueryCondition::All(queries) => queries.iter().all(|query| query.fits(shown)),
            QueryCondition::Any(queries) => queries.iter().any(|query| query.fits(shown)),
            QueryCondition::None(queries) => !queries.iter().any(|query| query.fits(shown)),
            QueryCondition::Field { name, tests, ignores_case } => {
                let value = folded(shown.get(name).unwrap_or(&Value::Null), *ignores_case);
                tests.iter().all(|test| test.holds(&value))
            }
            QueryCondition::Entry { list, members, is_wanted } => {
                let entries = shown.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let has = entries.iter().any(|entry| contains(entry, members));
                has == *is_wanted
            }
        })
    }
}

fn queries(value: &Value, path: &str) -> Result<Vec<AdvancedQuery>, ModelError> {
    let list = value.as_array().ok_or_else(|| ModelError::new(path, "must be a list of queries"))?;
    list.iter()
        .enumerate()
        .map(|(index, query)| AdvancedQuery::parse(query, &format!("{path}[{index}]")))
        .collect()
}

fn field(name: &str, value: &Value, path: &str) -> Result<QueryCondition, ModelError> {
    let Some(operators) = value.as_object() else {
        let tests = vec![Test { operator: Operator::Equal, operand: operand(name, value, path)? }];
        return Ok(QueryCondition::Field { name: name.to_owned(), tests, ignores_case: false });
    };
    let ignores_case = match operators.get("$ci") {
        None => false,
        Some(Value::Bool(ignores)) => *ignores,
        Some(_) => return Err(ModelError::new(format!("{path}.$ci"), "must be true or false")),
    };
    let mut tests = Vec::new();
    for (word, value) in operators.iter().filter(|(word, _)| *word != "$ci") {
        let path = format!("{path}.{word}");
        let known = OPERATORS.iter().find(|(known, _)| known == word).map(|(_, operator)| *operator);
        let operator =
            known.ok_or_else(|| ModelError::new(&path, "is not an operator that a query can have"))?;
        let operand = match operator {
            Operator::In | Operator::NotIn => {
                let list =
                    value.as_array().ok_or_else(|| ModelError::new(&path, "must be a list of values"))?;
                let operands = list.iter().map(|value| operand(name, value, &path));
                Value::Array(
                    operands
                        .map(|value| value.map(|value| folded(&value, ignores_case)))
                        .collect::<Result<_, _>>()?,
                )
            }
            _ => folded(&operand(name, value, &path)?, ignores_case),
        };
        tests.push(Test { operator, operand });
    }
    Ok(QueryCondition::Field { name: name.to_owned(), tests, ignores_case })
}

/// One value that a field is compared with; a date may be given as milliseconds since 1970.
fn operand(name: &str, value: &Value, path: &str) -> Result<Value, ModelError> {
    match value {
        Value::Array(_) | Value::Object(_) => {
            Err(ModelError::new(path, "must be a string, a number, true, false or null"))
        }
        Value::Number(millis) if matches!(name, "creationDate" | "lastUpdated") => {
            let millis = millis.as_u64().ok_or_else(|| ModelError::new(path, "must be a date"))?;
            Ok(Value::from(time_text(millis)))
        }
        _ => Ok(value.clone()),
    }
}

fn entry(list: &str, value: &Value, path: &str) -> Result<QueryCondition, ModelError> {
    let must = || ModelError::new(path, "must be {type, config …}, or that below $eq or $ne");
    let object = value.as_object().ok_or_else(must)?;
    let (members, is_wanted) = match (object.get("$eq"), object.get("$ne")) {
        (None, None) => (object, true),
        (Some(wanted), None) if object.len() == 1 => (wanted.as_object().ok_or_else(must)?, true),
        (None, Some(unwanted)) if object.len() == 1 => (unwanted.as_object().ok_or_else(must)?, false),
        _ => return Err(must()),
    };
    let known: &[&str] = if list == "triggers" { &["type", "key", "config"] } else { &["type", "config"] };
    if !members.contains_key("type") || members.keys().any(|member| !known.contains(&member.as_str())) {
        return Err(must());
    }
    Ok(QueryCondition::Entry { list: list.to_owned(), members: members.clone(), is_wanted })
}

fn folded(value: &Value, ignores_case: bool) -> Value {
    match value {
        Value::String(text) if ignores_case => Value::from(text.to_lowercase()),
        other => other.clone(),
    }
}

/// Whether a value has every member of an object, each equal, objects within it compared in the same way.
fn contains(value: &Value, members: &Map<String, Value>) -> bool {
    members.iter().all(|(name, wanted)| match (value.get(name), wanted) {
        (Some(inner), Value::Object(wanted)) => contains(inner, wanted),
        (found, wanted) => found == Some(wanted),
    })
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let order = compare(value, &self.operand);
        let texts = value.as_str().zip(self.operand.as_str());
        match self.operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::NotEqual => order != Some(Ordering::Equal),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::Less => order == Some(Ordering::Less),
            Operator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Operator::StartsWith => texts.is_some_and(|(text, part)| text.starts_with(part)),
            Operator::EndsWith => texts.is_some_and(|(text, part)| text.ends_with(part)),
            Operator::Contains => texts.is_some_and(|(text, part)| text.contains(part)),
            Operator::In => self.is_listed(value),
            Operator::NotIn => !self.is_listed(value),
        }
    }

    fn is_listed(&self, value: &Value) -> bool {
        let list = self.operand.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().any(|one| compare(value, one) == Some(Ordering::Equal))
    }
}

/// The order of two values of one kind; `None` for values of two kinds. An RFC 3339 date is ordered as its text.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (one, other) => (one == other).then_some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(query: &Value, fits: bool) {
        let shown = json!({
            "name": "Orders in", "id": "0123456789abcdef01234567", "creationDate": "2026-02-19T17:26:00.123Z",
            "flowClass": "cloud", "enabled": true,
            "triggers": [{"type": "webhook", "key": "k", "outputIds": [[]]}, {"type": "timer", "config": {"seconds": 5, "x": 1}}],
            "nodes": [{"id": "a", "type": "DebugNode"}],
        });
        let parsed = AdvancedQuery::parse(query, "query").expect("known");
        assert_eq!(parsed.fits(&shown), fits, "{query}");
    }

    #[test]
    fn a_query_fits_as_its_operators_say() {
        for (query, fits) in [
            (json!({}), true),
            (json!({"name": "Orders in"}), true),
            (json!({"name": "orders in"}), false),
            (json!({"name": {"$eq": "orders IN", "$ci": true}}), true),
            (json!({"name": {"$startsWith": "Ord", "$endsWith": "in", "$contains": "ers"}}), true),
            (json!({"name": {"$in": ["a", "Orders in"]}}), true),
            (json!({"name": {"$nin": ["a", "Orders in"]}}), false),
            (json!({"enabled": true, "flowClass": {"$ne": "edge"}}), true),
            (json!({"enabled": false}), false),
            (json!({"creationDate": {"$gt": "2026-02-19", "$lt": "2026-02-20"}}), true),
            (json!({"creationDate": {"$gte": 1_771_521_960_123_u64}}), true),
            (json!({"creationDate": {"$gt": 1_771_521_960_123_u64}}), false),
            (json!({"version": null}), true),
            (json!({"version": "v1"}), false),
            (json!({"$or": [{"name": "x"}, {"enabled": true}]}), true),
            (json!({"$and": [{"name": "x"}, {"enabled": true}]}), false),
            (json!({"$nor": [{"name": "x"}, {"enabled": false}]}), true),
            (json!({"triggers": {"type": "webhook", "key": "k"}}), true),
            (json!({"triggers": {"type": "webhook", "key": "other"}}), false),
            (json!({"triggers": {"$eq": {"type": "timer", "config": {"seconds": 5}}}}), true),
            (json!({"nodes": {"$ne": {"type": "DebugNode"}}}), false),
        ] {
            check(&query, fits);
        }
    }

    #[test]
    fn what_a_query_cannot_have_is_named() {
        for (query, path) in [
            (json!([]), "query"),
            (json!({"colour": 1}), "query.colour"),
            (json!({"name": {"$regex": "x"}}), "query.name.$regex"),
            (json!({"name": {"$in": "x"}}), "query.name.$in"),
            (json!({"name": ["x"]}), "query.name"),
            (json!({"$or": [{"a": 1}]}), "query.$or[0].a"),
            (json!({"$and": {}}), "query.$and"),
            (json!({"triggers": {"key": "k"}}), "query.triggers"),
            (json!({"nodes": {"type": "x", "key": "k"}}), "query.nodes"),
        ] {
            assert_eq!(AdvancedQuery::parse(&query, "query").expect_err("unknown").field(), path, "{query}");
        }
    }
}
