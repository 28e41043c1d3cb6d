//! The output of the commands: standard output that may be closed early, complaints, tables, JSON for people.

use std::io::{self, IsTerminal, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use serde_json::Value;

use super::options::Format;
use crate::base::json::minify_into;
use crate::base::visible::{visible, visible_json, visible_lines};
use crate::model::yaml;

/// Spaces of one level of JSON.
const INDENT: usize = 2;
/// Spaces between the columns of a table.
const GAP: usize = 2;

/// Writes to standard output, what could steer a terminal as escapes.
///
/// # Errors
/// Where it cannot be written; a closed pipe among them ([`is_closed_pipe`]).
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(visible_lines(text).as_bytes())
}

/// Writes JSON to standard output: for people on a terminal indented, with escapes; else as one line, as it is.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_json(json: &str) -> anyhow::Result<()> {
    let shown = if is_terminal() {
        visible_json(&indented(json)).into_owned()
    } else {
        format!("{}\n", json.trim_end())
    };
    write(shown.as_bytes())
}

/// Writes JSON to standard output as one line: without the white space between its tokens; every other byte as it is,
/// but on a terminal, where it gets escapes.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_json_line(json: &str) -> anyhow::Result<()> {
    let mut line = Vec::with_capacity(json.len() + 1);
    if is_terminal() {
        minify_into(&mut line, visible_json(json).as_bytes());
    } else {
        minify_into(&mut line, json.as_bytes());
    }
    line.push(b'\n');
    write(&line)
}

/// Writes JSON in the format that is asked for; as a table, a line for each member of an object.
///
/// # Errors
/// If `json` is none; as [`print()`].
pub(super) fn print_as(json: &str, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => print_json(json),
        Format::Yaml => print_yaml(&serde_json::from_str(json)?),
        Format::Table => {
            let Value::Object(members) = serde_json::from_str(json)? else { return print_json(json) };
            let cell = |value: Value| match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let rows: Vec<Vec<String>> =
                members.into_iter().map(|(name, value)| vec![name, cell(value)]).collect();
            print(&table(&["FIELD", "VALUE"], &rows))
        }
    }
}

/// Writes a value as YAML to standard output.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_yaml(value: &Value) -> anyhow::Result<()> {
    let text = yaml::write(value).map_err(|why| anyhow::anyhow!("it cannot be written as YAML: {why}"))?;
    if is_terminal() { print(&text) } else { write(text.as_bytes()) }
}

/// Writes a value as one YAML document of several.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_document(value: &Value) -> anyhow::Result<()> {
    write(b"---\n")?;
    print_yaml(value)
}

/// Writes JSON to standard output with indentation, whoever reads it: for a file that people keep and compare.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_indented(json: &str) -> anyhow::Result<()> {
    let text = indented(json);
    if is_terminal() { write(visible_json(&text).as_bytes()) } else { write(text.as_bytes()) }
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_raw(bytes: &[u8]) -> anyhow::Result<()> {
    write(bytes)
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush())?;
    Ok(())
}

/// Whether who read our output has had enough (`tidegate webhook list | head -1`): no failure.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Ends the process, as done, once who reads standard output is gone: where nothing is to be written for long, writing
/// would not find out.
///
/// # Errors
/// Where there is no thread to be had.
pub(super) fn end_with_reader() -> anyhow::Result<()> {
    std::thread::Builder::new().name("reader".to_owned()).spawn(|| {
        let stdout = io::stdout();
        loop {
            // Asked for nothing, it tells of errors and ends alone.
            let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut polled, None) {
                Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                    std::process::exit(0)
                }
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    })?;
    Ok(())
}

/// Complains of the nodes of a cluster whose part of a list is missing.
pub(super) fn tell_unreachable<'n>(nodes: impl Iterator<Item = &'n str>) {
    for node in nodes {
        complain(&format!("node {node} does not answer: what it keeps is not shown"));
    }
}

/// Says on standard error what went wrong, in one line.
pub(super) fn complain(message: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "tidegate: {}", in_one_line(message));
}

/// Writes a question to standard error, where a person sees it whatever reads standard output.
pub(super) fn ask(question: &str) {
    // A closed standard error leaves nobody to ask.
    let _ = write!(io::stderr(), "{}", visible_lines(question));
}

/// Tells on standard error what the command is about to do.
pub(super) fn tell(message: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{}", in_one_line(message));
}

/// Tells a person on standard error how far something is; nobody else.
pub(super) fn tell_progress(message: &str) {
    if io::stderr().is_terminal() {
        complain(message);
    }
}

/// Whether there is a person to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks a question on a terminal. Without one nobody can be asked, and the answer is yes.
///
/// # Errors
/// Where the answer cannot be read.
fn confirm(question: &str) -> anyhow::Result<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(true);
    }
    ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Asks before something is lost, unless `--yes` says not to.
///
/// # Errors
/// If the answer is no, or cannot be read.
pub(super) fn confirm_unless(is_sure: bool, question: &str) -> anyhow::Result<()> {
    anyhow::ensure!(is_sure || confirm(question)?, "nothing was changed");
    Ok(())
}

/// The lines of a text one after the other, control characters as escapes.
pub(super) fn in_one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    visible(&lines.join(" ")).into_owned()
}

/// Whether a person reads standard output.
fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Lines of columns, each as wide as its widest cell. Characters that could steer a terminal are escaped.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heads.get(column).map(|head| head.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut heads.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Valid JSON with line ends and indentation, and not a digit of its numbers changed.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    let mut tokens = json.chars().peekable();
    let newline = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', depth * INDENT));
    };
    while let Some(c) = tokens.next() {
        if in_string {
            text.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' => {
                text.push(c);
                while tokens.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = tokens.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(close);
                } else {
                    depth += 1;
                    newline(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                newline(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_numbers_and_strings_stay() {
        let cases = [
            ("{}", "{}\n"),
            ("[ ]", "[]\n"),
            ("1.10", "1.10\n"),
            (
                "{\"a\":[1,{\"b\":null}],\"c\" : 12345678901234567890.0}",
                "{\n  \"a\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"c\": 12345678901234567890.0\n}\n",
            ),
            (r#"{"a":"{\"x\": [1, 2]\\"}"#, "{\n  \"a\": \"{\\\"x\\\": [1, 2]\\\\\"\n}\n"),
        ];
        for (json, expected) in cases {
            assert_eq!(indented(json), expected);
        }
    }

    #[test]
    fn a_complaint_is_one_line_whatever_it_is_about() {
        assert_eq!(in_one_line("a\n  b\r\n\nc\u{1b}[31m\rd\n"), "a b c\\u{1b}[31m\\rd");
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_steers_no_terminal() {
        let rows =
            [vec!["1".to_owned(), "ü".to_owned()], vec!["long id".to_owned(), "\u{1b}[31mred\n".to_owned()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID       NAME\n1        ü\nlong id  \\u{1b}[31mred\\n\n");
    }
}
