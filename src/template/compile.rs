//! Resolves the names of a template that was read: helpers, blocks, paths and the parameters of blocks.

use super::error::{TemplateError, TemplateFault};
use super::helper::Helper;
use super::parse::{original, parse};
use super::syntax::{Argument, BlockStatement, Mustache, PathExpression, Program, Sexpr, Statement};
use super::tree::{Base, Block, BlockKind, HelperCall, LoopVariable, Node, PathLookup, TemplateExpression};
use super::value::PathSegment;
use super::white;

/// The blocks that are not helpers with a value.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];
/// Patterns of one template: each may take some hundred kilobytes.
const PATTERNS_MAX: usize = 64;

/// Compiles a source.
///
/// One that is nested (what the helper `template` renders) has neither patterns nor templates of its own.
pub(super) fn compile(source: &str, is_nested: bool) -> Result<Box<[Node]>, TemplateError> {
    let mut program = parse(source)?;
    white::control(&mut program, true);
    Compiler { source, scopes: Vec::new(), patterns: 0, is_nested }.program(&program)
}

struct Compiler<'s> {
    source: &'s str,
    /// The names that the blocks around bind (`as |value key|`), one entry for each that has a context of its own.
    scopes: Vec<[Option<&'s str>; 2]>,
    patterns: usize,
    is_nested: bool,
}

impl<'s> Compiler<'s> {
    fn error(&self, at: usize, fault: TemplateFault) -> TemplateError {
        TemplateError::at(self.source, at, fault)
    }

    fn program(&mut self, program: &Program<'s>) -> Result<Box<[Node]>, TemplateError> {
        let mut nodes: Vec<Node> = Vec::with_capacity(program.body.len());
        let mut text = String::new();
        for statement in &program.body {
            let node = match statement {
                Statement::Content(content) => {
                    text.push_str(content.value);
                    continue;
                }
                Statement::Comment(_) => continue,
                Statement::Mustache(mustache) => match self.mustache(mustache)? {
                    Node::Text(constant) => {
                        text.push_str(&constant);
                        continue;
                    }
                    node => node,
                },
                Statement::Block(block) => self.block(block)?,
            };
            if !text.is_empty() {
                nodes.push(Node::Text(std::mem::take(&mut text).into()));
            }
            nodes.push(node);
        }
        if !text.is_empty() {
            nodes.push(Node::Text(text.into()));
        }
        Ok(nodes.into())
    }

    fn mustache(&mut self, mustache: &Mustache<'s>) -> Result<Node, TemplateError> {
        let value = self.call(&mustache.call)?;
        let encoded = matches!(&value, TemplateExpression::Call(call) if call.helper.is_encoded());
        Ok(Node::Write { value, escaped: mustache.is_escaped && !encoded })
    }

    /// A tag, or what stands in parentheses: a value's path, or a helper with arguments.
    fn call(&mut self, call: &Sexpr<'s>) -> Result<TemplateExpression, TemplateError> {
        if let Some((name, helper)) = self.helper_of(call) {
            return self.helper(helper, &name, call);
        }
        let name = original(&call.name);
        if BLOCKS.contains(&name.as_str()) && self.is_helper_name(&call.name) {
            return Err(self
                .error(call.at, TemplateFault::Usage { helper: name, form: "a value, but it is a block" }));
        }
        if !call.parameters.is_empty() || !call.hash.is_empty() {
            return Err(self.unknown(call.at, name));
        }
        if Helper::is_not_offered(&name) && self.is_helper_name(&call.name) {
            return Err(self.error(call.at, TemplateFault::NotOffered(name)));
        }
        self.context_value(&call.name)
    }

    /// A call of something that is not a helper here.
    fn unknown(&self, at: usize, name: String) -> TemplateError {
        let is_known = Helper::is_not_offered(&name);
        self.error(
            at,
            if is_known { TemplateFault::NotOffered(name) } else { TemplateFault::UnknownHelper(name) },
        )
    }

