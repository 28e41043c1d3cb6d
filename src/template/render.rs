//! Renders a compiled template over a payload.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::call::Call;
use super::error::RenderError;
use super::root::Root;
use super::tree::{Base, Block, BlockKind, Expression, Lookup, LoopVariable, Node};
use super::value::{Type, Value};
use super::{Escape, OUTPUT_BYTES_MAX};
use crate::base::json::Raw;

/// Bytes of the payload that one rendering may look through: some tens of milliseconds. A template that looks into
/// the whole payload for every member of a long list is not worth holding a core for longer.
const WORK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a node or a call costs beside the bytes that it reads.
const STEP_COST: usize = 32;

/// Appends the text of `nodes` to `out`.
pub(super) fn render(
    nodes: &[Node],
    root: &dyn Root,
    escape: Escape,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), RenderError> {
    let start = out.len();
    let whole = OnceCell::new();
    let mut renderer = Renderer {
        root,
        whole: &whole,
        html: escape == Escape::Html,
        start,
        bytes_max,
        work: WORK_BYTES_MAX,
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
    /// What may still be spent.
    work: usize,
    out: &'o mut Vec<u8>,
}

/// What a block puts between its body and what is around.
struct Scope<'s, 'a> {
    parent: Option<&'s Scope<'s, 'a>>,
    context: Value<'a>,
    /// Whether it is a step for `../`: not where the context is the one around, as Handlebars has it.
    counts: bool,
    round: Option<Round<'a>>,
    parameters: [Value<'a>; 2],
}

/// A round of `each`.
#[derive(Clone)]
struct Round<'a> {
    index: usize,
    key: Value<'a>,
    is_last: bool,
}

impl<'a, 'r: 'a> Renderer<'_, 'a, 'r> {
    fn spend(&mut self, cost: usize) -> Result<(), RenderError> {
        self.work = self.work.checked_sub(cost + STEP_COST).ok_or(RenderError::TooMuchWork)?;
        Ok(())
    }

    fn check_length(&self) -> Result<(), RenderError> {
        if self.out.len() - self.start > self.bytes_max { Err(RenderError::TooLong) } else { Ok(()) }
    }

    fn nodes(&mut self, nodes: &'a [Node], scope: &Scope<'_, 'a>) -> Result<(), RenderError> {
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.spend(0)?;
                    self.out.extend_from_slice(text.as_bytes());
                    self.check_length()?;
                }
                Node::Write { value, escaped } => {
                    let value = self.value(value, scope)?;
                    self.spend(value.cost())?;
                    value.write(self.out, *escaped && self.html);
                    self.check_length()?;
                }
                Node::Block(block) => self.block(block, scope)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, expression: &'a Expression, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        Ok(match expression {
            Expression::Lookup(lookup) => return self.lookup(lookup, scope),
            Expression::Call(call) => return self.call(call, scope),
            Expression::Text(text) => Value::Text(Cow::Borrowed(text)),
            Expression::Number(number) => Value::Number(*number),
            Expression::Bool(value) => Value::Bool(*value),
            Expression::Null => Value::NULL,
            Expression::Undefined => Value::Undefined,
        })
    }

    fn call(&mut self, call: &'a Call, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut values = [Value::Undefined, Value::Undefined];
        for (value, argument) in values.iter_mut().zip(&call.arguments) {
            *value = self.value(argument, scope)?;
        }
        let [first, second] = &values;
        self.spend(first.cost() + second.cost())?;
        let value = call.value(first, second, OUTPUT_BYTES_MAX)?;
        self.spend(value.cost())?;
        Ok(value)
    }

    #[inline]
    fn lookup(&mut self, lookup: &'a Lookup, scope: &Scope<'_, 'a>) -> Result<Value<'a>, RenderError> {
        let mut value = match lookup.base {
            Base::Context { up: 0 } => scope.context.clone(),
            Base::Context { up } => scope.context_out(up),
            Base::Root => Value::Root(self.root),
            Base::Loop { variable, up } => scope.loop_variable(variable, up),
            Base::Parameter { scope: out, second } => scope.parameter(out, second),
        };
        let mut segments = &lookup.segments[..];
        if let Value::Root(root) = &value {
            (value, segments) = Value::first_steps(*root, segments);
            self.spend(0)?;
        }
        for segment in segments {
            self.spend(value.cost())?;
            value = value.property(segment);
        }
        Ok(value)
    }

    fn block(&mut self, block: &'a Block, scope: &Scope<'_, 'a>) -> Result<(), RenderError> {
        let value = match &block.kind {
            BlockKind::If { condition, include_zero, wanted } => {
                let zero_counts = match include_zero {
                    Some(zero) => self.value(zero, scope)?.is_truthy(false),
                    None => false,
                };
                let value = self.value(condition, scope)?;
                self.spend(value.cost())?;
                let body =
                    if value.is_truthy(zero_counts) == *wanted { &block.body } else { &block.otherwise };
                return self.nodes(body, scope);
            }
            BlockKind::Each(value) | BlockKind::With(value) | BlockKind::Section(value) => {
                self.value(value, scope)?
            }
        };
        self.spend(value.cost())?;
        let is_each = match &block.kind {
            BlockKind::Each(_) => true,
            BlockKind::Section(_) => value.type_of() == Type::Array,
            _ => false,
        };
        if is_each {
            return self.each(block, &value, scope);
        }
        let is_section = matches!(block.kind, BlockKind::Section(_));
        if if is_section { value.is_nullish() || value.bool() == Some(false) } else { value.is_empty() } {
            return self.nodes(&block.otherwise, scope);
        }
        let is_flag = is_section && value.bool() == Some(true);
        let inner = Scope {
            parent: Some(scope),
            context: if is_flag { scope.context.clone() } else { value.clone() },
            counts: !is_flag && !value.equals(&scope.context),
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
            Value::Root(_) => {
                let (whole, root) = (self.whole, self.root);
                let whole: &'a [u8] = match whole.get() {
                    Some(whole) => whole,
                    None => whole.get_or_init(|| root.whole()),
                };
                self.spend(whole.len())?;
                Raw::trusted(whole)
            }
            _ => Raw::NULL,
        };
        let mut items = list.items().peekable();
        let mut entries = list.entries().peekable();
        let mut index = 0;
        loop {
            let (key, item, is_last) = if let Some(item) = items.next() {
                (Value::Number(index as f64), item, items.peek().is_none())
            } else if let Some((key, item)) = entries.next() {
                (Value::Text(key), item, entries.peek().is_none())
            } else {
                break;
            };
            let item = Value::Raw(item);
            self.spend(item.cost())?;
            let inner = Scope {
                parent: Some(scope),
                counts: !item.equals(&scope.context),
                parameters: [item.clone(), key.clone()],
                context: item,
                round: Some(Round { index, key, is_last }),
            };
            self.nodes(&block.body, &inner)?;
            index += 1;
        }
        if index == 0 { self.nodes(&block.otherwise, scope) } else { Ok(()) }
    }
}

