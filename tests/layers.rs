//! The rules of the sources, read off them: which module may import which, which files may name the kernel, read a clock
//! or be unsafe, and how comments are written. A failure says where and which rule; the rules are explained at the top
//! of `src/lib.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules at the top of the crate by layer: each may import those of lower layers, and no other of its own.
const LAYERS: &[&[&str]] = &[
    &["base", "guide"],
    &["http", "io", "proxy", "websocket"],
    &["model", "settings", "template", "expression", "metrics"],
    &["verify", "trigger", "reply", "limit", "store", "journal", "record"],
    &["registry"],
    &["deliver"],
    &["ingress"],
    &["connection"],
    &["engine"],
    &["admin", "cluster", "control"],
    &["cli"],
    &["main"],
];

/// The one file that reads a clock; to all others time is an argument.
const CLOCK_FILE: &str = "base/clock.rs";

/// Modules off the cores' threads, which may use tokio's timers (and `tokio::time::Instant`, written out).
const TOKIO_MODULES: &[&str] = &["admin", "cluster", "control", "cli"];

/// Crates that reach the kernel's rings, and the one module that names each.
const RING_CRATES: &[(&str, &str)] = &[("io_uring", "io")];

/// Files that may hold `unsafe`, each for a measured reason. Every block says why it is sound (`SAFETY:`).
const UNSAFE_FILES: &[&str] = &["engine/heap.rs", "io/buffers.rs", "io/queues.rs"];

/// Lines of the log that nobody outside can cause again and again: how many each file has. All others are written by
/// `bounded_log!`, which writes one a minute and counts the rest.
const UNBOUNDED_LOGS: &[(&str, usize)] = &[
    // What was left out, itself bounded.
    ("base/log.rs", 1),
    // Changes, each by a caller with an access token.
    ("admin/router.rs", 1),
    // One a minute for each webhook, and a bound on them all.
    ("connection/refusals.rs", 1),
    // A line for each call, where an operator asks for that.
    ("control/calls/log.rs", 1),
    // The start, the end, signals.
    ("cli/demo.rs", 2),
    ("cli/serve.rs", 9),
    ("cli/start.rs", 1),
    // Bounded for each place that panics.
    ("cli/logs.rs", 1),
    // The end of a core, once for each.
    ("engine/drain.rs", 2),
    ("engine/mod.rs", 1),
    // The start: damage is told a thousand times at most.
    ("engine/recover.rs", 4),
    // Its start and its end.
    ("engine/supervise.rs", 2),
    // The start.
    ("io/kernel.rs", 2),
    ("io/queues.rs", 1),
    // A webhook's secret or key and a flow's node, when an operator changes them.
    ("registry/compile.rs", 3),
    // The upgrade of a database, once.
    ("store/database.rs", 1),
];

/// The files that write to standard output and standard error, with what callers send escaped.
const OUTPUT_FILES: &[&str] = &["cli/logs.rs", "cli/output.rs"];

/// A file that is longer is two.
const FILE_LINES_MAX: usize = 600;

/// Words that no doc comment begins with: a noun phrase or a verb in the third person says the same.
const INTERROGATIVES: [&str; 3] = ["What", "Who", "Whose"];

/// Ends of the names of documents, besides the RFCs, whose sections comments cite.
const CITED: [&str; 7] =
    ["X.690", "HTML", "UAX #9", "SEC 1", "ECMA-262", "Event Delivery", "HAProxy's specification"];

/// Names of types that a module gives the meaning that they have in its field, as crates do (`http::Version`, `rustls::Connection`,
/// a parser's `Token` and `Value`, a protocol's `Frame` and `Header`): its path tells which one is meant.
const CONVENTIONAL_NAMES: &[&str] = &[
    "ConnectError",
    "Connection",
    "Entry",
    "Event",
    "FetchError",
    "Fields",
    "Format",
    "Frame",
    "Handler",
    "Head",
    "Header",
    "Item",
    "Kind",
    "Lexer",
    "Limits",
    "Listener",
    "Message",
    "Node",
    "Operation",
    "Options",
    "Page",
    "Parameters",
    "Parser",
    "Payload",
    "Peer",
    "Progress",
    "Queue",
    "ReadError",
    "Record",
    "Shared",
    "Span",
    "State",
    "Step",
    "Timer",
    "Token",
    "Value",
    "Version",
    "Worker",
];

