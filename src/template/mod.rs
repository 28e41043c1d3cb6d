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
mod compiled;
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

pub use compiled::Template;
pub(crate) use error::{RenderError, TemplateError};
pub use path::Path;
pub(crate) use path::PathValue;
pub(crate) use reads::PathRead;
pub use render::Escape;
pub use root::{GlobalsRoot, Root};
#[cfg(test)]
pub(crate) use work::WORK_MAX;
pub use work::{OUTPUT_BYTES_MAX, Work};
