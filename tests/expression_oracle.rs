//! Conditions against JavaScript itself: generated expressions over generated payloads have the value that Node.js gives
//! them. One process of it takes all of a test's cases.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidegate::base::json::Raw;
use tidegate::expression::{Expression, ExpressionError, ExpressionWork, Operand};

/// Reads `[payload, expression]` pairs, a JSON list of them, and answers a list: what each value is as a boolean, and as
/// a text behind `+ "|"` and behind `+ 1 + "|"`; `null` for what is not JavaScript.
const ORACLE: &str = r#"
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const values = cases.map(([payload, source]) => {
  const members = JSON.parse(payload);
  const $ = (name) => (Object.hasOwn(members, name) ? members[name] : undefined);
  try {
    const value = new Function("$", `"use strict"; return (${source}\n)`)($);
    return [Boolean(value), value + "|", value + 1 + "|"];
  } catch {
    return null;
  }
});
process.stdout.write(JSON.stringify(values));
"#;

/// How many expressions each test makes.
const CASES: usize = 4_000;
/// Far more than any case needs.
const WORK_BYTES: usize = 1 << 20;

/// JSON of the members of a payload.
const MEMBERS: [&str; 88] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "1.5",
    "1.50",
    "0.1",
    "0.2",
    "0.30000000000000004",
    "1e3",
    "1E-7",
    "0.000001",
    "1e21",
    "123456789012345680000",
    "999999999999999900000",
    "1e400",
    "-1e400",
    "5e-324",
    "9007199254740993",
    "12345678901234567890",
    "1.7976931348623157e308",
    "-2.5",
    "1e-400",
    "4294967296",
    r#""""#,
    r#"" ""#,
    r#""0""#,
    r#""-0""#,
    r#""1""#,
    r#""10""#,
    r#""9""#,
    r#""1.50""#,
    r#""abc""#,
    r#""a""#,
    r#""b""#,
    r#""B""#,
    r#""1e3""#,
    r#""1e1000""#,
    r#""0x10""#,
    r#""-0x10""#,
    r#""0b101""#,
    r#""0o17""#,
    r#""0b2""#,
    r#""0x""#,
    r#""0x20000000000001""#,
    r#""0x1fffffffffffff8000000001""#,
    r#""Infinity""#,
    r#""+Infinity""#,
    r#""-Infinity""#,
    r#""inf""#,
    r#""nan""#,
    r#""NaN""#,
    r#""+5""#,
    r#"" 12 ""#,
    r#""1_0""#,
    r#"".5""#,
    r#""5.""#,
    r#"".""#,
    r#""1,2""#,
    r#""true""#,
    r#""null""#,
    r#""undefined""#,
    r#""\u0031""#,
    r#""\n\t7\u00a0\ufeff""#,
    r#""\u00857""#,
    r#""\u00e9""#,
    r#""é""#,
    r#""\ud83d\ude00""#,
    r#""\uffff""#,
    r#""a\"b\\""#,
    r#""[object Object]""#,
    "[]",
    "[0]",
    "[1]",
    "[1,2]",
    r#"["1"]"#,
    r#"["a","\u00e9"]"#,
    "[null]",
    "[[]]",
    r#"[[1.50],[true,[null,{"x":1}]],1e21]"#,
    "{}",
    r#"{"x":[1]}"#,
];

const LITERALS: [&str; 34] = [
    "true",
    "false",
    "null",
    "undefined",
    "0",
    "1",
    "2",
    "10",
    "1.5",
    ".5",
    "5.",
    "1e3",
    "1E-7",
    "1e21",
    "1e400",
    "0x1F",
    "0b11",
    "0o17",
    "0.1",
    "9007199254740993",
    "''",
    "\"\"",
    "' '",
    "'a'",
    "'1'",
    "'10'",
    "\"9\"",
    "'abc'",
    "'\\x41\\u00e9'",
    "'\\u{1F600}'",
    "'\\n1\\t'",
    "\"a'b\"",
    "'1,2'",
    "'[object Object]'",
];

