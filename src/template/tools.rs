//! The tools of helpers: the values of their arguments, the budget of the rendering, buffers for their results.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::arena::Arena;
use super::error::RenderError;
use super::root::Root;
use super::value::{Value, into_text};
use super::work::{OUTPUT_BYTES_MAX, READ, STEP, Work};

/// Arguments that most helpers have no more than.
pub(super) type ArgumentValues<'a> = SmallVec<[Value<'a>; 3]>;

/// Renders a text as a template over a document, escaped for HTML. `false`: it is no template.
pub(super) type RenderNested = fn(&str, &dyn Root, &mut Work, &mut Vec<u8>) -> Result<bool, RenderError>;

/// The state that helpers share, besides their arguments.
pub(super) struct Tools<'w, 'a> {
    pub(super) work: &'w mut Work,
    pub(super) arena: &'w Arena<'a>,
    pub(super) root: &'a dyn Root,
    pub(super) nested: RenderNested,
}

impl<'a> Tools<'_, 'a> {
    /// A text that was made, unless it is over the limit.
    pub(super) fn text(&self, text: String) -> Result<Value<'a>, RenderError> {
        if text.len() > OUTPUT_BYTES_MAX {
            Err(RenderError::TooLong)
        } else {
            Ok(Value::Text(self.arena.text(text)))
        }
    }

    /// The text of a value, paid for as input of work on each of its bytes.
    pub(super) fn input(&mut self, value: &Value<'a>, each: usize) -> Result<Cow<'a, str>, RenderError> {
        let text = value.text(self.work)?;
        self.work.spend(STEP + each * text.len())?;
        Ok(text)
    }
}

/// `JSON.stringify(value)`, as a text.
pub(super) fn json<'a>(value: &Value<'a>, tools: &mut Tools<'_, 'a>) -> Result<Value<'a>, RenderError> {
    let json = value.json(tools.work)?;
    tools.work.spend_bytes(json.as_ref().map_or(0, |json| json.len()), READ)?;
    Ok(match json {
        None => Value::Undefined,
        Some(Cow::Borrowed(bytes)) => match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => tools.text(String::from_utf8_lossy(bytes).into_owned())?,
        },
        Some(Cow::Owned(bytes)) => tools.text(into_text(bytes))?,
    })
}
