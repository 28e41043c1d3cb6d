//! Templates and what they render.

use super::*;
use crate::base::json::Raw;

const PAYLOAD: &str = r#"{"data":{"body":{"id":"7","n":1.50,"big":12345678901234567890,"zero":0,"on":true,"off":false,
"nothing":null,"empty":"","none":[],"no":{},"text":"a<b>&\"c\"'`=","list":[1,2.0,"x",null,[3,4],{"y":5}],
"people":[{"name":"Ann","age":30},{"name":"Bob","age":4}],"map":{"k1":"v1","k2":{"z":1}},"a b":"spaced","x.y":"dotted",
"tags":[{"key":"color","value":"red"},{"key":"size","value":10}],"uni":"né😀"},"replyId":"r1"},"globals":{"key":"G"}}"#;

fn render(source: &str) -> String {
    let template = Template::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let root = Raw::document(PAYLOAD.as_bytes()).expect("the payload is JSON");
    let mut out = b"before".to_vec();
    template.render(&root, Escape::Html, &mut out).unwrap_or_else(|error| panic!("{source}: {error}"));
    String::from_utf8(out.split_off(6)).expect("text")
}

/// Renders each template in the context of `data.body`.
fn check(table: &[(&str, &str)]) {
    for (source, expected) in table {
        let wrapped = format!("{{{{#with data.body}}}}{source}{{{{/with}}}}");
        assert_eq!(render(&wrapped), *expected, "{source}");
    }
}

#[test]
fn values_are_written_as_handlebars_writes_them() {
    check(&[
        ("plain", "plain"),
        ("{{id}}", "7"),
        ("{{n}} {{big}}", "1.50 12345678901234567890"),
        ("{{zero}}|{{on}}|{{off}}|{{nothing}}|{{empty}}|{{missing}}|{{missing.deeper}}", "0|true|false||||"),
        ("{{text}}", "a&lt;b&gt;&amp;&quot;c&quot;&#x27;&#x60;&#x3D;"),
        ("{{{text}}}", "a<b>&\"c\"'`="),
        ("{{&text}}", "a<b>&\"c\"'`="),
        ("{{~& text ~}}", "a<b>&\"c\"'`="),
        ("{{map}} {{no}}", "[object Object] [object Object]"),
        ("{{list}}", "1,2.0,x,,3,4,[object Object]"),
        ("{{none}}", ""),
        ("{{map.k1}} {{map/k1}} {{this.map.k1}} {{./map.k1}} {{this/map.k1}}", "v1 v1 v1 v1 v1"),
        ("{{[a b]}} {{[x.y]}} {{../data.body.[a b]}}", "spaced dotted spaced"),
        ("{{list.[2]}} {{list.length}} {{id.length}} {{uni.[1]}}", "x 6 1 é"),
        ("{{@root.data.replyId}} {{../data.replyId}} {{@root.globals.key}}", "r1 r1 G"),
        ("{{#with ..}}{{data.replyId}}{{/with}}", "r1"),
        ("{{#with id}}{{.}}{{this}}{{/with}}", "77"),
        (r"\{{id}} \\{{id}}", r"{{id}} \7"),
        ("a{{! comment }}b{{!-- with }} braces --}}c", "abc"),
        (" {{~id~}} ", "7"),
        ("{\"ok\":true,\"id\":\"{{id}}\"}", "{\"ok\":true,\"id\":\"7\"}"),
        ("{\"a\":{\"b\":{{n}}}}", "{\"a\":{\"b\":1.50}}"),
        ("{\"a\":{{{n}}}}", "{\"a\":1.50}"),
    ]);
}

