//! The tokens of an expression, as ECMA-262 cuts them: each as long as it can be.

use std::borrow::Cow;

use super::error::{ExpressionError, ExpressionFault};
use crate::base::number::{self, is_space};

/// A word or a sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// The path between `{{` and `}}`.
    Path(&'s str),
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    Undefined,
    Sign(Sign),
    End,
}

/// A token that is not an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Open,
    Close,
    Not,
    Or,
    And,
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

/// Every sign of JavaScript's that begins like one of ours, the longest first; those with `None` are not supported.
const SIGNS: [(&str, Option<Sign>); 49] = [
    (">>>=", None),
    ("===", Some(Sign::Same)),
    ("!==", Some(Sign::NotSame)),
    (">>>", None),
    ("<<=", None),
    (">>=", None),
    ("**=", None),
    ("&&=", None),
    ("||=", None),
    ("??=", None),
    ("==", Some(Sign::Equal)),
    ("!=", Some(Sign::NotEqual)),
    ("<=", Some(Sign::LessOrEqual)),
    (">=", Some(Sign::GreaterOrEqual)),
    ("&&", Some(Sign::And)),
    ("||", Some(Sign::Or)),
    ("??", None),
    ("?.", None),
    ("=>", None),
    ("**", None),
    ("++", None),
    ("--", None),
    ("<<", None),
    (">>", None),
    ("+=", None),
    ("-=", None),
    ("*=", None),
    ("/=", None),
    ("%=", None),
    ("&=", None),
    ("|=", None),
    ("^=", None),
    ("//", None),
    ("/*", None),
    ("(", Some(Sign::Open)),
    (")", Some(Sign::Close)),
    ("!", Some(Sign::Not)),
    ("<", Some(Sign::Less)),
    (">", Some(Sign::Greater)),
    ("+", Some(Sign::Plus)),
    ("-", Some(Sign::Minus)),
    ("*", Some(Sign::Times)),
    ("/", Some(Sign::Divide)),
    ("%", Some(Sign::Remainder)),
    ("=", None),
    ("&", None),
    ("|", None),
    ("?", None),
    ("^", None),
];

