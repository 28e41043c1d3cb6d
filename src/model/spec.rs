//! Descriptions of the fields that users write: one row for each. [`Fields`](super::fields::Fields) checks bodies against
//! them; `/openapi.json`, the console's forms and the guide's page of fields are made of them.

use std::fmt;

/// The fields of one kind of object.
#[derive(Debug)]
pub struct ObjectSpec {
    /// The object as messages name it, such as "a webhook".
    pub name: &'static str,
    /// The fields that mean something here, in groups that objects share.
    pub groups: &'static [&'static [FieldSpec]],
    /// Read-only fields of the platform that are not shown here: ignored in a body.
    pub ignored: &'static [&'static str],
    /// Fields of the platform that are kept and given back.
    pub kept: &'static [&'static str],
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// The field's key in JSON.
    pub name: &'static str,
    /// The values that it takes.
    pub kind: FieldKind,
    /// When it can be written.
    pub access: FieldAccess,
    /// Whether `null` is a value, too.
    pub is_nullable: bool,
    /// The value where a new object has none.
    pub default: Option<DefaultValue>,
    /// The effect of the field, in a sentence or two for people.
    pub help: &'static str,
}

/// When a field can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldAccess {
    /// At any time; may be left out.
    Optional,
    /// At any time; a new object must have it.
    Required,
    /// When the object is created; later only the same value.
    AtCreation,
    /// Never: shown, and ignored in a body, so that what was read can be sent back.
    ReadOnly,
}

/// The default of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    Boolean(bool),
    Integer(u32),
    Text(&'static str),
}

