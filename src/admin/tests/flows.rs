//! Versions of flows, imports, globals, warnings, advanced queries, and paths that are not offered.

use axum::body::Body;
use serde_json::{Value, json};

use super::{NOBODY, Server, check_error, id_of, text_of};

fn made(server: &Server, path: &str, body: &Value) -> Value {
    let made = server.send("POST", path, body);
    assert_eq!(made.status, 201, "{}", made.text);
    made.json
}

fn reply_flow(name: &str, webhook: &str) -> Value {
    json!({
        "name": name,
        "triggers": [{"type": "webhook", "key": webhook, "outputIds": [["r"]]}],
        "nodes": [{"id": "r", "type": "WebhookReplyNode", "config": {"bodyTemplate": "x"}}],
    })
}

#[test]
fn a_version_is_made_shown_changed_run_and_deleted() {
    let server = Server::new();
    let app = server.application();
    let flow = made(
        &server,
        &format!("{app}/flows"),
        &json!({"name": "f", "nodes": [{"id": "a", "type": "WorkerNode"}]}),
    );
    let path = format!("{app}/flows/{}", text_of(&flow["id"]));
    let version = made(&server, &format!("{path}/versions"), &json!({"version": "v 1", "notes": "first"}));
    assert_eq!(version["nodes"], flow["nodes"]);
    assert_eq!((&version["flowId"], &version["id"]), (&flow["id"], &version["flowVersionId"]));
    let id = text_of(&version["id"]);
    for word in [id, "v%201"] {
        assert_eq!(server.get(&format!("{path}/versions/{word}")).json, version, "{word}");
    }
    let list = server.get(&format!("{path}/versions?sortField=version&filterField=version&filter=v*")).json;
    assert_eq!(
        (&list["totalCount"], &list["flowId"], &list["sortField"]),
        (&json!(1), &flow["id"], &json!("version"))
    );
    assert_eq!(server.get(&format!("{app}/flows/version?version=v%201")).json["totalCount"], 1);
    assert_eq!(server.get(&format!("{app}/flows/version?version=v2")).json["totalCount"], 0);

    let changed =
        server.send("PATCH", &format!("{path}/versions/{id}"), &json!({"notes": "n", "enabled": false}));
    assert_eq!(
        (changed.status, &changed.json["notes"], &changed.json["enabled"]),
        (200, &json!("n"), &json!(false))
    );
    let fixed = server.send("PATCH", &format!("{path}/versions/{id}"), &json!({"nodes": []}));
    check_error(&fixed, 400, "Validation", "nodes");

    let again = server.send("POST", &format!("{path}/versions"), &json!({"version": "v 1"}));
    check_error(&again, 409, "Conflict", "allowReplacement");
    let replaced = made(
        &server,
        &format!("{path}/versions?allowReplacement=true"),
        &json!({"version": "v 1", "nodes": []}),
    );
    assert_eq!((&replaced["id"], &replaced["nodes"]), (&version["id"], &json!([])));

    let set = server.send("PATCH", &path, &json!({"defaultVersionId": id}));
    assert_eq!((set.status, text_of(&set.json["defaultVersionId"])), (200, id));
    check_error(
        &server.send("PATCH", &path, &json!({"defaultVersionId": NOBODY})),
        400,
        "Validation",
        "defaultVersionId",
    );
    check_error(
        &server.ask("DELETE", &format!("{path}/versions/{id}"), "{}"),
        400,
        "Validation",
        "defaultVersionId",
    );
    let unset = server.send("PATCH", &path, &json!({"defaultVersionId": null}));
    assert!(unset.json.get("defaultVersionId").is_none());
    assert_eq!(server.ask("DELETE", &format!("{path}/versions/{id}"), "{}").status, 200);
    check_error(&server.get(&format!("{path}/versions/{id}")), 404, "NotFound", "Flow version");
    check_error(
        &server.get(&format!("{app}/flows/{NOBODY}/versions")),
        404,
        "NotFound",
        "Flow was not found",
    );
}

