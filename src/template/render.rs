//! Renders a compiled template over a payload.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::arena::{Arena, Slot};
use super::error::RenderError;
use super::recall::Recall;
use super::root::Root;
use super::tools::{ArgumentValues, RenderNested, Tools};
use super::tree::{Base, Block, BlockKind, HelperCall, LoopVariable, Node, PathLookup, TemplateExpression};
use super::value::{Type, Value};
use super::work::{READ, SCAN, STEP, Work};
use crate::base::json::Raw;
use crate::base::steps;

/// How `{{x}}` is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// For HTML: `& < > " ' \` =`.
    Html,
    /// Not at all.
    None,
}

/// Appends the text of `nodes` to `out`.
pub(super) fn render(
    nodes: &[Node],
    root: &dyn Root,
    escape: Escape,
    bytes_max: usize,
    nested: RenderNested,
    work: &mut Work,
    out: &mut Vec<u8>,
) -> Result<(), RenderError> {
    let start = out.len();
    let (whole, slot) = (OnceCell::new(), Slot::default());
    let mut renderer = Renderer {
        root,
        whole: &whole,
        html: escape == Escape::Html,
        start,
        bytes_max,
        nested,
        work,
        arena: Arena::new(&slot),
        recall: Recall::default(),
        out,
    };
    let scope = Scope {
        parent: None,
        context: Value::Root(root),
        counts: true,
        round: None,
        parameters: [Value::Undefined, Value::Undefined],
    };
    let rendered = renderer.nodes(nodes, &scope);
    if rendered.is_err() {
        out.truncate(start);
    }
    rendered
}

struct Renderer<'o, 'a, 'r> {
    root: &'r dyn Root,
    /// The whole document, once it has been asked for.
    whole: &'a OnceCell<Cow<'r, [u8]>>,
    html: bool,
    /// Where the text begins in `out`.
    start: usize,
    bytes_max: usize,
    nested: RenderNested,
    work: &'o mut Work,
    arena: Arena<'a>,
    recall: Recall<'a>,
    out: &'o mut Vec<u8>,
}

/// The context and the variables of a block's body, and the scope around it.
struct Scope<'s, 'a> {
    parent: Option<&'s Scope<'s, 'a>>,
    context: Value<'a>,
    /// Whether it is a step for `../`: not where the context is the one around, as Handlebars has it.
    counts: bool,
    round: Option<LoopRound<'a>>,
    parameters: [Value<'a>; 2],
}

/// A round of `each`.
#[derive(Clone)]
struct LoopRound<'a> {
    index: usize,
    key: Value<'a>,
    is_last: bool,
}

impl<'a, 'r: 'a> Renderer<'_, 'a, 'r> {
    fn check_length(&self) -> Result<(), RenderError> {
        if self.out.len() - self.start > self.bytes_max { Err(RenderError::TooLong) } else { Ok(()) }
    }

