//! Exports of applications and their import, and what a flow did lately.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::{Answered, NOBODY, Server, TOKEN, check_error, id_of, text_of};

const BOUNDARY: &str = "a-boundary-of-the-test";

fn import(server: &Server, application: &str, bundle: &str, options: Option<&Value>) -> Answered {
    let mut form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"importBundle\"; filename=\"b\"\r\n\r\n{bundle}\r\n"
    );
    if let Some(options) = options {
        form +=
            &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n{options}\r\n");
    }
    form += &format!("--{BOUNDARY}--\r\n");
    let request = Request::builder()
        .method("POST")
        .uri(format!("{application}/import"))
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from(form));
    server.raw(request.expect("a request"))
}

/// The resources of an application, without the fields that differ between two of them.
fn content(server: &Server, application: &str) -> Value {
    let list = |kind: &str| {
        let mut items =
            server.get(&format!("{application}/{kind}")).json["items"].as_array().expect("a list").clone();
        for item in &mut items {
            let object = item.as_object_mut().expect("an object");
            object.retain(|field, _| {
                !field.ends_with("Id")
                    && !["id", "token", "creationDate", "lastUpdated"].contains(&field.as_str())
            });
            for trigger in object.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten() {
                let webhook = server.get(&format!("{application}/webhooks/{}", text_of(&trigger["key"])));
                trigger["key"] = webhook.json["name"].clone();
            }
        }
        items
    };
    let globals = server.get(&format!("{application}/globals")).json["items"].clone();
    json!({"webhooks": list("webhooks"), "flows": list("flows"), "versions": list("flows/version"), "globals": globals})
}

#[test]
fn an_application_that_was_exported_is_imported_equal_and_a_second_time_changes_nothing() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "w", "waitForReply": true, "basicAuthPassword": "p"}));
    server.send("PATCH", &format!("{app}/globals"), &json!([{"key": "k", "json": "1"}]));
    let flow = json!({
        "name": "f", "iconData": "i", "globals": [{"key": "g", "json": "2"}],
        "triggers": [{"type": "webhook", "key": id_of(&hook), "outputIds": [["d"]]}],
        "nodes": [{"id": "d", "type": "DebugNode", "config": {"message": "m"}, "outputIds": [[]]}],
    });
    let flow = server.send("POST", &format!("{app}/flows"), &flow).json;
    let path = format!("{app}/flows/{}", text_of(&flow["id"]));
    let version = server.send("POST", &format!("{path}/versions"), &json!({"version": "v1"})).json;
    server.send("PATCH", &path, &json!({"defaultVersionId": version["id"]}));

    let exported =
        server.send("POST", &format!("{app}/export"), &json!({"includeFiles": true, "email": "a@b.example"}));
    assert_eq!(exported.status, 200, "{}", exported.text);
    let url = text_of(&exported.json["url"]);
    let download = url.strip_prefix("http://localhost:8081").expect("this listener");
    let open = Request::builder().uri(download).header(header::HOST, "localhost").body(Body::empty());
    let bundle = server.raw(open.expect("a request"));
    assert_eq!(bundle.status, 200);

    let copy = server.application();
    assert_eq!(import(&server, &copy, &bundle.text, None).status, 200);
    assert_eq!(content(&server, &copy), content(&server, &app));
    let flows = server.get(&format!("{copy}/flows")).json;
    let versions = server.get(&format!("{copy}/flows/version")).json;
    assert_eq!(flows["items"][0]["defaultVersionId"], versions["items"][0]["id"]);
    assert_ne!(flows["items"][0]["id"], flow["id"]);

    let before = content(&server, &app);
    let again = import(&server, &app, &bundle.text, None);
    assert_eq!((again.status, &again.json["name"]), (200, &json!("shop")), "{}", again.text);
    assert_eq!(content(&server, &app), before);
    let globals_alone = server.application();
    assert_eq!(
        import(&server, &globals_alone, &bundle.text, Some(&json!({"include": ["Global"]}))).status,
        200
    );
    let got = content(&server, &globals_alone);
    assert_eq!((&got["webhooks"], &got["globals"]), (&json!([]), &before["globals"]));
}

