//! Templates as people might write them, and stranger ones, from a seed. All that they use means the same to
//! handlebars.js and to Tidegate, but for what the README names.

#[path = "../common/seed.rs"]
mod seed;

pub use seed::Seed;

/// What all generated templates are rendered over. Numbers are written as JavaScript writes them, keys are no numbers,
/// and no list holds `null`.
pub const CONTEXT: &str = r#"{"a":"A<b>","b":{"c":"deep","list":["x","y"],"o":{"k":"v"}},"list":[1,2,"three",true,[4,5],{"n":6,"a":"inner"}],
"none":[],"people":[{"name":"Ann","age":30,"tags":["t1","t2"]},{"name":"Bob","age":4,"tags":[]}],
"map":{"k1":"v1","k2":{"z":1},"k3":[7]},"zero":0,"one":1.5,"neg":-2,"yes":true,"no":false,"h":{"nul":null},"empty":"","a b":"spaced",
"x.y":"dotted","this":"own","uni":"né😀","quote":"\"'&`=","length":"long","objects":{"o1":{"n":1},"o2":{"n":2}},"numbers":[5,"5",0,"",false]}"#;

const TEXTS: [&str; 22] = [
    "a", " b ", "\n", "  \n", "\n  ", "\r\n", "\t", "x\n\ny", "{ ", " }", "\\", "é", "<b>", "  ", "\n\t\n",
    "\u{a0}", "word\n ", "-", "~", "\\\\ ", "\"q\"", "",
];
const PATHS: [&str; 47] = [
    "a",
    "b.c",
    "b/c",
    "b.list",
    "b.list.[1]",
    "b.list.length",
    "list",
    "list.[0]",
    "list.[4].[1]",
    "none",
    "people",
    "people.[0].name",
    "map",
    "map.k1",
    "map.k2.z",
    "zero",
    "one",
    "neg",
    "yes",
    "no",
    "h.nul",
    "h.nul.x",
    "empty",
    "missing",
    "missing.x.y",
    "[a b]",
    "[x.y]",
    "this.[a b]",
    "this",
    ".",
    "./a",
    "this.a",
    "this/b.c",
    "../a",
    "../b.c",
    "..",
    "../../a",
    "@root.a",
    "@root.b.c",
    "@root.zero.x",
    "@root.h.nul.x",
    "uni",
    "uni.length",
    "quote",
    "name",
    "age",
    "n",
];
const LOOP_PATHS: [&str; 10] =
    ["@index", "@key", "@first", "@last", "@../index", "@../key", "@nothing", "@../root.a", "p", "q"];
const LITERALS: [&str; 14] = [
    "'t'",
    "\"d\"",
    "1",
    "-2",
    "1.5",
    "true",
    "false",
    "null",
    "undefined",
    "\"it's\"",
    "'a\\'b'",
    "\"a\\\"b\"",
    "'<&>'",
    "''",
];
const ONE: [&str; 5] = ["upper", "lower", "length", "typeof", "trim"];
const TWO: [&str; 12] =
    ["eq", "ne", "gt", "gte", "lt", "lte", "add", "subtract", "multiply", "lookup", "join", "lookup"];

fn tilde(seed: &mut Seed) -> &'static str {
    if seed.below(5) == 0 { "~" } else { "" }
}

/// A template.
pub fn template(seed: &mut Seed) -> String {
    let mut out = String::new();
    program(seed, 0, &mut out);
    out
}

fn program(seed: &mut Seed, depth: usize, out: &mut String) {
    for _ in 0..1 + seed.below(4) {
        out.push_str(seed.one_of(&TEXTS));
        let (open, close) = (tilde(seed), tilde(seed));
        match seed.below(if depth < 3 { 14 } else { 6 }) {
            0 => out.extend(["{{{", &value(seed), "}}}"]),
            1 if seed.below(5) == 0 => {
                out.extend(["{{", open, "jsonEncode ", &argument(seed, 1), close, "}}"])
            }
            1 => out.extend(["{{", open, &call(seed, 0), close, "}}"]),
            2 => out.extend(["{{", open, "! note ", close, "}}"]),
            3 => out.extend(["{{", open, "!-- a }} b --", close, "}}"]),
            4 => out.extend(["{{", open, "&", &value(seed), " ", close, "}}"]),
            5 | 6 => out.extend(["{{", open, " ", &value(seed), " ", close, "}}"]),
            7 => out.extend(["\\{{", &value(seed), "}} "]),
            8 => out.extend(["{{{{", "a", "}}}} {{x}} ", seed.one_of(&TEXTS), "{{{{/a}}}}"]),
            9 => inverse(seed, depth, out),
            _ => block(seed, depth, out),
        }
    }
    out.push_str(seed.one_of(&TEXTS));
}

