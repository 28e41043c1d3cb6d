//! A rendering does no more work than it paid for.

use super::*;
use crate::base::json::Raw;
use crate::base::steps;

#[allow(dead_code, reason = "benches/costs.rs uses all of it")]
#[path = "../../benches/common/hostile.rs"]
mod hostile;

/// Steps that a rendering takes before the first one that it pays for.
const STEPS_FREE: usize = 200;

/// Units of a rendering of many: less than one may spend, since nothing is optimized here.
const UNITS: usize = 300_000;

/// Renders, checks that all steps were paid for, and tells what came out.
#[track_caller]
fn check_within(units: usize, source: &str, document: &str) -> Result<usize, RenderError> {
    let template = Template::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let root = Raw::trusted(document.as_bytes());
    let (mut work, mut out) = (Work::default(), Vec::new());
    work.spend(WORK_MAX - units).unwrap();
    let before = work.spent();
    let _ = steps::take();
    let rendered = template.render_within(&root, Escape::Html, OUTPUT_BYTES_MAX, &mut work, &mut out);
    let taken = steps::take();
    let spent = work.spent() - before;
    assert!(taken <= spent + STEPS_FREE, "{taken} steps for {spent}: {source}");
    rendered.map(|()| spent)
}

#[track_caller]
fn check(source: &str, document: &str) -> Result<usize, RenderError> {
    check_within(WORK_MAX, source, document)
}

#[test]
fn hostile_templates_pay_for_their_steps() {
    let mut whole = 0;
    for seed in 0..300 {
        let (source, document) = hostile::case(seed, 1_000);
        whole += usize::from(check_within(UNITS, &source, &document).is_ok());
    }
    assert!(whole > 100, "{whole} rendered");
}

#[test]
fn every_helper_is_among_the_hostile_templates() {
    let sources: Vec<String> = (0..3_000).map(|seed| hostile::case(seed, 10).0).collect();
    for name in super::helper::Helper::names() {
        let has = |source: &String| {
            [format!("({name} "), format!("{{{name} ")].iter().any(|call| source.contains(call))
        };
        assert!(sources.iter().any(has), "no hostile template calls {name}");
    }
}

#[test]
fn what_was_found_to_hold_a_core_gives_up_or_is_cheap() {
    let list =
        |item: &str, count: usize| format!("{{\"data\":{{\"body\":[{}1]}}", format!("{item},").repeat(count));
    let tiny = list("1e-300", 37_448) + "}";
    assert_eq!(
        check("{{#each data.body}}{{format this \".2f\"}},{{/each}}", &tiny),
        Err(RenderError::TooMuchWork)
    );
    assert!(
        check("{{#each data.body}}{{format this \".2f\"}},{{/each}}", &(list("12.5", 1_000) + "}")).is_ok()
    );
    let globals: Vec<String> =
        (0..1_000).map(|at| format!("\"global{at}\":\"a value of some length\"")).collect();
    let many = format!("{},\"globals\":{{{},\"sep\":\"-\"}}}}", list("1", 30_000), globals.join(","));
    let spent = check("{{#each data.body}}{{../globals.sep}}{{/each}}", &many).expect("looked up once");
    assert!(spent < WORK_MAX / 2, "{spent}");
    let letters = format!("{{\"data\":{{\"body\":\"{}\"}}}}", "ab".repeat(131_000));
    let match_ = "{{#match data.body \"/[ab]*a[ab]{2000}c/\"}}{{/match}}";
    assert_eq!(check(match_, &letters), Err(RenderError::TooMuchWork));
    let members: Vec<String> = (0..100_000).map(|at| format!("\"m{at}\":{at}")).collect();
    let object = format!("{{\"o\":{{{}}},\"list\":[{}1]}}", members.join(","), "1,".repeat(5_000));
    assert!(check("{{#each list}}{{../o.m99999}}{{/each}}", &object).is_ok());
    assert_eq!(
        check("{{#each list}}{{lookup ../o 'm99999'}}{{/each}}", &object),
        Err(RenderError::TooMuchWork)
    );
}

#[test]
fn a_step_that_is_repeated_finds_the_same_again() {
    let padding = "x".repeat(2_000);
    let document =
        format!(r#"{{"o":{{"a":1,"b":2,"pad":"{padding}"}},"p":{{"a":3,"pad":"{padding}"}},"list":[1,2]}}"#);
    let template =
        Template::compile("{{#each list}}{{../o.a}}{{../o.b}}{{../p.a}}{{../p.b}}{{../o.a}};{{/each}}")
            .unwrap();
    let mut out = Vec::new();
    template.render(&Raw::trusted(document.as_bytes()), Escape::Html, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "1231;1231;");
}
