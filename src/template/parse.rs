//! Reads the source of a template into statements, by the grammar of handlebars.js.
//!
//! Differences: a tag ends with its braces whatever braces follow (`{"a":{{{b}}}}` needs no space), and partials and
//! decorators are refused where they begin. Blocks and parentheses nest no deeper than [`NESTING_MAX`], so that what
//! walks over statements may recurse.

use std::borrow::Cow;

use super::error::{TemplateError, TemplateFault};
use super::lex::{Lexer, Token};
use super::syntax::{
    Argument, BlockStatement, Mustache, PathExpression, Program, Sexpr, Statement, Strip, TextNode,
};

/// Parentheses inside of one another, and blocks together with their `{{else if}}`s.
const NESTING_MAX: usize = 64;
/// Segments of one path: a payload cannot be deeper either.
const SEGMENTS_MAX: usize = crate::base::json::DOCUMENT_DEPTH_MAX;

/// Reads a source.
pub(super) fn parse(source: &str) -> Result<Program<'_>, TemplateError> {
    let mut parser = Parser { lexer: Lexer { source, at: 0 }, blocks: 0, parentheses: 0 };
    let (program, end) = parser.program()?;
    match end {
        ProgramEnd::Source => Ok(program),
        ProgramEnd::Close(at) => {
            let name = parser.lexer.rest();
            let name = name[..name.find('}').unwrap_or(name.len())].trim();
            Err(parser.lexer.error(at, TemplateFault::Stray(format!("{{{{/{name}}}}}"))))
        }
        ProgramEnd::Else { at, .. } | ProgramEnd::ElseIf { at, .. } => {
            Err(parser.lexer.error(at, TemplateFault::Stray("{{else}}".to_owned())))
        }
    }
}

/// The tag that ends the statements of a program. It is consumed up to its contents, and `{{else}}` as a whole.
enum ProgramEnd {
    Source,
    /// `{{/`.
    Close(usize),
    /// `{{else}}` or `{{^}}`.
    Else {
        at: usize,
        strip: Strip,
    },
    /// `{{else` in front of a block's name.
    ElseIf {
        at: usize,
        open: bool,
    },
}

/// The `else` part of a block.
struct Inverse<'s> {
    program: Program<'s>,
    strip: Strip,
    is_chain: bool,
}

struct Parser<'s> {
    lexer: Lexer<'s>,
    blocks: usize,
    parentheses: usize,
}

impl<'s> Parser<'s> {
    fn error(&self, at: usize, fault: TemplateFault) -> TemplateError {
        self.lexer.error(at, fault)
    }

    fn expected(&self, at: usize, expected: &'static str) -> TemplateError {
        self.error(at, TemplateFault::Syntax { expected })
    }

    /// Statements up to a tag that is not one of theirs.
    fn program(&mut self) -> Result<(Program<'s>, ProgramEnd), TemplateError> {
        let mut program = Program::default();
        loop {
            let is_tag = self.content(&mut program.body);
            let open = self.lexer.at;
            if !is_tag {
                return Ok((program, ProgramEnd::Source));
            }
            if self.lexer.take("{{{{") {
                program.body.push(self.raw_block(open)?);
                continue;
            }
            self.lexer.take("{{");
            let strip = self.lexer.take("~");
            if let Some(end) = self.program_end(open, strip) {
                return Ok((program, end));
            }
            program.body.push(self.statement(open, strip)?);
        }
    }

    /// Takes text up to a tag. Whether there is one.
    fn content(&mut self, body: &mut Vec<Statement<'s>>) -> bool {
        loop {
            let rest = self.lexer.rest();
            let Some(end) = memchr::memmem::find(rest.as_bytes(), b"{{") else {
                push(body, rest);
                self.lexer.at += rest.len();
                return false;
            };
            self.lexer.at += end;
            let text = &rest[..end];
            let Some(text) = text.strip_suffix('\\') else {
                push(body, text);
                return true;
            };
            push(body, text);
            if text.ends_with('\\') {
                return true;
            }
            // What a backslash is in front of is text, up to the next braces.
            let rest = self.lexer.rest();
            let next = memchr::memmem::find(&rest.as_bytes()[2..], b"{{").map_or(rest.len(), |at| at + 2);
            let end = match rest[..next].bytes().rev().take_while(|&byte| byte == b'\\').count() {
                _ if next == rest.len() => next,
                // Of the backslashes in front of it no more than two mean something.
                count => (next - count.min(2)).max(2),
            };
            push(body, &rest[..end]);
            self.lexer.at += end;
        }
    }

