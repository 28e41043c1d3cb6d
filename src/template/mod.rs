//! Handlebars templates and payload paths.
mod error;
mod number;
mod path;
mod root;
mod value;

pub use error::{Fault, RenderError, TemplateError};
pub use path::Path;
pub use root::{GlobalsRoot, Root};

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
    text: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is no template.
    pub fn compile(source: &str) -> Result<Template, TemplateError> {
        Ok(Template { text: source.to_owned() })
    }

    /// Renders it.
    pub fn render(&self, _root: &dyn Root, _escape: Escape, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
    }

    /// Renders it, within a limit.
    ///
    /// # Errors
    /// Too long.
    pub fn try_render(
        &self,
        root: &dyn Root,
        escape: Escape,
        _bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        self.render(root, escape, out);
        Ok(())
    }

    /// The text that it always renders.
    #[must_use]
    pub fn is_constant(&self) -> Option<&str> {
        Some(&self.text)
    }
}