const OPERATORS: [&str; 15] =
    ["==", "===", "!=", "!==", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "/", "%"];

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }

    /// A payload of four members.
    fn payload(&mut self) -> String {
        let members: Vec<String> =
            ["a", "b", "c", "d"].iter().map(|name| format!("\"{name}\":{}", self.of(&MEMBERS))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// An operand, the parentheses in it nested at most so deep.
    fn operand(&mut self, depth: usize) -> String {
        match self.below(10) {
            0..5 => format!("{{{{{}}}}}", self.of(&["a", "b", "c", "d", "missing"])),
            5..7 => self.of(&LITERALS).to_owned(),
            7 | 8 => format!("{} {}", self.of(&["!", "-", "+", "!!", "- -"]), self.operand(depth)),
            _ if depth == 0 => self.of(&LITERALS).to_owned(),
            _ => format!("({})", self.expression(depth - 1)),
        }
    }

    /// Operands with operators between them, whose precedence decides.
    fn expression(&mut self, depth: usize) -> String {
        let mut text = self.operand(depth);
        for _ in 0..self.below(4) {
            let operator = self.of(&OPERATORS);
            text = format!("{text} {operator} {}", self.operand(depth));
        }
        text
    }
}

fn compile(source: &str) -> Result<Expression<String>, ExpressionError> {
    Expression::compile(source, &mut |path| Ok(path.trim().to_owned()))
}

fn is_true(expression: &Expression<String>, payload: &str) -> bool {
    let root = Raw::document(payload.as_bytes()).expect("JSON");
    let find = &mut |name: &String, _: &mut ExpressionWork| {
        Ok(root.get(name).map_or(Operand::Undefined, Operand::Json))
    };
    expression.is_true(find, &mut ExpressionWork::new(WORK_BYTES), &mut Vec::new()).expect("little work")
}

/// As Node.js reads it: `{{a}}` is a call there.
fn as_javascript(source: &str) -> String {
    source.replace("{{", "$('").replace("}}", "')")
}

/// What Node.js makes of each case.
fn ask_node(cases: &[(String, String)]) -> Vec<Value> {
    let asked: Vec<Value> =
        cases.iter().map(|(payload, source)| json!([payload, as_javascript(source)])).collect();
    let mut node = Command::new("node")
        .args(["-e", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js is installed: it is what these tests compare with");
    let mut input = node.stdin.take().expect("a pipe");
    input.write_all(json!(asked).to_string().as_bytes()).expect("node reads it");
    drop(input);
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("it answers JSON")
}

/// The value of an expression is the one that Node.js answered.
fn check(payload: &str, source: &str, answer: &Value) {
    let context = || format!("{source}\nover {payload}\nis {answer}");
    let expression = compile(source).unwrap_or_else(|error| panic!("{error}: {}", context()));
    assert_eq!(is_true(&expression, payload), answer[0] == true, "{}", context());
    for (more, text) in [(r#"+ "|""#, &answer[1]), (r#"+ 1 + "|""#, &answer[2])] {
        let same = format!("(({source}) {more}) === {text}");
        let expression = compile(&same).unwrap_or_else(|error| panic!("{error}: {same}"));
        assert!(is_true(&expression, payload), "{same}: {}", context());
    }
}

#[test]
fn every_operator_over_every_pair_of_values_is_as_in_javascript() {
    let mut cases = Vec::new();
    let mut random = Random(0x0dd5_eed5);
    for left in MEMBERS {
        for _ in 0..4 {
            let right = random.of(&MEMBERS);
            let payload = format!(r#"{{"a":{left},"b":{right}}}"#);
            for operator in OPERATORS {
                cases.push((payload.clone(), format!("{{{{a}}}} {operator} {{{{b}}}}")));
            }
        }
        let payload = format!(r#"{{"a":{left}}}"#);
        for source in ["{{a}}", "!{{a}}", "+{{a}}", "-{{a}}", "{{a}} == {{a}}", "{{a}} === {{missing}}"] {
            cases.push((payload.clone(), source.to_owned()));
        }
    }
    for ((payload, source), answer) in cases.iter().zip(ask_node(&cases)) {
        check(payload, source, &answer);
    }
}

#[test]
fn generated_expressions_are_as_in_javascript() {
    let mut random = Random(0x5eed_1e55);
    let cases: Vec<(String, String)> = (0..CASES).map(|_| (random.payload(), random.expression(3))).collect();
    for ((payload, source), answer) in cases.iter().zip(ask_node(&cases)) {
        check(payload, source, &answer);
    }
}

#[test]
fn what_compiles_is_javascript() {
    const PIECES: [&str; 44] = [
        "{{a}}", "{{b}}", "1", "0", ".5", "5.", "1e", "01", "08", "0x", "0xg", "1_0", "1n", "'a'", "'", "\"",
        "\\", "'\\0'", "'\\01'", "'\\u{}'", "'\\xg1'", "true", "null", "nul", "(", ")", "!", "+", "-", "*",
        "/", "%", "=", "==", "===", "!=", "<", ">", "&", "&&", "|", "||", " ", "\n",
    ];
    let mut random = Random(0x50_u64 << 32 | 0x0f);
    let cases: Vec<(String, String)> = (0..CASES)
        .map(|_| {
            let pieces = 1 + random.below(6);
            (random.payload(), (0..pieces).map(|_| random.of(&PIECES)).collect::<String>())
        })
        .collect();
    let mut compiled = 0;
    for ((payload, source), answer) in cases.iter().zip(ask_node(&cases)) {
        if compile(source).is_ok() {
            compiled += 1;
            assert!(answer.is_array(), "{source:?} is not JavaScript");
            check(payload, source, &answer);
        }
    }
    assert!(compiled > CASES / 50, "{compiled} of them compile");
}