/// The inside of a tag that begins a block: its name, and all of it.
fn head(seed: &mut Seed) -> (String, String) {
    match seed.below(9) {
        0 => ("if".into(), format!("if {}", argument(seed, 1))),
        1 => ("unless".into(), format!("unless {}", argument(seed, 1))),
        2 => ("with".into(), format!("with {}", container(seed))),
        3 => ("with".into(), format!("with {} as |p|", container(seed))),
        4 => ("each".into(), format!("each {}", container(seed))),
        5 => ("each".into(), format!("each {} as |p q|", container(seed))),
        6 => ("eq".into(), format!("eq {} {}", argument(seed, 1), argument(seed, 1))),
        7 => ("if".into(), format!("if {} includeZero=true", argument(seed, 1))),
        _ => {
            let path = container(seed);
            (path.clone(), path)
        }
    }
}

/// What a block goes over.
fn container(seed: &mut Seed) -> String {
    let of = [
        "list",
        "people",
        "map",
        "b",
        "none",
        "b.list",
        "tags",
        "yes",
        "no",
        "zero",
        "../people",
        "this",
        "missing",
        "@root.list",
        "objects",
        "numbers",
        "a",
        "empty",
        "@root",
        "..",
    ];
    seed.one_of(&of).to_owned()
}

fn block(seed: &mut Seed, depth: usize, out: &mut String) {
    let (name, head_text) = head(seed);
    out.extend(["{{", tilde(seed), "#", &head_text, tilde(seed), "}}"]);
    program(seed, depth + 1, out);
    while seed.below(4) == 0 {
        let (_, chained) = head(seed);
        out.extend(["{{", tilde(seed), "else ", &chained, tilde(seed), "}}"]);
        program(seed, depth + 2, out);
    }
    if seed.below(2) == 0 {
        let tag = seed.one_of(&["else", "^", " else "]);
        out.extend(["{{", tilde(seed), tag, tilde(seed), "}}"]);
        program(seed, depth + 1, out);
    }
    out.extend(["{{", tilde(seed), "/", &name, tilde(seed), "}}"]);
}

fn inverse(seed: &mut Seed, depth: usize, out: &mut String) {
    let name = seed.one_of(&["no", "yes", "none", "list", "missing", "b", "empty", "zero", "h.nul"]);
    out.extend(["{{", tilde(seed), "^", name, tilde(seed), "}}"]);
    program(seed, depth + 1, out);
    if seed.below(2) == 0 {
        out.extend(["{{", tilde(seed), "else", tilde(seed), "}}"]);
        program(seed, depth + 1, out);
    }
    out.extend(["{{", tilde(seed), "/", name, tilde(seed), "}}"]);
}

fn value(seed: &mut Seed) -> String {
    if seed.below(5) == 0 { seed.one_of(&LOOP_PATHS).to_owned() } else { seed.one_of(&PATHS).to_owned() }
}

fn argument(seed: &mut Seed, depth: usize) -> String {
    match seed.below(6) {
        0 | 1 => seed.one_of(&LITERALS).to_owned(),
        2 if depth < 3 => format!("({})", call(seed, depth)),
        _ => value(seed),
    }
}

fn call(seed: &mut Seed, depth: usize) -> String {
    if seed.below(2) == 0 {
        return format!("{} {}", seed.one_of(&ONE), argument(seed, depth + 1));
    }
    format!("{} {} {}", seed.one_of(&TWO), argument(seed, depth + 1), argument(seed, depth + 1))
}
