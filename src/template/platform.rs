//! Helpers of the platform that make values, measure, or tell dates.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::collections::{self, find};
use super::date::{self, Date, FORMAT_BYTE, INVALID, ZONE};
use super::error::RenderError;
use super::tools::Tools;
use super::value::{Type, Value, into_text};
use super::work::{CONVERT, OUTPUT_BYTES_MAX, READ, SCAN, STEP};
use crate::base::json::{Kind, Raw, escape_into};

/// Units of work that a member of a merged object takes.
const MEMBER: usize = 200;
/// Units of work that compiling a template takes for each byte.
const COMPILE_BYTE: usize = 300;
/// Units of work that a distance takes.
const DISTANCE: usize = 400;
/// The mean radius of the Earth, in metres.
const EARTH_RADIUS_METRES: f64 = 6_371_000.0;
/// Characters of an indentation, as `JSON.stringify` bounds them.
const INDENT_MAX: usize = 10;
/// How a date is written where no format says so.
pub(super) const DATE_FORMAT: &str = "L LTS";

/// JSON that was made, as a value.
fn made<'a>(json: Vec<u8>, tools: &Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    if json.len() > OUTPUT_BYTES_MAX {
        return Err(RenderError::TooLong);
    }
    Ok(Value::Raw(Raw::trusted(tools.arena.text(into_text(json)).as_bytes())))
}

fn push_json<'a>(out: &mut Vec<u8>, value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<(), RenderError> {
    let json = value.json(tools.work)?.unwrap_or(Cow::Borrowed(b"null"));
    tools.work.spend(STEP + READ * json.len())?;
    out.extend_from_slice(&json);
    Ok(())
}

/// An array of the values.
pub(super) fn array<'a>(values: &[Value<'a>], tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let mut out = vec![b'['];
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_json(&mut out, value, tools)?;
    }
    out.push(b']');
    made(out, tools)
}

/// An object of named values. One that is not there has no member.
pub(super) fn object<'a>(
    named: &[(&str, Value<'a>)],
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let mut out = vec![b'{'];
    for (name, value) in named {
        if matches!(value, Value::Undefined) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        tools.work.spend_bytes(name.len(), CONVERT)?;
        escape_into(&mut out, name);
        out.push(b':');
        push_json(&mut out, value, tools)?;
    }
    out.push(b'}');
    made(out, tools)
}

/// The members of all objects, of each name the last one, at the place of the first one.
pub(super) fn merge<'a>(values: &[Value<'a>], tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    let mut members: Vec<(Cow<'a, str>, Raw<'a>)> = Vec::new();
    for value in values.iter().filter(|value| value.type_of() == Type::Object) {
        let object = match value {
            Value::Raw(raw) => *raw,
            _ => {
                let json = value.json(tools.work)?.unwrap_or_default();
                Raw::trusted(tools.arena.text(into_text(json.into_owned())).as_bytes())
            }
        };
        tools.work.spend_bytes(object.bytes().len(), SCAN)?;
        for (name, member) in object.entries() {
            tools.work.spend(MEMBER + CONVERT * name.len())?;
            match places.get(&name) {
                Some(&place) => members[place].1 = member,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, member));
                }
            }
        }
    }
    let mut out = vec![b'{'];
    for (place, (name, member)) in members.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        tools.work.spend(STEP + CONVERT * name.len() + READ * member.bytes().len())?;
        escape_into(&mut out, name);
        out.push(b':');
        out.extend_from_slice(member.bytes());
    }
    out.push(b'}');
    made(out, tools)
}

/// `JSON.parse(value)`; nothing where it throws.
pub(super) fn json_decode<'a>(
    value: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let text = value.kept_text(tools.arena, tools.work)?;
    tools.work.spend_bytes(text.len(), CONVERT)?;
    Ok(Raw::document(text.as_bytes()).map_or(Value::Undefined, Value::Raw))
}

