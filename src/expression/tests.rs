//! Syntax, bounds and errors. The values are compared with JavaScript's in `tests/expression_oracle.rs`.

use super::error::ExpressionFault;
use super::*;

fn compile(source: &str) -> Result<Expression<String>, ExpressionError> {
    Expression::compile(source, &mut |path| Ok(path.to_owned()))
}

fn is_true_within(source: &str, payload: &str, work: usize) -> Result<bool, TooMuchWork> {
    let expression = compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let root = Raw::document(payload.as_bytes()).expect("JSON");
    let find = &mut |name: &String, work: &mut ExpressionWork| {
        work.spend(payload.len())?;
        Ok(root.get(name).map_or(Operand::Undefined, Operand::Json))
    };
    expression.is_true(find, &mut ExpressionWork::new(work), &mut b"what was there before".to_vec())
}

fn is_true(source: &str, payload: &str) -> bool {
    is_true_within(source, payload, 1 << 22).expect("little work")
}

#[test]
fn operators_bind_as_in_javascript() {
    for (source, expected) in [
        ("1 + 2 * 3 === 7", true),
        ("(1 + 2) * 3 === 9", true),
        ("10 - 4 - 3 === 3", true),
        ("100 / 10 / 2 === 5", true),
        ("true || false && false", true),
        ("(true || false) && false", false),
        ("!true === false", true),
        ("!(true === true)", false),
        ("1 < 2 == true", true),
        ("3 > 2 > 1", false),
        ("- 2 - -2 === 0", true),
        ("'a' + 1 + 2 === 'a12'", true),
        ("1 + 2 + 'a' === '3a'", true),
        ("0 || '' || null || 5", true),
        ("1 && 'x' && 0", false),
        ("(0 || 'x') === 'x' && (0 && 'x') === 0", true),
    ] {
        assert_eq!(is_true(source, "{}"), expected, "{source}");
    }
}

