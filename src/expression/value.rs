//! The values of an evaluation, and where their texts stand.

use crate::base::json::Raw;

/// A value, small enough to be copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Text<'a>),
    /// An array of the payload.
    Array(Raw<'a>),
    /// An object of the payload.
    Object(Raw<'a>),
    /// The whole payload, an object.
    Document,
}

/// A text, in the expression or the payload, or made and kept in the evaluation's scratch buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    Made { start: usize, end: usize },
}

impl Text<'_> {
    /// The number of bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Text::Plain(text) => text.len(),
            Text::Made { start, end } => end - start,
        }
    }
}

impl Value<'_> {
    /// `ToBoolean`.
    pub(super) fn is_true(self) -> bool {
        match self {
            Value::Undefined | Value::Null => false,
            Value::Bool(value) => value,
            Value::Number(value) => value != 0.0 && !value.is_nan(),
            Value::Text(text) => text.len() > 0,
            Value::Array(_) | Value::Object(_) | Value::Document => true,
        }
    }

    /// Whether it is an object to JavaScript, as arrays are too.
    pub(super) fn is_object(self) -> bool {
        matches!(self, Value::Array(_) | Value::Object(_) | Value::Document)
    }

    /// Whether two objects are one and the same: those that stand at the same place of the payload.
    pub(super) fn is_same_object(self, other: Value<'_>) -> bool {
        match (self, other) {
            (Value::Array(one), Value::Array(two)) | (Value::Object(one), Value::Object(two)) => {
                std::ptr::eq(one.bytes(), two.bytes())
            }
            (Value::Document, Value::Document) => true,
            _ => false,
        }
    }
}
