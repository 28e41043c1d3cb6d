//! Walks a template's source once before it is parsed: bounds it, checks that its blocks are closed in order, and
//! writes it as the `handlebars` crate reads it.
//!
//! The crate's parser recurses over parentheses and blocks and counts lines from the top for every tag, so both are
//! bounded here. And its grammar is narrower than that of Handlebars itself. What it does not take is written in its
//! own terms:
//!
//! | Handlebars | the crate |
//! | --- | --- |
//! | `{{.}}`, `{{#with ..}}` | `{{this}}`, `{{#with ../this}}` |
//! | `'/^\d+$/'` (a backslash is itself, but before a quote) | `"/^\\d+$/"` (a JSON string) |
//! | `[a key]` at the front of a path (the crate may take it for an array) | `./[a key]` |
//! | `{{&helper x}}` | `{{{helper x}}}` |

use super::error::{Fault, TemplateError};
use crate::base::json::escape_into;

/// Parentheses inside of one another, and blocks together with their `{{else if}}`s.
const NESTING_MAX: usize = 64;
/// The positions of all tags, summed up: the parser counts lines from the top for each, which takes some 10 ns a byte.
/// A template of 1 MiB may have some 128 tags spread over it, one of 32 KiB as many as fit.
const TAG_POSITIONS_MAX: usize = 64 * 1024 * 1024;

/// A source as the crate's parser takes it.
pub(super) struct Prepared<'s> {
    pub(super) text: String,
    source: &'s str,
    /// Where pieces of `text` come from: a position in it and the one in the source, for each rewritten place.
    origins: Vec<(usize, usize)>,
}

impl Prepared<'_> {
    /// A fault at a line and column (in characters, both from 1) of the prepared text, told by the source's own.
    pub(super) fn fault(&self, line: usize, column: usize, fault: Fault) -> TemplateError {
        let line_start = match line.checked_sub(2) {
            None => 0,
            Some(breaks) => {
                self.text.match_indices('\n').nth(breaks).map_or(self.text.len(), |(at, _)| at + 1)
            }
        };
        let in_line = self.text[line_start..].char_indices().nth(column.saturating_sub(1));
        let position = in_line.map_or(self.text.len(), |(at, _)| line_start + at);
        let known = self.origins.partition_point(|&(at, _)| at <= position);
        let (at, origin) = known.checked_sub(1).map_or((0, 0), |place| self.origins[place]);
        let limit = self.origins.get(known).map_or(self.source.len(), |&(_, next)| next);
        let position = self.source.floor_char_boundary((origin + position - at).min(limit));
        TemplateError::at(self.source, position, fault)
    }
}

/// Prepares a source.
///
/// # Errors
/// Blocks that are not closed in order, tags that are never closed, too many tags or too much nesting.
pub(super) fn prepare(source: &str) -> Result<Prepared<'_>, TemplateError> {
    let text = String::with_capacity(source.len() + 16);
    let mut walk = Walk {
        out: Prepared { text, source, origins: Vec::new() },
        at: 0,
        blocks: Vec::new(),
        tag_positions: 0,
    };
    while let Some(found) = source[walk.at..].find("{{") {
        let open = walk.at + found;
        walk.copy_to(open);
        let backslashes = source[..open].bytes().rev().take_while(|&byte| byte == b'\\').count();
        if backslashes == 1 {
            // `\{{` is text; so are two more braces behind it.
            let length = if source[open..].starts_with("{{{{") { 4 } else { 2 };
            walk.copy_to(open + length);
            continue;
        }
        walk.tag_positions = walk.tag_positions.saturating_add(open);
        if walk.tag_positions > TAG_POSITIONS_MAX {
            return Err(
                walk.error(open, Fault::TooLarge { what: "the template has too many tags for its length" })
            );
        }
        walk.tag(open)?;
    }
    walk.copy_to(source.len());
    match walk.blocks.pop() {
        Some(block) => Err(walk.error(block.open, Fault::Unclosed(format!("{{{{#{}}}}}", block.name)))),
        None => Ok(walk.out),
    }
}

/// A block that is open.
struct OpenBlock<'s> {
    name: &'s str,
    open: usize,
    /// `{{else if}}`s in it: each is a block inside of the one before to the parser.
    chained: usize,
}

