//! A helper with its arguments, and what it makes of their values.

use std::borrow::Cow;
use std::cmp::Ordering;

use smallvec::SmallVec;

use super::collections;
use super::date;
use super::encode::{decode_uri, encode_uri};
use super::error::{RenderError, TemplateFault};
use super::format::NumberFormat;
use super::helper::Helper;
use super::pattern::Pattern;
use super::platform;
use super::tools::{ArgumentValues, Tools, json};
use super::tree::{Built, HelperCall, TemplateExpression};
use super::value::{Type, Value, into_text};
use super::work::{CONVERT, SCAN, STEP};
use crate::base::number;
use crate::base::text::{base64_decode_lenient, base64_into};
use jiff::tz::TimeZone;

impl HelperCall {
    /// # Errors
    /// A pattern that does not stand in the template or cannot be built; a format that is not one of numbers, of what
    /// cannot be a date; a time zone or language that is not known.
    pub(super) fn new(
        helper: Helper,
        arguments: Vec<TemplateExpression>,
        named: Vec<(Box<str>, TemplateExpression)>,
    ) -> Result<HelperCall, TemplateFault> {
        let built = match (helper, arguments.get(1)) {
            (Helper::Match, Some(TemplateExpression::Text(text))) => {
                Built::Pattern(Box::new(Pattern::compile(text).map_err(TemplateFault::Pattern)?))
            }
            (Helper::Match, _) => {
                return Err(TemplateFault::Pattern("it has to stand in the template, in quotes".to_owned()));
            }
            (Helper::Format, Some(TemplateExpression::Text(text))) => match NumberFormat::parse(text) {
                Some(format) => Built::Format(format),
                None if may_be_date(&arguments[0]) => Built::Nothing,
                None => return Err(TemplateFault::Format(text.to_string())),
            },
            (Helper::FormatDate | Helper::CurrentDateTime, _) => match text_named(&named, "tz") {
                Some(name) => {
                    Built::Zone(date::zone(name).ok_or_else(|| TemplateFault::TimeZone(name.to_owned()))?)
                }
                None => Built::Nothing,
            },
            _ => Built::Nothing,
        };
        if helper != Helper::Object
            && let Some(locale) = text_named(&named, "locale").filter(|locale| !locale.starts_with("en"))
        {
            return Err(TemplateFault::Locale(locale.to_owned()));
        }
        Ok(HelperCall { helper, arguments: arguments.into(), named: named.into(), built })
    }

