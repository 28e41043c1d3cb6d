//! Trace contexts as callers and targets exchange them (W3C Trace Context, `traceparent`).

use std::fmt::{self, Write as _};

/// Names of the fields.
pub(crate) const TRACEPARENT_FIELD: &str = "traceparent";
pub(crate) const TRACESTATE_FIELD: &str = "tracestate";
/// Most bytes of a `tracestate` that is passed on (W3C Trace Context, 3.3.1.5).
pub(crate) const TRACESTATE_BYTES_MAX: usize = 512;
/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A place in a trace: the trace, and one of its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never 0.
    pub trace: u128,
    /// Never 0.
    pub span: u64,
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`; `None` if it is not one, so that a new trace begins (W3C Trace Context, 3.2.2 and 4.3).
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<TraceContext> {
        let (known, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
        let [version, trace, span, flags] = [&known[..2], &known[3..35], &known[36..52], &known[53..]];
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let version = number(version)?;
        // Later versions may append fields, behind a hyphen.
        let is_version =
            if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with(b"-") };
        if version == 0xFF || !is_version {
            return None;
        }
        let (trace, span, flags) = (number(trace)?, number(span)? as u64, number(flags)? as u8);
        (trace != 0 && span != 0).then_some(TraceContext { trace, span, is_sampled: flags & SAMPLED != 0 })
    }

    /// The same trace, with a span whose parent this one is.
    #[must_use]
    pub fn child(self, span: u64) -> TraceContext {
        TraceContext { span: span.max(1), ..self }
    }

    /// The value of the field.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(TRACEPARENT_BYTES);
        // A string takes everything.
        let _ = write!(text, "{self}");
        text
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// Reads lower-case hex digits, 32 at the most.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let context = TraceContext::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((context.span, context.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.text(), EXAMPLE);
        let child = context.child(5).text();
        assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000005-01");
        assert_eq!(context.child(0).span, 1);
    }

    #[test]
    fn what_is_not_a_traceparent_begins_no_trace() {
        let later = format!("cc{}-what-comes-later", &EXAMPLE[2..]);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        let not_sampled = format!("{}00", &EXAMPLE[..53]);
        assert!(TraceContext::parse(not_sampled.as_bytes()).is_some_and(|context| !context.is_sampled));
        for bad in [
            String::new(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}-x"),
            format!("{EXAMPLE}x"),
            format!("ff{}", &EXAMPLE[2..]),
            format!("cc{}.x", &EXAMPLE[2..]),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("4bf9", "4b+9"),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