/// Words that must not be left in a source.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "the sources are not where they were");
    let mut broken = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("found below it").to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).expect("a source is text that can be read");
        broken.extend(check(&path, &text));
    }
    assert!(broken.is_empty(), "{} rules broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn files_of_a_module_import_each_other_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut circles = Vec::new();
    // Between the modules at the top the layers leave no room for one.
    for module in LAYERS.iter().copied().flatten().filter(|module| root.join(module).is_dir()) {
        let mut files = Vec::new();
        collect(&root.join(module), &mut files);
        let sources = files.iter().map(|file| {
            let path = file.strip_prefix(&root).expect("found below it").to_string_lossy().into_owned();
            (path, fs::read_to_string(file).expect("a source is text that can be read"))
        });
        circles.extend(circle(&sources.collect::<Vec<_>>()).map(|files| files.join(" -> ")));
    }
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_name_of_a_type_stands_for_one_thing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("found below it").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("a source is text that can be read");
        for name in Source::read(&path, &text).types() {
            places.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    let is_shared = |name: &str| places.get(name).is_some_and(|places| places.len() > 1);
    let new = places.keys().filter(|name| is_shared(name) && !CONVENTIONAL_NAMES.contains(&name.as_str()));
    let new: Vec<String> = new.map(|name| format!("{name}: {}", places[name].join(", "))).collect();
    assert!(new.is_empty(), "these names stand for two things: give each its own\n{}", new.join("\n"));
    let unlisted: Vec<&&str> = CONVENTIONAL_NAMES.iter().filter(|name| !is_shared(name)).collect();
    assert!(
        unlisted.is_empty(),
        "take these out of CONVENTIONAL_NAMES, they stand for one thing: {unlisted:?}"
    );
}

/// A circle of imports between files, given with their paths; the code that only tests compile aside.
fn circle(files: &[(String, String)]) -> Option<Vec<String>> {
    let modules: Vec<Vec<&str>> = files.iter().map(|(path, _)| module_path(path)).collect();
    let imports: Vec<Vec<usize>> =
        files.iter().map(|(path, text)| Source::read(path, text).imports(&modules)).collect();
    (0..files.len()).find_map(|start| {
        let mut way = vec![start];
        walk(start, &imports, &mut vec![false; files.len()], &mut way)
            .then(|| way.iter().map(|&file| files[file].0.clone()).collect())
    })
}

/// Whether `way` leads back to its start.
fn walk(start: usize, imports: &[Vec<usize>], seen: &mut [bool], way: &mut Vec<usize>) -> bool {
    for &next in &imports[*way.last().expect("a way begins somewhere")] {
        if next == start {
            return true;
        }
        if !std::mem::replace(&mut seen[next], true) {
            way.push(next);
            if walk(start, imports, seen, way) {
                return true;
            }
            way.pop();
        }
    }
    false
}

/// The modules down to a file.
fn module_path(path: &str) -> Vec<&str> {
    path.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").collect()
}

/// All sources below a folder, in order.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder that can be read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// The rules that one source breaks, as `src/path:line: rule`.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut broken: Vec<(usize, String)> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if !text.starts_with("//!") {
        broken.push((1, "a file opens with `//!`, what it is for".to_owned()));
    }
    if lines.len() > FILE_LINES_MAX {
        broken.push((
            lines.len(),
            format!("a file has at most {FILE_LINES_MAX} lines, this one {}", lines.len()),
        ));
    }
    check_comments(&lines, &mut broken);
    let source = Source::read(path, text);
    for at in 0..source.tokens.len() {
        source.check_imports(at, &mut broken);
        source.check_words(at, &lines, &mut broken);
        source.check_output(at, &mut broken);
    }
    source.check_logs(&mut broken);
    broken.into_iter().map(|(line, rule)| format!("src/{path}:{line}: {rule}")).collect()
}