    fn nodes(&mut self, nodes: &'a [Node], scope: &Scope<'_, 'a>) -> Result<(), RenderError> {
        for node in nodes {
            steps::count(1);
            match node {
                Node::Text(text) => {
                    self.work.spend(STEP + READ * text.len())?;
                    self.out.extend_from_slice(text.as_bytes());
                    self.check_length()?;
                }
                Node::Write { value, escaped } => {
                    let value = self.value(value, scope)?;
                    value.write(self.out, *escaped && self.html, self.work)?;
                    self.check_length()?;
                }
                Node::Block(block) => self.block(block, scope)?,
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        expression: &'a TemplateExpression,
        scope: &Scope<'_, 'a>,
    ) -> Result<Value<'a>, RenderError> {
        self.work.spend(STEP)?;
        Ok(match expression {
            TemplateExpression::Lookup(lookup) => return self.lookup(lookup, scope),
            TemplateExpression::Call(call) => return self.call(call, scope),
            TemplateExpression::Text(text) => Value::Text(text),
            TemplateExpression::Number(number) => Value::Number(*number),
            TemplateExpression::Bool(value) => Value::Bool(*value),
            TemplateExpression::Null => Value::NULL,
            TemplateExpression::Undefined => Value::Undefined,
        })
    }

    fn call(&mut self, call: &'a HelperCall, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut values = ArgumentValues::new();
        for argument in &call.arguments {
            values.push(self.value(argument, scope)?);
        }
        let mut named = ArgumentValues::new();
        for (_, argument) in &call.named {
            named.push(self.value(argument, scope)?);
        }
        call.value(
            &values,
            &named,
            &mut Tools { work: self.work, arena: &self.arena, root: self.root, nested: self.nested },
        )
    }

    #[inline]
    fn lookup(&mut self, lookup: &'a PathLookup, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut value = match lookup.base {
            Base::Context { up: 0 } => scope.context,
            Base::Context { up } => self.context_out(up, scope)?,
            Base::Root { up } => self.root_out(up, scope)?,
            Base::Loop { variable, up } => self.loop_variable(variable, up, scope)?,
            Base::Parameter { scope: out, second } => self.parameter(out, second, scope)?,
        };
        let mut segments = &lookup.segments[..];
        if let Value::Root(root) = &value {
            (value, segments) = Value::first_steps(*root, segments);
        }
        // A name that is not there has none of its own; behind `@` the same goes for all that counts as nothing.
        let is_data = matches!(lookup.base, Base::Root { .. } | Base::Loop { .. });
        for segment in segments {
            if value.is_nullish() || is_data && value.is_falsy(self.work)? {
                break;
            }
            let Some(container) = Recall::container(&value, segment) else {
                value = value.property(segment, self.work)?;
                continue;
            };
            self.work.spend(STEP)?;
            value = match self.recall.find(container, segment) {
                Some(found) => found,
                None => {
                    let found = value.property(segment, self.work)?;
                    self.recall.keep(container, segment, found);
                    found
                }
            };
        }
        Ok(value)
    }

    /// The document, as the `each` so many steps out knows it.
    fn root_out(&mut self, up: usize, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut rounds = 0;
        let mut next = Some(scope);
        while let Some(scope) = next.filter(|_| rounds < up) {
            self.work.spend(READ)?;
            rounds += usize::from(scope.round.is_some());
            next = scope.parent;
        }
        Ok(if rounds == up { Value::Root(self.root) } else { Value::Undefined })
    }

    /// The context so many steps out; nothing beyond the outermost.
    fn context_out(&mut self, up: usize, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut scope = scope;
        let mut left = up;
        loop {
            self.work.spend(READ)?;
            if scope.counts {
                if left == 0 {
                    return Ok(scope.context);
                }
                left -= 1;
            }
            match scope.parent {
                Some(parent) => scope = parent,
                None => return Ok(Value::Undefined),
            }
        }
    }

