//! The glob of a list's `filter`.

/// A pattern over a whole name, case ignored: `*` stands for any run of characters, `?` for any one, and `\` takes
/// the special meaning from what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<GlobPiece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobPiece {
    Run,
    Any,
    Char(char),
}

impl Glob {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn parse(pattern: &str) -> Glob {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' if pieces.last() == Some(&GlobPiece::Run) => {}
                '*' => pieces.push(GlobPiece::Run),
                '?' => pieces.push(GlobPiece::Any),
                '\\' => folded(chars.next().unwrap_or('\\')).for_each(|c| pieces.push(GlobPiece::Char(c))),
                c => folded(c).for_each(|c| pieces.push(GlobPiece::Char(c))),
            }
        }
        Glob(pieces)
    }

    /// Whether the whole of `text` fits. Time is at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if text.is_ascii() {
            let bytes = text.as_bytes();
            return self.fits(bytes.len(), |at| char::from(bytes[at].to_ascii_lowercase()));
        }
        let text: Vec<char> = text.chars().flat_map(folded).collect();
        self.fits(text.len(), |at| text[at])
    }

    /// Whether so many characters, folded, fit.
    fn fits(&self, length: usize, char_at: impl Fn(usize) -> char) -> bool {
        let (mut at, mut piece) = (0, 0);
        // Where the last run began, and how much of the text it has taken: only the last one ever has to give.
        let mut run: Option<(usize, usize)> = None;
        while at < length {
            match self.0.get(piece) {
                Some(GlobPiece::Run) => {
                    run = Some((piece, at));
                    piece += 1;
                }
                Some(GlobPiece::Any) => (at, piece) = (at + 1, piece + 1),
                Some(GlobPiece::Char(c)) if *c == char_at(at) => (at, piece) = (at + 1, piece + 1),
                _ => {
                    let Some((began, taken)) = run else { return false };
                    run = Some((began, taken + 1));
                    (at, piece) = (taken + 1, began + 1);
                }
            }
        }
        self.0[piece..].iter().all(|piece| *piece == GlobPiece::Run)
    }
}

fn folded(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fits: &[&str], does_not: &[&str]) {
        let glob = Glob::parse(pattern);
        // Texts of ASCII are read byte by byte, with the same outcome.
        for text in fits.iter().chain(does_not) {
            let folded: Vec<char> = text.chars().flat_map(folded).collect();
            assert_eq!(glob.matches(text), glob.fits(folded.len(), |at| folded[at]), "{pattern:?} {text:?}");
        }
        for text in fits {
            assert!(glob.matches(text), "{pattern:?} should fit {text:?}");
        }
        for text in does_not {
            assert!(!glob.matches(text), "{pattern:?} should not fit {text:?}");
        }
    }

    #[test]
    fn a_pattern_fits_whole_names_whatever_their_case() {
        check("order", &["order", "ORDER"], &["orders", "reorder", ""]);
        check("order*", &["order", "Orders in"], &["reorder"]);
        check("*order", &["order", "reORDER"], &["orders"]);
        check("*o*d*r*", &["order", "reordered", "oxdxr"], &["ord", "rdo"]);
        check("?rder", &["order", "Ärder"], &["rder", "oorder"]);
        check("*", &["", "x"], &[]);
        check("**x", &["x", "ax"], &["xa"]);
        check("", &[""], &["x"]);
        check(r"a\*b", &["a*b"], &["axb"]);
        check(r"a\", &[r"a\"], &["a"]);
        check("[a]", &["[A]"], &["a"]);
        check("a*b*c", &["abbbc", "a-b-b-c"], &["ab", "acb"]);
        check("ÄRGER*", &["ärger im büro"], &["arger"]);
    }

    #[test]
    fn a_pattern_of_many_runs_ends_soon() {
        let pattern = "*a".repeat(100);
        let text = "a".repeat(99) + &"b".repeat(10_000);
        check(&pattern, &[], &[&text]);
    }
}