#[test]
fn blocks_decide_as_in_javascript() {
    check(&[
        ("{{#if on}}1{{else}}2{{/if}}{{#if off}}1{{else}}2{{/if}}", "12"),
        ("{{#if zero}}1{{else}}2{{/if}}{{#if zero includeZero=true}}1{{else}}2{{/if}}", "21"),
        ("{{#if empty}}1{{/if}}{{#if none}}1{{/if}}{{#if nothing}}1{{/if}}{{#if missing}}1{{/if}}", ""),
        ("{{#if no}}1{{/if}}{{#if id}}2{{/if}}", "12"),
        ("{{#unless off}}1{{else}}2{{/unless}}", "1"),
        ("{{#if off}}1{{else if zero}}2{{else if on}}3{{else}}4{{/if}}", "3"),
        ("{{#if off}}1{{else if zero}}2{{else eq id '7'}}3{{else}}4{{/if}}", "3"),
        ("{{#if off}}1{{^}}2{{/if}}", "2"),
        ("{{#with map}}{{k1}}{{else}}no{{/with}}{{#with missing}}x{{else}}no{{/with}}", "v1no"),
        ("{{#with map as |m|}}{{m.k1}}{{/with}}", "v1"),
        ("{{#with this}}{{../data.replyId}}{{/with}}{{#on}}{{../data.replyId}}{{/on}}", "r1r1"),
        (
            "{{#map}}{{k1}}{{/map}}{{#people}}{{name}},{{/people}}{{#on}}{{id}}{{/on}}{{#off}}x{{else}}y{{/off}}",
            "v1Ann,Bob,7y",
        ),
        ("{{#eq id '7'}}yes{{else}}no{{/eq}}{{#eq id 7}}yes{{else}}no{{/eq}}", "yesno"),
        (
            "{{#gt n 1}}a{{/gt}}{{#lt n 1}}b{{/lt}}{{#gte n 1.5}}c{{/gte}}{{#lte n 1.5}}d{{/lte}}{{#ne id 1}}e{{/ne}}",
            "acde",
        ),
        (r"{{#match id '/^\d$/'}}digit{{else}}other{{/match}}", "digit"),
        ("{{#if (eq id '7')}}1{{/if}}{{#if (lt (add zero 1) n)}}2{{/if}}", "12"),
    ]);
}

#[test]
fn each_goes_over_arrays_and_objects() {
    check(&[
        ("{{#each people}}{{@index}}:{{name}}{{#unless @last}}, {{/unless}}{{/each}}", "0:Ann, 1:Bob"),
        ("{{#each map}}{{@key}}={{this}};{{/each}}", "k1=v1;k2=[object Object];"),
        ("{{#each people}}{{#if @first}}{{../id}}{{/if}}{{name}}{{/each}}", "7AnnBob"),
        ("{{#each people as |p i|}}{{i}}{{p.name}}{{../id}}{{/each}}", "0Ann71Bob7"),
        ("{{#each map as |v k|}}{{k}}{{/each}}", "k1k2"),
        (
            "{{#each people}}{{#each this}}{{@../index}}{{@key}}={{.}} {{/each}}{{/each}}",
            "0name=Ann 0age=30 1name=Bob 1age=4 ",
        ),
        ("{{#each list}}[{{this}}]{{/each}}", "[1][2.0][x][][3,4][[object Object]]"),
        (
            "{{#each none}}x{{else}}empty{{/each}}{{#each id}}x{{else}}none{{/each}}{{#each missing}}x{{/each}}",
            "emptynone",
        ),
        (
            "{{#each people as |p|}}{{#each ../list as |l|}}{{p.age}}{{/each}};{{/each}}",
            "303030303030;444444;",
        ),
        ("{{#each people}}{{#with this as |q|}}{{@index}}{{q.name}}{{/with}}{{/each}}", "0Ann1Bob"),
        ("{{#each list}}{{lookup ../list @index}}{{/each}}", "12.0x3,4[object Object]"),
    ]);
    assert_eq!(
        render("{{#each this}}{{@key}} {{/each}}{{#each @root as |v k|}}{{k}},{{/each}}"),
        "data globals data,globals,"
    );
}

#[test]
fn lines_that_hold_a_block_tag_alone_leave_nothing() {
    check(&[
        ("a\n{{#if on}}\nb\n{{else}}\nc\n{{/if}}\nd", "a\nb\nd"),
        ("a\n  {{#each people}}\n  {{name}}\n  {{/each}}\nb", "a\n  Ann\n  Bob\nb"),
        ("a\n  {{! gone }}\nb", "a\nb"),
        ("a {{#if on}} b {{/if}} c", "a  b  c"),
        ("a {{~#if on~}} b {{~/if~}} c", "abc"),
    ]);
}

