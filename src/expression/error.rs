//! A fault of an expression, and its position.

use std::fmt;

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
    /// The fault at that position.
    pub fault: ExpressionFault,
}

/// The fault of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpressionFault {
    /// Something else than what the syntax wants here.
    Expected(&'static str),
    /// A string or a path that does not end.
    Unclosed(&'static str),
    /// An operator of JavaScript that there is not here, or one that stands nowhere.
    Operator(String),
    /// A name that is not a literal.
    Name(String),
    /// A name with an opening parenthesis behind it.
    Call(String),
    /// Digits that are not a number.
    Number,
    /// An escape sequence that is not one.
    Escape(&'static str),
    /// The text between `{{` and `}}` is not a payload path.
    Path(String),
    /// Nested deeper, or longer, than is taken.
    TooLarge(&'static str),
}

impl ExpressionError {
    /// A fault at a byte position of a source.
    pub(super) fn at(source: &str, position: usize, fault: ExpressionFault) -> ExpressionError {
        let before = source.get(..position).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ExpressionError {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            fault,
        }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.fault)
    }
}

impl std::error::Error for ExpressionError {}

impl fmt::Display for ExpressionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpressionFault::Expected(what) => write!(f, "expected {what}"),
            ExpressionFault::Unclosed(what) => write!(f, "{what} is never closed"),
            ExpressionFault::Operator(operator) => write!(
                f,
                "`{operator}` is not supported: the operators are == === != !== < <= > >= && || ! + - * / %"
            ),
            ExpressionFault::Name(name) => {
                write!(f, "`{name}` is not a literal: payload paths stand in {{{{ }}}}, strings in quotes")
            }
            ExpressionFault::Call(name) => write!(f, "`{name}(` is a call, and calls are not supported"),
            ExpressionFault::Number => f.write_str("not a number"),
            ExpressionFault::Escape(must) => write!(f, "not an escape sequence: {must}"),
            ExpressionFault::Path(why) => write!(f, "not a payload path: {why}"),
            ExpressionFault::TooLarge(what) => write!(f, "too large: {what}"),
        }
    }
}
