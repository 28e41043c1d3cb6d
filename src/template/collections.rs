//! The helpers that look into arrays and objects.

use std::borrow::Cow;

use super::error::RenderError;
use super::tools::Tools;
use super::value::{Type, Value, into_text};
use super::work::{NUMBER_TEXT, OUTPUT_BYTES_MAX, READ, SCAN, STEP};
use crate::base::json::Raw;
use crate::base::number;

/// `array.join(separator)`; anything but an array as its text.
pub(super) fn join<'a>(
    value: &Value<'a>,
    separator: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    if value.type_of() != Type::Array {
        return Ok(Value::Text(value.kept_text(tools.arena, tools.work)?));
    }
    let separator = match separator {
        Value::Undefined => Cow::Borrowed(","),
        _ => separator.text(tools.work)?,
    };
    tools.work.spend_bytes(value.size(), SCAN)?;
    let mut out = Vec::new();
    for (place, item) in value.items().enumerate() {
        tools.work.spend(STEP)?;
        if place > 0 {
            tools.work.spend_bytes(separator.len(), READ)?;
            out.extend_from_slice(separator.as_bytes());
        }
        Value::Raw(item).write(&mut out, false, tools.work)?;
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(RenderError::TooLong);
        }
    }
    tools.text(into_text(out))
}

/// Values of an array, UTF-16 units of a text, members of an object.
pub(super) fn length<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let count = match value.type_of() {
        Type::Array => {
            tools.work.spend_bytes(value.size(), SCAN)?;
            value.items().count()
        }
        Type::String => tools.input(value, SCAN)?.encode_utf16().count(),
        Type::Object => {
            let json = value.json(tools.work)?.unwrap_or_default();
            tools.work.spend_bytes(json.len(), 2 * SCAN)?;
            Raw::trusted(&json).entries().count()
        }
        _ => return Ok(Value::Undefined),
    };
    Ok(Value::Number(count as f64))
}

/// The first object of an array whose member `field` is `key`, and its place.
pub(super) fn find<'a>(
    list: &Value<'a>,
    key: &Value<'a>,
    field: &str,
    tools: &mut Tools<'_, 'a>,
) -> Result<Option<(usize, Raw<'a>)>, RenderError> {
    // Read once, whatever it takes to read it.
    let key = match key.type_of() {
        Type::String => Value::Text(key.kept_text(tools.arena, tools.work)?),
        Type::Number => Value::Number(key.number(tools.work)?),
        _ => *key,
    };
    tools.work.spend_bytes(list.size(), SCAN)?;
    for (place, item) in list.items().enumerate() {
        let has = Value::Raw(item).property_named(field, tools.work)?;
        if !matches!(has, Value::Undefined) && has.equals(&key, tools.work)? {
            return Ok(Some((place, item)));
        }
    }
    Ok(None)
}

/// `lookup object key`: as `object[key]`, but what is nothing stays what it is.
pub(super) fn lookup<'a>(
    object: &Value<'a>,
    key: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    if object.is_falsy(tools.work)? { Ok(*object) } else { property(object, key, tools) }
}

/// `object[key]`.
pub(super) fn property<'a>(
    object: &Value<'a>,
    key: &Value<'a>,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let name = match key.type_of() {
        Type::Undefined => return Ok(Value::Undefined),
        Type::Number => {
            let number = key.number(tools.work)?;
            tools.work.spend(NUMBER_TEXT)?;
            Cow::Owned(number::text(number))
        }
        _ => key.text(tools.work)?,
    };
    object.property_named(&name, tools.work)
}

/// The last value of an array, or the last UTF-16 unit of a text.
pub(super) fn last<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    match value.type_of() {
        Type::Array => {
            tools.work.spend_bytes(value.size(), SCAN)?;
            Ok(value.items().last().map_or(Value::Undefined, Value::Raw))
        }
        Type::String => {
            let text = tools.input(value, READ)?;
            let last = text.chars().next_back();
            let unit = |last: char| if last.len_utf16() == 1 { last } else { char::REPLACEMENT_CHARACTER };
            Ok(last.map_or(Value::Undefined, |last| Value::Unit(unit(last))))
        }
        _ => Ok(Value::Undefined),
    }
}
