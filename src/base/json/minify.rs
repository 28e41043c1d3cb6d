//! Takes the white space between tokens out.

use super::scan::string_end;

/// Appends a JSON document without the white space between its tokens; all other bytes are unchanged. Text that is not
/// JSON loses its white space outside of what looks like strings.
pub fn minify_into(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len());
    let (mut done, mut at) = (0, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1).0,
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.extend_from_slice(&text[done..at]);
                at += 1;
                done = at;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(&text[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minified(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        minify_into(&mut out, text);
        out
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        assert_eq!(
            minified(b" { \"a b\" : [ 1.0 ,\r\n\t2e5 , \" \\\" \" ] } \n"),
            br#"{"a b":[1.0,2e5," \" "]}"#
        );
        assert_eq!(minified(b""), b"");
        assert_eq!(minified(b"\"unfinished \\"), b"\"unfinished \\");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            prop_assert!(minified(&bytes).len() <= bytes.len());
        }
    }
}
