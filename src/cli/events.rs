//! Server-sent events, as a client reads them.

use std::io::{BufRead as _, BufReader, Read};

/// One server-sent event (WHATWG HTML, section 9.2.6).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Reads events off a stream; ids, times to wait and comments are passed over.
pub(super) struct EventReader<R> {
    lines: BufReader<R>,
}

impl<R: Read> EventReader<R> {
    pub(super) fn new(stream: R) -> EventReader<R> {
        EventReader { lines: BufReader::new(stream) }
    }

    /// The next event that has data. None: the stream ended.
    ///
    /// # Errors
    /// If the stream breaks.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut has_data = false;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                // An event that was not ended is none.
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if has_data {
                    return Ok(Some(event));
                }
                event = Event::default();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    if std::mem::replace(&mut has_data, true) {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                }
                "event" => event.name = value.to_owned(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let mut reader = EventReader::new(text.as_bytes());
        let next = || reader.next().unwrap().map(|event| (event.name, event.data));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let event = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(events(": open\n\ndata: {\"a\":1}\n\n"), [event("", "{\"a\":1}")]);
        assert_eq!(events("data: {\ndata:  \"a\":1\r\ndata:}\n\n"), [event("", "{\n \"a\":1\n}")]);
        assert_eq!(
            events("event: skipped\ndata: 7\nid: 1\n\ndata: x\n\n"),
            [event("skipped", "7"), event("", "x")]
        );
        assert_eq!(events("data: whole\n\ndata: half\n"), [event("", "whole")]);
        assert_eq!(events(""), []);
    }
}
