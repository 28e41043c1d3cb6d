//! A template as it is written: what `parse` reads, `white` trims and `compile` resolves. Names are those of
//! handlebars.js, whose parser and compiler divide the work in the same way.

use std::borrow::Cow;

/// The statements between two tags of a block, or of a whole template.
#[derive(Debug, Default)]
pub(super) struct Program<'s> {
    pub(super) body: Vec<Statement<'s>>,
    /// Whether it is an `{{else if}}`, whose one statement is that block.
    pub(super) is_chained: bool,
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Statement<'s> {
    Content(TextNode<'s>),
    Mustache(Mustache<'s>),
    Comment(Strip),
    Block(Box<BlockStatement<'s>>),
}

/// Text between tags.
#[derive(Debug)]
pub(super) struct TextNode<'s> {
    /// As it stands in the source.
    pub(super) original: &'s str,
    /// The text that remains after stripping.
    pub(super) value: &'s str,
    pub(super) is_left_stripped: bool,
    pub(super) is_right_stripped: bool,
}

/// `{{x}}` or `{{{x}}}`.
#[derive(Debug)]
pub(super) struct Mustache<'s> {
    pub(super) call: Sexpr<'s>,
    pub(super) is_escaped: bool,
    pub(super) strip: Strip,
}

/// The sides of a tag whose white space goes (`~`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strip {
    pub(super) open: bool,
    pub(super) close: bool,
}

/// `{{#x}}…{{else}}…{{/x}}`.
#[derive(Debug)]
pub(super) struct BlockStatement<'s> {
    pub(super) call: Sexpr<'s>,
    pub(super) parameters: Vec<&'s str>,
    /// Rendered where the block's condition holds; absent from `{{^x}}…{{/x}}`.
    pub(super) program: Option<Program<'s>>,
    pub(super) inverse: Option<Program<'s>>,
    pub(super) open_strip: Strip,
    pub(super) inverse_strip: Strip,
    pub(super) close_strip: Strip,
}

/// The contents of a tag or of a pair of parentheses: a name, values, named values.
#[derive(Debug)]
pub(super) struct Sexpr<'s> {
    /// Byte position of the tag or parenthesis.
    pub(super) at: usize,
    pub(super) name: Argument<'s>,
    pub(super) parameters: Vec<Argument<'s>>,
    pub(super) hash: Vec<(Cow<'s, str>, Argument<'s>)>,
}

/// A value that is written down.
#[derive(Debug)]
pub(super) enum Argument<'s> {
    Path(PathExpression<'s>),
    Text(Cow<'s, str>),
    Number(f64, &'s str),
    Bool(bool),
    Null,
    Undefined,
    Call(Box<Sexpr<'s>>),
}

/// A path such as `../a.[b c]` or `@index`.
#[derive(Debug)]
pub(super) struct PathExpression<'s> {
    pub(super) at: usize,
    /// With `@` in front.
    pub(super) is_data: bool,
    /// How many `../` are in front.
    pub(super) depth: usize,
    pub(super) parts: Vec<Cow<'s, str>>,
    /// Whether it starts with or names `this`, so that it is neither a helper nor a block's parameter.
    pub(super) is_scoped: bool,
    /// As it stands in the source, brackets left out.
    pub(super) original: String,
}

impl PathExpression<'_> {
    /// Whether it is one name, which a helper may have.
    pub(super) fn is_simple(&self) -> bool {
        self.parts.len() == 1 && !self.is_scoped && self.depth == 0 && !self.is_data
    }
}
