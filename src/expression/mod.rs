//! Conditions: expressions over a payload, with JavaScript's meaning of each operator
//! ([flows](crate::guide::flows#conditions)).
//!
//! An [`Expression`] is compiled when a flow is saved and evaluated for every trigger. Compiling ([`parse`]) checks the
//! syntax and writes the operators in the order in which they are applied, so that evaluating ([`evaluate`]) is a loop
//! over a stack of values without recursion. Values are read from the payload's own text: there is no tree of it.
//!
//! Literals are strings, numbers, `true`, `false`, `null` and `undefined`; a payload path in `{{ }}` is the value that it
//! leads to, `undefined` if it leads to none. The operators are those of ECMA-262, with its precedence:
//! `! + -` before one operand; `* / %`; `+ -`; `< <= > >=`; `== != === !==`; `&&`; `||`. There are no calls.
//!
//! An expression is generic over its paths: their syntax is the caller's.
//!
//! **Invariant**: evaluating ends. Each operator runs at most once, and what it reads or writes is paid for from a
//! [`ExpressionWork`] before it is done.
//!
//! Two differences to JavaScript, which no payload of a webhook can avoid: half of a surrogate pair is U+FFFD, and an object
//! with a member called `toString` is a text like any other object, not an exception.

mod error;
mod evaluate;
mod lex;
mod parse;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use error::ExpressionError;

use crate::base::json::Raw;

/// Bytes that the text which one evaluation makes may have in all: as much as a template may render.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A condition, compiled. `P` is a payload path.
#[derive(Debug)]
pub struct Expression<P> {
    operations: Box<[parse::StackOperation<P>]>,
}

/// A value that a path leads to.
#[derive(Clone, Debug)]
pub enum Operand<'a> {
    /// There is none.
    Undefined,
    /// A value as it stands in the payload.
    Json(Raw<'a>),
    /// The whole payload, an object.
    Document,
    /// A number that was worked out, such as a length.
    Number(f64),
    /// A text that does not stand in the payload as JSON.
    Text(Cow<'a, str>),
}

/// The work that may still be spent, in bytes read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpressionWork(usize);

/// Evaluating took more work than there was. Nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuchWork;

impl ExpressionWork {
    /// So many bytes of work.
    #[must_use]
    pub const fn new(bytes: usize) -> ExpressionWork {
        ExpressionWork(bytes)
    }

    /// Spends what reading or writing so many bytes costs.
    ///
    /// # Errors
    /// If there is not as much left; then nothing is.
    #[inline]
    pub fn spend(&mut self, bytes: usize) -> Result<(), TooMuchWork> {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(TooMuchWork)
            }
        }
    }

    /// The bytes that are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.0
    }
}

impl fmt::Display for TooMuchWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the condition takes too much work")
    }
}

impl std::error::Error for TooMuchWork {}

impl<P> Expression<P> {
    /// Compiles an expression. `path` compiles what stands between `{{` and `}}`.
    ///
    /// # Errors
    /// The fault and its position: syntax, an operator or a name that does not exist, a path that `path` refuses with a
    /// reason, too much nesting.
    pub fn compile(
        source: &str,
        path: &mut dyn FnMut(&str) -> Result<P, String>,
    ) -> Result<Expression<P>, ExpressionError> {
        parse::parse(source, path).map(|operations| Expression { operations })
    }

    /// The paths that evaluating may look at.
    pub fn paths(&self) -> impl Iterator<Item = &P> {
        self.operations.iter().filter_map(parse::StackOperation::path)
    }

    /// Whether the value is true to JavaScript. `find` looks a path up and pays for it. `scratch` is where texts are
    /// made: its contents are lost.
    ///
    /// # Errors
    /// If there is not enough `work`.
    pub fn is_true<'a>(
        &'a self,
        find: &mut dyn FnMut(&'a P, &mut ExpressionWork) -> Result<Operand<'a>, TooMuchWork>,
        work: &mut ExpressionWork,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, TooMuchWork> {
        evaluate::is_true(&self.operations, find, work, scratch)
    }
}