    /// The helper that a call names.
    fn helper_of(&self, call: &Sexpr<'s>) -> Option<(String, Helper)> {
        if !self.is_helper_name(&call.name) {
            return None;
        }
        let name = original(&call.name);
        Helper::named(&name).map(|helper| (name, helper))
    }

    /// Whether a name may be that of a helper: one word, which no block around binds.
    fn is_helper_name(&self, name: &Argument<'s>) -> bool {
        match name {
            Argument::Path(path) => path.is_simple() && self.bound(&path.parts[0]).is_none(),
            Argument::Text(_) => true,
            _ => false,
        }
    }

    /// A name in front, which is looked up in the context even where it is written as a literal.
    fn context_value(&mut self, name: &Argument<'s>) -> Result<TemplateExpression, TemplateError> {
        match name {
            Argument::Path(path) => self.path(path),
            Argument::Call(call) => self.call(call),
            literal => {
                let segments = Box::new([PathSegment::new(original(literal))]);
                Ok(TemplateExpression::Lookup(PathLookup { base: Base::Context { up: 0 }, segments }))
            }
        }
    }

    fn helper(
        &mut self,
        helper: Helper,
        name: &str,
        call: &Sexpr<'s>,
    ) -> Result<TemplateExpression, TemplateError> {
        if let Some((key, _)) = call.hash.iter().find(|(key, _)| !helper.takes_named(key)) {
            return Err(self.no_option(call.at, name, key));
        }
        if self.is_nested && matches!(helper, Helper::Match | Helper::Template) {
            return Err(self.error(call.at, TemplateFault::NotOffered(name.to_owned())));
        }
        if let Err(takes) = helper.check_count(call.parameters.len()) {
            return Err(self.error(call.at, TemplateFault::Arguments { helper: name.to_owned(), takes }));
        }
        self.patterns += usize::from(helper == Helper::Match);
        if self.patterns > PATTERNS_MAX {
            return Err(
                self.error(call.at, TemplateFault::TooLarge { what: "a template has at most 64 patterns" })
            );
        }
        let arguments =
            call.parameters.iter().map(|value| self.argument(value)).collect::<Result<Vec<_>, _>>()?;
        let mut named = Vec::with_capacity(call.hash.len());
        for (key, value) in &call.hash {
            named.push((key.as_ref().into(), self.argument(value)?));
        }
        let built = HelperCall::new(helper, arguments, named).map_err(|fault| self.error(call.at, fault))?;
        Ok(TemplateExpression::Call(Box::new(built)))
    }

    fn no_option(&self, at: usize, name: &str, key: &str) -> TemplateError {
        self.error(
            at,
            TemplateFault::Usage {
                helper: format!("{name} … {key}=…"), form: "one with named arguments"
            },
        )
    }

    fn argument(&mut self, parameter: &Argument<'s>) -> Result<TemplateExpression, TemplateError> {
        Ok(match parameter {
            Argument::Path(path) => {
                let name = &path.original;
                let is_helper = Helper::named(name).is_some()
                    || BLOCKS.contains(&name.as_str())
                    || Helper::is_not_offered(name);
                if is_helper && self.is_helper_name(parameter) {
                    return Err(self.error(path.at, TemplateFault::HelperAsPath(name.clone())));
                }
                self.path(path)?
            }
            Argument::Call(call) => {
                if self.helper_of(call).is_none() {
                    let name = original(&call.name);
                    if !BLOCKS.contains(&name.as_str()) {
                        return Err(self.unknown(call.at, name));
                    }
                }
                self.call(call)?
            }
            Argument::Text(text) => TemplateExpression::Text(text.as_ref().into()),
            Argument::Number(number, _) => TemplateExpression::Number(*number),
            Argument::Bool(value) => TemplateExpression::Bool(*value),
            Argument::Null => TemplateExpression::Null,
            Argument::Undefined => TemplateExpression::Undefined,
        })
    }

