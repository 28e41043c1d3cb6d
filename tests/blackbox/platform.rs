//! A flow as the platform exports it, with its conditions, debug nodes, annotations, versions and globals: imported, run, read back.

use serde_json::{Value, json};

use crate::common::Server;

on_each_driver! {
    a_flow_of_the_platform_is_imported_run_and_read_back,
    a_flow_tells_how_often_it_ran_and_what_went_wrong,
}

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2);
    })
}

/// As the platform's editor exports it; `webhook` is the one that starts it.
fn exported(webhook: &str) -> Value {
    let meta =
        |label: &str| json!({"label": label, "x": 240, "y": 60.5, "uiId": "BkGZ0vc1P", "category": "logic"});
    json!({
        "id": "5f0c7dd9e5a8f30006d2f1aa", "flowId": "5f0c7dd9e5a8f30006d2f1aa", "applicationId": "5f0c7dd9e5a8f30006d2f1ab",
        "creationDate": "2020-07-13T15:29:29.000Z", "lastUpdated": "2020-07-14T08:11:02.117Z",
        "createdById": "5f0c7dd9e5a8f30006d2f1ac", "createdByType": "user", "lastUpdatedById": "5f0c7dd9e5a8f30006d2f1ac",
        "lastUpdatedByType": "user", "name": "Moved", "description": "", "enabled": true, "flowClass": "cloud",
        "iconData": "", "minimumAgentVersion": "1.0.0", "defaultVersionId": "5f0c7dd9e5a8f30006d2f1ad",
        "globals": [{"key": "place", "json": "\"the flow\""}],
        "triggers": [
            {"key": webhook, "type": "webhook", "config": {}, "meta": meta("Webhook"), "outputIds": [["debug"]]},
            {"type": "virtualButton", "key": "a-button", "config": {}, "meta": meta("Button"), "outputIds": [["debug"]]},
            {"type": "timer", "config": {"seconds": 60}, "meta": meta("Timer"), "outputIds": [["note"]]},
        ],
        "nodes": [
            {"id": "debug", "type": "DebugNode", "config": {"message": "got {{data.body}}", "property": "data"},
                "meta": meta("Debug"), "outputIds": [["if"]]},
            {"id": "note", "type": "AnnotationNode", "config": {}, "meta": meta("Note"), "outputIds": [["reply"]]},
            {"id": "reply", "type": "WebhookReplyNode", "meta": meta("Reply"), "outputIds": [[]],
                "config": {"replyIdPath": "data.replyId", "responseCodeTemplate": "{{data.query.code}}",
                    "bodyTemplate": "develop {{globals.place}} {{globals.rest}}", "bodyTemplateType": "string",
                    "headerInfo": [{"keyTemplate": "content-type", "valueTemplate": "text/plain"}]}},
            {"id": "if", "type": "ConditionalNode", "config": {"expression": "{{data.query.skip}} !== 'yes'"},
                "meta": meta("Skip?"), "outputIds": [["other"], ["note"]]},
            {"id": "other", "type": "WebhookReplyNode", "config": {"bodyTemplate": "skipped"}, "meta": meta("Other"),
                "outputIds": [[]]},
            {"id": "unreached", "type": "DebugNode", "config": {}, "meta": meta("Unwired"), "outputIds": [[]]},
        ],
    })
}

/// Without ids and dates, and what the server adds.
fn comparable(mut value: Value) -> Value {
    let fields = value.as_object_mut().expect("an object");
    let is_own = |field: &str| {
        field == "id"
            || field.ends_with("Id")
            || field.ends_with("ById")
            || field.ends_with("ByType")
            || ["creationDate", "lastUpdated", "warnings"].contains(&field)
    };
    fields.retain(|field, _| !is_own(field));
    value
}

fn a_flow_of_the_platform_is_imported_run_and_read_back(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true}));
    let application = format!("/applications/{}", hook.application);
    let globals = json!([{"key": "place", "json": "\"the application\""}, {"key": "rest", "json": "[1]"}]);
    server.done("PATCH", &format!("{application}/globals"), &globals);
    let flow = exported(&hook.id);
    let mut version = flow.clone();
    version["id"] = json!("5f0c7dd9e5a8f30006d2f1ad");
    version["version"] = json!("v1");
    version["notes"] = json!("the first");
    version["nodes"][2]["config"]["bodyTemplate"] = json!("v1 {{globals.place}} {{globals.rest}}");
    for field in ["iconData", "defaultVersionId"] {
        version.as_object_mut().expect("an object").remove(field);
    }
    let import = json!({"flows": [flow], "flowVersions": [version]});
    let imported = server.done("POST", &format!("{application}/flows/import"), &import);
    let id = imported["flows"][0]["id"].as_str().expect("an id");
    let path = format!("{application}/flows/{id}");

    let mut wire = server.wire();
    let ask = |wire: &mut crate::common::Wire, query: &str| {
        let response = wire.ask(crate::common::request("POST", &hook.target(query), &[], b"x"));
        (response.status, response.text().to_owned())
    };
    assert_eq!(ask(&mut wire, "?code=201"), (201, "v1 the flow 1".to_owned()));
    assert_eq!(ask(&mut wire, "?code=abc").0, 200);
    assert_eq!(ask(&mut wire, "?skip=yes"), (200, "skipped".to_owned()));
    server.done("PATCH", &path, &json!({"defaultVersionId": null}));
    assert_eq!(ask(&mut wire, ""), (200, "develop the flow 1".to_owned()));
    server.done("PATCH", &path, &json!({"globals": []}));
    assert_eq!(ask(&mut wire, ""), (200, "develop the application 1".to_owned()));
    server.done("PATCH", &path, &json!({"globals": flow["globals"]}));

    let read = server.done("GET", &path, &Value::Null);
    assert_eq!(comparable(read.clone()), comparable(flow));
    assert_eq!(read["warnings"].as_array().map(Vec::len), Some(2), "{read}");
    let read = server.done("GET", &format!("{path}/versions/v1"), &Value::Null);
    let mut sent = comparable(version);
    for field in ["name", "description"] {
        sent.as_object_mut().expect("an object").remove(field);
    }
    assert_eq!(comparable(read), sent);
}

fn a_flow_tells_how_often_it_ran_and_what_went_wrong(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true}));
    let good = json!({"id": "good", "type": "WebhookReplyNode", "config": {"bodyTemplate": "x"}});
    let bad = json!({"id": "bad", "type": "WebhookReplyNode", "config": {"encodingTemplate": "{{data.path}}", "bodyTemplate": "x"}});
    let id = server.flow(&hook, json!([good, bad]));
    let path = format!("/applications/{}/flows/{id}", hook.application);
    let mut wire = server.wire();
    for _ in 0..3 {
        wire.ask(hook.get()).is(200, "x");
    }
    let sum = |field: &str| {
        let stats = server.done("GET", &format!("{path}/stats"), &Value::Null);
        let rows = stats["metrics"].as_array().expect("a list").clone();
        rows.iter().map(|row| row[field].as_u64().expect("a count")).sum::<u64>()
    };
    assert_eq!((sum("runCount"), sum("pathsFailed")), (3, 3));
    let errors = server.done("GET", &format!("{path}/errors"), &Value::Null);
    assert_eq!(errors["errors"][0]["nodeId"], "bad", "{errors}");
}
