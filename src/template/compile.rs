//! Makes the tree that is rendered of the tree that the `handlebars` crate parses.

use handlebars::TemplateErrorReason;
use handlebars::template::{
    BlockParam, HelperTemplate, Parameter, Subexpression, Template as Parsed, TemplateElement,
};
use serde_json::Value as Json;

use super::call::Call;
use super::error::{Fault, TemplateError};
use super::helper::Helper;
use super::prepare::{Prepared, prepare};
use super::tree::{Base, Block, BlockKind, Expression, Lookup, LoopVariable, Node};
use super::value::Segment;

/// Segments of one path: a payload cannot be deeper either.
const SEGMENTS_MAX: usize = crate::base::json::DOCUMENT_DEPTH_MAX;
/// The blocks that are no helpers with a value.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];

/// Compiles a source.
pub(super) fn compile(source: &str) -> Result<Box<[Node]>, TemplateError> {
    let prepared = prepare(source)?;
    let parsed = Parsed::compile(&prepared.text).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let fault = match error.reason() {
            TemplateErrorReason::InvalidSyntax(why) => Fault::Parse(in_words(why)),
            other => Fault::Parse(other.to_string()),
        };
        prepared.fault(line, column, fault)
    })?;
    let mut compiler = Compiler { prepared: &prepared, place: (1, 1), scopes: Vec::new() };
    compiler.nodes(&parsed)
}