/// The rules of comments: how one begins, and that the sections that it cites are of a document that it names.
fn check_comments(lines: &[&str], broken: &mut Vec<(usize, String)>) {
    // The comment that ends on the line before, as one text.
    let mut before = String::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        let Some(marked) = line.strip_prefix("//") else {
            before.clear();
            continue;
        };
        let text = marked.trim_start_matches(['/', '!']).trim();
        let is_doc = marked.starts_with(['/', '!']);
        let first = text.split(|sign: char| !sign.is_alphanumeric()).next().unwrap_or_default();
        if is_doc && INTERROGATIVES.contains(&first) {
            broken
                .push((at + 1, format!("a doc comment begins with `{first}`: begin with a noun or a verb")));
        }
        let lower = text.to_ascii_lowercase();
        let cited = ["section ", "sections "].into_iter().flat_map(|word| lower.match_indices(word));
        for (place, word) in cited {
            let number = text.get(place + word.len()..).and_then(|rest| rest.chars().next());
            let named = format!("{before} {}", text.get(..place).unwrap_or_default());
            if number.is_some_and(|sign| sign.is_ascii_digit()) && !names_a_document(&named) {
                let rule = "a section of a document that is not named: cite a page of the guide, or an RFC";
                broken.push((at + 1, rule.to_owned()));
            }
        }
        before = if text.is_empty() { String::new() } else { format!("{before} {text}") };
    }
}

/// Whether a text ends with the name of a document that others can open.
fn names_a_document(text: &str) -> bool {
    let text = text.trim_end_matches([' ', ',', '(']);
    let (rest, number) = text.rsplit_once(' ').unwrap_or_default();
    let is_rfc = rest.ends_with("RFC") && number.bytes().all(|byte| byte.is_ascii_digit());
    is_rfc || CITED.iter().any(|name| text.ends_with(name))
}

/// One file as the rules see it.
struct Source<'t> {
    path: &'t str,
    /// The module at the top of the crate that it belongs to; `lib` for the crate's own root.
    module: &'t str,
    /// Modules between the crate's root and this file, itself included.
    depth: usize,
    tokens: Vec<Token<'t>>,
}

/// A word or a sign of the code, without comments and literals.
struct Token<'t> {
    text: &'t str,
    line: usize,
    /// It is compiled for tests only.
    in_test: bool,
    /// Modules of this file that it stands within.
    inner_modules: usize,
}