#[test]
fn flows_and_versions_are_imported_with_new_ids_or_not_at_all() {
    let server = Server::new();
    let app = server.application();
    let (old_flow, old_version) = ("aaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbb");
    let import = json!({
        "flows": [{
            "id": old_flow, "applicationId": NOBODY, "name": "moved", "flowClass": "cloud", "defaultVersionId": old_version,
            "triggers": [{"type": "webhook", "key": NOBODY}, {"type": "timer", "config": {"seconds": 5}}],
            "nodes": [{"id": "d", "type": "DebugNode", "config": {"message": "m"}}],
            "globals": [{"key": "k", "json": "1"}],
        }],
        "flowVersions": [{"id": old_version, "flowId": old_flow, "version": "v1", "notes": "n", "nodes": [], "triggers": []}],
    });
    let answer = made(&server, &format!("{app}/flows/import"), &import);
    let (flow, version) = (&answer["flows"][0], &answer["flowVersions"][0]);
    assert_eq!(answer["importedFlowIdMap"], json!({old_flow: flow["id"]}));
    assert_eq!(answer["importedVersionIdMap"], json!({old_version: version["id"]}));
    assert_eq!((&flow["defaultVersionId"], &version["flowId"]), (&version["id"], &flow["id"]));
    assert_eq!(flow["warnings"].as_array().map(Vec::len), Some(2), "{flow}");
    let mut shown = server.get(&format!("{app}/flows/{}", text_of(&flow["id"]))).json;
    assert_eq!(&shown, flow);
    for field in ["triggers", "nodes", "globals", "name"] {
        assert_eq!(shown[field].take(), import["flows"][0][field], "{field}");
    }
    // A version for a flow that is there.
    let more = json!({"flowVersions": [{"flowId": flow["id"], "version": "v2"}]});
    assert_eq!(made(&server, &format!("{app}/flows/import"), &more)["flowVersions"][0]["version"], "v2");
    let total = || server.get(&format!("{app}/flows")).json["totalCount"].clone();
    let good = json!({"name": "good"});
    for (bad, mentions) in [
        (json!({"flows": [good, {"name": ""}]}), "flows[1].name"),
        (
            json!({"flows": [good], "flowVersions": [{"version": "v1", "flowId": NOBODY}]}),
            "flowVersions[0].flowId",
        ),
        (json!({"flows": [good], "flowVersions": [{"flowId": flow["id"]}]}), "flowVersions[0].version"),
        (json!({"flows": [good], "experiences": []}), "experiences"),
        (json!({"flows": {}}), "flows"),
        (json!([]), "body"),
    ] {
        check_error(&server.send("POST", &format!("{app}/flows/import"), &bad), 400, "Validation", mentions);
        assert_eq!(total(), 1, "{bad}");
    }
    let taken = json!({"flows": [good], "flowVersions": [{"flowId": flow["id"], "version": "v2"}]});
    check_error(&server.send("POST", &format!("{app}/flows/import"), &taken), 409, "Conflict", "");
    assert_eq!(total(), 1);
    check_error(
        &server.send("POST", &format!("/applications/{NOBODY}/flows/import"), &good),
        404,
        "NotFound",
        "Application",
    );
}

