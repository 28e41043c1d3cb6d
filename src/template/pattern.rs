//! The patterns of `match`: JavaScript's regular expressions, as far as they can be matched in linear time.
//!
//! Back references and look-around are refused when a template is compiled. What is written alike but means something
//! else (`\d`, `\w`, `\s`, `.`) is translated.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern: enough for any that a person writes, and what a text costs stays small.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Levels of groups in a pattern.
const NESTING_MAX: u32 = 32;

/// JavaScript's white space and line ends, as the inside of a class.
const SPACES: &str =
    r"\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";

/// Builds a pattern from `/source/flags` or the source alone.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let (source, flags) = split(text);
    let mut dot_all = false;
    let mut builder_flags = (false, false);
    for flag in flags.chars() {
        match flag {
            'i' => builder_flags.0 = true,
            'm' => builder_flags.1 = true,
            's' => dot_all = true,
            // Where the next match begins, and how characters are counted: nothing that a yes or no depends on.
            'g' | 'u' => {}
            other => return Err(format!("there is no flag `{other}`")),
        }
    }
    RegexBuilder::new(&translate(source, dot_all))
        .case_insensitive(builder_flags.0)
        .multi_line(builder_flags.1)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| reason(&error))
}

/// The last line of the message; those before show the translated pattern, which nobody wrote.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Source and flags of `/source/flags`; of anything else, all of it and none.
fn split(text: &str) -> (&str, &str) {
    if let Some((source, flags)) = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'))
        && flags.bytes().all(|byte| byte.is_ascii_lowercase())
    {
        return (source, flags);
    }
    (text, "")
}

/// Writes the pattern as the `regex` crate reads it.
fn translate(source: &str, dot_all: bool) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut in_class = false;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.extend(["[", SPACES, "]"]),
                Some('S') => out.extend(["[^", SPACES, "]"]),
                Some('b') if in_class => out.push_str(r"\x08"),
                Some('b') => out.push_str(r"(?-u:\b)"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
            }
            // Inside of a class these mean nothing to JavaScript, but subclasses and set operations to the crate.
            '[' | '&' | '~' if in_class => out.extend(['\\', character]),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '.' if !in_class && dot_all => out.push_str(r"[\s\S]"),
            '.' if !in_class => out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_javascript() {
        for (pattern, text, expected) in [
            ("^a.c$", "abc", true),
            ("^a.c$", "a\nc", false),
            ("/^a.c$/s", "a\nc", true),
            ("/^ABC$/i", "abc", true),
            ("/ABC/", "abc", false),
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"^\s$", "\u{feff}", true),
            (r"^[\d.]+$", "1.2", true),
            (r"^[^\d]+$", "1", false),
            (r"a\/b", "a/b", true),
            ("/a/b/", "a/b", true),
            ("/a", "/a", true),
            ("[[a]", "[", true),
            ("[a&&b]", "&", true),
            (r"\bcat\b", "a cat.", true),
            (r"\bcat\b", "concat", false),
            ("/^b$/m", "a\nb", true),
            ("", "anything", true),
            (r"^(?<year>\d{4})-\d\d$", "2026-02", true),
            (r"\u00e9", "é", true),
        ] {
            let built = compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(built.is_match(text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_needs_backtracking_or_much_room_is_refused() {
        for pattern in [
            r"(a)\1",
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            "a{1000000}",
            "((a{1000}){1000}){1000}",
            "(",
            "[a",
            "/a/z",
            "*",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_err());
    }
}