impl<'a> Scope<'_, 'a> {
    /// The context so many steps out; nothing beyond the outermost.
    fn context_out(&self, up: usize) -> Value<'a> {
        let mut scope = self;
        let mut left = up;
        loop {
            if scope.counts {
                if left == 0 {
                    return scope.context.clone();
                }
                left -= 1;
            }
            match scope.parent {
                Some(parent) => scope = parent,
                None => return Value::Undefined,
            }
        }
    }

    fn loop_variable(&self, variable: LoopVariable, up: usize) -> Value<'a> {
        let mut left = up;
        let mut next = Some(self);
        while let Some(scope) = next {
            if let Some(round) = &scope.round {
                if left == 0 {
                    return match variable {
                        LoopVariable::Index => Value::Number(round.index as f64),
                        LoopVariable::Key => round.key.clone(),
                        LoopVariable::First => Value::Bool(round.index == 0),
                        LoopVariable::Last => Value::Bool(round.is_last),
                        LoopVariable::Unknown => Value::Undefined,
                    };
                }
                left -= 1;
            }
            next = scope.parent;
        }
        Value::Undefined
    }

    fn parameter(&self, out: usize, second: bool) -> Value<'a> {
        let mut scope = self;
        for _ in 0..out {
            match scope.parent {
                Some(parent) => scope = parent,
                None => return Value::Undefined,
            }
        }
        scope.parameters[usize::from(second)].clone()
    }
}