    /// The value, given those of the arguments.
    ///
    /// # Errors
    /// A text that is too long, or too much work.
    pub(super) fn value<'a>(
        &'a self,
        values: &ArgumentValues<'a>,
        named: &ArgumentValues<'a>,
        tools: &mut Tools<'_, 'a>,
    ) -> Result<Value<'a>, RenderError> {
        let argument = |place: usize| values.get(place).copied().unwrap_or(Value::Undefined);
        let (first, second) = (&argument(0), &argument(1));
        tools.work.spend(STEP)?;
        Ok(match self.helper {
            Helper::Equal => Value::Bool(first.equals(second, tools.work)?),
            Helper::NotEqual => Value::Bool(!first.equals(second, tools.work)?),
            Helper::Greater => ordered(first, second, Ordering::is_gt, tools)?,
            Helper::GreaterOrEqual => ordered(first, second, Ordering::is_ge, tools)?,
            Helper::Less => ordered(first, second, Ordering::is_lt, tools)?,
            Helper::LessOrEqual => ordered(first, second, Ordering::is_le, tools)?,
            Helper::Match => {
                let text = first.text(tools.work)?;
                Value::Bool(match &self.built {
                    Built::Pattern(pattern) => pattern.is_match(&text, tools.work)?,
                    _ => false,
                })
            }
            Helper::Add => Value::Number(first.number(tools.work)? + second.number(tools.work)?),
            Helper::Subtract => Value::Number(first.number(tools.work)? - second.number(tools.work)?),
            Helper::Multiply => Value::Number(first.number(tools.work)? * second.number(tools.work)?),
            Helper::Divide => Value::Number(first.number(tools.work)? / second.number(tools.work)?),
            Helper::EncodeBase64 => {
                let mut out = Vec::new();
                base64_into(&mut out, tools.input(first, CONVERT)?.as_bytes());
                tools.text(into_text(out))?
            }
            Helper::DecodeBase64 => {
                let bytes = base64_decode_lenient(tools.input(first, CONVERT)?.as_bytes());
                tools.text(String::from_utf8_lossy(&bytes).into_owned())?
            }
            Helper::EncodeUri => {
                let text = tools.input(first, CONVERT)?;
                tools.text(encode_uri(&text, true))?
            }
            Helper::EncodeUriComponent => {
                let text = tools.input(first, CONVERT)?;
                tools.text(encode_uri(&text, false))?
            }
            Helper::DecodeUri => decoded(first, true, tools)?,
            Helper::DecodeUriComponent => decoded(first, false, tools)?,
            Helper::Join => collections::join(first, second, tools)?,
            Helper::JsonEncode => platform::json_indented(first, second, tools)?,
            Helper::Length => collections::length(first, tools)?,
            Helper::Lower => {
                let text = cased(first, tools)?;
                tools.text(text.to_lowercase())?
            }
            Helper::Upper => {
                let text = cased(first, tools)?;
                tools.text(text.to_uppercase())?
            }
            Helper::Trim => {
                let text = first.kept_text(tools.arena, tools.work)?;
                tools.work.spend_bytes(text.len(), SCAN)?;
                Value::Text(text.trim_matches(number::is_space))
            }
            Helper::TypeOf => {
                Value::Text(if platform::is_date(first, tools)? { "date" } else { type_name(first) })
            }
            Helper::ValueByKey => platform::value_by_key(values, tools)?,
            Helper::Format => self.format(first, second, tools)?,
            Helper::Lookup => collections::lookup(first, second, tools)?,
            Helper::FormatDate => {
                let zone = self.zone(named, tools)?;
                platform::format_date(first, second, &zone, tools)?
            }
            Helper::FormatDateRelative => platform::format_date_relative(first, second, tools)?,
            Helper::CurrentDateTime => {
                let zone = self.zone(named, tools)?;
                match platform::now(tools)? {
                    Some(now) => platform::write_date(Some(now), first, &zone, tools)?,
                    None => Value::Undefined,
                }
            }
            Helper::GpsDistance => platform::gps_distance(first, second, tools)?,
            Helper::ScaleLinear => platform::scale_linear(values, tools)?,
            Helper::ToHtml => platform::to_html(first, tools)?,
            Helper::Object => {
                let names = self.named.iter().map(|(name, _)| &**name);
                let members: SmallVec<[_; 4]> = names.zip(named.iter().copied()).collect();
                platform::object(&members, tools)?
            }
            Helper::Array => platform::array(values, tools)?,
            Helper::Merge => platform::merge(values, tools)?,
            Helper::JsonDecode => platform::json_decode(first, tools)?,
            Helper::Includes => Value::Bool(platform::includes(first, second, tools)?),
            Helper::IndexByKey => platform::index_by_key(values, tools)?,
            Helper::Template => platform::template(first, second, tools)?,
            Helper::Ceil => Value::Number(first.number(tools.work)?.ceil()),
            Helper::Floor => Value::Number(first.number(tools.work)?.floor()),
            Helper::Max => extreme(first, second, f64::gt, tools)?,
            Helper::Min => extreme(first, second, f64::lt, tools)?,
            Helper::DefaultTo => {
                let is_text = first.type_of() == Type::String;
                let is_nothing = first.is_nullish() || is_text && !first.is_truthy(true, tools.work)?;
                if is_nothing { *second } else { *first }
            }
            Helper::Last => collections::last(first, tools)?,
        })
    }

    /// The time zone that dates are written in.
    fn zone<'a>(
        &self,
        named: &ArgumentValues<'a>,
        tools: &mut Tools<'_, 'a>,
    ) -> Result<TimeZone, RenderError> {
        if let Built::Zone(zone) = &self.built {
            return Ok(zone.clone());
        }
        match self.named.iter().position(|(name, _)| &**name == "tz").and_then(|place| named.get(place)) {
            Some(zone) => platform::zone_of(zone, tools),
            None => Ok(TimeZone::UTC),
        }
    }

    /// Numbers, and texts that are one, by the format; arrays and objects as JSON; dates by a format of dates; all else as
    /// it is.
    fn format<'a>(
        &self,
        value: &Value<'a>,
        format: &Value<'a>,
        tools: &mut Tools<'_, 'a>,
    ) -> Result<Value<'a>, RenderError> {
        if platform::is_date(value, tools)? {
            return platform::format_date(value, format, &TimeZone::UTC, tools);
        }
        let number = match value.type_of() {
            Type::Array | Type::Object => return json(value, tools),
            Type::Number => value.number(tools.work)?,
            Type::String => {
                let number = value.number(tools.work)?;
                let mut is_blank = || Ok(tools.input(value, SCAN)?.trim_matches(number::is_space).is_empty());
                if number.is_nan() || number == 0.0 && is_blank()? {
                    return Ok(*value);
                }
                number
            }
            _ => return Ok(*value),
        };
        let written = |format: &NumberFormat, tools: &mut Tools<'_, 'a>| {
            tools.work.spend(format.price(number))?;
            tools.text(format.write(number))
        };
        match &self.built {
            Built::Format(format) => written(format, tools),
            _ if format.is_nullish() => match NumberFormat::parse(DEFAULT_FORMAT) {
                Some(format) => written(&format, tools),
                None => Ok(*value),
            },
            _ => match NumberFormat::parse(&tools.input(format, SCAN)?) {
                Some(format) => written(&format, tools),
                None => Ok(*value),
            },
        }
    }
}