#[test]
fn helpers_work_on_any_value() {
    check(&[
        (
            "{{eq n 1.5}} {{eq nothing null}} {{eq missing undefined}} {{eq map map}} {{eq id 7}}",
            "true true true true false",
        ),
        (
            "{{ne n 1.5}} {{gt 'b' 'a'}} {{lt '10' 9}} {{gte missing 0}} {{lte nothing 0}}",
            "false true false false true",
        ),
        (
            "{{add n 1}} {{add id 1}} {{subtract n id}} {{multiply 3 '4'}} {{divide 1 zero}} {{add map 1}}",
            "2.5 8 -5.5 12 Infinity NaN",
        ),
        ("{{add 0.1 0.2}} {{divide 10 4}} {{add -1 nothing}}", "0.30000000000000004 2.5 -1"),
        (
            "{{encodeBase64 'héllo'}} {{decodeBase64 'aMOpbGxv'}} {{decodeBase64 'a-_b w='}}",
            "aMOpbGxv héllo k\u{fffd}\u{fffd}",
        ),
        ("{{encodeBase64 'a'}} {{encodeBase64 missing}}", "YQ== "),
        (
            "{{encodeURI 'a b&c=é/?'}} {{encodeURIComponent 'a b&c=é/?'}}",
            "a%20b&c=%C3%A9/? a%20b%26c%3D%C3%A9%2F%3F",
        ),
        (
            "{{{decodeURI 'a%20b%26%C3%A9'}}} {{{decodeURIComponent 'a%20b%26%C3%A9'}}} {{decodeURI '%zz'}} {{decodeURIComponent '%ff'}}",
            "a b%26é a b&é %zz %ff",
        ),
        (
            "{{join list ' - '}} {{join none ','}} {{join id ','}} {{join people}}",
            "1 - 2.0 - x -  - 3,4 - [object Object]  7 [object Object],[object Object]",
        ),
        (
            "{{jsonEncode map}} {{{jsonEncode text}}} {{jsonEncode n}} {{jsonEncode missing}} {{jsonEncode (add 1 1)}} {{jsonEncode nothing}}",
            r#"{"k1":"v1","k2":{"z":1}} "a<b>&\"c\"'`=" 1.50  2 null"#,
        ),
        ("{{length list}} {{length uni}} {{length map}} {{length missing}} {{length n}}", "6 4 2  "),
        (
            "{{lower 'ÄB'}} {{upper 'äß'}} [{{trim ' \t x '}}] {{upper n}} {{lower missing}}",
            "äb ÄSS [x] 1.50 ",
        ),
        (
            "{{typeof id}} {{typeof n}} {{typeof on}} {{typeof nothing}} {{typeof missing}} {{typeof list}} {{typeof map}} {{typeof @root}}",
            "string number boolean null undefined array object object",
        ),
        (
            "{{valueByKey tags 'color'}} {{valueByKey tags 'size'}} {{valueByKey tags 'x'}} {{valueByKey map 'k1'}} {{valueByKey id 'x'}}",
            "red 10  v1 ",
        ),
        (
            "{{format n '.3f'}} {{format '1234.5' ',.1f'}} {{format id}} {{{format map 'd'}}} {{format 'x' '.1f'}} {{format missing '.1f'}}",
            r#"1.500 1,234.5 7 {"k1":"v1","k2":{"z":1}} x "#,
        ),
        ("{{format n map.k1}} {{format 5 (lower '.1F')}}", "1.50 5.0"),
        (
            "{{lookup map 'k1'}} {{lookup list 0}} {{lookup list 2.0}} {{lookup missing 'x'}} {{lookup map missing}} {{lookup (lookup people 1) 'name'}}",
            "v1 1 x   Bob",
        ),
        (
            "{{match id '7'}} {{match uni '^n.'}} {{match missing 'x'}} {{match 'AB' '/ab/i'}}",
            "true true false true",
        ),
        (
            r#"{{{lower "A\"B"}}} {{{lower 'A\'B'}}} {{{lower 'C:\D'}}} {{{lower "it's"}}}"#,
            r#"a"b a'b c:\d it's"#,
        ),
        ("{{{upper (join list (lower 'X'))}}}", "1X2.0XXXX3,4X[OBJECT OBJECT]"),
    ]);
}

