//! Exports as documents, their import, and backups.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::{Answered, NOBODY, Server, TOKEN, check_error, id_of, text_of};
use crate::model::yaml;

/// An application with a bit of everything; the paths of the application, its webhook and its flow.
fn furnished(server: &Server) -> (String, String, String) {
    let app = server.application();
    server.send("PATCH", &format!("{app}/globals"), &json!([{"key": "k", "json": "{\"a\":1.50}"}]));
    let hook = server.webhook(
        &app,
        &json!({
            "name": "orders", "basicAuthUsername": "u", "basicAuthPassword": "planted-password",
            "limits": {"concurrency": 5},
            "signature": {"scheme": "github", "secret": "planted-secret"},
        }),
    );
    let flow = json!({
        "name": "answer", "iconData": "kept",
        "triggers": [{"type": "webhook", "key": id_of(&hook)}, {"type": "timer", "key": "t"}],
        "nodes": [
            {"id": "f", "type": "HttpForwardNode", "config": {"url": "http://a.example", "secret": "planted-whsec"}},
            {"id": "d", "type": "DebugNode", "config": {"message": "m"}},
        ],
    });
    let flow = server.send("POST", &format!("{app}/flows"), &flow).json;
    let flow = format!("{app}/flows/{}", text_of(&flow["id"]));
    let version =
        server.send("POST", &format!("{flow}/versions"), &json!({"version": "v1", "notes": "n"})).json;
    assert_eq!(server.send("PATCH", &flow, &json!({"defaultVersionId": version["id"]})).status, 200);
    (app, hook, flow)
}

fn export(server: &Server, app: &str, more: &str) -> Answered {
    let answered = server.get(&format!("/export?applicationId={}{more}", id_of(app)));
    assert_eq!(answered.status, 200, "{}", answered.text);
    answered
}

fn import(server: &Server, query: &str, document: &Value) -> Answered {
    server.send("POST", &format!("/import{query}"), document)
}

/// Created, changed, deleted, unchanged.
fn counts(answered: &Answered) -> [u64; 4] {
    assert_eq!(answered.status, 200, "{}", answered.text);
    ["created", "changed", "deleted", "unchanged"].map(|name| answered.json[name].as_u64().expect("a count"))
}