#[test]
fn globals_are_read_and_changed_all_some_or_one() {
    let server = Server::new();
    let app = server.application();
    let path = format!("{app}/globals");
    let set = json!([{"key": "a", "json": "1"}, {"key": "b-_9", "json": "\"x\"", "cloudOnly": true}, {"key": "c", "json": "[]"}]);
    let changed = server.send("PATCH", &path, &set);
    assert_eq!(
        (changed.status, &changed.json["globals"], &changed.json["name"]),
        (200, &set, &json!("shop"))
    );
    let some = json!([{"key": "a", "json": null}, {"key": "c", "json": "{}"}]);
    assert_eq!(
        server.send("PATCH", &path, &some).json["globals"],
        json!([set[1], {"key": "c", "json": "{}"}])
    );
    assert_eq!(server.send("PATCH", &path, &json!({"key": "d", "json": "4"})).status, 200);
    assert_eq!(server.send("PATCH", &format!("{path}/e"), &json!({"json": "5"})).status, 200);
    assert_eq!(server.get(&format!("{path}/e")).json, json!({"key": "e", "json": "5"}));
    assert_eq!(server.send("PATCH", &format!("{path}/e"), &json!({"json": null})).status, 200);
    check_error(&server.get(&format!("{path}/e")), 404, "NotFound", "Global");
    let keys = |query: &str| {
        let answered = server.get(&format!("{path}{query}")).json;
        let items = answered["items"].as_array().expect("a list").clone();
        items.iter().map(|item| text_of(&item["key"]).to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(""), "b-_9 c d");
    assert_eq!(keys("?key=d&key=c&key=nothing&_links=true"), "c d");
    check_error(&server.get(&format!("{path}?name=d")), 400, "Validation", "name");
    for bad in ["a.b", "a b", ""] {
        let body = json!([{"key": bad, "json": "1"}]);
        check_error(&server.send("PATCH", &path, &body), 400, "Validation", "globals[0].key");
        check_error(
            &server.send("PATCH", &app, &json!({"globals": body})),
            400,
            "Validation",
            "globals[0].key",
        );
    }
    check_error(
        &server.send("PATCH", &path, &json!([{"key": "k", "json": "{"}])),
        400,
        "Validation",
        "globals[0].json",
    );
    check_error(&server.get(&format!("/applications/{NOBODY}/globals")), 404, "NotFound", "Application");
}

#[test]
fn what_will_not_act_as_it_reads_is_told_in_warnings() {
    let server = Server::new();
    let app = server.application();
    let elsewhere = server.application();
    let foreign = server.webhook(&elsewhere, &json!({"name": "foreign"}));
    let hook = server.webhook(&app, &json!({"name": "plain"}));
    let warnings = |shown: &Value| {
        let list = shown["warnings"].as_array().unwrap_or_else(|| panic!("{shown}")).clone();
        list.iter().map(|warning| text_of(warning).to_owned()).collect::<Vec<_>>()
    };
    let flow = made(&server, &format!("{app}/flows"), &reply_flow("answers", id_of(&hook)));
    assert!(
        matches!(&warnings(&flow)[..], [one] if one.contains("waitForReply") && one.contains("\"plain\"")),
        "{flow}"
    );
    let told = server.send("PATCH", &hook, &json!({"description": "d"})).json;
    assert!(matches!(&warnings(&told)[..], [one] if one.contains("\"answers\"")), "{told}");
    assert!(warnings(&server.send("PATCH", &hook, &json!({"waitForReply": true})).json).is_empty());
    let path = format!("{app}/flows/{}", text_of(&flow["id"]));
    assert!(warnings(&server.get(&path).json).is_empty());

    let triggers = json!([
        {"type": "webhook", "key": NOBODY}, {"type": "webhook", "key": id_of(&foreign)}, {"type": "flowError"},
    ]);
    let told = warnings(&server.send("PATCH", &path, &json!({"triggers": triggers})).json);
    for (warning, mentions) in told.iter().zip(["no webhook", "another application", "\"flowError\""]) {
        assert!(warning.contains(mentions), "{warning}");
    }
    assert_eq!(told.len(), 3);
    for kind in ["facebook", "fitbit"] {
        let body = json!({"name": "w", "verificationType": kind});
        let told = made(&server, &format!("{app}/webhooks"), &body);
        assert!(
            matches!(&warnings(&told)[..], [one] if one.contains("verificationCode") && one.contains(kind)),
            "{told}"
        );
    }
    let coded = json!({"name": "w", "verificationType": "fitbit", "verificationCode": "c", "warnings": ["sent back"]});
    assert!(warnings(&made(&server, &format!("{app}/webhooks"), &coded)).is_empty());
}

#[test]
fn a_list_of_flows_is_narrowed_as_it_is_asked_or_not_given() {
    let server = Server::new();
    let app = server.application();
    for (name, class) in [("a", "cloud"), ("b", "edge"), ("ab", "cloud")] {
        made(
            &server,
            &format!("{app}/flows"),
            &json!({"name": name, "flowClass": class,
            "triggers": [{"type": "timer", "key": name}]}),
        );
    }
    let names = |query: &str| {
        let answered = server.get(&format!("{app}/flows?{query}"));
        assert_eq!(answered.status, 200, "{}", answered.text);
        let items = answered.json["items"].as_array().expect("a list").clone();
        assert_eq!(answered.json["totalCount"], items.len());
        items.iter().map(|item| text_of(&item["name"]).to_owned()).collect::<Vec<_>>().join(" ")
    };
    let advanced =
        |query: Value| names(&format!("query={}", query.to_string().replace('"', "%22").replace(' ', "%20")));
    assert_eq!(names(""), "a ab");
    assert_eq!(names("flowClass=edge"), "b");
    assert_eq!(names("flowClass=experience"), "");
    assert_eq!(names("filter=a"), "a ab");
    assert_eq!(names("filterField=name&filter=a"), "a");
    assert_eq!(names("triggerFilter[0][type]=timer"), "a ab");
    assert_eq!(names("triggerFilter[0][key]=ab"), "ab");
    assert_eq!(advanced(json!({"name": {"$startsWith": "a"}})), "a ab");
    assert_eq!(advanced(json!({"name": "b"})), "b");
    assert_eq!(advanced(json!({"flowClass": "edge", "triggers": {"type": "timer"}})), "b");
    assert_eq!(advanced(json!({"name": "none"})), "");
    for (bad, mentions) in [
        ("query=1", "query"),
        ("query=%7B", "query"),
        ("query=%7B%22colour%22:1%7D", "query.colour"),
        ("allVersions=true", "allVersions"),
        ("flowClass=sky", "flowClass"),
        ("ownerId=1", "ownerId"),
    ] {
        check_error(&server.get(&format!("{app}/flows?{bad}")), 400, "Validation", mentions);
    }
    let by_owner = server.get("/applications?sortField=ownerId").json;
    assert_eq!((&by_owner["sortField"], &by_owner["totalCount"]), (&json!("ownerId"), &json!(1)));
    check_error(&server.get("/applications?orgId=1"), 400, "Validation", "orgId");
    check_error(&server.get(&format!("{app}/webhooks?sortField=ownerId")), 400, "Validation", "sortField");
}

#[test]
fn a_path_of_the_platform_that_is_not_offered_is_not_told_as_a_missing_id() {
    let server = Server::new();
    let app = server.application();
    for (method, path) in [
        ("POST", "/applications/import".to_owned()),
        ("GET", "/applications/periodSummaries".to_owned()),
        ("GET", format!("{app}/flows/palette")),
        ("GET", format!("{app}/devices")),
        ("PATCH", format!("{app}/readme")),
        ("POST", format!("{app}/flows/{NOBODY}/virtualButton")),
        ("GET", "/me".to_owned()),
    ] {
        let answered = server.ask(method, &path, Body::empty());
        check_error(&answered, 404, "NotFound", "not offered here");
        assert_eq!(answered.json["message"], "not offered here");
    }
}