impl<'t> Source<'t> {
    fn read(path: &'t str, text: &'t str) -> Source<'t> {
        let names: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        let is_test_file = names.iter().skip(1).any(|name| *name == "tests");
        let depth = names.len() - usize::from(["mod", "lib", "main"].contains(names.last().unwrap_or(&"")));
        let mut tokens = lex(text);
        mark_modules(&mut tokens, is_test_file);
        Source { path, module: names[0], depth, tokens }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn is(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(offset, text)| self.text(at + offset) == *text)
    }

    /// A path that begins at the crate's root (`crate::x`, `crate::{x, y}`, the program's `tidegate::x`, or too many `super`).
    fn check_imports(&self, at: usize, broken: &mut Vec<(usize, String)>) {
        let mut after = match self.text(at) {
            "crate" => at + 1,
            "tidegate" if self.module == "main" && !self.is(at.wrapping_sub(1), &[":"]) => at + 1,
            "super" if at < 3 || !self.is(at - 3, &["super", ":", ":"]) => match self.after_supers(at) {
                Some(after) => after,
                None => return,
            },
            _ => return,
        };
        if !self.is(after, &[":", ":"]) {
            return;
        }
        after += 2;
        if self.text(after) != "{" {
            self.check_import(after, broken);
            return;
        }
        let mut nesting = 0;
        for inside in after..self.tokens.len() {
            match self.text(inside) {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                _ if nesting == 1 && ["{", ","].contains(&self.text(inside - 1)) => {
                    self.check_import(inside, broken)
                }
                _ => {}
            }
            if nesting == 0 {
                return;
            }
        }
    }

    /// Behind a row of `super::` that reaches the crate's root; `None` where it stays below.
    fn after_supers(&self, at: usize) -> Option<usize> {
        let supers = (0..).take_while(|step| self.text(at + step * 3) == "super").count();
        (supers >= self.depth + self.tokens[at].inner_modules).then(|| at + supers * 3 - 2)
    }

    /// The name of a module at the crate's root stands here: may this file know it?
    fn check_import(&self, at: usize, broken: &mut Vec<(usize, String)>) {
        let token = &self.tokens[at];
        if token.text == self.module || self.module == "lib" {
            return;
        }
        let mut say = |rule: String| broken.push((token.line, rule));
        let Some(own) = layer(self.module) else {
            return say(format!("module `{}` has no layer in tests/layers.rs", self.module));
        };
        match layer(token.text) {
            None => say(format!("`{}` at the crate's root has no layer in tests/layers.rs", token.text)),
            Some(layer) if layer < own || layer == own && token.in_test => {}
            Some(layer) if layer == own => {
                say(format!(
                    "`{}` and `{}` are siblings on layer {own} and do not import each other",
                    self.module, token.text
                ));
            }
            Some(layer) => {
                say(format!("`{}` on layer {own} imports `{}` from layer {layer}", self.module, token.text));
            }
        }
    }

    /// The files, of those with these modules, that this one imports.
    fn imports(&self, modules: &[Vec<&str>]) -> Vec<usize> {
        let own = module_path(self.path);
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let (mut module, mut next) = match self.text(at) {
                _ if self.tokens[at].in_test || !self.is(at + 1, &[":", ":"]) => continue,
                "crate" => (Vec::new(), at + 1),
                "self" => (own.clone(), at + 1),
                "super" if at < 3 || self.text(at - 3) != "super" => {
                    let supers = (0..).take_while(|step| self.text(at + step * 3) == "super").count();
                    (own[..own.len().saturating_sub(supers)].to_vec(), at + supers * 3 - 2)
                }
                _ => continue,
            };
            while self.is(next, &[":", ":"]) && self.text(next + 2) != "{" {
                module.push(self.text(next + 2));
                next += 3;
            }
            let mut named = vec![module.clone()];
            if self.is(next, &[":", ":", "{"]) {
                let ends = |text: &str| text == ";";
                let inside = (next + 3..self.tokens.len()).take_while(|&at| !ends(self.text(at)));
                let firsts = inside.filter(|&at| ["{", ","].contains(&self.text(at - 1)));
                named = firsts.map(|at| [module.as_slice(), &[self.text(at)]].concat()).collect();
            }
            for name in named {
                // The file of the longest module on the way to the name.
                let known = (1..=name.len()).rev().find_map(|length| {
                    modules.iter().position(|module| module.as_slice() == &name[..length])
                });
                found.extend(known.filter(|&file| modules[file] != own));
            }
        }
        found
    }

    /// Names of the types that this file defines, those for tests aside.
    fn types(&self) -> Vec<&'t str> {
        let defines = |&at: &usize| {
            let begins = at == 0 || ["}", ";", "]", ")", "{", "pub", "unsafe"].contains(&self.text(at - 1));
            begins
                && ["struct", "enum", "trait", "union"].contains(&self.text(at))
                && !self.tokens[at].in_test
        };
        let names = (0..self.tokens.len())
            .filter(defines)
            .map(|at| self.tokens.get(at + 1).map_or("", |next| next.text));
        names.filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase())).collect()
    }

    fn check_words(&self, at: usize, lines: &[&str], broken: &mut Vec<(usize, String)>) {
        let line = self.tokens[at].line;
        let mut say = |rule: String| broken.push((line, rule));
        let word = self.text(at);
        if let Some((_, module)) = RING_CRATES.iter().find(|(ring, _)| *ring == word)
            && self.module != *module
        {
            say(format!("only `{module}` names `{word}`"));
        }
        if self.path != CLOCK_FILE && self.reads_clock(at) {
            say(format!("only {CLOCK_FILE} reads a clock: take `Now` as an argument"));
        }
        if UNFINISHED.contains(&word) && self.text(at + 1) == "!" {
            say(format!("`{word}!` is left"));
        }
        if word == "unsafe" && !UNSAFE_FILES.contains(&self.path) {
            say("`unsafe` outside the files that tests/layers.rs lists".to_owned());
        } else if word == "unsafe" && !explained(lines, line) {
            say("`unsafe` without a `SAFETY:` comment above it".to_owned());
        }
    }

    fn check_output(&self, at: usize, broken: &mut Vec<(usize, String)>) {
        let prints =
            ["print", "println", "eprint", "eprintln"].contains(&self.text(at)) && self.text(at + 1) == "!";
        let opens =
            ["stdout", "stderr"].contains(&self.text(at)) && self.is(at.wrapping_sub(3), &["io", ":", ":"]);
        if (prints || opens) && !self.tokens[at].in_test && !OUTPUT_FILES.contains(&self.path) {
            let rule = format!("only {OUTPUT_FILES:?} write to standard output and standard error");
            broken.push((self.tokens[at].line, rule));
        }
    }

    fn check_logs(&self, broken: &mut Vec<(usize, String)>) {
        let logs = |at: &usize| {
            self.is(*at, &["tracing", ":", ":"])
                && ["warn", "info", "error", "event", "{", "*"].contains(&self.text(at + 3))
                && !self.tokens[*at].in_test
        };
        let found: Vec<usize> = (0..self.tokens.len()).filter(logs).collect();
        let allowed =
            UNBOUNDED_LOGS.iter().find(|(file, _)| *file == self.path).map_or(0, |(_, lines)| *lines);
        if found.len() != allowed {
            let line = found.last().map_or(1, |at| self.tokens[*at].line);
            let rule = format!(
                "{} lines of the log without a bound, {allowed} in tests/layers.rs: use `bounded_log!`",
                found.len()
            );
            broken.push((line, rule));
        }
    }

    fn reads_clock(&self, at: usize) -> bool {
        if ["clock_gettime", "gettimeofday", "timespec_get"].contains(&self.text(at)) {
            return true;
        }
        let reads = ["Instant", "SystemTime", "Utc", "Local", "OffsetDateTime"].contains(&self.text(at))
            && self.is(at + 1, &[":", ":"])
            && self.text(at + 3).starts_with("now");
        let of_tokio = at >= 6 && self.is(at - 6, &["tokio", ":", ":", "time", ":", ":"]);
        reads && !(of_tokio && TOKIO_MODULES.contains(&self.module))
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Whether a `SAFETY:` (of a function, a section `# Safety`) stands on the line or in the comments and attributes right
/// above it.
fn explained(lines: &[&str], line: usize) -> bool {
    let comment = |text: &&&str| text.trim_start().starts_with("//") || text.trim_start().starts_with("#[");
    let above = lines[..line - 1].iter().rev().take_while(comment);
    lines[line - 1..line]
        .iter()
        .chain(above)
        .any(|text| text.contains("SAFETY:") || text.ends_with("# Safety"))
}

/// Notes for each token how many modules of the file it is in, and whether tests alone compile it.
fn mark_modules(tokens: &mut [Token<'_>], is_test_file: bool) {
    const TEST_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    // For each open brace: whether it opens a module, and whether it opens something for tests.
    let mut braces: Vec<(bool, bool)> = Vec::new();
    // An item for tests has begun, and its braces have not.
    let mut pending_test = false;
    for at in 0..tokens.len() {
        if TEST_ONLY
            .iter()
            .enumerate()
            .all(|(i, text)| tokens.get(at + i).is_some_and(|token| token.text == *text))
        {
            pending_test = true;
        }
        tokens[at].inner_modules = braces.iter().filter(|brace| brace.0).count();
        tokens[at].in_test = is_test_file || pending_test || braces.iter().any(|brace| brace.1);
        match tokens[at].text {
            "{" => {
                let is_module = at >= 2 && tokens[at - 2].text == "mod";
                braces.push((is_module, std::mem::take(&mut pending_test)));
            }
            "}" => {
                let closed = braces.pop();
                // The braces of `use x::{y};` do not end the item; its `;` follows.
                pending_test =
                    closed.is_some_and(|brace| brace.1) && tokens.get(at + 1).is_some_and(|t| t.text == ";");
            }
            ";" => pending_test = false,
            _ => {}
        }
    }
}

/// Words and signs of Rust, without comments, strings, characters and lifetimes.
fn lex(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80;
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + block_comment(rest)
        } else if let Some(length) = literal(rest) {
            at + length
        } else {
            let words = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
            let end = at + words.max(1);
            if !bytes[at].is_ascii_whitespace() {
                tokens.push(Token { text: &text[at..end], line, in_test: false, inner_modules: 0 });
            }
            end
        };
        line += bytes[at..end].iter().filter(|byte| **byte == b'\n').count();
        at = end;
    }
    tokens
}

