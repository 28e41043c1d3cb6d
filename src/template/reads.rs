//! The parts of a document that a template or path reads, known before the document exists: its builder need not build
//! the rest.
//!
//! It may tell of more than is looked at, never of less. In a block that has a context of its own a name is a member
//! of that context; it is told as if it were one of the document's.

use super::compiled::Template;
use super::helper::Helper;
use super::path::Path;
use super::tree::{Base, Block, BlockKind, Node, PathLookup, TemplateExpression};
use super::value::PathSegment;

/// A part of a document that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRead<'t> {
    /// All of it.
    Whole,
    /// All that a key leads to.
    Key(&'t str),
    /// The value behind two steps, and behind a third if there is one.
    Member(&'t str, &'t str, Option<&'t str>),
}

impl Template {
    /// Tells all that rendering may look at.
    pub fn reads<'t>(&'t self, tell: &mut dyn FnMut(PathRead<'t>)) {
        nodes(&self.nodes, true, tell);
    }
}

impl Path {
    /// Tells what it leads to.
    pub fn reads<'t>(&'t self, tell: &mut dyn FnMut(PathRead<'t>)) {
        tell(PathRead::of(self.segments()));
    }
}

impl<'t> PathRead<'t> {
    fn of(segments: &'t [PathSegment]) -> PathRead<'t> {
        match segments {
            [] => PathRead::Whole,
            [key] => PathRead::Key(key.name()),
            [key, member, behind @ ..] => {
                PathRead::Member(key.name(), member.name(), behind.first().map(PathSegment::name))
            }
        }
    }
}

/// `at_root`: whether the context may be the document itself.
fn nodes<'t>(nodes: &'t [Node], at_root: bool, tell: &mut dyn FnMut(PathRead<'t>)) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Write { value, .. } => expression(value, at_root, tell),
            Node::Block(block) => self::block(block, at_root, tell),
        }
    }
}

fn block<'t>(block: &'t Block, at_root: bool, tell: &mut dyn FnMut(PathRead<'t>)) {
    let stays_at_root = match &block.kind {
        BlockKind::If { condition, include_zero, .. } => {
            expression(condition, at_root, tell);
            include_zero.iter().for_each(|zero| expression(zero, at_root, tell));
            true
        }
        // Over `true` the context stays as it is.
        BlockKind::Section(value) => {
            expression(value, at_root, tell);
            true
        }
        // Where the value is the document, it was told of as such.
        BlockKind::Each(value) | BlockKind::With(value) => {
            expression(value, at_root, tell);
            false
        }
    };
    nodes(&block.body, at_root && stays_at_root, tell);
    nodes(&block.otherwise, at_root, tell);
}

fn expression<'t>(value: &'t TemplateExpression, at_root: bool, tell: &mut dyn FnMut(PathRead<'t>)) {
    match value {
        TemplateExpression::Text(_)
        | TemplateExpression::Number(_)
        | TemplateExpression::Bool(_)
        | TemplateExpression::Null
        | TemplateExpression::Undefined => {}
        TemplateExpression::Call(call) => {
            call.arguments.iter().for_each(|argument| expression(argument, at_root, tell));
            call.named.iter().for_each(|(_, argument)| expression(argument, at_root, tell));
            match call.helper {
                // What they take for the present.
                Helper::CurrentDateTime | Helper::FormatDateRelative => tell(PathRead::Key("time")),
                Helper::Template => tell(PathRead::Whole),
                _ => {}
            }
        }
        TemplateExpression::Lookup(PathLookup { base, segments }) => match base {
            // What these are was told of where the block begins.
            Base::Loop { .. } | Base::Parameter { .. } => {}
            Base::Context { up: 0 } if segments.is_empty() && !at_root => {}
            Base::Context { .. } | Base::Root { .. } => tell(PathRead::of(segments)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[PathRead<'_>]) {
        let template = Template::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let mut told = Vec::new();
        template.reads(&mut |read| told.push(read));
        assert_eq!(told, expected, "{source}");
    }

    #[test]
    fn all_that_is_looked_at_is_told() {
        use PathRead::{Key, Member, Whole};
        check("plain", &[]);
        check("{{time}}", &[Key("time")]);
        check("{{{data.path}}}", &[Member("data", "path", None)]);
        check("{{data.body.list.[0].x}}", &[Member("data", "body", Some("list"))]);
        check("{{@root.data.body}}", &[Member("data", "body", None)]);
        check("{{lookup data \"body\"}}", &[Key("data")]);
        check("{{jsonEncode this}}", &[Whole]);
        check(
            "{{#if data.a}}{{data.b}}{{else}}{{data.c}}{{/if}}",
            &["a", "b", "c"].map(|m| Member("data", m, None)),
        );
        check("{{#eq data.a (upper data.b)}}{{/eq}}", &["a", "b"].map(|m| Member("data", m, None)));
    }

    #[test]
    fn the_document_is_told_of_wherever_it_may_be_the_context() {
        use PathRead::{Key, Member, Whole};
        let body = Member("data", "body", None);
        check("{{#each data.body}}{{this}}{{@index}}{{x.y}}{{/each}}", &[body, Member("x", "y", None)]);
        check("{{#each data.body}}{{else}}{{this}}{{/each}}", &[body, Whole]);
        check("{{#each data.body}}{{jsonEncode ..}}{{../time}}{{/each}}", &[body, Whole, Key("time")]);
        check("{{#with data.body as |b|}}{{b.x}}{{b}}{{/with}}", &[body]);
        check("{{#time}}{{jsonEncode this}}{{/time}}", &[Key("time"), Whole]);
        check("{{#with this}}{{data.body}}{{/with}}", &[Whole, body]);
    }

    #[test]
    fn a_path_tells_where_it_leads() {
        for (path, expected) in [
            ("", PathRead::Whole),
            ("time", PathRead::Key("time")),
            ("data.message.data", PathRead::Member("data", "message", Some("data"))),
        ] {
            let path = Path::parse(path).unwrap();
            path.reads(&mut |read| assert_eq!(read, expected));
        }
    }
}
