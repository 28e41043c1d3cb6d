//! JSON as text: checked, escaped, looked into and spliced, never rebuilt.
//!
//! Values travel through the engine as the bytes they came in: numbers keep their digits, objects the order of their
//! keys. So there is no tree here, only [`validate()`], which decides once and strictly whether bytes are JSON, and
//! [`Raw`], a cursor over text that passed it.

mod escape;
mod minify;
mod raw;
mod scan;
mod validate;

pub use escape::{
    escape_bytes_latin1_into, escape_fragment_into, escape_into, escape_latin1_fragment_into,
    escape_lossy_into,
};
pub use minify::minify_into;
pub use raw::{DOCUMENT_DEPTH_MAX, Entries, Items, Kind, Raw};
pub use validate::{Halves, check, replace_halves_into, validate};
