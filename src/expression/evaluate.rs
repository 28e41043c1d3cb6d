//! Evaluates an expression: a loop over its operations. Each conversion and operator is an abstract operation of ECMA-262,
//! named in its comment.

use std::borrow::Cow;
use std::cmp::Ordering;

use smallvec::SmallVec;

use super::parse::{Binary, STACK_MAX, StackOperation, Unary};
use super::value::{Text, Value};
use super::{ExpressionWork, Operand, TEXT_BYTES_MAX, TooMuchWork};
use crate::base::json::{DOCUMENT_DEPTH_MAX, Kind, Raw};
use crate::base::number;

/// Cost of an operation besides the bytes that it reads.
const STEP_COST: usize = 32;
/// The text of any object.
const OBJECT_TEXT: &str = "[object Object]";
/// Most bytes of a number's text: 17 digits, a sign, a point, and an exponent or zeros before and behind them.
const NUMBER_BYTES_MAX: usize = 32;

/// Runs the operations; says whether the last value is true.
pub(super) fn is_true<'a, P>(
    operations: &'a [StackOperation<P>],
    find: &mut dyn FnMut(&'a P, &mut ExpressionWork) -> Result<Operand<'a>, TooMuchWork>,
    work: &mut ExpressionWork,
    scratch: &mut Vec<u8>,
) -> Result<bool, TooMuchWork> {
    scratch.clear();
    let mut evaluator = Evaluator { work, scratch };
    let mut stack: SmallVec<[Value<'a>; STACK_MAX]> = SmallVec::new();
    let mut next = 0;
    while let Some(operation) = operations.get(next) {
        next += 1;
        evaluator.work.spend(STEP_COST)?;
        let value = match operation {
            StackOperation::Undefined => Value::Undefined,
            StackOperation::Null => Value::Null,
            StackOperation::Bool(value) => Value::Bool(*value),
            StackOperation::Number(value) => Value::Number(*value),
            StackOperation::Text(text) => Value::Text(Text::Plain(text)),
            StackOperation::Path(path) => {
                let found = find(path, evaluator.work)?;
                evaluator.load(found)?
            }
            StackOperation::Unary(unary) => {
                let operand = stack.pop().unwrap_or(Value::Undefined);
                evaluator.unary(*unary, operand)?
            }
            StackOperation::Binary(binary) => {
                let right = stack.pop().unwrap_or(Value::Undefined);
                let left = stack.pop().unwrap_or(Value::Undefined);
                evaluator.binary(*binary, left, right)?
            }
            StackOperation::And { behind } | StackOperation::Or { behind } => {
                let is_or = matches!(operation, StackOperation::Or { .. });
                if stack.last().is_some_and(|value| value.is_true()) == is_or {
                    next += behind;
                } else {
                    stack.pop();
                }
                continue;
            }
        };
        stack.push(value);
    }
    Ok(stack.last().is_some_and(|value| value.is_true()))
}

struct Evaluator<'e> {
    work: &'e mut ExpressionWork,
    /// Where texts are made.
    scratch: &'e mut Vec<u8>,
}

