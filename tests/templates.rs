//! Templates against handlebars.js with the platform's helpers (`template_oracle/oracle.cjs`): a table of cases, and
//! some thousand templates from a seed. The packages are installed from npm into the folder that `TIDEGATE_TEST_TOOLS`
//! names, so these tests run only where that is set.

#[path = "template_oracle/generate.rs"]
mod generate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use generate::{CONTEXT, Seed};
use serde_json::{Value, json};
use tidegate::base::json::Raw;
use tidegate::template::{Escape, Template};

/// Generated templates; each run has the same ones.
const GENERATED: usize = 6_000;

/// A template, what it is rendered over, and the members of that which are dates to the platform.
struct Case {
    template: String,
    context: String,
    dates: &'static [&'static str],
}

/// Where the packages are; installed once, by whichever test comes first.
fn packages() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "TIDEGATE_TEST_TOOLS must name a folder for packages");
        eprintln!("SKIPPED: TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let folder = tools.join("templates");
    // Two processes that install at once would meet in one folder.
    std::fs::create_dir_all(&folder).expect("a folder");
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    if !folder.join("node_modules/d3-format").exists() {
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", "--prefix"])
            .arg(&folder)
            .args(["handlebars@~4.7.8", "moment-timezone@~0.5.45", "d3-format@1"])
            .output()
            .expect("npm");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    Some(folder)
}

/// What handlebars.js makes of the cases: a text, or `None` for an error.
fn expected(folder: &PathBuf, cases: &[Case]) -> Vec<Result<String, String>> {
    let input: Vec<Value> = cases
        .iter()
        .map(|case| {
            let context: Value = serde_json::from_str(&case.context).expect("a context");
            json!({"template": case.template, "context": context, "dates": case.dates})
        })
        .collect();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/template_oracle/oracle.cjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(folder)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut stdin = node.stdin.take().expect("a pipe");
    let input = Value::from(input).to_string();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = node.wait_with_output().expect("its output");
    writer.join().expect("a writer").expect("it read all of it");
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    assert_eq!(answers.len(), cases.len());
    let read = |answer: &Value| match answer["text"].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(answer["error"].to_string()),
    };
    answers.iter().map(read).collect()
}

fn ours(case: &Case) -> Result<String, String> {
    let template = Template::compile(&case.template).map_err(|error| error.to_string())?;
    let root = Raw::document(case.context.as_bytes()).expect("a context");
    let mut out = Vec::new();
    template.render(&root, Escape::Html, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).expect("text"))
}

/// Compares, and fails with some of the differences.
#[track_caller]
fn compare(cases: Vec<Case>) {
    let Some(folder) = packages() else { return };
    let mut differences = Vec::new();
    let mut rendered = 0;
    for (case, expected) in cases.iter().zip(expected(&folder, &cases)) {
        let ours = ours(case);
        rendered += usize::from(ours.is_ok());
        match (&ours, &expected) {
            (Ok(ours), Ok(expected)) if ours == expected => {}
            (Err(_), Err(_)) => {}
            _ => differences.push(format!("{:?}\n    ours {ours:?}\n    js   {expected:?}", case.template)),
        }
    }
    assert!(rendered * 2 > cases.len(), "only {rendered} of {} rendered", cases.len());
    let count = differences.len();
    differences.sort_by_key(String::len);
    differences.truncate(12);
    assert!(differences.is_empty(), "{count} of {} differ:\n{}", cases.len(), differences.join("\n"));
}

fn case(template: &str) -> Case {
    Case { template: template.to_owned(), context: CONTEXT.replace('\n', ""), dates: &[] }
}

#[test]
fn generated_templates_render_as_in_handlebars() {
    let mut seed = Seed(20_261_130);
    compare((0..GENERATED).map(|_| case(&generate::template(&mut seed))).collect());
}

