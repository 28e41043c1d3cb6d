//! The helpers: their names, and how many arguments each takes.

/// A helper that has a value. The blocks `if`, `unless`, `each` and `with` have none and are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Match,
    Add,
    Subtract,
    Multiply,
    Divide,
    EncodeBase64,
    DecodeBase64,
    EncodeUri,
    EncodeUriComponent,
    DecodeUri,
    DecodeUriComponent,
    Join,
    JsonEncode,
    Length,
    Lower,
    Upper,
    Trim,
    TypeOf,
    ValueByKey,
    Format,
    Lookup,
}

/// A helper as templates know it.
struct Entry {
    name: &'static str,
    helper: Helper,
    /// The fewest and the most arguments.
    takes: (usize, usize),
}

const fn entry(name: &'static str, helper: Helper, least: usize, most: usize) -> Entry {
    Entry { name, helper, takes: (least, most) }
}

const HELPERS: &[Entry] = &[
    entry("eq", Helper::Equal, 2, 2),
    entry("ne", Helper::NotEqual, 2, 2),
    entry("gt", Helper::Greater, 2, 2),
    entry("gte", Helper::GreaterOrEqual, 2, 2),
    entry("lt", Helper::Less, 2, 2),
    entry("lte", Helper::LessOrEqual, 2, 2),
    entry("match", Helper::Match, 2, 2),
    entry("add", Helper::Add, 2, 2),
    entry("subtract", Helper::Subtract, 2, 2),
    entry("multiply", Helper::Multiply, 2, 2),
    entry("divide", Helper::Divide, 2, 2),
    entry("encodeBase64", Helper::EncodeBase64, 1, 1),
    entry("decodeBase64", Helper::DecodeBase64, 1, 1),
    entry("encodeURI", Helper::EncodeUri, 1, 1),
    entry("encodeURIComponent", Helper::EncodeUriComponent, 1, 1),
    entry("decodeURI", Helper::DecodeUri, 1, 1),
    entry("decodeURIComponent", Helper::DecodeUriComponent, 1, 1),
    entry("join", Helper::Join, 1, 2),
    entry("jsonEncode", Helper::JsonEncode, 1, 1),
    entry("length", Helper::Length, 1, 1),
    entry("lower", Helper::Lower, 1, 1),
    entry("upper", Helper::Upper, 1, 1),
    entry("trim", Helper::Trim, 1, 1),
    entry("typeof", Helper::TypeOf, 1, 1),
    entry("valueByKey", Helper::ValueByKey, 2, 2),
    entry("format", Helper::Format, 1, 2),
    entry("lookup", Helper::Lookup, 2, 2),
];

impl Helper {
    /// The helper of a name.
    pub(super) fn named(name: &str) -> Option<Helper> {
        HELPERS.iter().find(|entry| entry.name == name).map(|entry| entry.helper)
    }

    /// Whether it takes so many arguments; if not, what it takes.
    pub(super) fn check_count(self, count: usize) -> Result<(), &'static str> {
        let takes = HELPERS.iter().find(|entry| entry.helper == self).map_or((0, 0), |entry| entry.takes);
        if (takes.0..=takes.1).contains(&count) {
            return Ok(());
        }
        Err(match takes {
            (1, 1) => "one argument",
            (1, _) => "one or two arguments",
            _ => "two arguments",
        })
    }

    /// Whether it answers yes or no, so that it is also a block: `{{#eq a b}}…{{else}}…{{/eq}}`.
    pub(super) fn is_comparison(self) -> bool {
        matches!(
            self,
            Helper::Equal
                | Helper::NotEqual
                | Helper::Greater
                | Helper::GreaterOrEqual
                | Helper::Less
                | Helper::LessOrEqual
                | Helper::Match
        )
    }

    /// Whether its text goes out as it is also where `{{…}}` escapes: it is encoded already, and escaped again it would
    /// be no JSON, base64 or URI any more.
    pub(super) fn is_encoded(self) -> bool {
        matches!(
            self,
            Helper::JsonEncode | Helper::EncodeBase64 | Helper::EncodeUri | Helper::EncodeUriComponent
        )
    }
}