/// Length of the block comment that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut nesting, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..text.len().min(at + 2)] {
            b"/*" => (nesting, at) = (nesting + 1, at + 2),
            b"*/" => (nesting, at) = (nesting - 1, at + 2),
            _ => at += 1,
        }
        if nesting == 0 {
            break;
        }
    }
    at
}

/// Length of the string, character or lifetime that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        let inside = raw[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&close).map_or(inside.len(), |end| end + close.len());
        return Some(prefix + 2 + hashes + length);
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body, '"'));
    }
    let inside = body.strip_prefix('\'')?;
    let second = inside.chars().nth(1);
    if inside.starts_with('\\') || second == Some('\'') {
        return Some(prefix + quoted(body, '\''));
    }
    // A lifetime or a label.
    Some(1 + inside.bytes().take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric()).count())
}

/// Length of a literal with escapes, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The broken rules of a file with these lines, without its path, header line added.
#[cfg(test)]
fn said(path: &str, code: &str) -> Vec<String> {
    check(path, &format!("//! For a test.\n{code}\n"))
        .into_iter()
        .map(|text| text.strip_prefix(&format!("src/{path}:")).expect("begins with its place").to_owned())
        .collect()
}

#[test]
fn imports_from_above_and_from_siblings_are_found_however_they_are_written() {
    for code in [
        "use crate::ingress::Decision;",
        "use crate::{base::clock::{Clock, Now}, ingress::{self}};",
        "use crate::{\nbase, ingress};",
        "fn f() { let x = crate::ingress::f(); }",
        "use super::super::ingress;",
        "mod inner { use super::super::super::ingress; }",
        "#[cfg(test)] mod tests { use crate::ingress; }",
    ] {
        assert_eq!(said("http/head.rs", code).len(), 1, "{code}");
    }
    assert_eq!(
        said("http/mod.rs", "use super::ingress;"),
        ["2: `http` on layer 1 imports `ingress` from layer 6"]
    );
    assert_eq!(
        said("reply.rs", "\nuse crate::trigger::Payload;"),
        ["3: `reply` and `trigger` are siblings on layer 3 and do not import each other"]
    );
    assert_eq!(said("http/head.rs", "use crate::unheard_of;").len(), 1);
    assert_eq!(said("unheard_of/mod.rs", "use crate::base;").len(), 1);
    assert_eq!(said("main.rs", "fn main() { tidegate::cli::main() }"), Vec::<String>::new());
}

