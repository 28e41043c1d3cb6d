//! Text from outside, fit to be read by a person, on a terminal or in a log: what cannot be seen, would steer a
//! terminal, end a line or change the order in which the rest is shown is written as an escape.
//!
//! The command line, the log and (as `console/dom.js`) the console show text in this way and in no other.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is written as an escape: control characters (C0, DEL, C1), characters of direction (Unicode's
/// UAX #9, section 2), separators of lines and paragraphs, the byte order mark.
#[must_use]
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text as one line: `\n`, `\u{202e}`.
#[must_use]
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, |out, c| out.extend(c.escape_default()))
}

/// The same with its line ends kept.
#[must_use]
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n', |out, c| out.extend(c.escape_default()))
}

/// JSON that stays the same JSON: `\u202e` within strings. The white space between its tokens is kept.
#[must_use]
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    let kept = |c| matches!(c, '\n' | '\r' | '\t');
    // All characters in question are in the basic plane, so one escape of four digits is enough.
    escaped(json, kept, |out, c| {
        // Writing to a string does not fail.
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    })
}

fn escaped(text: &str, is_kept: fn(char) -> bool, escape: fn(&mut String, char)) -> Cow<'_, str> {
    let is_escaped = |c: char| is_invisible(c) && !is_kept(c);
    let Some(first) = text.find(is_escaped) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_escaped(c) { escape(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_reader_is_escaped_and_every_other_character_stays() {
        for (text, line, json) in [
            ("plain שלום ü 😀", "plain שלום ü 😀", "plain שלום ü 😀"),
            ("\u{1b}[31m", "\\u{1b}[31m", "\\u001b[31m"),
            ("a\u{7f}\u{80}\u{9b}b", "a\\u{7f}\\u{80}\\u{9b}b", "a\\u007f\\u0080\\u009bb"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}",
                "\\u{202a}\\u{202e}\\u{2066}\\u{2069}",
                "\\u202a\\u202e\\u2066\\u2069",
            ),
            ("\u{200e}\u{200f}\u{61c}", "\\u{200e}\\u{200f}\\u{61c}", "\\u200e\\u200f\\u061c"),
            ("\u{2028}\u{2029}\u{feff}", "\\u{2028}\\u{2029}\\u{feff}", "\\u2028\\u2029\\ufeff"),
            ("a\nb\tc", "a\\nb\\tc", "a\nb\tc"),
        ] {
            assert_eq!(visible(text), line);
            assert_eq!(visible_json(text), json);
        }
        assert_eq!(visible_lines("a\n\tb\r\n"), "a\n\\tb\\r\n");
    }

    proptest::proptest! {
        #[test]
        fn json_stays_the_same_json(text: String) {
            let json = serde_json::to_string(&text).expect("text");
            let shown = visible_json(&json);
            proptest::prop_assert!(!shown.contains(is_invisible));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("still JSON"), text);
        }
    }
}
