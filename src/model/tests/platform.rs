//! Bodies in the shapes of the platform: every field of its published schemas, its triggers, what format 1 kept of it.

use serde_json::{Map, Value, json};

use super::super::*;
use super::{NOW, flow, key, owner};
use crate::model;

/// The properties of a resource as `losant-rest` 2.8 and 4.2 (API 1.20 and 1.30) publish them: shown, then taken by a
/// POST and by a PATCH. The later lists hold the earlier ones.
const APPLICATION: [&[&str]; 3] = [
    &[
        "id",
        "applicationId",
        "creationDate",
        "lastUpdated",
        "appliedTemplateIds",
        "ownerId",
        "ownerType",
        "organizationName",
        "organizationIconColor",
        "name",
        "description",
        "endpointSlug",
        "expUserTokenCutoff",
        "endpointDefaultCors",
        "globals",
        "blobUrlTTL",
        "summary",
        "ftueTracking",
        "archiveConfig",
    ],
    &[
        "orgId",
        "applicationTemplateId",
        "name",
        "description",
        "appliedTemplateIds",
        "endpointSlug",
        "expUserTokenCutoff",
        "endpointDefaultCors",
        "globals",
        "archiveConfig",
        "blobUrlTTL",
    ],
    &[
        "name",
        "description",
        "endpointSlug",
        "expUserTokenCutoff",
        "endpointDefaultCors",
        "globals",
        "ftueTracking",
        "archiveConfig",
        "blobUrlTTL",
    ],
];
const WEBHOOK: [&[&str]; 3] = [
    &[
        "id",
        "webhookId",
        "applicationId",
        "creationDate",
        "lastUpdated",
        "name",
        "description",
        "token",
        "responseCode",
        "verificationType",
        "verificationCode",
        "waitForReply",
        "basicAuthUsername",
        "basicAuthPassword",
        "isWebsocket",
        "castBuffersAs",
        "annotateMultipart",
        "enabled",
    ],
    &[
        "name",
        "description",
        "responseCode",
        "verificationType",
        "verificationCode",
        "waitForReply",
        "basicAuthUsername",
        "basicAuthPassword",
        "isWebsocket",
        "castBuffersAs",
        "annotateMultipart",
        "enabled",
    ],
    &[
        "name",
        "description",
        "responseCode",
        "verificationType",
        "verificationCode",
        "waitForReply",
        "basicAuthUsername",
        "basicAuthPassword",
        "isWebsocket",
        "castBuffersAs",
        "annotateMultipart",
        "enabled",
    ],
];
const FLOW: [&[&str]; 3] = [
    &[
        "id",
        "flowId",
        "applicationId",
        "creationDate",
        "lastUpdated",
        "createdById",
        "createdByType",
        "lastUpdatedById",
        "lastUpdatedByType",
        "name",
        "description",
        "shortDescription",
        "iconData",
        "docsUrl",
        "category",
        "enabled",
        "defaultVersionId",
        "minimumAgentVersion",
        "flowClass",
        "triggers",
        "nodes",
        "customNodeConfig",
        "customNodeSupports",
        "customNodeUseCount",
        "globals",
        "deletedInDevelop",
        "stats",
    ],
    &[
        "name",
        "description",
        "shortDescription",
        "iconData",
        "docsUrl",
        "category",
        "enabled",
        "triggers",
        "nodes",
        "globals",
        "flowClass",
        "minimumAgentVersion",
        "customNodeConfig",
        "customNodeSupports",
    ],
    &[
        "name",
        "description",
        "shortDescription",
        "iconData",
        "docsUrl",
        "category",
        "enabled",
        "defaultVersionId",
        "triggers",
        "nodes",
        "globals",
        "minimumAgentVersion",
        "customNodeConfig",
    ],
];
const FLOW_VERSION: [&[&str]; 3] = [
    &[
        "id",
        "flowVersionId",
        "flowId",
        "applicationId",
        "creationDate",
        "lastUpdated",
        "createdById",
        "createdByType",
        "lastUpdatedById",
        "lastUpdatedByType",
        "version",
        "flowClass",
        "notes",
        "enabled",
        "triggers",
        "nodes",
        "globals",
        "minimumAgentVersion",
        "customNodeConfig",
        "stats",
        "name",
        "description",
        "versions",
    ],
    &[
        "version",
        "notes",
        "enabled",
        "triggers",
        "nodes",
        "globals",
        "minimumAgentVersion",
        "customNodeConfig",
    ],
    &["notes", "enabled"],
];

