//! Conditions: no source breaks the compiler, what compiled is evaluated within its work, to the same value each time, and
//! its negation to the other one.
//!
//! The input is a source, and behind a NUL the document that it is evaluated over, or nothing for one of ours.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::base::json::Raw;
use tidegate::expression::{Expression, ExpressionWork, Operand, TooMuchWork};

const WORK_BYTES: usize = 1 << 20;
const DOCUMENT: &[u8] = br#"{"n":1.50,"e":1e400,"s":"\u00e9 12","list":[1,"x",null,{"y":[[],{}]}],"o":{"k":"v"},"t":true,"u":null}"#;
/// Expressions that must compile, whatever else changes.
const GOOD: [&str; 4] = [
    "{{data.body.n}} > 4",
    "!({{a}} === 'x' || {{b}} != null) && -1 % 2 <= +{{c}}",
    "({{a}} + '|') == \"1|\"",
    "undefined",
];

fuzz_target!(init: { GOOD.iter().for_each(|source| { compile(source).expect("it is good"); }); }, |data: &[u8]| {
    let (source, document) = match data.iter().position(|&byte| byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b""[..]),
    };
    let Ok(source) = std::str::from_utf8(source) else { return };
    let document = Raw::document(document).unwrap_or(Raw::trusted(DOCUMENT));
    let expression = match compile(source) {
        Ok(expression) => expression,
        Err(error) => {
            let lines = source.matches('\n').count() + 1;
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(expression.paths().all(|path| source.contains(path)));
    let mut scratch = b"what was there before".to_vec();
    let mut work = ExpressionWork::new(WORK_BYTES);
    let is_true = evaluate(&expression, document, &mut work, &mut scratch);
    assert!(scratch.len() <= WORK_BYTES, "what is written is paid for");
    let spent = WORK_BYTES - work.left();
    let again = evaluate(&compile(source).expect("what compiled"), document, &mut ExpressionWork::new(spent), &mut Vec::new());
    assert_eq!(again, is_true);
    if is_true.is_ok() {
        assert_eq!(evaluate(&expression, document, &mut ExpressionWork::new(spent - 1), &mut scratch), Err(TooMuchWork));
        let negated = compile(&format!("!({source}\n)"));
        if let Ok(negated) = negated {
            let opposite = evaluate(&negated, document, &mut ExpressionWork::new(2 * WORK_BYTES), &mut scratch);
            assert_eq!(opposite, is_true.map(|value| !value));
        }
    }
});

fn compile(source: &str) -> Result<Expression<String>, tidegate::expression::ExpressionError> {
    Expression::compile(source, &mut |path| Ok(path.to_owned()))
}

fn evaluate(
    expression: &Expression<String>,
    document: Raw<'_>,
    work: &mut ExpressionWork,
    scratch: &mut Vec<u8>,
) -> Result<bool, TooMuchWork> {
    // The document outlives the call; so does the expression.
    let find = &mut |path: &String, work: &mut ExpressionWork| {
        work.spend(document.bytes().len())?;
        Ok(if path.is_empty() {
            Operand::Document
        } else {
            document.get(path).map_or(Operand::Undefined, Operand::Json)
        })
    };
    expression.is_true(find, work, scratch)
}