#[test]
fn what_may_be_known_is_not_complained_of() {
    for code in [
        "use crate::base::clock::Now; use crate::http::encode; use super::body; pub(crate) fn f() {}",
        "mod tests { use super::super::body; }",
        "// use crate::ingress;\n/* crate::ingress /* nested */ crate::engine */",
        "const A: &str = \"crate::ingress\"; const B: &str = r#\"\"crate::ingress\"#; const C: &[u8] = b\"\\\"crate::ingress\";",
        "fn f<'a>(x: &'a u8) -> char { '\"' } const Q: char = '\\''; // crate::ingress",
        "#[cfg(test)]\nmod tests { use crate::websocket::Connection; }",
        "#[cfg(test)]\nuse crate::websocket::{Connection};",
    ] {
        assert_eq!(said("http/head.rs", code), Vec::<String>::new(), "{code}");
    }
    let after = "#[cfg(test)] use crate::websocket::{A};\nuse crate::websocket::B;";
    assert_eq!(said("http/head.rs", after).len(), 1, "what follows an item for tests is none");
}

#[test]
fn circles_are_found_and_what_is_none_is_not() {
    let files = |texts: &[(&str, &str)]| -> Vec<(String, String)> {
        texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    let found = |texts: &[(&str, &str)]| circle(&files(texts)).is_some();
    let one = ("e/one.rs", "use super::two::Two;");
    assert!(found(&[one, ("e/two.rs", "use crate::e::one;")]));
    assert!(found(&[one, ("e/two.rs", "use super::three;"), ("e/three.rs", "use super::{four, one::One};")]));
    assert!(found(&[("e/mod.rs", "use self::one::One;"), ("e/one.rs", "use super::Engine;")]));
    assert!(!found(&[one, ("e/two.rs", "use super::three::X;"), ("e/three.rs", "use crate::base::one;")]));
    assert!(!found(&[one, ("e/two.rs", "#[cfg(test)] mod tests { use super::super::one; }")]));
    assert!(!found(&[
        ("e/mod.rs", "use self::a::B;"),
        ("e/a/mod.rs", "mod c;"),
        ("e/a/c.rs", "use super::super::d;"),
        ("e/d.rs", "")
    ]));
}

#[test]
fn clocks_rings_unsafe_code_logs_and_output_are_found_outside_their_places() {
    for (path, code, count) in [
        ("http/head.rs", "let t = std::time::Instant::now();", 1),
        ("http/head.rs", "let t = SystemTime::now();", 1),
        ("engine/core.rs", "libc::clock_gettime(0);", 1),
        ("base/clock.rs", "let t = Instant::now();", 0),
        ("control/fetch.rs", "let t = tokio::time::Instant::now();", 0),
        ("control/fetch.rs", "let t = Instant::now();", 1),
        ("engine/core.rs", "let t = tokio::time::Instant::now();", 1),
        ("io/queues.rs", "use io_uring::IoUring; tracing::error!(\"c\");", 0),
        ("engine/core.rs", "use io_uring::IoUring;", 1),
        ("engine/core.rs", "unsafe { f() }", 1),
        ("http/head.rs", "fn f() { todo!() }", 1),
        ("http/head.rs", "fn todo() { dbg!(1); unimplemented!() }", 2),
        ("admin/door.rs", "tracing::warn!(a, \"b\"); use tracing::{info};", 1),
        ("admin/door.rs", "bounded_log!(warn, \"b\"); tracing::debug!(\"c\")", 0),
        ("cli/start.rs", "tracing::warn!(\"b\");", 0),
        ("cli/start.rs", "tracing::warn!(\"b\"); tracing::error!(\"c\");", 1),
        ("cli/tail.rs", "println!(\"b\"); io::stdout().lock();", 2),
        (
            "cli/tail.rs",
            "command.stdout(Stdio::piped()); #[cfg(test)] mod tests { fn f() { println!() } }",
            0,
        ),
        ("cli/output.rs", "std::io::stdout();", 0),
    ] {
        assert_eq!(said(path, code).len(), count, "{path}: {code}");
    }
}

#[test]
fn long_files_and_files_that_do_not_say_what_they_are_for_are_found() {
    assert_eq!(check("http/head.rs", "use crate::base;\n").len(), 1);
    assert_eq!(said("http/head.rs", &"\n".repeat(FILE_LINES_MAX - 2)).len(), 0);
    assert_eq!(said("http/head.rs", &"\n".repeat(FILE_LINES_MAX)).len(), 1);
}

#[test]
fn doc_comments_that_begin_with_what_or_who_are_found() {
    for (code, count) in [
        ("/// What it is.", 1),
        ("    /// Whose it is", 1),
        ("//! Who asks?", 1),
        ("/// What's left.", 1),
        ("/// Whatever it is.", 0),
        ("/// The caller, and\n/// what it asks for.", 0),
        ("// What follows is not documentation.", 0),
        ("f(); /// What", 0),
    ] {
        assert_eq!(said("http/head.rs", code).len(), count, "{code}");
    }
}

#[test]
fn sections_of_documents_that_are_not_named_are_found() {
    for (code, count) in [
        ("/// Bytes of a head (section 4).", 1),
        ("// Section 4.1: a target.", 1),
        ("//! A node (sections 3, 7 and 9).", 1),
        ("/// A field (RFC 9112, sections 3 and 5).", 0),
        ("/// Bytes, see RFC 9112,\n/// section 5, and section 6.", 1),
        ("/// A field (RFC 9110, section 5.5), or (RFC 6455 section 5.2).", 0),
        ("/// A date (RFC 5280,\n/// section 4.1).", 0),
        ("/// RFC 9110 has it.\n\n/// Bytes (section 4).", 1),
        ("/// As ECMA-262 (section 19.2.6) has it. The section `limits`.", 0),
    ] {
        assert_eq!(said("http/head.rs", code).len(), count, "{code}");
    }
}

#[test]
fn an_unsafe_block_is_explained_right_above_it() {
    let explained_at = |text: &str, line| explained(&text.lines().collect::<Vec<_>>(), line);
    assert!(explained_at("// SAFETY: it is.\n// Really.\n#[inline]\nunsafe {}", 4));
    assert!(explained_at("/// # Safety\n/// It is.\nunsafe fn f() {}", 3));
    assert!(explained_at("unsafe {} // SAFETY: it is.", 1));
    assert!(!explained_at("// SAFETY: of another.\nlet x = 1;\nunsafe {}", 3));
}

#[test]
fn types_are_found_and_what_is_none_is_not() {
    let types = |code: &'static str| Source::read("http/head.rs", code).types();
    assert_eq!(
        types("pub struct A<T>(T); #[derive(B)] enum C { D } pub(crate) trait E {} union F {}"),
        ["A", "C", "E", "F"]
    );
    assert!(types("#[cfg(test)] mod tests { struct G; } let structure = H::new(); // struct I").is_empty());
}
