//! Why a template or a payload path is refused, and why one that was accepted did not render.

use std::fmt;

/// A template or path that cannot be taken: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Line of the source, from 1.
    pub line: usize,
    /// Character in that line, from 1.
    pub column: usize,
    /// The fault at that position.
    pub fault: TemplateFault,
}

/// The fault of a template or path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateFault {
    /// Something else than what the syntax wants here.
    Syntax {
        /// The token that is expected here.
        expected: &'static str,
    },
    /// The name of a helper where a value is meant.
    HelperAsPath(String),
    /// A block, tag or comment that is still open where the source ends.
    Unclosed(String),
    /// A closing tag with another name than its opening tag.
    Mismatch {
        /// The name in the opening tag.
        open: String,
        /// The name in the closing tag.
        close: String,
    },
    /// A closing tag or an `{{else}}` that belongs to no block.
    Stray(String),
    /// A call of something that is no helper.
    UnknownHelper(String),
    /// A helper of the platform that has no meaning here.
    NotOffered(String),
    /// A time zone that is not in the database of the IANA.
    TimeZone(String),
    /// A language other than English.
    Locale(String),
    /// Partials: there is nothing to include here.
    Partial(String),
    /// Decorators (`{{* x}}`), inline partials among them.
    Decorator,
    /// A helper with the wrong number of arguments.
    Arguments {
        /// The helper.
        helper: String,
        /// The arguments that it takes.
        takes: &'static str,
    },
    /// A helper that is a block helper used as a value, or the other way around.
    Usage {
        /// The helper.
        helper: String,
        /// How it is used.
        form: &'static str,
    },
    /// A pattern of `match` that is no regular expression, or one that is not supported.
    Pattern(String),
    /// A format of `format` that is not a number format.
    Format(String),
    /// `this` or `..` behind another segment.
    InvalidPath(String),
    /// Nested deeper, or longer, than is taken.
    TooLarge {
        /// The limit that is exceeded.
        what: &'static str,
    },
}

impl TemplateError {
    /// A fault at a byte position of a source.
    pub(super) fn at(source: &str, position: usize, fault: TemplateFault) -> TemplateError {
        let before = source.get(..position).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        TemplateError {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            fault,
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.fault)
    }
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateFault::Syntax { expected } => write!(f, "expected {expected}"),
            TemplateFault::HelperAsPath(name) => {
                write!(f, "`{name}` is a helper: `(…)` calls it, `this.{name}` is a value of that name")
            }
            TemplateFault::Unclosed(what) => write!(f, "`{what}` is never closed"),
            TemplateFault::Mismatch { open, close } => write!(f, "`{open}` is closed by `{close}`"),
            TemplateFault::Stray(what) => write!(f, "`{what}` outside of a block"),
            TemplateFault::UnknownHelper(name) => write!(f, "there is no helper `{name}`"),
            TemplateFault::NotOffered(name) => write!(f, "the helper `{name}` is not offered here"),
            TemplateFault::TimeZone(name) => write!(f, "there is no time zone `{name}`"),
            TemplateFault::Locale(name) => write!(f, "dates are written in English (`en`), not in `{name}`"),
            TemplateFault::Partial(name) => {
                write!(f, "there is no partial `{name}`: partials are not supported")
            }
            TemplateFault::Decorator => f.write_str("decorators are not supported"),
            TemplateFault::Arguments { helper, takes } => write!(f, "the helper `{helper}` takes {takes}"),
            TemplateFault::Usage { helper, form } => write!(f, "the helper `{helper}` is used as {form}"),
            TemplateFault::Pattern(why) => write!(f, "not a supported regular expression: {why}"),
            TemplateFault::Format(format) => write!(f, "not a number format: `{format}`"),
            TemplateFault::InvalidPath(path) => write!(f, "invalid path `{path}`"),
            TemplateFault::TooLarge { what } => write!(f, "too large: {what}"),
        }
    }
}

/// Why nothing was rendered from a template that compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The output went over its limit.
    TooLong,
    /// It took more steps than one rendering may take.
    TooMuchWork,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RenderError::TooLong => "the rendered text is over its limit",
            RenderError::TooMuchWork => "rendering takes too much work",
        })
    }
}

impl std::error::Error for RenderError {}