/// `JSON.stringify(value, null, indent)`, with numbers and strings as they came.
pub(super) fn json_indented<'a>(
    value: &Value<'a>,
    indent: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let indent = match indent.type_of() {
        Type::Number => " ".repeat((indent.number(tools.work)?.max(0.0) as usize).min(INDENT_MAX)),
        Type::String => indent.text(tools.work)?.chars().take(INDENT_MAX).collect(),
        _ => String::new(),
    };
    let is_container = matches!(value.type_of(), Type::Array | Type::Object);
    if indent.is_empty() || !is_container {
        return super::tools::json(value, tools);
    }
    let json = value.json(tools.work)?.unwrap_or_default();
    let mut out = Vec::new();
    write_indented(&mut out, Raw::trusted(&json), &indent, 0, tools)?;
    tools.text(into_text(out))
}

fn write_indented(
    out: &mut Vec<u8>,
    value: Raw<'_>,
    indent: &str,
    depth: usize,
    tools: &mut Tools<'_, '_>,
) -> Result<(), RenderError> {
    let [open, close] = match value.kind() {
        Kind::Array => *b"[]",
        Kind::Object => *b"{}",
        _ => {
            tools.work.spend_bytes(value.bytes().len(), READ)?;
            out.extend_from_slice(value.bytes());
            return Ok(());
        }
    };
    tools.work.spend_bytes(value.bytes().len(), SCAN)?;
    let line = |out: &mut Vec<u8>, depth: usize, tools: &mut Tools<'_, '_>| {
        tools.work.spend(STEP + 2 * READ * indent.len() * depth)?;
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(RenderError::TooLong);
        }
        out.push(b'\n');
        (0..depth).for_each(|_| out.extend_from_slice(indent.as_bytes()));
        Ok(())
    };
    out.push(open);
    let start = out.len();
    let items = value.items().map(|item| (None, item));
    let members = value.entries().map(|(name, member)| (Some(name), member));
    for (name, item) in items.chain(members) {
        if out.len() > start {
            out.push(b',');
        }
        line(out, depth + 1, tools)?;
        if let Some(name) = name {
            tools.work.spend_bytes(name.len(), CONVERT)?;
            escape_into(out, &name);
            out.extend_from_slice(b": ");
        }
        write_indented(out, item, indent, depth + 1, tools)?;
    }
    if out.len() > start {
        line(out, depth, tools)?;
    }
    out.push(close);
    Ok(())
}