    /// A tag that ends a program, if this is one. Behind `{{` and its `~`.
    fn program_end(&mut self, at: usize, open: bool) -> Option<ProgramEnd> {
        let mut lexer = self.lexer.clone();
        if lexer.take("/") {
            self.lexer = lexer;
            return Some(ProgramEnd::Close(at));
        }
        let is_caret = lexer.take("^");
        lexer.skip_white();
        let is_else = !is_caret && lexer.take("else");
        if is_else && lexer.rest().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        if !is_caret && !is_else {
            return None;
        }
        let behind = lexer.at;
        lexer.skip_white();
        let close = lexer.take("~");
        if lexer.take("}}") {
            self.lexer = lexer;
            return Some(ProgramEnd::Else { at, strip: Strip { open, close } });
        }
        self.lexer.at = if is_else { behind } else { self.lexer.at };
        is_else.then_some(ProgramEnd::ElseIf { at, open })
    }

    fn statement(&mut self, at: usize, open: bool) -> Result<Statement<'s>, TemplateError> {
        let rest = self.lexer.rest();
        match rest.bytes().next() {
            Some(b'!') => self.comment(at, open),
            Some(b'>') => Err(self.error(at, TemplateFault::Partial(word_of(&rest[1..])))),
            Some(b'*') => Err(self.error(at, TemplateFault::Decorator)),
            Some(b'#') if rest.starts_with("#>") => {
                Err(self.error(at, TemplateFault::Partial(word_of(&rest[2..]))))
            }
            Some(b'#') if rest.starts_with("#*") => Err(self.error(at, TemplateFault::Decorator)),
            Some(b'#') => {
                self.lexer.at += 1;
                self.block(at, open, false)
            }
            Some(b'^') => {
                self.lexer.at += 1;
                self.block(at, open, true)
            }
            Some(b'{') => {
                self.lexer.at += 1;
                self.mustache(at, open, 3)
            }
            Some(b'&') => {
                self.lexer.at += 1;
                self.mustache(at, open, 2).map(|statement| match statement {
                    Statement::Mustache(mustache) => {
                        Statement::Mustache(Mustache { is_escaped: false, ..mustache })
                    }
                    other => other,
                })
            }
            _ => self.mustache(at, open, 2),
        }
    }

    /// A comment, which ends with the first braces, or with those behind two dashes if it begins so.
    fn comment(&mut self, at: usize, open: bool) -> Result<Statement<'s>, TemplateError> {
        let rest = self.lexer.rest();
        let mut from = 0;
        loop {
            let end = memchr::memmem::find(&rest.as_bytes()[from..], b"}}").map(|found| from + found);
            let Some(end) = end else {
                return Err(self.error(at, TemplateFault::Unclosed("{{!".to_owned())));
            };
            let text = &rest[..end];
            let (text, close) = match text.strip_suffix('~') {
                Some(text) => (text, true),
                None => (text, false),
            };
            // The dashes of `!--` may be those in front of the end.
            if !rest.starts_with("!--") || text.len() >= 3 && text.ends_with("--") {
                self.lexer.at += end + 2;
                return Ok(Statement::Comment(Strip { open, close }));
            }
            from = end + 1;
        }
    }

    fn mustache(&mut self, at: usize, open: bool, braces: usize) -> Result<Statement<'s>, TemplateError> {
        let call = self.sexpr(at)?;
        let close = self.close(at, braces)?;
        Ok(Statement::Mustache(Mustache { call, is_escaped: braces == 2, strip: Strip { open, close } }))
    }

    /// The end of a tag: whether it has a `~`.
    fn close(&mut self, open: usize, braces: usize) -> Result<bool, TemplateError> {
        self.lexer.skip_white();
        let at = self.lexer.at;
        match self.lexer.next()? {
            Token::Close { braces: found, strip } if found >= braces => {
                self.lexer.at -= found - braces;
                Ok(strip)
            }
            Token::Other(None) => Err(self.error(open, TemplateFault::Unclosed("{{".to_owned()))),
            _ => Err(self.expected(at, "a value or the end of the tag")),
        }
    }

    fn nest(&mut self, at: usize) -> Result<(), TemplateError> {
        self.blocks += 1;
        if self.blocks > NESTING_MAX {
            let what = "blocks are nested deeper than 64, each `{{else if}}` counting as a level";
            return Err(self.error(at, TemplateFault::TooLarge { what }));
        }
        Ok(())
    }

    /// A block, behind its `#` or `^`.
    fn block(&mut self, at: usize, open: bool, is_inverted: bool) -> Result<Statement<'s>, TemplateError> {
        self.nest(at)?;
        let (call, parameters, open_strip) = self.block_head(at, open)?;
        let (program, end) = self.program()?;
        let (inverse, end) = match end {
            ProgramEnd::ElseIf { at, .. } if is_inverted => {
                return Err(self.expected(at, "`{{else}}` in a block of `^`"));
            }
            end => self.inverse(end)?,
        };
        let close_strip = self.block_end(&call, at, end)?;
        self.blocks -= 1;
        let mut block = build(call, parameters, program, inverse, open_strip, close_strip);
        if is_inverted {
            let program = block.program.take();
            block.program = block.inverse.take();
            block.inverse = program;
        }
        Ok(Statement::Block(Box::new(block)))
    }

    /// The call and the block parameters of the tag that begins a block, and its strips.
    fn block_head(
        &mut self,
        at: usize,
        open: bool,
    ) -> Result<(Sexpr<'s>, Vec<&'s str>, Strip), TemplateError> {
        let call = self.sexpr(at)?;
        let mut parameters = Vec::new();
        if self.lexer.peek()? == Token::OpenBlockParameters {
            self.lexer.next()?;
            loop {
                self.lexer.skip_white();
                let position = self.lexer.at;
                match self.lexer.next()? {
                    Token::Id { name: Cow::Borrowed(name), .. } => parameters.push(name),
                    Token::CloseBlockParameters if !parameters.is_empty() => break,
                    _ => return Err(self.expected(position, "a name, or `|` behind one")),
                }
            }
        }
        let close = self.close(at, 2)?;
        Ok((call, parameters, Strip { open, close }))
    }

    /// The `else` part after a block's statements, and the tag that ends it.
    fn inverse(&mut self, end: ProgramEnd) -> Result<(Option<Inverse<'s>>, ProgramEnd), TemplateError> {
        match end {
            ProgramEnd::Else { strip, .. } => {
                let (program, end) = self.program()?;
                match end {
                    ProgramEnd::Else { at, .. } | ProgramEnd::ElseIf { at, .. } => {
                        Err(self.error(at, TemplateFault::Stray("{{else}}".to_owned())))
                    }
                    end => Ok((Some(Inverse { program, strip, is_chain: false }), end)),
                }
            }
            ProgramEnd::ElseIf { at, open } => {
                self.nest(at)?;
                let (call, parameters, strip) = self.block_head(at, open)?;
                let (program, end) = self.program()?;
                let (inverse, end) = self.inverse(end)?;
                self.blocks -= 1;
                // As in handlebars.js, what closes it is the next `{{else}}`.
                let close = inverse.as_ref().map_or_else(Strip::default, |inverse| inverse.strip);
                let block = build(call, parameters, program, inverse, strip, close);
                let body = vec![Statement::Block(Box::new(block))];
                Ok((
                    Some(Inverse { program: Program { body, is_chained: true }, strip, is_chain: true }),
                    end,
                ))
            }
            end => Ok((None, end)),
        }
    }

    /// The tag that closes a block, behind its `{{/`.
    fn block_end(&mut self, call: &Sexpr<'s>, at: usize, end: ProgramEnd) -> Result<Strip, TemplateError> {
        let name = original(&call.name);
        let ProgramEnd::Close(close) = end else {
            return Err(self.error(at, TemplateFault::Unclosed(format!("{{{{#{name}}}}}"))));
        };
        let open = self.lexer.source[close..].starts_with("{{~");
        let parameter = self.name(close)?;
        let found = original(&parameter);
        if found != name {
            let (open, close_name) = (format!("{{{{#{name}}}}}"), format!("{{{{/{found}}}}}"));
            return Err(self.error(close, TemplateFault::Mismatch { open, close: close_name }));
        }
        Ok(Strip { open, close: self.close(close, 2)? })
    }

    /// A block whose inside is text, behind its `{{{{`.
    fn raw_block(&mut self, at: usize) -> Result<Statement<'s>, TemplateError> {
        let call = self.sexpr(at)?;
        self.lexer.skip_white();
        if !self.lexer.take("}}}}") {
            return Err(self.expected(self.lexer.at, "a value or `}}}}`"));
        }
        let mut body = Vec::new();
        let mut depth = 0;
        loop {
            let rest = self.lexer.rest();
            let Some(found) = memchr::memmem::find(rest.as_bytes(), b"{{{{") else {
                let name = original(&call.name);
                return Err(self.error(at, TemplateFault::Unclosed(format!("{{{{{{{{{name}}}}}}}}}"))));
            };
            push(&mut body, &rest[..found]);
            let tag = self.lexer.at + found;
            self.lexer.at = tag + 4;
            let Some(name) = rest[found + 4..].strip_prefix('/') else {
                depth += 1;
                push(&mut body, &rest[found..found + 4]);
                continue;
            };
            let Some(name) = name.find("}}}}").map(|end| &name[..end]) else { continue };
            let length = name.len() + "{{{{/}}}}".len();
            self.lexer.at = tag + length;
            if depth > 0 {
                depth -= 1;
                push(&mut body, &rest[found..found + length]);
            } else if name == original(&call.name) {
                let program = Program { body, is_chained: false };
                let block = build(call, Vec::new(), program, None, Strip::default(), Strip::default());
                return Ok(Statement::Block(Box::new(block)));
            } else {
                let open = format!("{{{{{{{{{}}}}}}}}}", original(&call.name));
                return Err(self.error(
                    tag,
                    TemplateFault::Mismatch { open, close: format!("{{{{{{{{/{name}}}}}}}}}") },
                ));
            }
        }
    }

    /// A name with values and named values behind it.
    fn sexpr(&mut self, at: usize) -> Result<Sexpr<'s>, TemplateError> {
        let name = self.name(at)?;
        let (mut parameters, mut hash) = (Vec::new(), Vec::new());
        loop {
            let before = self.lexer.clone();
            self.lexer.skip_white();
            let position = self.lexer.at;
            match self.lexer.next()? {
                Token::Id { name, .. } if self.lexer.peek()? == Token::Equals => {
                    self.lexer.next()?;
                    hash.push((name, self.parameter()?));
                }
                Token::Close { .. }
                | Token::CloseSexpr
                | Token::OpenBlockParameters
                | Token::CloseBlockParameters
                | Token::Other(_)
                | Token::Equals
                | Token::Separator(_) => {
                    self.lexer = before;
                    return Ok(Sexpr { at, name, parameters, hash });
                }
                _ if !hash.is_empty() => {
                    return Err(self.expected(position, "a name with `=`, or the end of the tag"));
                }
                _ => {
                    self.lexer = before;
                    parameters.push(self.parameter()?);
                }
            }
        }
    }

    /// A value, or parentheses around a call.
    fn parameter(&mut self) -> Result<Argument<'s>, TemplateError> {
        self.lexer.skip_white();
        let at = self.lexer.at;
        if self.lexer.peek()? != Token::OpenSexpr {
            return self.name(at);
        }
        self.lexer.next()?;
        self.parentheses += 1;
        if self.parentheses > NESTING_MAX {
            return Err(
                self.error(at, TemplateFault::TooLarge { what: "parentheses are nested deeper than 64" })
            );
        }
        let call = self.sexpr(at)?;
        self.lexer.skip_white();
        let end = self.lexer.at;
        match self.lexer.next()? {
            Token::CloseSexpr => {}
            Token::Other(None) => return Err(self.error(at, TemplateFault::Unclosed("(".to_owned()))),
            _ => return Err(self.expected(end, "a value or `)`")),
        }
        self.parentheses -= 1;
        Ok(Argument::Call(Box::new(call)))
    }

    /// A path or a literal. `open` is where the tag begins.
    fn name(&mut self, open: usize) -> Result<Argument<'s>, TemplateError> {
        self.lexer.skip_white();
        let at = self.lexer.at;
        Ok(match self.lexer.next()? {
            Token::Id { name, in_brackets } => self.path(at, false, name, in_brackets)?,
            Token::Data => match self.lexer.next()? {
                Token::Id { name, in_brackets } => self.path(at, true, name, in_brackets)?,
                _ => return Err(self.expected(at + 1, "a name")),
            },
            Token::Text(text) => Argument::Text(text),
            Token::Number(number, text) => Argument::Number(number, text),
            Token::Bool(value) => Argument::Bool(value),
            Token::Null => Argument::Null,
            Token::Undefined => Argument::Undefined,
            Token::Other(None) => return Err(self.error(open, TemplateFault::Unclosed("{{".to_owned()))),
            _ => return Err(self.expected(at, "a name or a value")),
        })
    }

    /// The rest of a path behind its first name.
    fn path(
        &mut self,
        at: usize,
        is_data: bool,
        first: Cow<'s, str>,
        in_brackets: bool,
    ) -> Result<Argument<'s>, TemplateError> {
        let mut original = String::from(if is_data { "@" } else { "" });
        let mut path = PathExpression {
            at,
            is_data,
            depth: 0,
            parts: Vec::new(),
            is_scoped: false,
            original: String::new(),
        };
        let mut next = (first, in_brackets);
        loop {
            let (name, in_brackets) = next;
            original.push_str(&name);
            if !in_brackets && matches!(&*name, ".." | "." | "this") {
                if !path.parts.is_empty() {
                    return Err(self.error(at, TemplateFault::InvalidPath(original)));
                }
                path.depth += usize::from(name == "..");
            } else if path.parts.len() == SEGMENTS_MAX {
                return Err(
                    self.error(at, TemplateFault::TooLarge { what: "a path has at most 160 segments" })
                );
            } else {
                path.parts.push(name);
            }
            let before = self.lexer.clone();
            let rest = self.lexer.rest();
            let Token::Separator(separator) = self.lexer.next()? else {
                if rest.starts_with('[') {
                    return Err(self.expected(before.at, "`.` before `[`"));
                }
                self.lexer = before;
                path.is_scoped = original.starts_with('.') || names_this(&original);
                path.original = original;
                return Ok(Argument::Path(path));
            };
            original.push_str(separator);
            self.lexer.skip_white();
            let position = self.lexer.at;
            next = match self.lexer.next()? {
                Token::Id { name, in_brackets } => (name, in_brackets),
                _ => return Err(self.expected(position, "a name")),
            };
        }
    }
}

