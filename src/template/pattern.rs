//! The patterns of `match`: JavaScript's regular expressions, as far as they can be matched in linear time.
//!
//! Back references and look-around are refused when a template is compiled. What is written alike but means something
//! else (`\d`, `\w`, `\s`, `.`) is translated. A pattern whose deterministic automaton is small costs a step for each
//! byte of a text; any other costs a step for each byte and each state, and pays for that.

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::syntax;

use super::error::RenderError;
use super::work::{STEP, Work};
use crate::base::steps;

/// Bytes of a pattern's states: enough for any that a person writes.
const NFA_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a deterministic automaton, and of what building it takes.
const DFA_BYTES_MAX: usize = 128 * 1024;
/// Levels of groups in a pattern.
const NESTING_MAX: u32 = 32;
/// Units that a deterministic automaton costs for each byte.
const DFA_BYTE: usize = 4;
/// Units that any other costs for each byte and each of its states.
const NFA_BYTE: usize = 12;

/// JavaScript's white space and line ends, as the inside of a class.
const SPACES: &str =
    r"\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";

/// A pattern, built.
#[derive(Debug)]
pub(super) enum Pattern {
    /// With a small deterministic automaton.
    Dfa(Box<dense::DFA<Vec<u32>>>),
    /// Without one.
    Nfa(PikeVM),
}

impl Pattern {
    /// Builds a pattern from `/source/flags` or the source alone.
    ///
    /// # Errors
    /// Why it is not a pattern that can be matched here, in words.
    pub(super) fn compile(text: &str) -> Result<Pattern, String> {
        let (source, flags) = split(text);
        let mut dot_all = false;
        let mut config = syntax::Config::new().nest_limit(NESTING_MAX);
        for flag in flags.chars() {
            match flag {
                'i' => config = config.case_insensitive(true),
                'm' => config = config.multi_line(true),
                's' => dot_all = true,
                // Where the next match begins, and how characters are counted: a yes or no does not depend on them.
                'g' | 'u' => {}
                other => return Err(format!("there is no flag `{other}`")),
            }
        }
        let hir = syntax::parse_with(&translate(source, dot_all), &config).map_err(|error| reason(&error))?;
        let nfa = NFA::compiler()
            .configure(NFA::config().nfa_size_limit(Some(NFA_BYTES_MAX)).which_captures(WhichCaptures::None))
            .build_from_hir(&hir)
            .map_err(|error| reason(&error))?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(DFA_BYTES_MAX))
                    .determinize_size_limit(Some(DFA_BYTES_MAX)),
            )
            .build_from_nfa(&nfa);
        match dfa {
            Ok(dfa) => Ok(Pattern::Dfa(Box::new(dfa))),
            Err(_) => PikeVM::new_from_nfa(nfa).map(Pattern::Nfa).map_err(|error| reason(&error)),
        }
    }

    /// Whether it matches some part of a text.
    ///
    /// # Errors
    /// If matching may take more than what is left.
    pub(super) fn is_match(&self, text: &str, work: &mut Work) -> Result<bool, RenderError> {
        let input = Input::new(text).earliest(true);
        match self {
            Pattern::Dfa(dfa) => {
                work.spend(2 * STEP + DFA_BYTE * text.len())?;
                steps::count(text.len());
                // It fails only at bytes that make an automaton quit, of which this one has none.
                Ok(dfa.try_search_fwd(&input).is_ok_and(|found| found.is_some()))
            }
            Pattern::Nfa(machine) => {
                let states = machine.get_nfa().states().len();
                work.spend((NFA_BYTE * states).saturating_mul(text.len() + 1))?;
                steps::count(states.saturating_mul(text.len()));
                Ok(machine.is_match(&mut machine.create_cache(), input))
            }
        }
    }
}

/// The last line of the message; those before show the translated pattern, which nobody wrote.
fn reason(error: &dyn std::error::Error) -> String {
    let text = std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string);
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
            '.' if !in_class && dot_all => out.push_str(r"(?s:.)"),
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
            let built = Pattern::compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(built.is_match(text, &mut Work::default()), Ok(expected), "{pattern} on {text:?}");
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
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::compile(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_err());
    }

    #[test]
    fn a_pattern_is_charged_by_its_automaton_before_it_is_matched() {
        let letters = "ab".repeat(131_000);
        let spent = |pattern: &str, text: &str| {
            let mut work = Work::default();
            let found = Pattern::compile(pattern).unwrap().is_match(text, &mut work);
            (found, work.spent())
        };
        let (found, small) = spent("^[ab]+$", &letters);
        assert!(found == Ok(true) && small < 2_000_000, "{small}");
        assert_eq!(spent("/[ab]*a[ab]{2000}c/", &letters).0, Err(RenderError::TooMuchWork));
        assert_eq!(spent("/[ab]*a[ab]{200}c/", "abc").0, Ok(false));
    }
}