/// Whether an array or object has a value, or a text a part.
pub(super) fn includes<'a>(
    collection: &Value<'a>,
    value: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<bool, RenderError> {
    match collection.type_of() {
        Type::String => {
            let (text, part) = (collection.text(tools.work)?, value.text(tools.work)?);
            tools.work.spend_bytes(text.len() + part.len(), CONVERT)?;
            Ok(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some())
        }
        Type::Array | Type::Object => {
            let value = match value.type_of() {
                Type::String => Value::Text(value.kept_text(tools.arena, tools.work)?),
                Type::Number => Value::Number(value.number(tools.work)?),
                _ => *value,
            };
            let Value::Raw(raw) = collection else { return Ok(false) };
            tools.work.spend_bytes(raw.bytes().len(), SCAN)?;
            for item in raw.items().chain(raw.entries().map(|(_, member)| member)) {
                tools.work.spend(STEP)?;
                if Value::Raw(item).equals(&value, tools.work)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// The place of the first object of an array whose member has a value, or -1.
pub(super) fn index_by_key<'a>(
    values: &[Value<'a>],
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let [list, key, rest @ ..] = values else { return Ok(Value::Undefined) };
    let field = field_name(rest.first(), "key", tools)?;
    if list.type_of() != Type::Array {
        return Ok(Value::Undefined);
    }
    let found = find(list, key, &field, tools)?;
    Ok(Value::Number(found.map_or(-1.0, |(place, _)| place as f64)))
}

/// A member of the first object of an array whose other member has a value; of an object, its member of that name.
pub(super) fn value_by_key<'a>(
    values: &[Value<'a>],
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let [list, key, rest @ ..] = values else { return Ok(Value::Undefined) };
    if list.type_of() != Type::Array {
        return collections::property(list, key, tools);
    }
    let field = field_name(rest.first(), "key", tools)?;
    let member = field_name(rest.get(1), "value", tools)?;
    match find(list, key, &field, tools)? {
        Some((_, item)) => Value::Raw(item).property_named(&member, tools.work),
        None => Ok(Value::Undefined),
    }
}

fn field_name<'a>(
    name: Option<&Value<'a>>,
    default: &'static str,
    tools: &mut Tools<'_, 'a>,
) -> Result<Cow<'a, str>, RenderError> {
    match name {
        Some(name) if !name.is_nullish() => name.text(tools.work),
        _ => Ok(Cow::Borrowed(default)),
    }
}

/// A number of one range where it stands in another.
pub(super) fn scale_linear<'a>(
    values: &[Value<'a>],
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let mut numbers = [f64::NAN; 5];
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = value.number(tools.work)?;
    }
    let [from_low, from_high, to_low, to_high, value] = numbers;
    Ok(Value::Number(to_low + (value - from_low) / (from_high - from_low) * (to_high - to_low)))
}

/// Metres between two points, `latitude,longitude` in degrees each, on a sphere.
pub(super) fn gps_distance<'a>(
    one: &Value<'a>,
    two: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let mut point = |value: &Value<'a>| {
        let text = tools.input(value, SCAN)?;
        let (latitude, longitude) = text.split_once(',').unwrap_or((&text, ""));
        let mut radians = |degrees: &str| {
            let degrees = Value::Text(tools.arena.text(degrees.trim().to_owned()));
            if matches!(degrees, Value::Text("")) {
                Ok(f64::NAN)
            } else {
                degrees.number(tools.work).map(f64::to_radians)
            }
        };
        Ok((radians(latitude)?, radians(longitude)?))
    };
    let (one, two) = (point(one)?, point(two)?);
    tools.work.spend(DISTANCE)?;
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(two.0 - one.0) + one.0.cos() * two.0.cos() * half(two.1 - one.1);
    // `min` would make a number of NaN.
    let arc = if chord > 1.0 { 1.0 } else { chord.sqrt() }.asin();
    Ok(Value::Number(2.0 * EARTH_RADIUS_METRES * arc))
}

/// The date of a value: milliseconds since 1970, or ISO 8601.
fn date<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Option<Date>, RenderError> {
    Ok(match value.type_of() {
        Type::Number => Date::from_millis(value.number(tools.work)?),
        Type::String => Date::parse(&tools.input(value, CONVERT)?),
        _ => None,
    })
}

/// The time of what triggered the flow, which is now to helpers.
pub(super) fn now<'a>(tools: &mut Tools<'_, 'a>) -> Result<Option<Date>, RenderError> {
    tools.work.spend(STEP + SCAN * tools.root.get_cost("time"))?;
    match tools.root.get("time") {
        Some(time) => date(&Value::Raw(time), tools),
        None => Ok(None),
    }
}

/// Whether a value is the `time` of the payload, which is a date.
pub(super) fn is_date<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<bool, RenderError> {
    let Value::Raw(raw) = value else { return Ok(false) };
    if raw.kind() != Kind::String {
        return Ok(false);
    }
    tools.work.spend(STEP + SCAN * tools.root.get_cost("time"))?;
    let is_time = tools.root.get("time").is_some_and(|time| std::ptr::eq(time.bytes(), raw.bytes()));
    Ok(is_time && date(value, tools)?.is_some())
}

/// A value as a date by a format of moment.js.
pub(super) fn format_date<'a>(
    value: &Value<'a>,
    format: &Value<'a>,
    zone: &TimeZone,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let date = date(value, tools)?;
    write_date(date, format, zone, tools)
}