fn fault(source: &str) -> (usize, usize, String) {
    match Template::compile(source) {
        Ok(_) => panic!("{source} was taken"),
        Err(error) => (error.line, error.column, error.fault.to_string()),
    }
}

#[test]
fn what_is_no_template_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    for (source, line, column, part) in [
        ("a\n {{#if x}}", 2, 2, "never closed"),
        ("{{#if x}}{{/with}}", 1, 10, "closed by"),
        ("x{{/if}}", 1, 2, "outside"),
        ("x{{else}}", 1, 2, "outside"),
        ("é {{a", 1, 3, "never closed"),
        ("{{a 'b}}", 1, 5, "never closed"),
        ("{{a.[b}}", 1, 5, "never closed"),
        ("a\nb {{shout x}}", 2, 3, "no helper `shout`"),
        ("{{#shout x}}{{/shout}}", 1, 1, "no helper `shout`"),
        ("{{a (shout x)}}", 1, 1, "no helper `a`"),
        ("{{lower (shout x)}}", 1, 9, "no helper `shout`"),
        ("{{lower}}", 1, 1, "takes one argument"),
        ("{{eq a}}", 1, 1, "takes two arguments"),
        ("{{eq a b c}}", 1, 1, "takes two arguments"),
        ("{{join a b c}}", 1, 1, "takes one or two"),
        ("{{#if}}{{/if}}", 1, 1, "takes one argument"),
        ("{{#if a b}}{{/if}}", 1, 1, "takes one argument"),
        ("{{if a}}", 1, 1, "it is a block"),
        ("{{#lower a}}{{/lower}}", 1, 1, "as a block"),
        ("{{lower a=1}}", 1, 1, "named arguments"),
        ("{{#if a as |b|}}{{/if}}", 1, 1, "binds names"),
        ("{{> header}}", 1, 1, "partial"),
        ("{{#> header}}{{/header}}", 1, 1, "partial"),
        ("{{* x}}", 1, 1, "decorator"),
        ("{{#* inline 'x'}}{{/inline}}", 1, 1, "decorator"),
        ("ab {{match x '('}}", 1, 4, "regular expression"),
        ("{{match x y}}", 1, 1, "regular expression"),
        ("{{format x 'YYYY'}}", 1, 1, "number format"),
        ("{{a.this}}", 1, 3, "invalid path"),
        ("{{a..b}}", 1, 1, "no helper `a`"),
        ("{{}}", 1, 3, "expected a name or a value"),
        ("{{{a}}", 1, 5, "the end of the tag"),
        ("{{eq '\\d' b ]}}", 1, 13, "expected a value"),
        ("ab\n{{#if 'x'}}{{a b ,}}{{/if}}", 2, 18, "expected a value or the end of the tag"),
        ("{{a[0]}}", 1, 4, "expected `.` before `[`"),
        ("{{lower a.[b][0]}}", 1, 14, "expected `.` before `[`"),
        ("{{{{raw}}}}{{{{/row}}}}", 1, 12, "closed by"),
        ("{{{{raw}}}}", 1, 1, "never closed"),
        ("{{upper length}}", 1, 9, "is a helper"),
        ("{{dashboardUrl 'x'}}", 1, 1, "not offered"),
        ("{{formatDate a 'L' tz='Mars/X'}}", 1, 1, "no time zone"),
        ("{{formatDate a 'L' locale='de'}}", 1, 1, "in English"),
        ("{{a {b} }}", 1, 5, "expected"),
    ] {
        let (found_line, found_column, message) = fault(source);
        if !message.contains(part) || (found_line, found_column) != (line, column) {
            wrong.push(format!("{source}: line {found_line}, column {found_column}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_sources_are_refused_in_time() {
    let many = 100_000;
    for source in [
        "{{#if a}}".repeat(many),
        format!("{}{}", "{{#if a}}".repeat(many), "{{/if}}".repeat(many)),
        format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(many)),
        format!("{{{{lower {}", "(lower ".repeat(many)),
        format!("{{{{lower {}a{}}}}}", "(lower ".repeat(many), ")".repeat(many)),
        format!("{{{{lower {}", "[".repeat(many)),
        format!("{{{{a{}}}}}", ".a".repeat(many)),
        "{{".repeat(many),
        "{{!".repeat(many),
        format!("{{{{{}", "'".repeat(many)),
        format!("{{{{{}a}}}}", "../".repeat(many)).repeat(10).replace('a', "]"),
    ] {
        assert!(Template::compile(&source).is_err(), "{}", &source[..40]);
    }
    assert!(Template::compile(&"x".repeat(1 << 20)).is_ok());
    assert!(Template::compile(&"{{a}}".repeat(many)).is_ok());
}

#[test]
fn a_rendering_is_bounded_in_output_and_in_work() {
    let long = format!("{{\"list\":[{}1]}}", "1,".repeat(20_000));
    let root = Raw::trusted(long.as_bytes());
    let mut out = b"kept".to_vec();
    let squares = Template::compile("{{#each list}}{{#each ../list}}x{{/each}}{{/each}}").unwrap();
    assert_eq!(squares.render(&root, Escape::Html, &mut out), Err(RenderError::TooMuchWork));
    let copies = Template::compile("{{#each list}}{{jsonEncode ..}}{{/each}}").unwrap();
    assert!(copies.render(&root, Escape::Html, &mut out).is_err());
    let short = Template::compile("{{list}}").unwrap();
    assert_eq!(
        short.render_within(&root, Escape::Html, 40_000, &mut Work::default(), &mut out),
        Err(RenderError::TooLong)
    );
    assert_eq!(out, b"kept");
    assert_eq!(short.render_within(&root, Escape::Html, 40_001, &mut Work::default(), &mut out), Ok(()));
}

#[test]
fn a_template_that_looks_at_nothing_is_constant() {
    assert_eq!(Template::compile("").unwrap().constant(), Some(""));
    assert_eq!(Template::compile("a{{! b }}c").unwrap().constant(), Some("ac"));
    assert_eq!(Template::compile("{{a}}").unwrap().constant(), None);
}

#[test]
fn credentials_find_globals_bare_and_by_name_unescaped() {
    let globals = GlobalsRoot::new(Raw::trusted(br#"{"key":"<s>"}"#));
    let mut out = Vec::new();
    let template = Template::compile("{{key}}{{globals.key}}{{missing}}").unwrap();
    template.render(&globals, Escape::None, &mut out).unwrap();
    assert_eq!(out, b"<s><s>");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn no_source_panics_or_renders_what_is_not_text(
        parts in proptest::collection::vec(proptest::sample::select(&[
            "{{", "}}", "{{{", "}}}", "{{#", "{{/", "{{else", "{{^", "~", "if", "each", "with", "eq", "lower", "data", ".",
            "..", "/", "this", "@index", "@root", " ", "\n", "'x'", "\"y\\\"", "(", ")", "[0]", "[a b]", "as |a b|", "=", "!",
            "--", "&", ">", "*", "\\", "1", "-2.5", "null", "é", "a", "{{#each data}}", "{{/each}}", "{{#if a}}", "{{/if}}",
            "{{lower a}}", "{{a}}",
        ][..]), 0..14)
    ) {
        if let Ok(template) = Template::compile(&parts.concat()) {
            let root = Raw::trusted(PAYLOAD.as_bytes());
            let mut out = Vec::new();
            if template.render(&root, Escape::Html, &mut out).is_ok() {
                proptest::prop_assert!(String::from_utf8(out).is_ok());
            }
        }
    }
}