    fn loop_variable(
        &mut self,
        variable: LoopVariable,
        up: usize,
        scope: &Scope<'_, 'a>,
    ) -> Result<Value<'a>, RenderError> {
        let mut left = up;
        let mut next = Some(scope);
        while let Some(scope) = next {
            self.work.spend(READ)?;
            if let Some(round) = &scope.round {
                if left == 0 {
                    return Ok(match variable {
                        LoopVariable::Index => Value::Number(round.index as f64),
                        LoopVariable::Key => round.key,
                        LoopVariable::First => Value::Bool(round.index == 0),
                        LoopVariable::Last => Value::Bool(round.is_last),
                        LoopVariable::Unknown => Value::Undefined,
                    });
                }
                left -= 1;
            }
            next = scope.parent;
        }
        Ok(Value::Undefined)
    }

    fn parameter(
        &mut self,
        out: usize,
        second: bool,
        scope: &Scope<'_, 'a>,
    ) -> Result<Value<'a>, RenderError> {
        self.work.spend_bytes(out, READ)?;
        let mut scope = scope;
        for _ in 0..out {
            match scope.parent {
                Some(parent) => scope = parent,
                None => return Ok(Value::Undefined),
            }
        }
        Ok(scope.parameters[usize::from(second)])
    }

    fn block(&mut self, block: &'a Block, scope: &Scope<'_, 'a>) -> Result<(), RenderError> {
        let value = match &block.kind {
            BlockKind::If { condition, include_zero, wanted } => {
                let zero_counts = match include_zero {
                    Some(zero) => self.value(zero, scope)?.is_truthy(false, self.work)?,
                    None => false,
                };
                let value = self.value(condition, scope)?;
                let is_true = value.is_truthy(zero_counts, self.work)?;
                let body = if is_true == *wanted { &block.body } else { &block.otherwise };
                return self.nodes(body, scope);
            }
            BlockKind::Each(value) | BlockKind::With(value) | BlockKind::Section(value) => {
                self.value(value, scope)?
            }
        };
        let is_section = matches!(block.kind, BlockKind::Section(_));
        let is_each = match &block.kind {
            BlockKind::Each(_) => true,
            BlockKind::Section(_) => value.type_of() == Type::Array,
            _ => false,
        };
        if is_each {
            return self.each(block, &value, scope);
        }
        let is_nothing = if is_section {
            value.is_nullish() || value.bool() == Some(false)
        } else {
            // To `with` only zero is not empty beside what is true.
            !value.is_truthy(true, self.work)?
        };
        if is_nothing {
            return self.nodes(&block.otherwise, scope);
        }
        let is_flag = is_section && value.bool() == Some(true);
        let inner = Scope {
            parent: Some(scope),
            context: if is_flag { scope.context } else { value },
            counts: !is_flag && !value.loosely_equals(&scope.context, self.work)?,
            round: None,
            parameters: [value, Value::Undefined],
        };
        self.nodes(&block.body, &inner)
    }

    /// Renders the body once for every value of an array or object.
    fn each(
        &mut self,
        block: &'a Block,
        value: &Value<'a>,
        scope: &Scope<'_, 'a>,
    ) -> Result<(), RenderError> {
        let list = match value {
            Value::Raw(raw) => *raw,
            Value::Root(_) => self.whole()?,
            _ => Raw::NULL,
        };
        self.work.spend_bytes(list.bytes().len(), SCAN)?;
        let mut items = list.items().peekable();
        let mut entries = list.entries().peekable();
        let mut index = 0;
        loop {
            self.work.spend(STEP)?;
            let (key, item, is_last) = if let Some(item) = items.next() {
                (Value::Number(index as f64), item, items.peek().is_none())
            } else if let Some((key, item)) = entries.next() {
                let key = match key {
                    Cow::Borrowed(key) => key,
                    Cow::Owned(key) => self.arena.text(key),
                };
                (Value::Text(key), item, entries.peek().is_none())
            } else {
                break;
            };
            let item = Value::Raw(item);
            let inner = Scope {
                parent: Some(scope),
                counts: !item.loosely_equals(&scope.context, self.work)?,
                parameters: [item, key],
                context: item,
                round: Some(LoopRound { index, key, is_last }),
            };
            self.nodes(&block.body, &inner)?;
            index += 1;
        }
        if index == 0 { self.nodes(&block.otherwise, scope) } else { Ok(()) }
    }

    /// The whole document, in one piece.
    fn whole(&mut self) -> Result<Raw<'a>, RenderError> {
        let (whole, root) = (self.whole, self.root);
        let whole: &'a [u8] = match whole.get() {
            Some(whole) => whole,
            None => {
                self.work.spend_bytes(root.whole_len(), READ)?;
                whole.get_or_init(|| root.whole())
            }
        };
        Ok(Raw::trusted(whole))
    }
}