#[test]
fn what_cannot_be_exported_or_imported_is_told_and_nothing_is_kept() {
    let server = Server::new();
    let app = server.application();
    for (options, mentions) in [
        (json!({"exportType": "repo"}), "exportType"),
        (json!({"forceJob": true}), "forceJob"),
        (json!({"colour": 1}), "colour"),
        (json!([]), "body"),
    ] {
        check_error(&server.send("POST", &format!("{app}/export"), &options), 400, "Validation", mentions);
    }
    assert_eq!(server.ask("POST", &format!("{app}/export"), "").status, 200);
    check_error(
        &server.ask("POST", &format!("/applications/{NOBODY}/export"), "{}"),
        404,
        "NotFound",
        "Application",
    );
    check_error(&server.get("/exports/none"), 404, "NotFound", "Export");
    let signed = json!({"name": "s", "signature": {"scheme": "github", "secret": "***"}});
    for (bundle, mentions) in [
        ("PK\u{3}\u{4}".to_owned(), "zip"),
        ("{".to_owned(), "importBundle"),
        ("{}".to_owned(), "importBundle"),
        (json!({"tidegate": 1, "webhooks": [{"name": "w"}, signed]}).to_string(), "webhooks[1].signature"),
        (
            json!({"tidegate": 1, "webhooks": [{"name": "w"}], "flows": [{"name": ""}]}).to_string(),
            "flows[0].name",
        ),
    ] {
        check_error(&import(&server, &app, &bundle, None), 400, "Validation", mentions);
        assert_eq!(server.get(&format!("{app}/webhooks")).json["totalCount"], 0);
    }
    let fetched = import(&server, &app, r#"{"tidegate":1}"#, Some(&json!({"importUrl": "http://x.example"})));
    check_error(&fetched, 400, "Validation", "importUrl");
    check_error(&server.ask("POST", &format!("{app}/import"), "x"), 400, "Validation", "importBundle");
}

#[test]
fn what_a_flow_did_lately_is_told_in_the_shapes_of_the_platform() {
    let server = Server::new();
    let app = server.application();
    let nodes = json!([{"id": "r", "type": "WorkerNode", "meta": {"label": "A label"}}]);
    let flow = server.send("POST", &format!("{app}/flows"), &json!({"name": "f", "nodes": nodes})).json;
    let path = format!("{app}/flows/{}", text_of(&flow["id"]));
    let stats = server.get(&format!("{path}/stats?end=1771524000000&duration=7200000")).json;
    assert_eq!(stats["start"], "2026-02-19T16:00:00.000Z");
    let row =
        |time: &str, runs: u64, failed: u64| json!({"time": time, "runCount": runs, "pathsFailed": failed});
    assert_eq!(
        stats["metrics"],
        json!([row("2026-02-19T16:00:00.000Z", 0, 0), row("2026-02-19T17:00:00.000Z", 3, 1)])
    );
    let errors = server.get(&format!("{path}/errors?end=1771524000000&limit=5")).json;
    assert_eq!((&errors["limit"], &errors["sortDirection"]), (&json!(5), &json!("desc")));
    assert_eq!(
        errors["errors"],
        json!([{"time": "2026-02-19T17:26:00.123Z", "nodeId": "r", "nodeLabel": "A label",
            "error": {"name": "NodeError", "message": "no"}}])
    );
    assert_eq!(server.get(&format!("{path}/stats")).json["metrics"].as_array().map(Vec::len), Some(25));
    for (query, mentions) in [
        ("stats?resolution=1000", "resolution"),
        ("stats?resolution=5400000", "resolution"),
        ("stats?flowVersion=develop", "flowVersion"),
        ("errors?deviceId=1", "deviceId"),
        ("errors?limit=0", "limit"),
        ("errors?duration=1e3", "duration"),
    ] {
        check_error(&server.get(&format!("{path}/{query}")), 400, "Validation", mentions);
    }
    check_error(&server.get(&format!("{app}/flows/{NOBODY}/stats")), 404, "NotFound", "Flow");
}