/// A date by a format of moment.js.
pub(super) fn write_date<'a>(
    date: Option<Date>,
    format: &Value<'a>,
    zone: &TimeZone,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let Some(date) = date else { return Ok(Value::Text(INVALID)) };
    let format = match format.type_of() {
        Type::String => format.text(tools.work)?,
        _ => Cow::Borrowed(""),
    };
    let format = if format.is_empty() { Cow::Borrowed(DATE_FORMAT) } else { format };
    tools.work.spend(ZONE + FORMAT_BYTE * format.len())?;
    tools.text(date.format(&format, zone))
}

/// How long before or after another date a date is.
pub(super) fn format_date_relative<'a>(
    value: &Value<'a>,
    base: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let base = if base.is_nullish() { now(tools)? } else { date(base, tools)? };
    let (Some(date), Some(base)) = (date(value, tools)?, base) else { return Ok(Value::Text(INVALID)) };
    tools.work.spend(ZONE)?;
    tools.text(date.relative_to(base))
}

/// The time zone that a value names, or UTC.
pub(super) fn zone_of<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<TimeZone, RenderError> {
    let name = tools.input(value, SCAN)?;
    tools.work.spend(10 * ZONE)?;
    Ok(date::zone(&name).unwrap_or(TimeZone::UTC))
}

/// A text as a template over a value, or over the payload. It calls no `template` of its own, and has no patterns.
pub(super) fn template<'a>(
    source: &Value<'a>,
    context: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let source = tools.input(source, COMPILE_BYTE)?;
    let mut out = Vec::new();
    let is_template = match context {
        Value::Raw(raw) => (tools.nested)(&source, raw, tools.work, &mut out)?,
        Value::Undefined | Value::Root(_) => (tools.nested)(&source, tools.root, tools.work, &mut out)?,
        _ => (tools.nested)(&source, &Raw::NULL, tools.work, &mut out)?,
    };
    if !is_template {
        return Ok(Value::Undefined);
    }
    tools.text(into_text(out))
}

/// Elements that have no closing tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];

/// The document that a tree of `{"type", "name", "attribs", "children", "data"}` stands for.
pub(super) fn to_html<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let mut out = Vec::new();
    if let Value::Raw(raw) = value {
        write_html(&mut out, *raw, tools)?;
    }
    tools.text(into_text(out))
}

fn write_html(out: &mut Vec<u8>, node: Raw<'_>, tools: &mut Tools<'_, '_>) -> Result<(), RenderError> {
    tools.work.spend(STEP + 6 * SCAN * node.bytes().len())?;
    if out.len() > OUTPUT_BYTES_MAX {
        return Err(RenderError::TooLong);
    }
    if node.kind() == Kind::Array {
        return node.items().try_for_each(|item| write_html(out, item, tools));
    }
    let text = |name: &str| node.get(name).and_then(|member| member.as_str()).unwrap_or_default();
    let (kind, name) = (text("type"), text("name"));
    match &*kind {
        "text" => out.extend_from_slice(text("data").as_bytes()),
        "comment" => {
            [b"<!--", text("data").as_bytes(), b"-->"].iter().for_each(|part| out.extend_from_slice(part))
        }
        "directive" => {
            [b"<", text("data").as_bytes(), b">"].iter().for_each(|part| out.extend_from_slice(part))
        }
        "root" => return node.get("children").map_or(Ok(()), |children| write_html(out, children, tools)),
        _ if name.is_empty() => {}
        _ => {
            out.push(b'<');
            out.extend_from_slice(name.as_bytes());
            for (key, value) in node.get("attribs").into_iter().flat_map(|attributes| attributes.entries()) {
                tools.work.spend_bytes(key.len() + value.bytes().len(), CONVERT)?;
                out.push(b' ');
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"=\"");
                out.extend_from_slice(value.as_str().unwrap_or_default().replace('"', "&quot;").as_bytes());
                out.push(b'"');
            }
            out.push(b'>');
            if VOID.contains(&&*name) {
                return Ok(());
            }
            if let Some(children) = node.get("children") {
                write_html(out, children, tools)?;
            }
            [b"</", name.as_bytes(), b">"].iter().for_each(|part| out.extend_from_slice(part));
        }
    }
    Ok(())
}