#[test]
fn what_is_behind_a_decided_and_or_or_is_not_looked_at() {
    let expression = compile("{{a}} || {{b}} && {{c}}").expect("it compiles");
    let mut looked = Vec::new();
    let find = &mut |name: &String, _: &mut ExpressionWork| {
        looked.push(name.clone());
        Ok(Operand::Number(f64::from(name == "b")))
    };
    assert_eq!(expression.is_true(find, &mut ExpressionWork::new(1000), &mut Vec::new()), Ok(false));
    assert_eq!(looked, ["a", "b", "c"]);
    looked.clear();
    let find = &mut |name: &String, _: &mut ExpressionWork| {
        looked.push(name.clone());
        Ok(Operand::Number(f64::from(name == "a")))
    };
    assert_eq!(expression.is_true(find, &mut ExpressionWork::new(1000), &mut Vec::new()), Ok(true));
    assert_eq!(looked, ["a"]);
    assert_eq!(expression.paths().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn operands_need_not_stand_in_the_payload() {
    let expression =
        compile("{{text}} === 'é' && {{length}} === 2 && {{whole}} == {{whole}} && {{made}} < 'z'");
    let find = &mut |name: &String, _: &mut ExpressionWork| {
        Ok(match name.as_str() {
            "text" => Operand::Text(Cow::Borrowed("é")),
            "made" => Operand::Text(Cow::Owned("made".to_owned())),
            "length" => Operand::Number(2.0),
            _ => Operand::Document,
        })
    };
    let is_true =
        expression.expect("it compiles").is_true(find, &mut ExpressionWork::new(1000), &mut Vec::new());
    assert_eq!(is_true, Ok(true));
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (source, line, column, why) in [
        ("", 1, 1, "expected a path"),
        ("  ", 1, 3, "expected a path"),
        ("1 +", 1, 4, "expected a path"),
        ("1 2", 1, 3, "expected an operator or the end"),
        ("(1", 1, 3, "expected an operator or `)`"),
        ("1)", 1, 2, "expected an operator or the end"),
        ("()", 1, 2, "expected a path"),
        ("1 ==\n  == 2", 2, 3, "expected a path"),
        ("{{a", 1, 1, "`{{` is never closed"),
        ("'a", 1, 1, "this string is never closed"),
        ("'a\n'", 1, 1, "this string is never closed"),
        ("'a\\", 1, 3, "this string is never closed"),
        ("é = 1", 1, 1, "`é` is not a literal"),
        ("1 = 1", 1, 3, "`=` is not supported"),
        ("1 & 1", 1, 3, "`&` is not supported"),
        ("1 ** 2", 1, 3, "`**` is not supported"),
        ("1 ?? 2", 1, 3, "`??` is not supported"),
        ("1 ? 2 : 3", 1, 3, "`?` is not supported"),
        ("--1", 1, 1, "`--` is not supported"),
        ("1 // x", 1, 3, "`//` is not supported"),
        ("`a`", 1, 1, "``` is not supported"),
        ("[1]", 1, 1, "`[` is not supported"),
        ("'a' == data.x", 1, 8, "`data` is not a literal"),
        ("Number(1)", 1, 1, "`Number(` is a call"),
        ("010", 1, 1, "not a number"),
        ("1e", 1, 1, "not a number"),
        ("0x", 1, 1, "not a number"),
        ("1_000", 1, 1, "not a number"),
        ("1n", 1, 1, "not a number"),
        ("5.x", 1, 1, "not a number"),
        ("'\\x4'", 1, 2, "not an escape sequence"),
        ("'\\u{}'", 1, 2, "not an escape sequence"),
        ("'\\u{110000}'", 1, 2, "surrogate"),
        ("'\\ud800'", 1, 2, "surrogate"),
        ("'\\ud800\\u0041'", 1, 2, "surrogate"),
        ("'\\01'", 1, 2, "octal"),
    ] {
        let error = compile(source).map(|_| ()).expect_err(source);
        assert_eq!((error.line, error.column), (line, column), "{source:?}: {error}");
        assert!(error.to_string().contains(why), "{source:?}: {error}");
    }
    let refused = Expression::<()>::compile("1 == {{x}}", &mut |_| Err("why".to_owned()));
    let error = refused.expect_err("the path is refused");
    assert_eq!((error.column, error.fault), (6, ExpressionFault::Path("why".to_owned())));
}

#[test]
fn escapes_are_those_of_javascript() {
    for (source, expected) in [
        (r#"'\b\f\n\r\t\v\0\\\'\"'"#, "\u{8}\u{c}\n\r\t\u{b}\0\\'\""),
        (r"'\x41\u00e9\ud83d\ude00\u{1F600}\q\/'", "Aé😀😀q/"),
        ("'a\\\nb\\\r\nc'", "abc"),
    ] {
        let payload = serde_json::json!({ "a": expected }).to_string();
        assert!(is_true(&format!("{{{{a}}}} === {source}"), &payload), "{source}");
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(compile(&nested(64)).is_ok());
    assert!(compile(&nested(65)).expect_err("too deep").to_string().contains("64 levels"));
    assert!(compile(&"! ".repeat(64)).is_err());
    assert!(is_true(&format!("{}1", "! ".repeat(64)), "{}"));
    assert!(compile(&format!("{}1", "! ".repeat(65))).is_err());
    // A left operand waits at each level.
    let waiting = |levels: usize| format!("{}1{}", "1 + (".repeat(levels), ")".repeat(levels));
    assert!(is_true(&waiting(31), "{}"));
    assert!(compile(&waiting(32)).expect_err("too deep").to_string().contains("32 values"));
    // A row of operators is no nesting.
    assert!(is_true(&format!("1{}", " + 1".repeat(20_000)), "{}"));
    assert!(is_true(&format!("0{}", " || 1".repeat(20_000)), "{}"));
    assert!(compile(&" ".repeat(131_069)).expect_err("too long").to_string().contains("131,068"));
}

#[test]
fn work_is_paid_for_before_it_is_done() {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(10_000));
    assert_eq!(is_true_within("{{a}} == 'x'", &long, 30_000), Ok(false));
    assert_eq!(is_true_within("{{a}} == 'x'", &long, 15_000), Err(TooMuchWork));
    // Joining costs what is made, and what was made last is not copied.
    let sum = format!("''{}", " + {{a}}".repeat(100));
    assert_eq!(is_true_within(&sum, &long, 100 * 31_000), Ok(true));
    assert_eq!(is_true_within(&sum, &long, 100 * 29_000), Err(TooMuchWork));
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(150), "]".repeat(150));
    assert_eq!(is_true_within("{{a}} == 1", &deep, 1_000), Err(TooMuchWork));
    assert_eq!(is_true_within("{{a}} == 1", &deep, 100_000), Ok(true));
    assert_eq!(is_true_within("1", "{}", 31), Err(TooMuchWork));
}

#[test]
fn the_text_that_is_made_is_bounded() {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024));
    let sum = |count: usize| format!("''{} == 1", " + {{a}}".repeat(count));
    assert_eq!(is_true_within(&sum(15), &long, usize::MAX), Ok(false));
    assert_eq!(is_true_within(&sum(17), &long, usize::MAX), Err(TooMuchWork));
}

proptest::proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error(source in "[{}a1.'\"\\\\xu0é()!=<>&|+*/% \n-]{0,24}") {
        match compile(&source) {
            Ok(_) => {
                is_true(&source, r#"{"a":[1,"2",{"b":null}]}"#);
            }
            Err(error) => {
                let lines: Vec<&str> = source.split('\n').collect();
                assert!((1..=lines.len()).contains(&error.line), "{error}");
                assert!((1..=lines[error.line - 1].chars().count() + 1).contains(&error.column), "{error}");
            }
        }
    }
}