/// The fields that the platform adds to every answer on request.
const ANYWHERE: [&str; 5] = ["_type", "_etag", "_links", "_actions", "_embedded"];

/// Fields whose value has to be what it is for; any other takes any JSON.
fn value_of(field: &str) -> Value {
    match field {
        "name" | "description" | "version" | "notes" => json!("text"),
        "enabled" | "waitForReply" | "isWebsocket" | "annotateMultipart" => json!(true),
        "responseCode" => json!(202),
        "verificationType" => json!("fitbit"),
        "castBuffersAs" => json!("hex"),
        "verificationCode" | "basicAuthUsername" | "basicAuthPassword" => json!("secret"),
        "globals" => json!([{"key": "k", "json": "1"}]),
        "triggers" | "nodes" => json!([]),
        "flowClass" => json!("cloud"),
        "defaultVersionId" => json!(key()),
        _ => json!({"any": [1.10, null]}),
    }
}

fn body(fields: &[&str]) -> Value {
    let named = fields.iter().chain(&ANYWHERE).map(|field| ((*field).to_owned(), value_of(field)));
    Value::Object(named.collect::<Map<_, _>>())
}

/// Asserts that every field is either ignored, as the server's own, or given back as it was.
fn check_given_back(shown: &Value, fields: &[&str], spec: &ObjectSpec) {
    for field in fields.iter().filter(|field| !spec.is_read_only(field)) {
        if !known::IGNORED_ANYWHERE.contains(field) {
            assert_eq!(shown[*field], value_of(field), "{field}");
        }
    }
}

#[test]
fn every_field_of_the_platforms_schemas_is_taken_and_kept_or_ignored() {
    for fields in APPLICATION {
        let made = Application::create(&body(&[fields, &["name"]].concat()), NOW).expect("taken");
        check_given_back(&made.to_api(), fields, &model::APPLICATION);
        made.clone().patch(&body(fields), NOW).expect("taken");
    }
    for fields in WEBHOOK {
        let made = Webhook::create(&body(&[fields, &["name"]].concat()), owner(), NOW).expect("taken");
        check_given_back(&made.to_api(), fields, &model::WEBHOOK);
        made.clone().patch(&body(fields), NOW).expect("taken");
    }
    for fields in FLOW {
        let made = flow(&body(&[fields, &["name"]].concat())).expect("taken");
        // A new flow has no version that could run.
        let but_version: Vec<&str> =
            fields.iter().copied().filter(|field| *field != "defaultVersionId").collect();
        check_given_back(&made.to_api(), &but_version, &model::FLOW);
        let mut patched = made.clone();
        patched.patch(&body(fields), NOW).expect("taken");
        check_given_back(&patched.to_api(), fields, &model::FLOW);
        assert_eq!(Flow::from_stored(&patched.to_stored()).as_ref(), Ok(&patched));
    }
    let of = flow(&json!({"name": "f"})).expect("valid");
    for fields in &FLOW_VERSION[..2] {
        let made = FlowVersion::create(&body(&[fields, &["version"][..]].concat()), &of, NOW).expect("taken");
        check_given_back(&made.to_api(), fields, &model::FLOW_VERSION);
        assert_eq!(FlowVersion::from_stored(&made.to_stored()).as_ref(), Ok(&made));
        made.clone().patch(&body(FLOW_VERSION[2]), NOW).expect("taken");
    }
}

#[test]
fn a_trigger_of_another_type_is_kept_as_it_was_and_starts_nothing() {
    let triggers = json!([
        {"type": "timer", "config": {"cron": "0 * * * *", "tz": "Etc/UTC"}, "meta": {"x": 1.5}, "outputIds": [["a"]]},
        {"type": "virtualButton", "key": "some-key", "config": {}, "outputIds": [["a"]]},
        {"type": "webhook", "key": key(), "outputIds": [[]]},
    ]);
    let nodes = json!([{"id": "a", "type": "WorkerNode"}]);
    let kept = flow(&json!({"name": "f", "triggers": triggers, "nodes": nodes})).expect("valid");
    assert_eq!(kept.to_api()["triggers"], triggers);
    assert_eq!(Flow::from_stored(&kept.to_stored()).as_ref(), Ok(&kept));
    assert_eq!(kept.webhook_ids(), [key().parse().expect("an id")]);
    assert!(kept.nodes_after(key().parse().expect("an id")).is_empty());
}