#[test]
fn an_export_has_no_secret_and_its_import_changes_nothing() {
    let server = Server::new();
    let (app, hook, _) = furnished(&server);
    let token = text_of(&server.get(&hook).json["token"]).to_owned();
    for more in ["", "&format=yaml", "&ids=false"] {
        let exported = export(&server, &app, more);
        assert!(!exported.text.contains("planted") && !exported.text.contains(&token), "{}", exported.text);
        let document = yaml::read(&exported.text).expect("a document");
        assert_eq!(document["webhooks"][0]["signature"]["secret"], "***");
        server.refreshed();
        let imported = import(&server, "", &document);
        assert_eq!(counts(&imported), [0, 0, 0, 4], "{more}: {}", imported.text);
        assert_eq!((&imported.json["items"], server.refreshed().len()), (&json!([]), 0));
    }
    let shown = server.get(&hook).json;
    assert_eq!((&shown["basicAuthPassword"], &shown["token"]), (&json!("planted-password"), &json!(token)));
    let exported = export(&server, &app, "");
    assert_eq!(exported.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(export(&server, &app, "&format=yaml").headers[header::CONTENT_TYPE], "application/yaml");
    // Nothing of it is a date or the server's own.
    assert!(exported.json["webhooks"][0].get("lastUpdated").is_none(), "{}", exported.text);
}

#[test]
fn an_import_elsewhere_makes_all_with_the_same_ids_once_secrets_are_filled_in() {
    let (server, other) = (Server::new(), Server::new());
    let (app, hook, flow) = furnished(&server);
    let mut document = export(&server, &app, "").json;
    check_error(&import(&other, "", &document), 400, "Validation", "webhooks[0].basicAuthPassword");
    document["webhooks"][0]["basicAuthPassword"] = json!("p");
    check_error(&import(&other, "", &document), 400, "Validation", "webhooks[0].signature.secret");
    document["webhooks"][0]["signature"]["secret"] = json!("s");
    check_error(&import(&other, "", &document), 400, "Validation", "flows[0].nodes[0].config.secret");
    // A version's node takes the secret of the flow's node.
    document["flows"][0]["nodes"][0]["config"]["secret"] = json!("whsec");
    // All or nothing.
    assert_eq!(other.get("/applications").json["totalCount"], 0);
    let planned = import(&other, "?dryRun=true", &document);
    assert_eq!((counts(&planned), &planned.json["dryRun"]), ([4, 0, 0, 0], &json!(true)));
    assert_eq!(other.get("/applications").json["totalCount"], 0);

    assert_eq!(counts(&import(&other, "", &document)), [4, 0, 0, 0]);
    let shown = other.get(&hook).json;
    assert_eq!((&shown["name"], &shown["limits"]), (&json!("orders"), &json!({"concurrency": 5})));
    assert_eq!(text_of(&shown["token"]).len(), 40);
    let (ours, theirs) = (server.get(&flow).json, other.get(&flow).json);
    for field in ["triggers", "defaultVersionId", "iconData"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    let again = export(&other, &app, "").json;
    assert_eq!(counts(&import(&other, "", &again)), [0, 0, 0, 4]);
}

#[test]
fn a_copy_within_a_server_goes_by_names() {
    let server = Server::new();
    let (app, _, _) = furnished(&server);
    let mut document = export(&server, &app, "&ids=false").json;
    assert_eq!(document["flows"][0]["triggers"][0]["key"], "orders");
    assert_eq!(
        (&document["flows"][0]["defaultVersionId"], &document["flowVersions"][0]["flowId"]),
        (&json!("v1"), &json!("answer"))
    );
    document["application"]["name"] = json!("copy");
    document["webhooks"][0]["basicAuthPassword"] = json!("p");
    document["webhooks"][0]["signature"] = Value::Null;
    for list in ["flows", "flowVersions"] {
        let config = document[list][0]["nodes"][0]["config"].as_object_mut().expect("an object");
        config.remove("secret");
    }
    let imported = import(&server, "", &document);
    assert_eq!(counts(&imported), [4, 0, 0, 0], "{}", imported.text);
    let copy = format!("/applications/{}", text_of(&imported.json["applicationId"]));
    assert_ne!(copy, app);
    let hook = server.get(&format!("{copy}/webhooks")).json["items"][0]["id"].clone();
    let flow = server.get(&format!("{copy}/flows")).json["items"][0].clone();
    assert_eq!(flow["triggers"][0]["key"], hook);
    let versions = server.get(&format!("{copy}/flows/{}/versions", text_of(&flow["id"]))).json;
    assert_eq!(versions["items"][0]["id"], flow["defaultVersionId"]);
    assert_eq!(counts(&import(&server, "", &document)), [0, 0, 0, 4]);

    // With the ids of the first one it is not a copy.
    let document = export(&server, &app, "").json;
    let into = format!("?applicationId={}", id_of(&copy));
    check_error(&import(&server, &into, &document), 400, "Validation", "webhooks[0].id");
}

#[test]
fn an_import_changes_what_differs_and_prunes_what_is_gone_where_it_is_asked_to() {
    let server = Server::new();
    let (app, hook, flow) = furnished(&server);
    let document = export(&server, &app, "").json;
    server.webhook(&app, &json!({"name": "extra"}));
    server.send("POST", &format!("{app}/flows"), &json!({"name": "extra"}));
    server.send("POST", &format!("{flow}/versions"), &json!({"version": "v2"}));
    server.send("PATCH", &format!("{app}/globals"), &json!([{"key": "extra", "json": "1"}]));
    server.send("PATCH", &hook, &json!({"limits": {}, "description": "changed"}));
    let before = text_of(&server.get(&hook).json["token"]).to_owned();

    let imported = import(&server, "", &document);
    assert_eq!(counts(&imported), [0, 1, 0, 3], "{}", imported.text);
    assert_eq!(
        imported.json["items"][0],
        json!({"kind": "webhook", "id": id_of(&hook), "name": "orders", "action": "changed"})
    );
    let shown = server.get(&hook).json;
    assert_eq!((&shown["limits"], &shown["token"]), (&json!({"concurrency": 5}), &json!(before)));

    let planned = import(&server, "?prune=true&dryRun=true", &document);
    assert_eq!(counts(&planned), [0, 1, 3, 3], "{}", planned.text);
    assert_eq!(counts(&import(&server, "?prune=true", &document)), [0, 1, 3, 3]);
    assert_eq!(counts(&import(&server, "?prune=true", &document)), [0, 0, 0, 4]);
    assert_eq!(server.get(&format!("{app}/webhooks")).json["totalCount"], 1);
    assert_eq!(server.get(&format!("{app}/flows")).json["totalCount"], 1);
    assert_eq!(server.get(&format!("{flow}/versions")).json["totalCount"], 1);
    assert_eq!(server.get(&format!("{app}/globals")).json["totalCount"], 1);
    // A document that lists no flows says nothing of them.
    let webhooks = json!({"application": {"id": id_of(&app)}, "webhooks": []});
    assert_eq!(counts(&import(&server, "?prune=true", &webhooks)), [0, 0, 1, 1]);
    assert_eq!(server.get(&format!("{app}/flows")).json["totalCount"], 1);
}

#[test]
fn a_document_is_read_as_yaml_and_what_is_wrong_with_it_is_named() {
    let server = Server::new();
    let yaml = "application: {name: by hand}\nwebhooks:\n- name: in\n  waitForReply: true\nflows:\n\
                - name: out\n  triggers: [{type: webhook, key: in}]\n  nodes:\n  - type: WorkerNode\n";
    let request = Request::builder()
        .method("POST")
        .uri("/import")
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::CONTENT_TYPE, "application/yaml")
        .body(Body::from(yaml));
    assert_eq!(counts(&server.raw(request.expect("a request"))), [3, 0, 0, 0]);
    let document = yaml::read(yaml).expect("YAML");
    assert_eq!(counts(&import(&server, "", &document)), [0, 0, 0, 3]);

    let app = json!({"name": "by hand"});
    let hook = |fields: Value| json!({"application": app, "webhooks": [{"name": "other"}, fields]});
    for (document, field) in [
        (json!([]), "body"),
        (json!({"tidegate": 2}), "tidegate"),
        (json!({"webhook": []}), "webhook"),
        (json!({"webhooks": {}, "application": app}), "webhooks"),
        (json!({"application": {}}), "application.name"),
        (json!({"application": {"name": "a", "globals": [{"key": "k"}]}}), "application.globals[0].json"),
        (hook(json!({})), "webhooks[1].name"),
        (hook(json!({"name": "n", "id": "x"})), "webhooks[1].id"),
        (hook(json!({"name": "n", "bogus": 1})), "webhooks[1].bogus"),
        (hook(json!({"name": "n", "id": NOBODY, "limits": 5})), "webhooks[1].limits"),
        (json!({"application": app, "webhooks": [{"name": "in"}, {"name": "in"}]}), "webhooks[1].id"),
        (
            json!({"application": app, "flows": [{"name": "f", "triggers": [{"type": "webhook", "key": "none"}]}]}),
            "flows[0].triggers[0].key",
        ),
        (
            json!({"application": app, "flows": [{"name": "f", "defaultVersionId": "v"}]}),
            "flows[0].defaultVersionId",
        ),
        (
            json!({"application": app, "flowVersions": [{"flowId": "none", "version": "v"}]}),
            "flowVersions[0].flowId",
        ),
    ] {
        check_error(&import(&server, "", &document), 400, "Validation", &format!("`{field}`"));
    }
    check_error(&server.get(&format!("/export?applicationId={NOBODY}")), 404, "NotFound", "Application");
    check_error(&server.get("/export"), 400, "Validation", "applicationId");
    check_error(
        &server.get(&format!("/export?applicationId={NOBODY}&format=xml")),
        400,
        "Validation",
        "format",
    );
    check_error(&import(&server, "?prun=true", &json!({})), 400, "Validation", "prun");
    assert_eq!(server.get("/applications").json["totalCount"], 1);
}

#[test]
fn a_backup_is_announced_with_its_length_and_is_whole() {
    let server = Server::new();
    server.application();
    let answered = server.get("/backup");
    assert_eq!(answered.status, 200);
    let length: u64 =
        answered.headers[header::CONTENT_LENGTH].to_str().expect("text").parse().expect("a length");
    assert!(length > 4096 && answered.text.starts_with("redb"), "{length}");
}