#[test]
fn syntax_means_what_it_means_to_handlebars() {
    let templates = [
        "{{! c ~}}   x",
        "{{!-- c --~}} x",
        "x {{~! c }}y",
        "{{!--}}x",
        "{{!----}}x",
        "{{! a -- b }}x",
        "a{{!}}b",
        "{{#list}}{{this}};{{/list}}",
        "{{#list}}{{this}}{{else}}no{{/list}}",
        "{{^list}}x{{/list}}|{{^none}}x{{/none}}",
        "{{^no}}a{{else}}b{{/no}}",
        "{{^yes}}a{{^}}b{{/yes}}",
        "{{^b}}a{{/b}}",
        "{{{{a}}}} {{b}} {{{{/a}}}}",
        "{{{{yes}}}}{{{{x}}}}y{{{{/x}}}}{{{{/yes}}}}",
        "{{{{none}}}}x{{{{/none}}}}",
        "{{{{list}}}}x{{{{/list}}}}",
        "{{#if no}}1{{else if yes}}2{{else}}3{{/if}}",
        "{{#if no}}1{{else unless no}}2{{/if}}",
        "{{#each none}}x{{else with b}}{{c}}{{/each}}",
        "{{#each list as |v i|}}{{i}}{{v}}{{/each}}",
        "{{#each map as |v k|}}{{k}}={{v}};{{/each}}",
        "{{#with b as |x|}}{{x.c}}{{/with}}",
        "{{#each people as |p|}}{{#each p.tags as |t|}}{{p.name}}{{t}}{{@root.a}}{{../name}}{{/each}}{{/each}}",
        "{{#each people}}{{#each tags}}{{@index}}{{@../index}}{{../../a}}{{/each}}{{/each}}",
        "{{lookup (lookup people 0) 'name'}}",
        "{{upper (join (lookup b 'list') (lower 'X'))}}",
        "{{12}}|{{'a b'}}|{{true}}",
        "{{\"a\"}}{{'zero'}}",
        "{{#'list'}}x{{/list}}",
        "{{[a b]}}{{this.[a b]}}{{[this]}}{{this}}",
        "{{./this}}",
        "\\{{a}}",
        "\\\\{{a}}",
        "\\\\\\{{a}}",
        "\\{{a}}{{a}}",
        "\\{{a}} \\{{a}} \\\\{{a}}",
        "a\\{{{{a}} b",
        "\\{{",
        "a\\",
        "a\n{{#if yes}}\nb\n{{else}}\nc\n{{/if}}\nd",
        "  {{#if yes}}  \n b\n  {{/if}}  \n c",
        "{{#if no}}\na\n{{else if yes}}\nb\n{{/if}}\nc",
        "{{#if no}}\na\n{{else if no}}\nb\n{{else}}\nc\n {{/if}}\nd",
        "{{#if yes}}\n\n a\n\n{{/if}}",
        "{{#if yes~}}\n a\n{{~else~}} b{{/if}}",
        "x {{~#if no~}} a {{~else if yes~}} b {{~else~}} c {{~/if~}} y",
        "x {{~#if no~}} a {{~else if no~}} b {{~else if yes~}} c {{~/if~}} y",
        "{{^no~}} a {{~else~}} b {{~/no}}",
        "\n{{! alone }}\nx",
        " {{!-- alone --}} ",
        "{{#if yes}} {{! c }} {{/if}}",
        "{{#each list}}\n  {{this}}\n{{/each}}\n",
        "{{{{a}}}}\n x\n{{{{/a}}}}\ny",
        "{{a}} \n {{~a~}} \n {{a}}",
        "{{#if yes}}{{/if}}{{#if no}}{{else}}{{/if}}",
        "{{#if zero includeZero=true}}z{{/if}}",
        "{{#if (eq zero 0)}}y{{/if}}",
        "{{#numbers}}{{#if this}}t{{else}}f{{/if}}{{/numbers}}",
        "{{#each numbers}}{{#each ../numbers}}{{../zero}}{{/each}};{{/each}}",
        "{{#with zero}}x{{else}}y{{/with}}",
        "{{#with empty}}x{{else}}y{{/with}}",
        "{{#zero}}x{{/zero}}{{#empty}}x{{/empty}}",
        "{{@root.zero.x}}{{@root.empty.length}}|{{empty.length}}",
        "{{#each list}}{{@last}}{{@first}}{{/each}}",
        "{{@index}}{{@root.a}}",
        "{{#each people}}{{@../root.a}}{{@../../root.a}}{{/each}}",
        "{{&quote}}{{{quote}}}{{quote}}",
        "{{~a~}}",
        "{{  a  }}",
        "{{lookup missing 'x'}}{{lookup zero 'x'}}{{lookup empty 'x'}}{{lookup list 1}}{{lookup map 'k1'}}",
        "{{typeof h.nul.x}} {{typeof missing.x}} {{typeof zero.x}}",
        "{{a\n}}",
        "{{#if\nyes\n}}x{{/if\n}}",
        "{{else}}",
        "{{/if}}",
        "{{#if yes}}",
        "{{#if yes}}{{/each}}",
        "{{a",
        "{{a 'b}}",
        "{{}}",
        "{{a.}}",
        "{{.a}}",
        "{{a..b}}",
        "{{a.this}}",
        "{{a[0]}}",
        "{{#if a b}}{{/if}}",
        "{{nothing a}}",
        "{{(upper a)}}",
        "{{#if yes}}{{else}}{{else}}{{/if}}",
        "{{> a}}",
        "{{elsewhere}}",
        "{{#if yes}}{{elsewhere}}x{{/if}}",
        "{{a-b}}{{a:b}}{{$a}}{{a?}}",
        "{{-1}}{{1.5.2}}",
        "{{eq 1 1}}{{eq 'a' \"a\"}}{{eq true true}}{{eq null null}}",
        "{{#each this}}{{@key}},{{/each}}",
        "{{#each @root as |v k|}}{{k}}{{/each}}",
        "{{{a}}}{{{ a }}}{{{~a~}}}",
        "{{#with b}}{{../a}}{{#with o}}{{../c}}{{../../a}}{{/with}}{{/with}}",
        "{{#with this}}{{../a}}{{/with}}",
        "{{#yes}}{{../a}}{{a}}{{/yes}}",
    ];
    compare(templates.map(case).into());
}

