//! The tokens inside of a tag, as the lexer of handlebars.js finds them.

use std::borrow::Cow;

use super::error::{TemplateError, TemplateFault};
use crate::base::number::is_space;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// A name, or one in brackets, which has no meaning of its own.
    Id {
        name: Cow<'s, str>,
        in_brackets: bool,
    },
    /// `.` or `/`.
    Separator(&'s str),
    Text(Cow<'s, str>),
    Number(f64, &'s str),
    Bool(bool),
    Null,
    Undefined,
    Equals,
    Data,
    OpenSexpr,
    CloseSexpr,
    OpenBlockParameters,
    CloseBlockParameters,
    /// `}}` or `}}}` with the braces that it has, and whether a `~` is in front.
    Close {
        braces: usize,
        strip: bool,
    },
    /// A character that starts no token; `None` at the end of the source.
    Other(Option<char>),
}

/// Reads a source from some position on.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'s> {
    pub(super) source: &'s str,
    pub(super) at: usize,
}

impl<'s> Lexer<'s> {
    pub(super) fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    pub(super) fn error(&self, position: usize, fault: TemplateFault) -> TemplateError {
        TemplateError::at(self.source, position, fault)
    }

    /// Passes over white space.
    pub(super) fn skip_white(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
    }

    /// Takes a text if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> Result<Token<'s>, TemplateError> {
        self.clone().next()
    }

    /// The next token. White space in front of it is passed over.
    ///
    /// # Errors
    /// A text or bracket that is never closed.
    pub(super) fn next(&mut self) -> Result<Token<'s>, TemplateError> {
        self.skip_white();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::Other(None)) };
        let (token, length) = match first {
            '(' => (Token::OpenSexpr, 1),
            ')' => (Token::CloseSexpr, 1),
            '=' => (Token::Equals, 1),
            '@' => (Token::Data, 1),
            '|' => (Token::CloseBlockParameters, 1),
            '.' if rest.starts_with("..") => (name(".."), 2),
            '.' if ends_name(&rest[1..]) => (name("."), 1),
            '.' | '/' => (Token::Separator(&rest[..1]), 1),
            '"' | '\'' => return self.text(first),
            '[' => return self.bracket(),
            '}' | '~' => close(rest).unwrap_or((Token::Other(Some(first)), first.len_utf8())),
            _ => word(rest).unwrap_or((Token::Other(Some(first)), first.len_utf8())),
        };
        self.at += length;
        Ok(token)
    }

    /// A text in quotes. A backslash is itself, except in front of the quote that the text is in.
    fn text(&mut self, quote: char) -> Result<Token<'s>, TemplateError> {
        let inside = self.enclosed(quote)?;
        let escaped = ['\\', quote].iter().collect::<String>();
        Ok(Token::Text(if inside.contains(&escaped) {
            Cow::Owned(inside.replace(&escaped, quote.encode_utf8(&mut [0; 4])))
        } else {
            Cow::Borrowed(inside)
        }))
    }

    /// A name in brackets, in which `\]` and `\\` stand for what follows the backslash.
    fn bracket(&mut self) -> Result<Token<'s>, TemplateError> {
        let inside = self.enclosed(']')?;
        if !inside.contains('\\') {
            return Ok(Token::Id { name: Cow::Borrowed(inside), in_brackets: true });
        }
        let mut name = String::with_capacity(inside.len());
        let mut characters = inside.chars().peekable();
        while let Some(character) = characters.next() {
            match characters.peek() {
                Some(&next @ ('\\' | ']')) if character == '\\' => {
                    name.push(next);
                    characters.next();
                }
                _ => name.push(character),
            }
        }
        Ok(Token::Id { name: Cow::Owned(name), in_brackets: true })
    }

    /// The text up to a closing character that has no backslash in front; if there is none, up to the last one.
    fn enclosed(&mut self, close: char) -> Result<&'s str, TemplateError> {
        let open = self.at;
        let inside = &self.rest()[1..];
        let mut last = None;
        let mut is_escaped = false;
        for (at, byte) in inside.bytes().enumerate() {
            if byte == close as u8 {
                last = Some(at);
                if !is_escaped {
                    break;
                }
            }
            is_escaped = byte == b'\\';
        }
        let Some(end) = last else {
            let opening = &self.source[open..open + 1];
            return Err(self.error(open, TemplateFault::Unclosed(opening.to_owned())));
        };
        self.at += end + 2;
        Ok(&inside[..end])
    }
}

fn name(text: &str) -> Token<'_> {
    Token::Id { name: Cow::Borrowed(text), in_brackets: false }
}

/// The end of a tag. Braces beyond the third are text.
fn close(rest: &str) -> Option<(Token<'_>, usize)> {
    let braces = |text: &str| text.bytes().take_while(|&byte| byte == b'}').count().min(3);
    if let Some(behind) = rest.strip_prefix('~') {
        let count = braces(behind);
        return (count >= 2).then_some((Token::Close { braces: count, strip: true }, 1 + count));
    }
    if rest.starts_with("}~}}") {
        return Some((Token::Close { braces: 3, strip: true }, 4));
    }
    let count = braces(rest);
    (count >= 2).then_some((Token::Close { braces: count, strip: false }, count))
}

/// Whether what follows may follow a name.
fn ends_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(|c: char| "=~}/.)|".contains(c) || is_space(c))
}

/// Whether what follows may follow a literal.
fn ends_literal(rest: &str) -> bool {
    rest.starts_with(|c: char| "~})".contains(c) || is_space(c))
}

/// A name, or a word that is a literal, or the start of a block's parameters.
fn word(rest: &str) -> Option<(Token<'_>, usize)> {
    let ends = |c: char| is_space(c) || "!\"#%&'()*+,./;<=>@[\\]^`{|}~".contains(c);
    let end = rest.find(ends).unwrap_or(rest.len());
    let (text, behind) = rest.split_at(end);
    if let Some(number) = number(rest) {
        return Some(number);
    }
    if text == "as" && behind.trim_start_matches(is_space).starts_with('|') && behind.starts_with(is_space) {
        let white = behind.len() - behind.trim_start_matches(is_space).len();
        return Some((Token::OpenBlockParameters, end + white + 1));
    }
    let literal = match text {
        "true" => Some(Token::Bool(true)),
        "false" => Some(Token::Bool(false)),
        "undefined" => Some(Token::Undefined),
        "null" => Some(Token::Null),
        _ => None,
    };
    match literal {
        Some(literal) if ends_literal(behind) => Some((literal, end)),
        _ => (end > 0 && (ends_name(behind) || behind.starts_with('['))).then(|| (name(text), end)),
    }
}

/// A decimal number, if what comes next is one and nothing else.
fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(rest.starts_with('-'));
    let whole = digits(&rest[sign..]);
    let mut end = sign + whole;
    if let Some(fraction) = rest[end..].strip_prefix('.').map(digits).filter(|&count| count > 0) {
        end += 1 + fraction;
    }
    let text = &rest[..end];
    (whole > 0 && ends_literal(&rest[end..]))
        .then(|| (Token::Number(text.parse().unwrap_or(f64::NAN), text), end))
}
