//! Handlebars templates and payload paths.
//!
//! A template is compiled when a flow or webhook is saved and rendered for every trigger. Compiling has three steps, those
//! of handlebars.js, which is the oracle of the tests: [`parse`] reads the source into statements ([`syntax`]), [`white`]
//! takes white space out, [`compile`] makes a tree in which every path is split, every helper known and every pattern
//! built. Rendering ([`render`]) walks that tree over the payload's own bytes: nothing is copied but what goes out.
//!
//! **Invariant**: rendering ends, and takes no longer than its budget of [`Work`] allows. Templates have no loops but over
//! values of the payload; every step, lookup and byte is paid for before it is taken, and the output has a limit.

mod arena;
mod call;
mod collections;
mod compile;
mod date;
mod encode;
mod error;
mod format;
mod helper;
mod lex;
mod parse;
mod path;
mod pattern;
mod platform;
mod reads;
mod recall;
mod render;
mod root;
mod syntax;
mod tools;
mod tree;
mod value;
mod white;
mod work;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod work_tests;

use crate::base::number;

pub use error::{Fault, RenderError, TemplateError};
pub use path::{Found, Path};
pub use reads::Read;
pub use root::{GlobalsRoot, Root};
pub use work::{WORK_MAX, Work};

/// Bytes that a rendering may have where nothing smaller is asked for: far over any payload limit.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How `{{x}}` is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// For HTML: `& < > " ' \` =`.
    Html,
    /// Not at all.
    None,
}

/// A template, compiled.
#[derive(Debug)]
pub struct Template {
    nodes: Box<[tree::Node]>,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it, and where: syntax, a helper that there is not or that is called with the wrong number of
    /// arguments, a partial or decorator, a pattern or number format that is none, too much nesting.
    pub fn compile(source: &str) -> Result<Template, TemplateError> {
        compile::compile(source, false).map(|nodes| Template { nodes })
    }

    /// Compiles a template that is part of what another one renders.
    fn compile_nested(source: &str) -> Result<Template, TemplateError> {
        compile::compile(source, true).map(|nodes| Template { nodes })
    }

    /// Appends the text to `out`, at most [`OUTPUT_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Template::render_within`].
    pub fn render(&self, root: &dyn Root, escape: Escape, out: &mut Vec<u8>) -> Result<(), RenderError> {
        self.render_within(root, escape, OUTPUT_BYTES_MAX, &mut Work::default(), out)
    }

    /// Appends the text to `out`, at most `bytes_max` bytes, with what is left of `work`.
    ///
    /// # Errors
    /// The text is longer, or takes too much work; `out` is as it was.
    pub fn render_within(
        &self,
        root: &dyn Root,
        escape: Escape,
        bytes_max: usize,
        work: &mut Work,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        render::render(&self.nodes, root, escape, bytes_max, work, out)
    }

    /// The text that it always renders, if it does not look at anything.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match &*self.nodes {
            [] => Some(""),
            [tree::Node::Text(text)] => Some(text),
            _ => None,
        }
    }
}