/// What the platform's helpers give, by their documentation.
#[test]
fn helpers_give_what_the_platform_documents() {
    let context = r#"{"time":"2026-02-19T17:26:05.123Z","n":1234567.891,"s":"1234.5","ms":1771521965123,
"iso":"2026-12-31T23:59:59+02:00","day":"2025-12-29","o":{"a":1,"b":[1,{"c":"d"}],"e":{},"f":[]},"list":["x","y",3],
"tags":[{"key":"color","value":"red"},{"key":"size","value":10,"unit":"cm"}],"p":"39.1,-84.5","q":"40.7,-74.0","text":"hay",
"json":"{\"k\":[1,2]}","bad":"{"}"#
        .replace('\n', "");
    let formats = [
        "YYYY-MM-DD HH:mm:ss.SSS",
        "dddd Do MMMM YYYY, h:mm:ss a",
        "ddd dd d E e",
        "Q Qo DDD DDDo DDDD",
        "w wo ww W Wo WW gg gggg GG GGGG",
        "L LT LTS",
        "LL LLL LLLL",
        "l ll lll llll",
        "X x",
        "Z ZZ",
        "[in] [YYYY] YYYY",
        "k kk H HH hmm hmmss Hmm Hmmss",
        "A a",
        "S SS SSS SSSS",
        "YY Y M Mo MM MMM",
        "\\\\Y[",
        "é - / |",
        "",
    ];
    let zones = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin", "Pacific/Auckland"];
    let mut templates: Vec<String> = Vec::new();
    for format in formats {
        for value in ["ms", "iso", "day", "time"] {
            templates
                .extend(zones.map(|zone| format!("{{{{formatDate {value} \"{format}\" tz='{zone}'}}}}")));
        }
        templates.push(format!("{{{{format time (trim ' {format} ')}}}}"));
    }
    for zone in ["UTC", "America/New_York"] {
        templates
            .extend(["ms", "iso", "time"].map(|value| format!("{{{{formatDate {value} 'z' tz='{zone}'}}}}")));
    }
    for base in [
        "2026-02-19T17:26:50Z",
        "2026-02-19T17:29:00Z",
        "2026-02-19T16:00:00Z",
        "2026-02-20T16:00:00Z",
        "2026-03-19T00:00:00Z",
        "2025-02-19T17:26:05Z",
        "2026-04-30T00:00:00Z",
        "2020-02-29T12:00:00Z",
        "2026-02-24T00:00:00Z",
    ] {
        templates
            .push(format!("{{{{formatDateRelative ms '{base}'}}}} {{{{formatDateRelative '{base}' ms}}}}"));
    }
    for format in [
        ",.6", ".2f", "d", ".3s", "~s", "e", ".1%", ".2p", "x", "#b", "o", "010,d", "+.1f", "(.2f", "$,.2f",
        "*^20.3g", ".5r", "n", "c", ".0f",
    ] {
        for value in [
            "n",
            "s",
            "0",
            "-0.04",
            "1e308",
            "0.000001234",
            "(divide 1 0)",
            "(subtract 0 n)",
            "2.5",
            "1e21",
            "(divide -1 0)",
            "(divide 0 0)",
        ] {
            // Of what is not finite d3-format pads and abbreviates the letters.
            let is_finite = !value.ends_with("0)");
            if (!value.contains('e') || value.starts_with('(')) && (is_finite || !format.contains(['0', 's']))
            {
                templates.push(format!("{{{{format {value} '{format}'}}}}"));
            }
        }
    }
    templates.extend(
        [
            "{{format n}}|{{format s}}|{{format text}}|{{{format o}}}|{{format time}}|{{format missing}}", "{{formatDate ms}} {{formatDate day}}",
            "{{formatDate text 'L'}}", "{{typeof time}} {{typeof iso}} {{typeof ms}}", "{{format time 'x'}} {{format time \"MMMM\"}}",
            "{{format (gpsDistance p q) '.0f'}} {{gpsDistance p p}}", "{{scaleLinear 0 10 0 100 5}} {{scaleLinear 0 1 10 20 '0.5'}} {{scaleLinear 5 5 0 1 5}}",
            "{{#with (obj a=1 b='x' c=o.b d=missing)}}{{a}}{{b}}{{jsonEncode c}}{{d}}{{/with}}{{jsonEncode (obj c=o.b)}}{{length (obj a=1 b=2)}}", "{{#with (obj a=n)}}{{a}}{{/with}}", "{{jsonEncode (array 1 'x' list missing)}}",
            "{{#each (array 'a' 'b')}}{{@index}}{{this}}{{/each}}", "{{jsonEncode (merge o (obj a=2 z=3))}}", "{{#each (merge (obj a=1) (obj a=2))}}{{@key}}{{this}}{{/each}}",
            "{{lookup (jsonDecode json) 'k'}}|{{jsonDecode bad}}|{{jsonDecode '3'}}", "{{jsonEncode o '  '}}", "{{jsonEncode o 2}}", "{{jsonEncode list '--------------'}}",
            "{{jsonEncode o ''}} {{jsonEncode text 2}}", "{{#includes list 'y'}}in{{else}}out{{/includes}}{{#includes list 'z'}}in{{else}}out{{/includes}}",
            "{{#includes text 'ay'}}in{{/includes}}{{#includes o 1}}in{{/includes}}{{#includes list '3'}}in{{else}}out{{/includes}}{{includes list 3}}",
            "{{indexByKey tags 'size'}} {{indexByKey tags 10 'value'}} {{indexByKey tags 'x'}}",
            "{{valueByKey tags 'color'}} {{valueByKey tags 10 'value' 'unit'}} {{valueByKey tags 'x'}}", "{{length (array 1 2)}} {{join (array 'a' 'b') '-'}}",
            "{{encodeBase64 text}} {{encodeURI 'a b&c'}} {{encodeURIComponent 'a b&c'}} {{decodeBase64 'aGF5'}}", "{{upper (formatDate ms 'MMM')}}",
        ]
        .map(str::to_owned),
    );
    compare(
        templates
            .into_iter()
            .map(|template| Case { template, context: context.clone(), dates: &["time"] })
            .collect(),
    );
}