/// Cuts a source into tokens.
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Lexer<'s> {
        Lexer { source, at: 0 }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'s>, usize), ExpressionError> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
        let start = self.at;
        self.token().map(|token| (token, start))
    }

    pub(super) fn error(&self, position: usize, fault: ExpressionFault) -> ExpressionError {
        ExpressionError::at(self.source, position, fault)
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn token(&mut self) -> Result<Token<'s>, ExpressionError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(inside) = rest.strip_prefix("{{") {
            let Some((path, _)) = inside.split_once("}}") else {
                return Err(self.error(self.at, ExpressionFault::Unclosed("`{{`")));
            };
            self.at += path.len() + "{{}}".len();
            return Ok(Token::Path(path));
        }
        match first {
            '"' | '\'' => self.text(first),
            '0'..='9' => self.number(),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            _ if is_name_start(first) => self.name(),
            _ => self.sign(first),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token<'s>, ExpressionError> {
        let rest = self.rest();
        let known = SIGNS.iter().find(|(text, _)| rest.starts_with(text));
        match known {
            Some((text, Some(sign))) => {
                self.at += text.len();
                Ok(Token::Sign(*sign))
            }
            Some((text, None)) => Err(self.error(self.at, ExpressionFault::Operator((*text).to_owned()))),
            None => Err(self.error(self.at, ExpressionFault::Operator(first.to_string()))),
        }
    }

    fn name(&mut self) -> Result<Token<'s>, ExpressionError> {
        let rest = self.rest();
        let end = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
        let token = match &rest[..end] {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            "null" => Token::Null,
            "undefined" => Token::Undefined,
            name => {
                let shown: String = name.chars().take(SHOWN_CHARS_MAX).collect();
                let is_call = rest[end..].trim_start_matches(is_space).starts_with('(');
                let fault = if is_call { ExpressionFault::Call(shown) } else { ExpressionFault::Name(shown) };
                return Err(self.error(self.at, fault));
            }
        };
        self.at += end;
        Ok(token)
    }

    /// A numeric literal: decimal, or `0x`, `0o`, `0b`. What JavaScript takes for the sake of old scripts (`010`) is not
    /// one, nor are separators and large integers (`1_000`, `1n`).
    fn number(&mut self) -> Result<Token<'s>, ExpressionError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = if bytes[0] == b'0' && bytes.get(1).is_some_and(|b| b"xXoObB".contains(b)) {
            2 + bytes[2..].iter().take_while(|b| b.is_ascii_alphanumeric()).count()
        } else {
            let mut end = digits(0);
            if end > 1 && bytes[0] == b'0' {
                return Err(self.error(self.at, ExpressionFault::Number));
            }
            if bytes.get(end) == Some(&b'.') {
                end = digits(end + 1);
            }
            if bytes.get(end).is_some_and(|b| b"eE".contains(b)) {
                let sign = bytes.get(end + 1).is_some_and(|b| b"+-".contains(b));
                end = digits(end + 1 + usize::from(sign));
            }
            end
        };
        let value = number::parse(&rest[..end]);
        if value.is_nan() || rest[end..].starts_with(is_name_part) {
            return Err(self.error(self.at, ExpressionFault::Number));
        }
        self.at += end;
        Ok(Token::Number(value))
    }

    /// A string literal.
    fn text(&mut self, quote: char) -> Result<Token<'s>, ExpressionError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(at) = rest.find(['\\', quote, '\n', '\r']) else {
                return Err(self.error(start, ExpressionFault::Unclosed("this string")));
            };
            text.push_str(&rest[..at]);
            self.at += at;
            match rest.as_bytes()[at] {
                b'\\' => text.push_str(&self.escape()?),
                b'\n' | b'\r' => return Err(self.error(start, ExpressionFault::Unclosed("this string"))),
                _ => {
                    self.at += 1;
                    return Ok(Token::Text(text));
                }
            }
        }
    }

    /// The character that an escape sequence means; the lexer is at its backslash.
    fn escape(&mut self) -> Result<Cow<'static, str>, ExpressionError> {
        let position = self.at;
        let mut inside = self.rest()[1..].chars();
        let Some(character) = inside.next() else {
            return Err(self.error(position, ExpressionFault::Unclosed("this string")));
        };
        self.at += 1 + character.len_utf8();
        Ok(Cow::Borrowed(match character {
            'b' => "\u{8}",
            'f' => "\u{c}",
            'n' => "\n",
            'r' => "\r",
            't' => "\t",
            'v' => "\u{b}",
            '0' if !inside.as_str().starts_with(|c: char| c.is_ascii_digit()) => "\0",
            '0'..='9' => {
                return Err(self.error(position, ExpressionFault::Escape("octal ones are not supported")));
            }
            'x' => return self.hexadecimal(position, 2).and_then(|unit| self.character(position, unit)),
            'u' => return self.unicode(position),
            // A line that goes on.
            '\r' => {
                if inside.as_str().starts_with('\n') {
                    self.at += 1;
                }
                ""
            }
            '\n' | '\u{2028}' | '\u{2029}' => "",
            other => return Ok(Cow::Owned(other.to_string())),
        }))
    }

    /// `\uXXXX`, a pair of them, or `\u{X…}`; the lexer is behind the `u`.
    fn unicode(&mut self, position: usize) -> Result<Cow<'static, str>, ExpressionError> {
        if let Some(inside) = self.rest().strip_prefix('{') {
            let end = inside.find('}').filter(|end| (1..=BRACED_DIGITS_MAX).contains(end));
            let Some(end) = end else {
                return Err(self.error(position, ExpressionFault::Escape("`\\u{…}` takes hex digits")));
            };
            self.at += 1;
            let unit = self.hexadecimal(position, end)?;
            self.at += 1;
            return self.character(position, unit);
        }
        let unit = self.hexadecimal(position, 4)?;
        if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with("\\u") {
            self.at += 2;
            let second = self.hexadecimal(position, 4)?;
            if (0xdc00..0xe000).contains(&second) {
                return self.character(position, 0x1_0000 + ((unit - 0xd800) << 10) + (second - 0xdc00));
            }
        }
        self.character(position, unit)
    }

    /// So many hexadecimal digits.
    fn hexadecimal(&mut self, position: usize, digits: usize) -> Result<u32, ExpressionError> {
        let text = self.rest().get(..digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        self.at += digits;
        value.ok_or_else(|| {
            self.error(
                position,
                ExpressionFault::Escape("`\\x` takes two hex digits, `\\u` four, or some in braces"),
            )
        })
    }

    fn character(&self, position: usize, unit: u32) -> Result<Cow<'static, str>, ExpressionError> {
        match char::from_u32(unit) {
            Some(character) => Ok(Cow::Owned(character.to_string())),
            None => {
                Err(self
                    .error(position, ExpressionFault::Escape("half of a surrogate pair is not a character")))
            }
        }
    }
}

/// Digits that `\u{…}` may have; leading zeros are allowed.
const BRACED_DIGITS_MAX: usize = 8;
/// Characters of a name that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

fn is_name_start(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '_' | '$')
}

fn is_name_part(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$')
}