#[test]
fn debug_nodes_and_annotations_pass_on_and_keep_their_configuration() {
    let nodes = json!([
        {"id": "d", "type": "DebugNode", "config": {"message": "{{data.body}}", "property": "data", "level": "info"},
            "meta": {"label": "Debug"}, "outputIds": [["n"]]},
        {"id": "n", "type": "AnnotationNode", "config": {"any": {"thing": 1}}, "outputIds": [["w"]]},
        {"id": "w", "type": "WorkerNode"},
    ]);
    let triggers = json!([{"type": "webhook", "key": key(), "outputIds": [["d"]]}]);
    let kept = flow(&json!({"name": "f", "triggers": triggers, "nodes": nodes})).expect("valid");
    assert_eq!(kept.to_api()["nodes"], nodes);
    assert_eq!(kept.nodes_after(key().parse().expect("an id")), [0, 1, 2]);
}

#[test]
fn a_node_that_leads_to_itself_is_refused_and_one_that_was_stored_stays() {
    let looped = json!([{"id": "a", "type": "WorkerNode", "outputIds": [["b", "a"]]}, {"id": "b", "type": "WorkerNode"}]);
    let refused = flow(&json!({"name": "f", "nodes": looped})).expect_err("a loop");
    assert_eq!(refused.field(), "nodes[0].outputIds");
    let mut stored: Value =
        serde_json::from_slice(&flow(&json!({"name": "f"})).expect("valid").to_stored()).expect("JSON");
    stored["nodes"] = looped;
    let mut kept = Flow::from_stored(stored.to_string().as_bytes()).expect("reads");
    kept.patch(&json!({"enabled": false}), NOW).expect("its wires are not in the body");
    kept.patch(&json!({"triggers": []}), NOW).expect_err("a loop still");
}

#[test]
fn a_flow_of_format_1_is_read_with_what_it_kept() {
    let mut stored: Value =
        serde_json::from_slice(&flow(&json!({"name": "f"})).expect("valid").to_stored()).expect("JSON");
    stored["extra"] = json!({
        "globals": [{"key": "k", "json": "1"}, {"key": "a b", "json": "1"}, {"key": "k", "json": "2"}, 7],
        "flowClass": "edge", "defaultVersionId": key(), "iconData": "kept",
    });
    let kept = Flow::from_stored(stored.to_string().as_bytes()).expect("reads");
    assert_eq!((kept.class, kept.default_version_id), (FlowClass::Edge, None));
    assert_eq!(kept.to_api()["globals"], json!([{"key": "k", "json": "1"}]));
    assert_eq!(kept.to_api()["iconData"], "kept");
    stored["extra"] = json!({"globals": "none", "flowClass": 1});
    assert!(Flow::from_stored(stored.to_string().as_bytes()).is_ok());
}

#[test]
fn the_class_of_a_flow_is_fixed_when_it_is_made() {
    let mut edge = flow(&json!({"name": "f", "flowClass": "edge"})).expect("valid");
    assert_eq!(flow(&json!({"name": "f"})).expect("valid").to_api()["flowClass"], "cloud");
    edge.patch(&json!({"flowClass": "edge"}), NOW).expect("the same");
    assert_eq!(edge.patch(&json!({"flowClass": "cloud"}), NOW).expect_err("fixed").field(), "flowClass");
    assert_eq!(flow(&json!({"name": "f", "flowClass": "sky"})).expect_err("unknown").field(), "flowClass");
}

#[test]
fn a_version_is_what_its_flow_was_and_what_its_body_says() {
    let of = flow(&json!({
        "name": "f", "nodes": [{"id": "a", "type": "WorkerNode"}], "triggers": [{"type": "webhook", "key": key()}],
        "globals": [{"key": "k", "json": "1"}],
    }))
    .expect("valid");
    let copy = FlowVersion::create(&json!({"version": "v1"}), &of, NOW).expect("valid");
    for field in ["nodes", "triggers", "globals"] {
        assert_eq!(copy.to_api()[field], of.to_api()[field]);
    }
    let own = FlowVersion::create(&json!({"version": "v2", "nodes": [], "enabled": false}), &of, NOW)
        .expect("valid");
    assert_eq!(
        (&own.to_api()["nodes"], own.to_api()["triggers"].as_array().map(Vec::len)),
        (&json!([]), Some(1))
    );
    let running = own.running(&Flow { name: "renamed".to_owned(), ..of.clone() });
    assert_eq!((running.id, running.name.as_str(), running.enabled), (of.id, "renamed", false));
    for bad in ["develop", &key(), ""] {
        let refused = FlowVersion::create(&json!({"version": bad}), &of, NOW).expect_err("not a name");
        assert_eq!(refused.field(), "version");
    }
}