struct Walk<'s> {
    out: Prepared<'s>,
    /// Up to here the source has been taken.
    at: usize,
    blocks: Vec<OpenBlock<'s>>,
    tag_positions: usize,
}

impl<'s> Walk<'s> {
    fn error(&self, position: usize, fault: Fault) -> TemplateError {
        TemplateError::at(self.out.source, position, fault)
    }

    /// Takes the source as it is up to a position.
    fn copy_to(&mut self, position: usize) {
        self.out.text.push_str(&self.out.source[self.at..position]);
        self.at = position;
    }

    /// Takes the source up to a position and writes something else for it.
    fn replace_to(&mut self, position: usize, with: &str) {
        self.out.origins.push((self.out.text.len(), self.at));
        self.out.text.push_str(with);
        self.at = position;
        self.out.origins.push((self.out.text.len(), position));
    }

    fn rest(&self) -> &'s str {
        &self.out.source[self.at..]
    }

    /// Takes the tag that begins at `open`.
    fn tag(&mut self, open: usize) -> Result<(), TemplateError> {
        if let Some(end) = self.comment_end() {
            let end = end.ok_or_else(|| self.error(open, Fault::Unclosed("{{!".to_owned())))?;
            self.copy_to(end);
            return Ok(());
        }
        if self.rest().starts_with("{{{{") {
            return Err(self.error(open, Fault::Syntax { expected: "a tag of two or three braces" }));
        }
        let inside = self.rest()[2..].trim_start_matches('~');
        let tilde = 2 + usize::from(self.rest()[2..].starts_with('~'));
        let unescaped = inside.starts_with('&');
        if unescaped {
            self.copy_to(open + tilde);
            self.replace_to(open + tilde + 1, "{");
        } else {
            self.block(open, inside)?;
            self.copy_to(open + tilde);
        }
        self.inside(open, unescaped)
    }

    /// Where the comment that begins here ends, if one does.
    fn comment_end(&self) -> Option<Option<usize>> {
        let rest = self.rest().strip_prefix("{{!")?;
        let close = if rest.starts_with("--") { "--}}" } else { "}}" };
        let skip = if rest.starts_with("--") { 2 } else { 0 };
        Some(rest[skip..].find(close).map(|found| self.at + 3 + skip + found + close.len()))
    }

    /// Keeps the books of open blocks. `inside` is what follows the tag's braces.
    fn block(&mut self, open: usize, inside: &'s str) -> Result<(), TemplateError> {
        let name_of = |text: &'s str| {
            let text = text.trim_start();
            &text[..text.find(|c: char| c.is_whitespace() || "}~(".contains(c)).unwrap_or(text.len())]
        };
        if let Some(name) = inside.strip_prefix('#') {
            if name.trim_start().starts_with('*') {
                return Err(self.error(open, Fault::Decorator));
            }
            if let Some(partial) = name.trim_start().strip_prefix('>') {
                return Err(self.error(open, Fault::Partial(name_of(partial).to_owned())));
            }
            self.blocks.push(OpenBlock { name: name_of(name), open, chained: 0 });
        } else if let Some(name) = inside.strip_prefix('/') {
            let close = name_of(name);
            match self.blocks.pop() {
                None => return Err(self.error(open, Fault::Stray(format!("{{{{/{close}}}}}")))),
                Some(block) if block.name != close => {
                    let fault = Fault::Mismatch {
                        open: format!("{{{{#{}}}}}", block.name),
                        close: format!("{{{{/{close}}}}}"),
                    };
                    return Err(self.error(open, fault));
                }
                Some(_) => {}
            }
        } else if inside.strip_prefix('^').is_some_and(|name| !name_of(name).is_empty()) {
            let expected = "`{{#unless x}}` in place of `{{^x}}`";
            return Err(self.error(open, Fault::Syntax { expected }));
        } else if inside.starts_with('^') || name_of(inside) == "else" {
            let Some(block) = self.blocks.last_mut() else {
                return Err(self.error(open, Fault::Stray("{{else}}".to_owned())));
            };
            block.chained += 1;
        }
        if self.blocks.iter().map(|block| 1 + block.chained).sum::<usize>() > NESTING_MAX {
            let what = "blocks are nested deeper than 64, each `{{else}}` counting as a level";
            return Err(self.error(open, Fault::TooLarge { what }));
        }
        Ok(())
    }

    /// Takes the inside of a tag and its closing braces.
    fn inside(&mut self, open: usize, unescaped: bool) -> Result<(), TemplateError> {
        let mut parentheses = 0_usize;
        // Whether a name could begin here, for what means something else inside of a name.
        let mut fresh = true;
        loop {
            let rest = self.rest();
            let Some(character) = rest.chars().next() else {
                return Err(self.error(open, Fault::Unclosed("{{".to_owned())));
            };
            let here = self.at;
            match character {
                '}' if rest.starts_with("}}") => {
                    if unescaped {
                        self.out.origins.push((self.out.text.len(), here));
                        let at = self.out.text.trim_end_matches('~').len().max(self.out.text.len() - 1);
                        self.out.text.insert(at, '}');
                        self.out.origins.push((self.out.text.len(), here));
                    }
                    let braces = if !unescaped && rest.starts_with("}}}") { 3 } else { 2 };
                    // Of three braces the third may be text: the parser tells, by how the tag begins.
                    let opened = self.out.source[open..].bytes().take_while(|&byte| byte == b'{').count();
                    self.copy_to(here + if opened >= 3 { braces } else { 2 });
                    return Ok(());
                }
                '"' | '\'' if fresh => self.string(character)?,
                '[' => self.bracket(fresh)?,
                '.' if fresh => self.dots(),
                '(' => {
                    parentheses += 1;
                    if parentheses > NESTING_MAX {
                        let what = "parentheses are nested deeper than 64";
                        return Err(self.error(here, Fault::TooLarge { what }));
                    }
                    self.copy_to(here + 1);
                }
                ')' => {
                    parentheses = parentheses.saturating_sub(1);
                    self.copy_to(here + 1);
                }
                '{' if !fresh || here > open + 3 => {
                    return Err(
                        self.error(here, Fault::Syntax { expected: "the end of the tag that is open" })
                    );
                }
                other => self.copy_to(here + other.len_utf8()),
            }
            fresh = character.is_whitespace() || "({=#~&^/>*".contains(character);
        }
    }

    /// Takes a string and writes it as JSON. A backslash is itself, but before the quote that the string is in.
    fn string(&mut self, quote: char) -> Result<(), TemplateError> {
        let here = self.at;
        let rest = &self.rest()[1..];
        let mut text = String::new();
        let mut escaped = false;
        for (at, character) in rest.char_indices() {
            if character == quote && !escaped {
                let mut json = Vec::with_capacity(text.len() + 2);
                escape_into(&mut json, &text);
                self.replace_to(here + 1 + at + 1, &super::value::into_text(json));
                return Ok(());
            }
            if character == quote {
                text.pop();
            }
            text.push(character);
            escaped = character == '\\';
        }
        Err(self.error(here, Fault::Unclosed(quote.to_string())))
    }

    /// Takes a segment in brackets, which may hold anything but its end.
    fn bracket(&mut self, fresh: bool) -> Result<(), TemplateError> {
        let here = self.at;
        let Some(end) = self.rest().find(']') else {
            return Err(self.error(here, Fault::Unclosed("[".to_owned())));
        };
        if fresh && !self.out.text.ends_with('/') {
            self.replace_to(here, "./");
        } else if !fresh && !self.out.text.ends_with(['.', '@']) {
            // To the parser `a[0]` is a call of `a`.
            return Err(self.error(here, Fault::Syntax { expected: "`.` before `[`" }));
        }
        self.copy_to(here + end + 1);
        Ok(())
    }

    /// Takes the dots at the front of a path, or those that are one.
    fn dots(&mut self) {
        let dots = if self.rest().starts_with("..") { 2 } else { 1 };
        let ends = |c: char| c.is_whitespace() || "})~".contains(c);
        if self.rest()[dots..].starts_with(ends) {
            self.replace_to(self.at + dots, if dots == 2 { "../this" } else { "this" });
        } else {
            self.copy_to(self.at + dots);
        }
    }
}