/// What the parser expected, in other words than the names of its grammar.
fn in_words(why: &str) -> String {
    let Some(expected) = why.strip_prefix("expected ") else { return why.to_owned() };
    let mut words: Vec<&str> = Vec::new();
    for rule in expected.split([',', ' ']).filter(|rule| !rule.is_empty() && *rule != "or") {
        let word = match rule {
            "identifier" | "path_id" | "path_inline" => "a name",
            "helper_parameter" => "a value",
            "subexpression" => "a call in parentheses",
            "leading_tilde_to_omit_whitespace" => continue,
            "trailing_tilde_to_omit_whitespace" => "the end of the tag",
            other => other,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    format!("expected {}", words.join(" or "))
}

struct Compiler<'p> {
    prepared: &'p Prepared<'p>,
    /// Line and column of the tag that is being compiled.
    place: (usize, usize),
    /// The names that the blocks around bind (`as |value key|`), one entry for each that has a context of its own.
    scopes: Vec<[Option<String>; 2]>,
}

impl Compiler<'_> {
    fn error(&self, fault: Fault) -> TemplateError {
        self.prepared.fault(self.place.0, self.place.1, fault)
    }

    fn nodes(&mut self, parsed: &Parsed) -> Result<Box<[Node]>, TemplateError> {
        let mut nodes: Vec<Node> = Vec::with_capacity(parsed.elements.len());
        for (index, element) in parsed.elements.iter().enumerate() {
            if let Some(mapping) = parsed.mapping.get(index) {
                self.place = (mapping.0, mapping.1);
            }
            let node = match element {
                TemplateElement::RawString(text) => {
                    push_text(&mut nodes, text);
                    continue;
                }
                TemplateElement::Comment(_) => continue,
                TemplateElement::Expression(call) => self.write(call, true)?,
                TemplateElement::HtmlExpression(call) => self.write(call, false)?,
                TemplateElement::HelperBlock(block) => self.block(block)?,
                TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                    let name = partial.name.as_name().unwrap_or_default().to_owned();
                    return Err(self.error(Fault::Partial(name)));
                }
                // Decorators; there is no other kind today.
                _ => {
                    return Err(self.error(Fault::Decorator));
                }
            };
            nodes.push(node);
        }
        Ok(nodes.into())
    }

    fn write(&mut self, call: &HelperTemplate, escaped: bool) -> Result<Node, TemplateError> {
        let value = self.call(call)?;
        let encoded = matches!(&value, Expression::Call(call) if call.helper.is_encoded());
        if let Expression::Text(text) = &value
            && !escaped
        {
            return Ok(Node::Text(text.clone()));
        }
        Ok(Node::Write { value, escaped: escaped && !encoded })
    }

    /// A tag or what stands in parentheses: a value's path, or a helper with arguments.
    fn call(&mut self, call: &HelperTemplate) -> Result<Expression, TemplateError> {
        if let Parameter::Subexpression(inner) = &call.name {
            return self.subexpression(inner);
        }
        let name = call.name.as_name().unwrap_or_default();
        if let Some(helper) = Helper::named(name) {
            return self.helper(helper, name, call);
        }
        if BLOCKS.contains(&name) {
            return Err(
                self.error(Fault::Usage { helper: name.to_owned(), form: "a value, but it is a block" })
            );
        }
        if !call.params.is_empty() || !call.hash.is_empty() {
            return Err(self.error(Fault::UnknownHelper(name.to_owned())));
        }
        self.path(name)
    }

    fn subexpression(&mut self, inner: &Subexpression) -> Result<Expression, TemplateError> {
        match inner.as_element() {
            TemplateElement::Expression(call) => self.call(call),
            _ => Err(self.error(Fault::Syntax { expected: "a helper in the parentheses" })),
        }
    }

    fn helper(
        &mut self,
        helper: Helper,
        name: &str,
        call: &HelperTemplate,
    ) -> Result<Expression, TemplateError> {
        if let Some(key) = call.hash.keys().next() {
            return Err(self.no_option(name, key));
        }
        if let Err(takes) = helper.check_count(call.params.len()) {
            return Err(self.error(Fault::Arguments { helper: name.to_owned(), takes }));
        }
        let arguments =
            call.params.iter().map(|param| self.argument(param)).collect::<Result<Vec<_>, _>>()?;
        let call = Call::new(helper, arguments).map_err(|fault| self.error(fault))?;
        Ok(Expression::Call(Box::new(call)))
    }

    fn no_option(&self, name: &str, key: &str) -> TemplateError {
        self.error(Fault::Usage { helper: format!("{name} … {key}=…"), form: "one with named arguments" })
    }

    fn argument(&mut self, parameter: &Parameter) -> Result<Expression, TemplateError> {
        match parameter {
            Parameter::Name(name) => self.path(name),
            Parameter::Path(_) => self.path(parameter.as_name().unwrap_or_default()),
            Parameter::Subexpression(inner) => self.subexpression(inner),
            Parameter::Literal(Json::String(text)) => Ok(Expression::Text(text.as_str().into())),
            Parameter::Literal(Json::Number(number)) => {
                Ok(Expression::Number(number.as_f64().unwrap_or(f64::NAN)))
            }
            Parameter::Literal(Json::Bool(value)) => Ok(Expression::Bool(*value)),
            Parameter::Literal(Json::Null) => Ok(Expression::Null),
            // Lists and objects written out are the crate's own addition; any other kind is none that it has today.
            _ => Err(self.error(Fault::Syntax { expected: "a path, a text, a number or parentheses" })),
        }
    }

    fn block(&mut self, block: &HelperTemplate) -> Result<Node, TemplateError> {
        let name = block.name.as_name().unwrap_or_default().to_owned();
        let place = self.place;
        let kind = self.block_kind(&name, block)?;
        let scope = match &kind {
            BlockKind::If { .. } => {
                if block.block_param.is_some() {
                    return Err(self.error(Fault::Usage { helper: name, form: "one that binds names" }));
                }
                None
            }
            _ => Some(bound_names(block.block_param.as_ref())),
        };
        let scoped = scope.is_some();
        self.scopes.extend(scope);
        let body = block.template.as_ref().map_or(Ok(Box::default()), |body| self.nodes(body));
        if scoped {
            self.scopes.pop();
        }
        let body = body?;
        self.place = place;
        let otherwise = block.inverse.as_ref().map_or(Ok(Box::default()), |inverse| self.nodes(inverse))?;
        self.place = place;
        Ok(Node::Block(Box::new(Block { kind, body, otherwise })))
    }

    fn block_kind(&mut self, name: &str, block: &HelperTemplate) -> Result<BlockKind, TemplateError> {
        if BLOCKS.contains(&name) {
            return self.built_in(name, block);
        }
        if let Some(helper) = Helper::named(name) {
            if !helper.is_comparison() {
                return Err(self.error(Fault::Usage { helper: name.to_owned(), form: "a block" }));
            }
            let condition = self.helper(helper, name, block)?;
            return Ok(BlockKind::If { condition, include_zero: None, wanted: true });
        }
        if !block.params.is_empty() || !block.hash.is_empty() {
            return Err(self.error(Fault::UnknownHelper(name.to_owned())));
        }
        Ok(BlockKind::Section(self.path(name)?))
    }

    fn built_in(&mut self, name: &str, block: &HelperTemplate) -> Result<BlockKind, TemplateError> {
        let conditional = matches!(name, "if" | "unless");
        if let Some(key) = block.hash.keys().find(|key| !conditional || *key != "includeZero") {
            return Err(self.no_option(name, key));
        }
        let [argument] = &block.params[..] else {
            return Err(self.error(Fault::Arguments { helper: name.to_owned(), takes: "one argument" }));
        };
        let value = self.argument(argument)?;
        Ok(match name {
            "each" => BlockKind::Each(value),
            "with" => BlockKind::With(value),
            _ => BlockKind::If {
                condition: value,
                include_zero: block.hash.get("includeZero").map(|zero| self.argument(zero)).transpose()?,
                wanted: name == "if",
            },
        })
    }

    /// A path: `a.b.[c d]`, `a/b`, `../a`, `this`, `./a`, `@root.a`, `@index`, `@../index`.
    fn path(&self, text: &str) -> Result<Expression, TemplateError> {
        if text == "undefined" {
            return Ok(Expression::Undefined);
        }
        let mut rest = text;
        let variable = take(&mut rest, "@");
        let mut up = 0;
        while take(&mut rest, "../") {
            up += 1;
        }
        let bare =
            up == 0 && !(take(&mut rest, "./") || take(&mut rest, "this/") || take(&mut rest, "this."));
        let relative = rest.len() < text.len();
        let mut names = self.split(text, rest)?;
        let base = if variable {
            let name = if names.is_empty() { String::new() } else { names.remove(0) };
            match name.as_str() {
                "root" => Base::Root,
                name => Base::Loop { variable: loop_variable(name), up },
            }
        } else {
            match names.first().and_then(|first| self.bound(first)).filter(|_| !relative && bare) {
                Some(bound) => {
                    names.remove(0);
                    bound
                }
                None => Base::Context { up },
            }
        };
        let segments = names.into_iter().map(Segment::new).collect();
        Ok(Expression::Lookup(Lookup { base, segments }))
    }

    /// The names of a path. `this` is one only in brackets.
    fn split(&self, text: &str, path: &str) -> Result<Vec<String>, TemplateError> {
        let mut names = Vec::new();
        let mut rest = path;
        while !rest.is_empty() {
            if names.len() == SEGMENTS_MAX {
                return Err(self.error(Fault::TooLarge { what: "a path has at most 160 segments" }));
            }
            if let Some(inside) = rest.strip_prefix('[') {
                let (name, behind) = inside.split_once(']').unwrap_or((inside, ""));
                names.push(name.to_owned());
                rest = behind;
            } else {
                let end = rest.find(['.', '/']).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                if name == "this" && (!names.is_empty() || !behind.is_empty()) || name.is_empty() {
                    return Err(self.error(Fault::InvalidPath(text.to_owned())));
                }
                if name != "this" {
                    names.push(name.to_owned());
                }
                rest = behind;
            }
            rest = rest.strip_prefix(['.', '/']).unwrap_or(rest);
        }
        Ok(names)
    }

    /// The innermost block that binds a name.
    fn bound(&self, name: &str) -> Option<Base> {
        self.scopes.iter().rev().enumerate().find_map(|(scope, names)| {
            let place = names.iter().position(|bound| bound.as_deref() == Some(name))?;
            Some(Base::Parameter { scope, second: place == 1 })
        })
    }
}

/// Adds a text, to the last one if there is one.
fn push_text(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        _ if text.is_empty() => {}
        Some(Node::Text(last)) => {
            let mut joined = String::from(std::mem::take(last));
            joined.push_str(text);
            *last = joined.into();
        }
        _ => nodes.push(Node::Text(text.into())),
    }
}

fn take(rest: &mut &str, prefix: &str) -> bool {
    match rest.strip_prefix(prefix) {
        Some(behind) => {
            *rest = behind;
            true
        }
        None => false,
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

fn bound_names(names: Option<&BlockParam>) -> [Option<String>; 2] {
    let name = |parameter: &Parameter| parameter.as_name().map(str::to_owned);
    match names {
        Some(BlockParam::Single(first)) => [name(first), None],
        Some(BlockParam::Pair((first, second))) => [name(first), name(second)],
        _ => [None, None],
    }
}