impl<'a> Evaluator<'_> {
    /// The value that a path leads to.
    fn load(&mut self, found: Operand<'a>) -> Result<Value<'a>, TooMuchWork> {
        Ok(match found {
            Operand::Undefined => Value::Undefined,
            Operand::Document => Value::Document,
            Operand::Number(value) => Value::Number(value),
            Operand::Text(Cow::Borrowed(text)) => Value::Text(Text::Plain(text)),
            Operand::Text(Cow::Owned(text)) => Value::Text(self.make(text.len(), |out| {
                out.extend_from_slice(text.as_bytes());
            })?),
            Operand::Json(raw) => match raw.kind() {
                Kind::Null => Value::Null,
                Kind::Bool => Value::Bool(raw.as_bool() == Some(true)),
                Kind::Array => Value::Array(raw),
                Kind::Object => Value::Object(raw),
                Kind::Number => {
                    self.work.spend(raw.bytes().len())?;
                    Value::Number(raw.as_f64().unwrap_or(f64::NAN))
                }
                Kind::String => {
                    self.work.spend(raw.bytes().len())?;
                    match raw.plain_str() {
                        Some(text) => Value::Text(Text::Plain(text)),
                        None => Value::Text(self.make(raw.bytes().len(), |out| raw.write_text(out))?),
                    }
                }
            },
        })
    }

    fn unary(&mut self, unary: Unary, operand: Value<'a>) -> Result<Value<'a>, TooMuchWork> {
        Ok(match unary {
            Unary::Not => Value::Bool(!operand.is_true()),
            Unary::Plus => Value::Number(self.number_of(operand)?),
            Unary::Minus => Value::Number(-self.number_of(operand)?),
        })
    }

    fn binary(
        &mut self,
        binary: Binary,
        left: Value<'a>,
        right: Value<'a>,
    ) -> Result<Value<'a>, TooMuchWork> {
        Ok(match binary {
            Binary::Equal => Value::Bool(self.is_loosely_equal(left, right)?),
            Binary::NotEqual => Value::Bool(!self.is_loosely_equal(left, right)?),
            Binary::Same => Value::Bool(self.is_strictly_equal(left, right)?),
            Binary::NotSame => Value::Bool(!self.is_strictly_equal(left, right)?),
            Binary::Less => Value::Bool(self.compare(left, right)? == Some(Ordering::Less)),
            Binary::LessOrEqual => Value::Bool(self.compare(left, right)?.is_some_and(Ordering::is_le)),
            Binary::Greater => Value::Bool(self.compare(left, right)? == Some(Ordering::Greater)),
            Binary::GreaterOrEqual => Value::Bool(self.compare(left, right)?.is_some_and(Ordering::is_ge)),
            Binary::Add => return self.add(left, right),
            Binary::Subtract => Value::Number(self.number_of(left)? - self.number_of(right)?),
            Binary::Multiply => Value::Number(self.number_of(left)? * self.number_of(right)?),
            Binary::Divide => Value::Number(self.number_of(left)? / self.number_of(right)?),
            Binary::Remainder => Value::Number(self.number_of(left)? % self.number_of(right)?),
        })
    }

    /// `IsStrictlyEqual`.
    fn is_strictly_equal(&mut self, left: Value<'a>, right: Value<'a>) -> Result<bool, TooMuchWork> {
        Ok(match (left, right) {
            (Value::Undefined, Value::Undefined) | (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(two)) => one == two,
            (Value::Number(one), Value::Number(two)) => one == two,
            (Value::Text(one), Value::Text(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                self.work.spend(one.len())?;
                self.bytes(one) == self.bytes(two)
            }
            _ => left.is_same_object(right),
        })
    }

    /// `IsLooselyEqual`. Each round takes one of its steps that change an operand; there are at most three.
    fn is_loosely_equal(&mut self, left: Value<'a>, right: Value<'a>) -> Result<bool, TooMuchWork> {
        let (mut left, mut right) = (left, right);
        loop {
            match (left, right) {
                (Value::Undefined | Value::Null, Value::Undefined | Value::Null) => return Ok(true),
                (Value::Undefined | Value::Null, _) | (_, Value::Undefined | Value::Null) => {
                    return Ok(false);
                }
                (Value::Bool(_), Value::Bool(_)) => return self.is_strictly_equal(left, right),
                (Value::Bool(value), _) => left = Value::Number(f64::from(u8::from(value))),
                (_, Value::Bool(value)) => right = Value::Number(f64::from(u8::from(value))),
                (Value::Number(_), Value::Text(_)) => right = Value::Number(self.number_of(right)?),
                (Value::Text(_), Value::Number(_)) => left = Value::Number(self.number_of(left)?),
                _ => match (left.is_object(), right.is_object()) {
                    (true, false) => left = self.primitive(left)?,
                    (false, true) => right = self.primitive(right)?,
                    _ => return self.is_strictly_equal(left, right),
                },
            }
        }
    }

    /// `IsLessThan`, for all four operators: `None` if an operand is not a number.
    fn compare(&mut self, left: Value<'a>, right: Value<'a>) -> Result<Option<Ordering>, TooMuchWork> {
        let (left, right) = (self.primitive(left)?, self.primitive(right)?);
        if let (Value::Text(one), Value::Text(two)) = (left, right) {
            self.work.spend(one.len().min(two.len()))?;
            return Ok(Some(self.str(one).encode_utf16().cmp(self.str(two).encode_utf16())));
        }
        Ok(self.number_of(left)?.partial_cmp(&self.number_of(right)?))
    }

    /// The operator `+`.
    fn add(&mut self, left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, TooMuchWork> {
        let (left, right) = (self.primitive(left)?, self.primitive(right)?);
        if !matches!(left, Value::Text(_)) && !matches!(right, Value::Text(_)) {
            return Ok(Value::Number(self.number_of(left)? + self.number_of(right)?));
        }
        let (one, two) = (self.text_of(left)?, self.text_of(right)?);
        self.join(one, two).map(Value::Text)
    }

    /// Two texts in a row. What was made last is not copied.
    fn join(&mut self, one: Text<'a>, two: Text<'a>) -> Result<Text<'a>, TooMuchWork> {
        let last = self.scratch.len();
        match (one, two) {
            (Text::Made { start, end: middle }, Text::Made { start: behind, end }) if middle == behind => {
                return Ok(Text::Made { start, end });
            }
            (Text::Made { start, end }, two) if end == last => {
                return self.make(two.len(), |_| {}).map(|_| {
                    self.append(two);
                    Text::Made { start, end: self.scratch.len() }
                });
            }
            _ => {}
        }
        self.make(one.len() + two.len(), |_| {})?;
        self.append(one);
        self.append(two);
        Ok(Text::Made { start: last, end: self.scratch.len() })
    }

    /// Appends a text to the scratch buffer; it is paid for.
    fn append(&mut self, text: Text<'_>) {
        match text {
            Text::Plain(text) => self.scratch.extend_from_slice(text.as_bytes()),
            Text::Made { start, end } => self.scratch.extend_from_within(start..end),
        }
    }

    /// Makes a text of at most so many bytes.
    fn make(&mut self, bytes_max: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<Text<'a>, TooMuchWork> {
        self.work.spend(bytes_max)?;
        let start = self.scratch.len();
        if start + bytes_max > TEXT_BYTES_MAX {
            return Err(TooMuchWork);
        }
        write(self.scratch);
        Ok(Text::Made { start, end: self.scratch.len() })
    }

    /// `ToPrimitive`: an object becomes its text.
    fn primitive(&mut self, value: Value<'a>) -> Result<Value<'a>, TooMuchWork> {
        match value {
            Value::Array(raw) => {
                let start = self.scratch.len();
                self.write_array(raw, DOCUMENT_DEPTH_MAX)?;
                Ok(Value::Text(Text::Made { start, end: self.scratch.len() }))
            }
            Value::Object(_) | Value::Document => Ok(Value::Text(Text::Plain(OBJECT_TEXT))),
            primitive => Ok(primitive),
        }
    }

    /// `Array.prototype.join`: the texts of the items with commas between them. Nothing is deeper than a document.
    fn write_array(&mut self, raw: Raw<'a>, depth: usize) -> Result<(), TooMuchWork> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        self.work.spend(raw.bytes().len())?;
        for (place, item) in raw.items().enumerate() {
            if place > 0 {
                self.make(1, |out| out.push(b','))?;
            }
            match item.kind() {
                Kind::Null => {}
                Kind::Bool => {
                    self.make(item.bytes().len(), |out| out.extend_from_slice(item.bytes()))?;
                }
                Kind::Number => {
                    let value = item.as_f64().unwrap_or(f64::NAN);
                    self.make(NUMBER_BYTES_MAX, |out| number::write(out, value))?;
                }
                Kind::String => {
                    self.make(item.bytes().len(), |out| item.write_text(out))?;
                }
                Kind::Object => {
                    self.make(OBJECT_TEXT.len(), |out| out.extend_from_slice(OBJECT_TEXT.as_bytes()))?;
                }
                Kind::Array => self.write_array(item, depth)?,
            }
        }
        Ok(())
    }

    /// `ToNumber`.
    fn number_of(&mut self, value: Value<'a>) -> Result<f64, TooMuchWork> {
        Ok(match self.primitive(value)? {
            Value::Null => 0.0,
            Value::Bool(value) => f64::from(u8::from(value)),
            Value::Number(value) => value,
            Value::Text(text) => {
                self.work.spend(text.len())?;
                number::parse(self.str(text))
            }
            _ => f64::NAN,
        })
    }

    /// `ToString` of a primitive.
    fn text_of(&mut self, value: Value<'a>) -> Result<Text<'a>, TooMuchWork> {
        Ok(match value {
            Value::Text(text) => text,
            Value::Null => Text::Plain("null"),
            Value::Bool(true) => Text::Plain("true"),
            Value::Bool(false) => Text::Plain("false"),
            Value::Number(value) => self.make(NUMBER_BYTES_MAX, |out| number::write(out, value))?,
            _ => Text::Plain("undefined"),
        })
    }

    fn bytes<'s>(&'s self, text: Text<'s>) -> &'s [u8] {
        match text {
            Text::Plain(text) => text.as_bytes(),
            Text::Made { start, end } => &self.scratch[start..end],
        }
    }

    /// All that is made here is UTF-8.
    fn str<'s>(&'s self, text: Text<'s>) -> &'s str {
        match text {
            Text::Plain(text) => text,
            Text::Made { start, end } => {
                simdutf8::basic::from_utf8(&self.scratch[start..end]).unwrap_or_default()
            }
        }
    }
}
