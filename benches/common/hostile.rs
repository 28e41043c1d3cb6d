//! Templates and contexts that make rendering expensive, from a seed.

/// A generator of numbers (splitmix64).
pub struct Seed(pub u64);

impl Seed {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_of<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

/// A member of the document: its name, and what writes about so many bytes of a value.
type Member = (&'static str, fn(usize, &mut String));

/// Members of the document, each of them about as long as the bytes that are asked for.
const MEMBERS: [Member; 21] = [
    ("ones", |bytes, out| list(bytes, out, "1")),
    ("tiny", |bytes, out| list(bytes, out, "1e-300")),
    ("huge", |bytes, out| list(bytes, out, "1.7976931348623157e308")),
    ("halves", |bytes, out| list(bytes, out, "9007199254740993.00000000000000000000000000000000000001")),
    ("words", |bytes, out| list(bytes, out, "\"word\"")),
    ("marks", |bytes, out| list(bytes, out, "\"<&\\n\"")),
    ("tags", |bytes, out| list(bytes, out, r#"{"key":"k\u0031","value":12345678901234567890.5}"#)),
    ("nested", |bytes, out| {
        let depth = 100.min(bytes / 2);
        out.extend(["[".repeat(depth), "1,".repeat(bytes / 2), "1".to_owned(), "]".repeat(depth)]);
    }),
    ("members", |bytes, out| {
        out.push('{');
        out.extend((0..bytes / 12 + 1).map(|at| format!("\"m{at:06}\":1,")));
        out.push_str("\"last\":2}");
    }),
    ("plain", |bytes, out| text(bytes, out, "x")),
    ("escaped", |bytes, out| text(bytes, out, "\\n")),
    ("units", |bytes, out| text(bytes, out, "\\u00e9")),
    ("letters", |bytes, out| text(bytes, out, "ab")),
    ("foreign", |bytes, out| text(bytes, out, "\u{130}ß")),
    ("digits", |bytes, out| out.push_str(&"7".repeat(bytes + 1))),
    ("dates", |bytes, out| list(bytes, out, "\"2026-02-19T17:26:05.123+01:00\"")),
    ("millis", |bytes, out| list(bytes, out, "1771521965123")),
    ("points", |bytes, out| list(bytes, out, "\"39.10000000000000000000001,-84.5\"")),
    ("marked", |bytes, out| {
        let element = r#"{"type":"tag","name":"p","attribs":{"a":"\"","b":"c"},"children":["#;
        let depth = 40.min(bytes / 70);
        out.extend([&element.repeat(depth), r#"{"type":"text","data":"x"}"#, &"]}".repeat(depth)]);
    }),
    ("tokens", |bytes, out| text(bytes, out, "LLLL zwL?")),
    ("sources", |bytes, out| list(bytes, out, "\"{{#if a}}{{upper b}} {{else}}x{{/if}} L {{c}}\"")),
];

/// Helpers by the number of their arguments.
const ONE: [&str; 29] = [
    "upper",
    "lower",
    "trim",
    "length",
    "typeof",
    "jsonEncode",
    "encodeBase64",
    "decodeBase64",
    "encodeURI",
    "encodeURIComponent",
    "decodeURI",
    "decodeURIComponent",
    "join",
    "ceil",
    "floor",
    "last",
    "toHtml",
    "jsonDecode",
    "format",
    "formatDate",
    "formatDateRelative",
    "currentDateTime",
    "array",
    "merge",
    "template",
    "formatDate",
    "toHtml",
    "array",
    "merge",
];
const TWO: [&str; 30] = [
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "add",
    "subtract",
    "multiply",
    "divide",
    "valueByKey",
    "lookup",
    "join",
    "format",
    "eq",
    "formatDate",
    "formatDateRelative",
    "gpsDistance",
    "jsonEncode",
    "includes",
    "indexByKey",
    "max",
    "min",
    "defaultTo",
    "array",
    "merge",
    "template",
    "valueByKey",
    "indexByKey",
    "gpsDistance",
];
/// Formats of dates: of the tokens that write most for their length, and of what is no token.
const DATE_FORMATS: [&str; 8] =
    ["L", "L L L L L L L L", "LLLL llll", "zZzZz", "wWgGwW", "SSSSSSSSS", "Q?#Q?#", "[dddd] dddd Do MMMM"];
const ZONES: [&str; 3] = ["UTC", "America/New_York", "Asia/Kolkata"];
const FORMATS: [&str; 12] =
    [".2f", ".20f", "d", "x", "b", ".20e", ".3p", "s", ".1s", "256,.2f", ".20%", "*^200.17g"];
const PATTERNS: [&str; 6] =
    ["^a.c$", "[ab]*a[ab]{10}c", "/[ab]*a[ab]{200}c/", "(x|y)*z", "/^(a|ab)(bab|b)*$/i", r"\bword\b"];

fn list(bytes: usize, out: &mut String, item: &str) {
    out.push('[');
    let count = bytes / (item.len() + 1);
    (0..count).for_each(|_| out.extend([item, ","]));
    out.extend([item, "]"]);
}

fn text(bytes: usize, out: &mut String, piece: &str) {
    out.extend(["\"", &piece.repeat(bytes / piece.len() + 1), "\""]);
}

/// A template and the document that it is rendered over, whose members have up to `bytes_max` bytes.
pub fn case(seed: u64, bytes_max: usize) -> (String, String) {
    let mut seed = Seed(seed);
    let mut document = String::from("{");
    let mut names = Vec::new();
    for _ in 0..4 {
        let (name, write) = MEMBERS[seed.below(MEMBERS.len())];
        let bytes = seed.below(bytes_max);
        document.push_str(&format!("\"{name}\":"));
        write(bytes, &mut document);
        document.push(',');
        names.push(name);
    }
    document.push_str(r#""time":"2026-02-19T17:26:00.123Z","zero":0}"#);
    let mut template = String::new();
    nodes(&mut seed, &names, 0, &mut template);
    (template, document)
}

fn nodes(seed: &mut Seed, names: &[&str], depth: usize, out: &mut String) {
    for _ in 0..1 + seed.below(2) {
        match seed.below(if depth < 3 { 8 } else { 3 }) {
            0 => out.extend(["{{", &value(seed, names, depth), "}}"]),
            1 => out.extend(["{{{", &value(seed, names, depth), "}}}"]),
            2 => out.extend(["{{", &call(seed, names, depth), "}}"]),
            3 => block(seed, "if", names, depth, out),
            4 => block(seed, "with", names, depth, out),
            _ => block(seed, "each", names, depth, out),
        }
    }
}

fn block(seed: &mut Seed, name: &str, names: &[&str], depth: usize, out: &mut String) {
    out.extend(["{{#", name, " ", &argument(seed, names, depth), "}}"]);
    nodes(seed, names, depth + 1, out);
    out.push_str("{{else}}");
    nodes(seed, names, depth + 2, out);
    out.extend(["{{/", name, "}}"]);
}

/// A path, from the root or from here.
fn value(seed: &mut Seed, names: &[&str], depth: usize) -> String {
    let name = seed.one_of(names);
    let up = "../".repeat(depth);
    match seed.below(9) {
        0 => "this".to_owned(),
        1 => "@key".to_owned(),
        2 => format!("@root.{name}"),
        3 => format!("{up}{name}.length"),
        4 => format!("{up}{name}.[3]"),
        5 => format!("{up}{name}.last"),
        6 => "@root".to_owned(),
        _ => format!("{up}{name}"),
    }
}

fn argument(seed: &mut Seed, names: &[&str], depth: usize) -> String {
    if seed.below(4) == 0 { format!("({})", call(seed, names, depth)) } else { value(seed, names, depth) }
}

fn call(seed: &mut Seed, names: &[&str], depth: usize) -> String {
    let first = if seed.below(3) == 0 { value(seed, names, depth) } else { argument(seed, names, depth + 1) };
    match seed.below(14) {
        0 => format!("format {first} '{}'", seed.one_of(&FORMATS)),
        1 => format!("match {first} '{}'", seed.one_of(&PATTERNS)),
        8 => format!("formatDate {first} '{}' tz='{}'", seed.one_of(&DATE_FORMATS), seed.one_of(&ZONES)),
        9 => format!("formatDate {} {first} tz={}", value(seed, names, depth), value(seed, names, depth)),
        10 if seed.below(2) == 0 => format!("currentDateTime {first}"),
        10 => format!("currentDateTime '{}'", seed.one_of(&DATE_FORMATS)),
        11 => {
            let more = [1; 4].map(|_| value(seed, names, depth)).join(" ");
            format!("scaleLinear {first} {more}")
        }
        12 => format!("obj a={first} bc={} d={}", value(seed, names, depth), value(seed, names, depth)),
        13 => {
            format!("{} {first} 'value' 'key'", seed.one_of(&["valueByKey", "indexByKey", "array", "merge"]))
        }
        2..=4 => format!("{} {first}", seed.one_of(&ONE)),
        _ => format!("{} {first} {}", seed.one_of(&TWO), argument(seed, names, depth + 1)),
    }
}