    fn block(&mut self, block: &BlockStatement<'s>) -> Result<Node, TemplateError> {
        let call = &block.call;
        let kind = self.block_kind(call)?;
        let names = &block.parameters;
        let scope = match &kind {
            BlockKind::If { .. } if !names.is_empty() => {
                let helper = original(&call.name);
                return Err(
                    self.error(call.at, TemplateFault::Usage { helper, form: "one that binds names" })
                );
            }
            BlockKind::If { .. } => None,
            _ => Some([names.first().copied(), names.get(1).copied()]),
        };
        let is_scope = scope.is_some();
        self.scopes.extend(scope);
        let body = block.program.as_ref().map_or(Ok(Box::default()), |body| self.program(body));
        if is_scope {
            self.scopes.pop();
        }
        let body = body?;
        let otherwise = block.inverse.as_ref().map_or(Ok(Box::default()), |inverse| self.program(inverse))?;
        Ok(Node::Block(Box::new(Block { kind, body, otherwise })))
    }

    fn block_kind(&mut self, call: &Sexpr<'s>) -> Result<BlockKind, TemplateError> {
        let name = original(&call.name);
        if BLOCKS.contains(&name.as_str()) && self.is_helper_name(&call.name) {
            return self.built_in(&name, call);
        }
        if let Some((name, helper)) = self.helper_of(call) {
            if !helper.is_comparison() {
                return Err(self.error(call.at, TemplateFault::Usage { helper: name, form: "a block" }));
            }
            let condition = self.helper(helper, &name, call)?;
            return Ok(BlockKind::If { condition, include_zero: None, wanted: true });
        }
        if !call.parameters.is_empty() || !call.hash.is_empty() {
            return Err(self.unknown(call.at, name));
        }
        self.context_value(&call.name).map(BlockKind::Section)
    }

    fn built_in(&mut self, name: &str, call: &Sexpr<'s>) -> Result<BlockKind, TemplateError> {
        let is_conditional = matches!(name, "if" | "unless");
        if let Some((key, _)) = call.hash.iter().find(|(key, _)| !is_conditional || key != "includeZero") {
            return Err(self.no_option(call.at, name, key));
        }
        let [argument] = &call.parameters[..] else {
            return Err(self.error(
                call.at,
                TemplateFault::Arguments { helper: name.to_owned(), takes: "one argument" },
            ));
        };
        let value = self.argument(argument)?;
        Ok(match name {
            "each" => BlockKind::Each(value),
            "with" => BlockKind::With(value),
            _ => BlockKind::If {
                condition: value,
                include_zero: call.hash.last().map(|(_, zero)| self.argument(zero)).transpose()?,
                wanted: name == "if",
            },
        })
    }

    /// A path: `a.b.[c d]`, `a/b`, `../a`, `this`, `./a`, `@root.a`, `@index`, `@../index`.
    fn path(&self, path: &PathExpression<'s>) -> Result<TemplateExpression, TemplateError> {
        let bound = match path.parts.first() {
            Some(first) if path.depth == 0 && !path.is_scoped => self.bound(first),
            _ => None,
        };
        let (base, used) = match (bound, path.is_data) {
            (Some(bound), _) => (bound, 1),
            (None, false) => (Base::Context { up: path.depth }, 0),
            (None, true) => match path.parts.first().map(AsRef::as_ref) {
                Some("root") => (Base::Root { up: path.depth }, 1),
                Some(name) => (Base::Loop { variable: loop_variable(name), up: path.depth }, 1),
                None => (Base::Loop { variable: LoopVariable::Unknown, up: path.depth }, 0),
            },
        };
        let segments = path.parts[used..].iter().map(|name| PathSegment::new(name.as_ref())).collect();
        Ok(TemplateExpression::Lookup(PathLookup { base, segments }))
    }

    /// The innermost block that binds a name.
    fn bound(&self, name: &str) -> Option<Base> {
        self.scopes.iter().rev().enumerate().find_map(|(scope, names)| {
            let place = names.iter().position(|bound| *bound == Some(name))?;
            Some(Base::Parameter { scope, second: place == 1 })
        })
    }
}

fn loop_variable(name: &str) -> LoopVariable {
    match name {
        "index" => LoopVariable::Index,
        "key" => LoopVariable::Key,
        "first" => LoopVariable::First,
        "last" => LoopVariable::Last,
        _ => LoopVariable::Unknown,
    }
}
