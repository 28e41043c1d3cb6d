//! `/openapi.json` against what is served.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::openapi;
use super::super::routes::ROUTES;
use super::Server;

#[test]
fn the_document_and_the_routes_are_the_same() {
    let server = Server::new();
    let document = server.get("/openapi.json").json;
    assert_eq!(document["openapi"], "3.1.0");
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .expect("an object")
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("an object").keys();
            methods.map(|method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<(String, String)> =
        ROUTES.iter().map(|route| (route.path.to_owned(), route.method.as_str().to_owned())).collect();
    assert_eq!(documented, served);
    assert_eq!(served.len(), ROUTES.len());
    for (path, method) in &documented {
        let answered = server.ask(method, path, Body::empty());
        assert_ne!(answered.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        let no_route = answered.status == 404 && answered.text.contains("nothing at this path");
        assert!(!no_route, "{method} {path}");
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_names_are_unique() {
    fn walk<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = openapi::document(ROUTES);
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let names: BTreeSet<&str> = ROUTES.iter().map(|route| route.name).collect();
    assert_eq!(names.len(), ROUTES.len());
}

#[test]
fn what_a_schema_requires_is_named_once_and_among_its_properties() {
    fn walk(value: &Value, seen: &mut usize) {
        let members: Vec<&Value> = match value {
            Value::Object(object) => object.values().collect(),
            Value::Array(list) => list.iter().collect(),
            _ => return,
        };
        members.into_iter().for_each(|member| walk(member, seen));
        let (Some(required), Some(properties)) =
            (value.get("required").and_then(Value::as_array), value.get("properties"))
        else {
            return;
        };
        let names: BTreeSet<&str> = required.iter().filter_map(Value::as_str).collect();
        assert_eq!(names.len(), required.len(), "{required:?}");
        assert!(names.iter().all(|name| properties.get(name).is_some()), "{required:?}");
        *seen += 1;
    }
    let mut seen = 0;
    walk(&openapi::document(ROUTES), &mut seen);
    assert!(seen > 20, "{seen}");
}

#[test]
fn the_schemas_name_every_field_that_is_shown() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let flow = server.send("POST", &format!("{app}/flows"), &json!({"name": "f"})).json;
    let schemas = openapi::document(ROUTES)["components"]["schemas"].clone();
    let versions = format!("{app}/flows/{}/versions", flow["id"].as_str().expect("an id"));
    let version = server.send("POST", &versions, &json!({"version": "v"})).json;
    for (name, shown) in [
        ("Application", server.get(&app).json),
        ("Webhook", server.get(&hook).json),
        ("Flow", flow),
        ("FlowVersion", version),
    ] {
        for field in shown.as_object().expect("an object").keys() {
            assert!(schemas[name]["properties"].get(field).is_some(), "{name}.{field}");
        }
    }
}