/// How a number is written where no format says so.
const DEFAULT_FORMAT: &str = ",.6";

/// A text of the template that is a named argument.
fn text_named<'n>(named: &'n [(Box<str>, TemplateExpression)], wanted: &str) -> Option<&'n str> {
    named.iter().find(|(name, _)| &**name == wanted).and_then(|(_, value)| match value {
        TemplateExpression::Text(text) => Some(&**text),
        _ => None,
    })
}

/// Whether a value may be the payload's `time`: it has to be called so.
fn may_be_date(value: &TemplateExpression) -> bool {
    matches!(value, TemplateExpression::Lookup(lookup) if lookup.segments.last().is_some_and(|last| last.name() == "time"))
}

fn extreme<'a>(
    first: &Value<'a>,
    second: &Value<'a>,
    is_wanted: fn(&f64, &f64) -> bool,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    let (first, second) = (first.number(tools.work)?, second.number(tools.work)?);
    let is_nan = first.is_nan() || second.is_nan();
    Ok(Value::Number(match () {
        () if is_nan => f64::NAN,
        () if is_wanted(&second, &first) => second,
        () => first,
    }))
}

fn ordered<'a>(
    first: &Value<'a>,
    second: &Value<'a>,
    wanted: fn(Ordering) -> bool,
    tools: &mut Tools<'_, 'a>,
) -> Result<Value<'a>, RenderError> {
    Ok(Value::Bool(first.compare(second, tools.work)?.is_some_and(wanted)))
}

/// The decoded text. A text that cannot be decoded stays as it is: a template has no way to report an error.
fn decoded<'a>(value: &Value<'a>, whole: bool, tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let text = tools.input(value, CONVERT)?;
    match decode_uri(&text, whole) {
        Some(decoded) => tools.text(decoded),
        None => tools.text(text.into_owned()),
    }
}

/// The text of a value whose letters are converted, each on its own where it is not of ASCII.
fn cased<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Cow<'a, str>, RenderError> {
    let text = tools.input(value, SCAN)?;
    if !text.is_ascii() {
        tools.work.spend_bytes(text.len(), 2 * CONVERT)?;
    }
    Ok(text)
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value.type_of() {
        Type::Undefined => "undefined",
        Type::Null => "null",
        Type::Bool => "boolean",
        Type::Number => "number",
        Type::String => "string",
        Type::Array => "array",
        Type::Object => "object",
    }
}