/// Adds text, if there is any.
fn push<'s>(body: &mut Vec<Statement<'s>>, text: &'s str) {
    if !text.is_empty() {
        body.push(Statement::Content(TextNode {
            original: text,
            value: text,
            is_left_stripped: false,
            is_right_stripped: false,
        }));
    }
}

fn build<'s>(
    call: Sexpr<'s>,
    parameters: Vec<&'s str>,
    program: Program<'s>,
    inverse: Option<Inverse<'s>>,
    open_strip: Strip,
    close_strip: Strip,
) -> BlockStatement<'s> {
    let mut inverse_strip = Strip::default();
    let inverse = inverse.map(|mut inverse| {
        inverse_strip = inverse.strip;
        if inverse.is_chain
            && let Some(Statement::Block(block)) = inverse.program.body.first_mut()
        {
            block.close_strip = close_strip;
        }
        inverse.program
    });
    let program = Some(program);
    BlockStatement { call, parameters, program, inverse, open_strip, inverse_strip, close_strip }
}

/// A name as it stands in the source.
pub(super) fn original(name: &Argument<'_>) -> String {
    match name {
        Argument::Path(path) => path.original.clone(),
        Argument::Text(text) => text.to_string(),
        Argument::Number(_, text) => (*text).to_owned(),
        Argument::Bool(value) => value.to_string(),
        Argument::Null => "null".to_owned(),
        Argument::Undefined => "undefined".to_owned(),
        Argument::Call(_) => String::new(),
    }
}

/// Whether `this` ends a word of a path.
fn names_this(path: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    path.match_indices("this").any(|(at, this)| !path[at + this.len()..].starts_with(is_word))
}

/// The first word of the inside of a tag.
fn word_of(inside: &str) -> String {
    let inside = inside.trim_start();
    let end = inside.find(|c: char| c.is_whitespace() || "}~(".contains(c)).unwrap_or(inside.len());
    inside[..end].to_owned()
}
