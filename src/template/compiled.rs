//! A template as its users have it.

use super::compile::compile;
use super::error::{RenderError, TemplateError};
use super::render::{Escape, render};
use super::root::Root;
use super::tree::Node;
use super::work::{OUTPUT_BYTES_MAX, Work};

/// A template, compiled.
#[derive(Debug)]
pub struct Template {
    pub(super) nodes: Box<[Node]>,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The fault and its position: syntax, a helper that does not exist or that is called with the wrong number of
    /// arguments, a partial or decorator, an invalid pattern or number format, too much nesting.
    pub fn compile(source: &str) -> Result<Template, TemplateError> {
        compile(source, false).map(|nodes| Template { nodes })
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
        render(&self.nodes, root, escape, bytes_max, render_nested, work, out)
    }

    /// The text that it always renders, if it does not look at anything.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match &*self.nodes {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// Renders a text that is part of what a template renders.
fn render_nested(
    source: &str,
    root: &dyn Root,
    work: &mut Work,
    out: &mut Vec<u8>,
) -> Result<bool, RenderError> {
    let Ok(nodes) = compile(source, true) else { return Ok(false) };
    render(&nodes, root, Escape::Html, OUTPUT_BYTES_MAX, render_nested, work, out).map(|()| true)
}
