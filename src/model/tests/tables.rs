//! The tables of fields against the parsers that read them.

use serde_json::{Value, json};

use super::super::*;
use super::{NOW, flow, owner, webhook};

fn default_of(field: &FieldSpec) -> Option<Value> {
    field.default.map(|default| match default {
        DefaultValue::Boolean(is_on) => json!(is_on),
        DefaultValue::Integer(number) => json!(number),
        DefaultValue::Text(text) => json!(text),
    })
}

#[test]
fn a_new_resource_has_the_defaults_of_its_table() {
    let version =
        FlowVersion::create(&json!({"version": "v"}), &flow(&json!({"name": "f"})).expect("a flow"), NOW);
    for (spec, shown) in [
        (&WEBHOOK, webhook(&json!({"name": "w"})).expect("a webhook").to_api()),
        (&FLOW, flow(&json!({"name": "f"})).expect("a flow").to_api()),
        (&FLOW_VERSION, version.expect("a version").to_api()),
        (&APPLICATION, Application::create(&json!({"name": "a"}), NOW).expect("an application").to_api()),
    ] {
        for field in spec.fields() {
            if let Some(default) = default_of(field) {
                assert_eq!(shown[field.name], default, "{} of {}", field.name, spec.name);
            } else if field.is_nullable && field.name != "limits" {
                assert!(shown.get(field.name).is_none_or(Value::is_null), "{} of {}", field.name, spec.name);
            }
        }
        let unlisted = shown.as_object().expect("an object").keys().filter(|name| spec.field(name).is_none());
        assert_eq!(unlisted.count(), 0, "{shown}");
    }
}

/// Values at the edge of what a row allows, and those just beyond.
fn edges(kind: FieldKind) -> (Vec<Value>, Vec<Value>) {
    match kind {
        FieldKind::Boolean => (vec![json!(true), json!(false)], vec![json!(1), json!("true")]),
        FieldKind::Text { least, most } => {
            let below = least.checked_sub(1).map(|chars| json!("x".repeat(chars)));
            let beyond = [Some(json!("x".repeat(most + 1))), Some(json!(7)), below];
            (vec![json!("x".repeat(most)), json!("x".repeat(least))], beyond.into_iter().flatten().collect())
        }
        FieldKind::Integer { least, most } => {
            let beyond = [json!(i64::from(least) - 1), json!(u64::from(most) + 1), json!(f64::from(least))];
            (vec![json!(least), json!(most)], beyond.to_vec())
        }
        FieldKind::Word(words) => {
            (words.iter().map(|word| json!(word)).collect(), vec![json!("another"), json!(0)])
        }
        _ => (Vec::new(), Vec::new()),
    }
}

#[test]
fn each_row_lets_pass_what_it_says_and_no_more() {
    let mut checked = 0;
    let read = |spec: &ObjectSpec, body: &Value| match spec.name {
        "a webhook" => webhook(body).map(drop),
        "a flow" => flow(body).map(drop),
        _ => Application::create(body, NOW).map(drop),
    };
    for spec in [&WEBHOOK, &FLOW, &APPLICATION] {
        for field in spec.fields().filter(|field| field.access != FieldAccess::ReadOnly) {
            let (within, beyond) = edges(field.kind);
            for value in within {
                let body = body_with(field.name, value);
                assert_eq!(read(spec, &body), Ok(()), "{}: {body}", field.name);
                checked += 1;
            }
            for value in beyond {
                let error = read(spec, &body_with(field.name, value)).expect_err(field.name);
                assert_eq!(error.field(), field.name);
                assert_eq!(error.message(), format!("must be {}", field.phrase()));
                checked += 1;
            }
        }
        for name in spec.kept.iter().chain(spec.ignored) {
            assert_eq!(read(spec, &body_with(name, json!({"any": "thing"}))), Ok(()), "{name}");
        }
    }
    assert!(checked > 60, "{checked}");
}

fn body_with(name: &str, value: Value) -> Value {
    let mut body = json!({"name": "n"});
    body[name] = value;
    body
}

#[test]
fn a_field_that_was_read_can_be_sent_back() {
    let mut webhook = webhook(&json!({"name": "w"})).expect("a webhook");
    let before = webhook.clone();
    webhook.patch(&before.to_api(), NOW).expect("what was shown");
    assert_eq!(webhook, before);
    assert_eq!(webhook.application_id, owner());
}
