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
    FormatDate,
    FormatDateRelative,
    CurrentDateTime,
    GpsDistance,
    ScaleLinear,
    ToHtml,
    Object,
    Array,
    Merge,
    JsonDecode,
    Includes,
    IndexByKey,
    Template,
    Ceil,
    Floor,
    Max,
    Min,
    DefaultTo,
    Last,
}

/// Helpers of the platform that have no meaning here.
const NOT_OFFERED: [&str; 7] = [
    "dashboardUrl",
    "colorMarker",
    "evalExpression",
    "formatGps",
    "gpsIsPointInside",
    "queryStringEncode",
    "titleCase",
];
/// Arguments that a helper takes where it takes any number of them.
const MANY: usize = 1_000;

/// A helper as templates know it.
struct HelperEntry {
    name: &'static str,
    helper: Helper,
    /// The fewest and the most arguments.
    takes: (usize, usize),
}

const fn entry(name: &'static str, helper: Helper, least: usize, most: usize) -> HelperEntry {
    HelperEntry { name, helper, takes: (least, most) }
}

const HELPERS: &[HelperEntry] = &[
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
    entry("jsonEncode", Helper::JsonEncode, 1, 2),
    entry("length", Helper::Length, 1, 1),
    entry("lower", Helper::Lower, 1, 1),
    entry("upper", Helper::Upper, 1, 1),
    entry("trim", Helper::Trim, 1, 1),
    entry("typeof", Helper::TypeOf, 1, 1),
    entry("valueByKey", Helper::ValueByKey, 2, 4),
    entry("format", Helper::Format, 1, 2),
    entry("lookup", Helper::Lookup, 2, 2),
    entry("formatDate", Helper::FormatDate, 1, 2),
    entry("formatDateRelative", Helper::FormatDateRelative, 1, 2),
    entry("currentDateTime", Helper::CurrentDateTime, 0, 1),
    entry("gpsDistance", Helper::GpsDistance, 2, 2),
    entry("scaleLinear", Helper::ScaleLinear, 5, 5),
    entry("toHtml", Helper::ToHtml, 1, 1),
    entry("obj", Helper::Object, 0, 0),
    entry("array", Helper::Array, 0, MANY),
    entry("merge", Helper::Merge, 0, MANY),
    entry("jsonDecode", Helper::JsonDecode, 1, 1),
    entry("includes", Helper::Includes, 2, 2),
    entry("indexByKey", Helper::IndexByKey, 2, 3),
    entry("template", Helper::Template, 1, 2),
    entry("ceil", Helper::Ceil, 1, 1),
    entry("floor", Helper::Floor, 1, 1),
    entry("max", Helper::Max, 2, 2),
    entry("min", Helper::Min, 2, 2),
    entry("defaultTo", Helper::DefaultTo, 2, 2),
    entry("last", Helper::Last, 1, 1),
];

impl Helper {
    /// The helper of a name.
    pub(super) fn named(name: &str) -> Option<Helper> {
        HELPERS.iter().find(|entry| entry.name == name).map(|entry| entry.helper)
    }

    /// The names of all helpers.
    #[cfg(test)]
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        HELPERS.iter().map(|entry| entry.name)
    }

    /// Whether it takes so many arguments; if not, what it takes.
    pub(super) fn check_count(self, count: usize) -> Result<(), &'static str> {
        let takes = HELPERS.iter().find(|entry| entry.helper == self).map_or((0, 0), |entry| entry.takes);
        if (takes.0..=takes.1).contains(&count) {
            return Ok(());
        }
        Err(match takes {
            (0, 0) => "no arguments but named ones",
            (0, 1) => "one argument at most",
            (1, 1) => "one argument",
            (1, _) => "one or two arguments",
            (2, 2) => "two arguments",
            (2, most) => {
                if most == 3 {
                    "two or three arguments"
                } else {
                    "two to four arguments"
                }
            }
            (5, _) => "five arguments",
            _ => "no more than 1,000 arguments",
        })
    }

    /// Whether the platform has a helper of this name that is not offered here.
    pub(super) fn is_not_offered(name: &str) -> bool {
        NOT_OFFERED.contains(&name)
    }

    /// Whether it takes a named argument of this name.
    pub(super) fn takes_named(self, name: &str) -> bool {
        match self {
            Helper::Object => true,
            Helper::FormatDate | Helper::CurrentDateTime => matches!(name, "tz" | "locale"),
            Helper::FormatDateRelative => name == "locale",
            _ => false,
        }
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
                | Helper::Includes
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
