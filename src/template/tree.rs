//! A template as it is rendered: texts, values and blocks, all names resolved.

use jiff::tz::TimeZone;

use super::format::NumberFormat;
use super::helper::Helper;
use super::pattern::Pattern;
use super::value::PathSegment;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Text as it stands.
    Text(Box<str>),
    /// `{{x}}`, and unescaped `{{{x}}}`.
    Write { value: TemplateExpression, escaped: bool },
    /// `{{#x}}…{{else}}…{{/x}}`.
    Block(Box<Block>),
}

/// A block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) body: Box<[Node]>,
    pub(super) otherwise: Box<[Node]>,
}

/// The kind of a block, which decides how often its body is rendered, and over which context.
#[derive(Debug)]
pub(super) enum BlockKind {
    /// `if`, `unless` (`wanted` is false), and the comparisons.
    If { condition: TemplateExpression, include_zero: Option<TemplateExpression>, wanted: bool },
    /// `each`: once for every value, which becomes the context.
    Each(TemplateExpression),
    /// `with`: once, over the value.
    With(TemplateExpression),
    /// A block with the name of a value: `each` over an array, `if` of a boolean, `with` of anything else.
    Section(TemplateExpression),
}

/// An expression that has a value.
#[derive(Debug)]
pub(super) enum TemplateExpression {
    /// A text of the template.
    Text(Box<str>),
    /// A number of the template.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// `undefined`.
    Undefined,
    /// A path.
    Lookup(PathLookup),
    /// A helper with its arguments.
    Call(Box<HelperCall>),
}

/// A helper with its arguments.
#[derive(Debug)]
pub(super) struct HelperCall {
    pub(super) helper: Helper,
    pub(super) arguments: Box<[TemplateExpression]>,
    pub(super) named: Box<[(Box<str>, TemplateExpression)]>,
    /// The value that was built from a literal argument.
    pub(super) built: Built,
}

/// A value that is built when the template is compiled.
#[derive(Debug)]
pub(super) enum Built {
    Nothing,
    Pattern(Box<Pattern>),
    Format(NumberFormat),
    Zone(TimeZone),
}

/// A path from where it starts.
#[derive(Debug)]
pub(super) struct PathLookup {
    pub(super) base: Base,
    pub(super) segments: Box<[PathSegment]>,
}

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The context so many `../` out.
    Context { up: usize },
    /// `@root`, of the `each` so many `../` out.
    Root { up: usize },
    /// `@index` and the like, of the `each` so many `../` out.
    Loop { variable: LoopVariable, up: usize },
    /// A name of a block's `as |…|`: the first or second of the scope that is so many scopes out.
    Parameter { scope: usize, second: bool },
}

/// A variable of an `each` loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopVariable {
    Index,
    Key,
    First,
    Last,
    /// A name that `each` does not set.
    Unknown,
}