/// The values that a field takes. Its text ([`fmt::Display`]) completes "must be".
#[derive(Clone, Copy, Debug)]
pub enum FieldKind {
    Boolean,
    /// A string of so many characters.
    Text {
        least: usize,
        most: usize,
    },
    /// A string that a regular expression describes to JSON Schema, and a phrase to people.
    Pattern {
        pattern: &'static str,
        phrase: &'static str,
    },
    /// A whole number.
    Integer {
        least: u32,
        most: u32,
    },
    /// A number, fractions allowed.
    Number {
        least: f64,
        most: f64,
    },
    /// This word.
    Const(&'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// A list of so many strings, which are such things.
    Texts {
        least: usize,
        most: usize,
        things: &'static str,
    },
    /// A list of at most so many objects, which `/openapi.json` has under this name.
    Objects {
        schema: &'static str,
        most: usize,
    },
    /// An object that `/openapi.json` has under this name.
    Schema(&'static str),
    /// An object with these fields and no others.
    Object(&'static ObjectSpec),
    /// A list of such objects.
    List(&'static ObjectSpec),
    /// An object of at most so many strings.
    TextMap {
        most: usize,
    },
    /// An object of any shape.
    AnyObject,
    /// Either of these.
    Either(&'static [FieldKind]),
    /// Lists of at most so many ids of nodes, at most as many lists, or one list for the only output.
    OutputIds {
        most: usize,
    },
    /// A time of RFC 3339.
    Time,
    Id,
}

/// Rows of a table: a name, a kind, marks, and the sentence of help.
macro_rules! rows {
    ($($name:literal: $kind:expr $(, $mark:ident $(($value:expr))?)* => $help:literal;)*) => {{
        #[allow(unused_imports, reason = "few tables have rows of every kind")]
        use $crate::model::spec::{FieldKind::*, FieldSpec, integer, text};
        [$(FieldSpec::new($name, $kind, $help)$(.$mark($($value)?))*),*]
    }};
}
pub(super) use rows;

/// A string of so many characters.
pub(super) const fn text(least: usize, most: usize) -> FieldKind {
    FieldKind::Text { least, most }
}

/// A whole number in a range.
pub(super) const fn integer(least: u32, most: u32) -> FieldKind {
    FieldKind::Integer { least, most }
}

impl FieldKind {
    /// Whether its schema is one type with its bounds, to which `null` can be added.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !matches!(self, FieldKind::Object(_) | FieldKind::Either(_) | FieldKind::Schema(_) | FieldKind::Id)
    }
}

impl FieldSpec {
    /// An optional field.
    pub(super) const fn new(name: &'static str, kind: FieldKind, help: &'static str) -> FieldSpec {
        FieldSpec { name, kind, access: FieldAccess::Optional, is_nullable: false, default: None, help }
    }

    /// A field that a new object must have.
    pub(super) const fn required(self) -> FieldSpec {
        FieldSpec { access: FieldAccess::Required, ..self }
    }

    /// A field that is fixed when the object is created.
    pub(super) const fn at_creation(self) -> FieldSpec {
        FieldSpec { access: FieldAccess::AtCreation, ..self }
    }

    /// A field that is shown and cannot be written.
    pub(super) const fn read_only(self) -> FieldSpec {
        FieldSpec { access: FieldAccess::ReadOnly, ..self }
    }

    /// A field that takes `null`, too.
    pub(super) const fn nullable(self) -> FieldSpec {
        FieldSpec { is_nullable: true, ..self }
    }

    /// A field with the default `true` or `false`.
    pub(super) const fn or_flag(self, default: bool) -> FieldSpec {
        FieldSpec { default: Some(DefaultValue::Boolean(default)), ..self }
    }

    /// A field with a number as its default.
    pub(super) const fn or_number(self, default: u32) -> FieldSpec {
        FieldSpec { default: Some(DefaultValue::Integer(default)), ..self }
    }

    /// A field with a text as its default.
    pub(super) const fn or_text(self, default: &'static str) -> FieldSpec {
        FieldSpec { default: Some(DefaultValue::Text(default)), ..self }
    }

    /// The values that it takes, as a phrase behind "must be".
    #[must_use]
    pub fn phrase(&self) -> String {
        if self.is_nullable { format!("null or {}", self.kind) } else { self.kind.to_string() }
    }
}

impl ObjectSpec {
    /// An object without fields of the platform.
    pub(super) const fn new(name: &'static str, groups: &'static [&'static [FieldSpec]]) -> ObjectSpec {
        ObjectSpec { name, groups, ignored: &[], kept: &[] }
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = &'static FieldSpec> {
        self.groups.iter().copied().flatten()
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields().find(|field| field.name == name)
    }

    /// Whether a field is the server's own: ignored in a body.
    #[must_use]
    pub fn is_read_only(&self, name: &str) -> bool {
        self.ignored.contains(&name)
            || self.field(name).is_some_and(|field| field.access == FieldAccess::ReadOnly)
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FieldKind::Boolean => f.write_str("true or false"),
            FieldKind::Text { least: 0, most } => write!(f, "a string of at most {most} characters"),
            FieldKind::Text { least, most } => write!(f, "a string of {least} to {most} characters"),
            FieldKind::Pattern { phrase, .. } => f.write_str(phrase),
            FieldKind::Integer { least, most } => write!(f, "an integer from {least} to {most}"),
            FieldKind::Number { least, most } => write!(f, "a number from {least} to {most}"),
            FieldKind::Const(word) => f.write_str(word),
            FieldKind::Word(words) => write!(f, "one of: {}", words.join(", ")),
            FieldKind::Words(words) => write!(f, "a list of some of: {}", words.join(", ")),
            FieldKind::Texts { least: 0, most, things } => write!(f, "a list of at most {most} {things}"),
            FieldKind::Texts { least, most, things } => write!(f, "a list of {least} to {most} {things}"),
            FieldKind::List(_) => f.write_str("a list"),
            FieldKind::Objects { most, .. } => write!(f, "a list of at most {most}"),
            FieldKind::Schema(_) | FieldKind::Object(_) | FieldKind::AnyObject => f.write_str("an object"),
            FieldKind::TextMap { most } => write!(f, "an object of at most {most} strings"),
            FieldKind::Either(kinds) => {
                for (index, kind) in kinds.iter().enumerate() {
                    write!(f, "{}{kind}", if index == 0 { "" } else { ", or " })?;
                }
                Ok(())
            }
            FieldKind::OutputIds { most } => write!(
                f,
                "a list of lists of node ids, one for each output, or a list of node ids, at most {most} of each"
            ),
            FieldKind::Time => f.write_str("a time of RFC 3339"),
            FieldKind::Id => f.write_str("24 hex digits"),
        }
    }
}

/// The words of a table of words and their meanings.
pub(crate) const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut place = 0;
    while place < N {
        words[place] = table[place].0;
        place += 1;
    }
    words
}
