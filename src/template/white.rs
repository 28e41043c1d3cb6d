//! White-space control: what `~` takes away around tags, and the lines that tags of blocks and comments have for
//! themselves. It follows handlebars.js step by step, whose answers for chains of `{{else if}}` have to be met too.

use super::syntax::{BlockStatement, Program, Statement, Strip};
use crate::base::number::is_space;

/// The effects of a statement's tags on the text around it.
#[derive(Default)]
struct Tags {
    strip: Strip,
    /// Whether the line of the first tag, of the last one, or of the only one is empty on the inner side.
    opens_alone: bool,
    closes_alone: bool,
    is_alone: bool,
}

/// Takes white space out of a program and of those in its blocks.
pub(super) fn control(program: &mut Program<'_>, is_root: bool) {
    for at in 0..program.body.len() {
        let tags = match &mut program.body[at] {
            Statement::Content(_) => continue,
            Statement::Mustache(mustache) => Tags { strip: mustache.strip, ..Tags::default() },
            Statement::Comment(strip) => Tags { strip: *strip, is_alone: true, ..Tags::default() },
            Statement::Block(block) => control_block(block),
        };
        let body = &mut program.body;
        let is_line_start = ends_line(body, at, is_root);
        let is_line_end = starts_line(body, at + 1, is_root);
        if tags.strip.close {
            strip_start(body, at + 1, true);
        }
        if tags.strip.open {
            strip_end(body, at, true);
        }
        if tags.is_alone && is_line_start && is_line_end {
            strip_start(body, at + 1, false);
            strip_end(body, at, false);
        }
        if tags.opens_alone && is_line_start {
            if let Some(first) = first_program(&mut body[at]) {
                strip_start(first, 0, false);
            }
            strip_end(body, at, false);
        }
        if tags.closes_alone && is_line_end {
            strip_start(body, at + 1, false);
            if let Some(last) = last_program(&mut body[at]) {
                let end = last.len();
                strip_end(last, end, false);
            }
        }
    }
}

fn control_block(block: &mut BlockStatement<'_>) -> Tags {
    if let Some(program) = &mut block.program {
        control(program, false);
    }
    if let Some(inverse) = &mut block.inverse {
        control(inverse, false);
    }
    let strip = Strip { open: block.open_strip.open, close: block.close_strip.close };
    let (open_strip, inverse_strip, close_strip) = (block.open_strip, block.inverse_strip, block.close_strip);
    let (first, inverse) = match (&mut block.program, &mut block.inverse) {
        (Some(program), inverse) => (&mut program.body, inverse.as_mut()),
        (None, Some(inverse)) => (&mut inverse.body, None),
        (None, None) => return Tags { strip, ..Tags::default() },
    };
    let opens_alone = starts_line(first, 0, false);
    if open_strip.close {
        strip_start(first, 0, true);
    }
    let Some(inverse) = inverse else {
        let closes_alone = ends_line(first, first.len(), false);
        if close_strip.open {
            let end = first.len();
            strip_end(first, end, true);
        }
        return Tags { strip, opens_alone, closes_alone, is_alone: false };
    };
    if inverse_strip.open {
        let end = first.len();
        strip_end(first, end, true);
    }
    let first_inverse = first_of(inverse);
    let closes_alone = ends_line(first_inverse, first_inverse.len(), false);
    if inverse_strip.close {
        strip_start(first_inverse, 0, true);
    }
    if close_strip.open {
        let end = first_inverse.len();
        strip_end(first_inverse, end, true);
    }
    if ends_line(first, first.len(), false) && starts_line(first_inverse, 0, false) {
        let end = first.len();
        strip_end(first, end, false);
        strip_start(first_inverse, 0, false);
    }
    Tags { strip, opens_alone, closes_alone, is_alone: false }
}

type Statements<'s> = Vec<Statement<'s>>;

fn first_program<'b, 's>(statement: &'b mut Statement<'s>) -> Option<&'b mut Statements<'s>> {
    let Statement::Block(block) = statement else { return None };
    block.program.as_mut().or(block.inverse.as_mut()).map(|program| &mut program.body)
}

fn last_program<'b, 's>(statement: &'b mut Statement<'s>) -> Option<&'b mut Statements<'s>> {
    let Statement::Block(block) = statement else { return None };
    block.inverse.as_mut().or(block.program.as_mut()).map(|program| &mut program.body)
}

/// The statements behind an `{{else}}`, or those of the block that it begins.
fn first_of<'b, 's>(inverse: &'b mut Program<'s>) -> &'b mut Statements<'s> {
    if !inverse.is_chained {
        return &mut inverse.body;
    }
    match inverse.body.first_mut() {
        Some(Statement::Block(block)) => &mut block.program.get_or_insert_default().body,
        _ => unreachable!("a chain is a block"),
    }
}

/// Whether the line of what stands at a place is empty in front of it.
fn ends_line(body: &[Statement<'_>], at: usize, is_root: bool) -> bool {
    let Some(Statement::Content(content)) = at.checked_sub(1).map(|before| &body[before]) else {
        return at == 0 && is_root;
    };
    let line = content.original.trim_end_matches(is_space);
    content.original[line.len()..].contains('\n') || line.is_empty() && at == 1 && is_root
}

/// Whether the line of what stands in front of a place is empty from there on.
fn starts_line(body: &[Statement<'_>], at: usize, is_root: bool) -> bool {
    let content = match body.get(at) {
        Some(Statement::Content(content)) => content,
        other => return other.is_none() && is_root,
    };
    let line = content.original.trim_start_matches(is_space);
    let white = &content.original[..content.original.len() - line.len()];
    white.contains('\n') || line.is_empty() && at + 1 == body.len() && is_root
}

/// Takes white space from the start of the text at a place: all of it, or the rest of a line.
fn strip_start(body: &mut [Statement<'_>], at: usize, all: bool) {
    let Some(Statement::Content(content)) = body.get_mut(at) else { return };
    if !all && content.is_right_stripped {
        return;
    }
    let before = content.value;
    content.value = if all {
        before.trim_start_matches(is_space)
    } else {
        let rest = before.trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix('\r').unwrap_or(rest);
        rest.strip_prefix('\n').unwrap_or(rest)
    };
    content.is_right_stripped = content.value.len() != before.len();
}

/// Takes white space from the end of the text in front of a place: all of it, or blanks.
fn strip_end(body: &mut [Statement<'_>], at: usize, all: bool) {
    let Some(Statement::Content(content)) = at.checked_sub(1).and_then(|before| body.get_mut(before)) else {
        return;
    };
    if !all && content.is_left_stripped {
        return;
    }
    let before = content.value;
    content.value =
        if all { before.trim_end_matches(is_space) } else { before.trim_end_matches([' ', '\t']) };
    content.is_left_stripped = content.value.len() != before.len();
}
