//! Every route through the router, with an engine that only writes down what it is asked.

mod bundle;
mod console;
mod dead_letters;
mod document;
mod documents;
mod door;
mod dry_run;
mod flows;
mod records;
mod tokens;
mod unread;
mod watching;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::store::{Affected, Source};

const TOKEN: &str = "the-access-token";
const NOBODY: &str = "0123456789abcdef01234567";

#[derive(Default)]
struct Recorder {
    refreshed: Mutex<Vec<Id>>,
    replies: Mutex<Vec<(String, String)>>,
    tests: Mutex<Vec<TestRequest>>,
    replays: Mutex<Vec<Replay>>,
    ready: AtomicBool,
    /// Whether changes cannot be put into effect.
    fails: AtomicBool,
    /// Whether all webhooks are gone.
    emptied: AtomicBool,
}

impl EngineAccess for Recorder {
    fn refresh(&self, store: &Store, affected: &Affected) -> Result<(), String> {
        for id in &affected.webhooks {
            store.webhook(id).expect("the commit can be read");
        }
        self.refreshed.lock().expect("not poisoned").extend(&affected.webhooks);
        if self.fails.load(Ordering::Relaxed) { Err("a record cannot be read".to_owned()) } else { Ok(()) }
    }

    fn check_webhook(&self, webhook: &Webhook) -> Result<(), ModelError> {
        refuse_broken("verificationCode", &webhook.verification_code)
    }

    fn check_flow(&self, flow: &Flow) -> Result<(), ModelError> {
        refuse_broken("description", &flow.description)
    }

    fn reply(&self, reply_id: String, reply_json: Vec<u8>) -> EngineAnswer<bool> {
        let text = String::from_utf8(reply_json).expect("JSON is UTF-8");
        let answer = match reply_id.as_str() {
            "too.large" => Err((413, "the reply is too large".to_owned())),
            id => Ok(id == "known.one"),
        };
        self.replies.lock().expect("not poisoned").push((reply_id, text));
        Box::pin(async move { answer })
    }

    fn replay(&self, event: Vec<u8>) -> EngineAnswer<()> {
        Box::pin(std::future::ready(dead_letters::replayed(&event)))
    }

    fn send_to_websocket(&self, _: Id, connection: Id, reply_json: Vec<u8>) -> EngineAnswer<bool> {
        if connection.raw()[11] == 0 {
            return Box::pin(std::future::ready(Err((404, "no open connection".to_owned()))));
        }
        self.reply(connection.to_string(), reply_json)
    }

    fn test_request(&self, _: &Webhook, request: TestRequest) -> EngineAnswer<TestResponse> {
        self.tests.lock().expect("not poisoned").push(request);
        Box::pin(async {
            Ok(TestResponse {
                status_code: 201,
                headers: vec![
                    ("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned()),
                    ("X-Two".to_owned(), "a".to_owned()),
                    ("x-two".to_owned(), "b".to_owned()),
                ],
                body: b" {\"n\": 1.00} ".to_vec(),
                duration_ms: 1.5,
                triggers: vec![RawValue::from_string("{\"data\":{}}".to_owned()).expect("JSON")],
            })
        })
    }

    fn activity(&self, _: Id) -> FlowActivity {
        FlowActivity {
            hours: vec![(1_771_520_400_000, 3, 1)],
            errors: vec![NodeFailure {
                unix_millis: 1_771_521_960_123,
                node: "r".to_owned(),
                message: "no".to_owned(),
            }],
        }
    }

    fn metrics(&self) -> String {
        "tidegate_up 1\n".to_owned()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn serves(&self, _: Id) -> bool {
        !self.emptied.load(Ordering::Relaxed)
    }

    fn settle_records(&self, _: &[Id]) -> EngineAnswer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn payload(&self, _: Id, record: &Record, _: Option<&Record>, _: &Tail) -> Option<Vec<u8>> {
        record.call().map(|call| call.body.to_vec())
    }

    fn replay_request(&self, _: Id, replay: Replay) -> EngineAnswer<Replayed> {
        self.replays.lock().expect("not poisoned").push(replay);
        Box::pin(std::future::ready(Ok(Replayed { status_code: 202, duration_ms: 0.5 })))
    }

    fn usage(&self, webhooks: &[Id]) -> EngineAnswer<Vec<Usage>> {
        let usage = |webhook: &Id| Usage {
            webhook: *webhook,
            calls: Some(3),
            calls_max: Some(100),
            window_seconds: Some(10),
            concurrent: 1,
            concurrent_max: None,
            payload_bytes_max: 262_144,
            reply_timeout_seconds: 60,
            last_call_millis: Some(1_771_521_960_123),
        };
        let usages = webhooks.iter().map(usage).collect();
        Box::pin(async move { Ok(usages) })
    }

    fn snapshot(&self) -> Snapshot {
        crate::metrics::Metrics::new(2).snapshot()
    }
}

fn refuse_broken(field: &str, template: &str) -> Result<(), ModelError> {
    if template.contains("{{") { Err(ModelError::new(field, "is not a template")) } else { Ok(()) }
}

struct Server {
    router: Router,
    engine: Arc<Recorder>,
    state: Arc<AdminState>,
    _folder: TempDir,
}

struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
    json: Value,
}

impl Server {
    fn new() -> Server {
        Server::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut AdminState)) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Arc::new(Store::open(folder.path()).expect("opens"));
        let engine = Arc::new(Recorder::default());
        let shared: Arc<dyn EngineAccess> = engine.clone();
        let mut state = AdminState::new(store, shared, TOKEN);
        state.guess_delay = Duration::ZERO;
        state.shelf = Arc::new(Shelf::new(BookLimits { bytes: 1 << 24, age_millis: u64::MAX }));
        set(&mut state);
        let state = Arc::new(state);
        Server { router: router(Arc::clone(&state)), engine, state, _folder: folder }
    }

    /// Sends a request as it is.
    fn raw(&self, request: Request<Body>) -> Answered {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let router = self.router.clone();
        runtime.block_on(async move {
            let response = router.oneshot(request).await.expect("infallible");
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.expect("whole").to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let json = serde_json::from_str(&text).unwrap_or(Value::Null);
            Answered { status: parts.status.as_u16(), headers: parts.headers, text, json }
        })
    }

    fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> Answered {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost:8081")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(body.into());
        self.raw(request.expect("a request"))
    }

    fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, Body::empty())
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Answered {
        self.ask(method, path, body.to_string())
    }

    fn application(&self) -> String {
        let made = self.send("POST", "/applications", &json!({"name": "shop"}));
        assert_eq!(made.status, 201, "{}", made.text);
        format!("/applications/{}", text_of(&made.json["id"]))
    }

    fn webhook(&self, application: &str, body: &Value) -> String {
        let made = self.send("POST", &format!("{application}/webhooks"), body);
        assert_eq!(made.status, 201, "{}", made.text);
        format!("{application}/webhooks/{}", text_of(&made.json["id"]))
    }

    fn refreshed(&self) -> Vec<Id> {
        std::mem::take(&mut self.engine.refreshed.lock().expect("not poisoned"))
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn id_of(path: &str) -> &str {
    path.rsplit('/').next().expect("a last part")
}

fn check_error(answered: &Answered, status: u16, kind: &str, mentions: &str) {
    assert_eq!(answered.status, status, "{}", answered.text);
    assert_eq!(answered.json["type"], kind, "{}", answered.text);
    assert!(text_of(&answered.json["message"]).contains(mentions), "{} lacks {mentions}", answered.text);
}

#[test]
fn an_application_is_made_shown_changed_and_deleted() {
    let server = Server::new();
    let body = json!({
        "name": "shop", "description": "d", "endpointSlug": "kept",
        "globals": [{"key": "k", "json": "{\"a\": 1}", "cloudOnly": true}],
        "id": NOBODY, "summary": {},
    });
    let made = server.send("POST", "/applications", &body);
    assert_eq!(made.status, 201);
    assert_eq!(made.json["endpointSlug"], "kept");
    assert_eq!(made.json["globals"], body["globals"]);
    assert_eq!(made.json["id"], made.json["applicationId"]);
    assert_ne!(made.json["id"], NOBODY);
    assert!(text_of(&made.json["creationDate"]).ends_with('Z'));
    let path = format!("/applications/{}", text_of(&made.json["id"]));
    assert_eq!(server.get(&path).json, made.json);

    let changed = server.send("PATCH", &path, &json!({"globals": [], "description": ""}));
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json["globals"], json!([]));
    assert_eq!(changed.json["name"], "shop");
    assert_eq!(server.get(&path).json, changed.json);

    let deleted = server.ask("DELETE", &path, "{}");
    assert_eq!((deleted.status, deleted.text.as_str()), (200, r#"{"success":true}"#));
    check_error(&server.get(&path), 404, "NotFound", "Application");
}

#[test]
fn a_webhook_is_made_with_the_defaults_and_shown_whole() {
    let server = Server::new();
    let app = server.application();
    let made = server.send("POST", &format!("{app}/webhooks"), &json!({"name": "orders"}));
    assert_eq!(made.status, 201);
    let id: Id = text_of(&made.json["id"]).parse().expect("an id");
    assert_eq!(server.refreshed(), [id]);
    let mut shown = made.json.clone();
    assert_eq!(text_of(&shown["token"]).len(), 40);
    assert_eq!(shown["webhookId"], shown["id"]);
    assert_eq!(shown["creationDate"], shown["lastUpdated"]);
    let fields = shown.as_object_mut().expect("an object");
    for field in ["id", "webhookId", "token", "creationDate", "lastUpdated"] {
        fields.remove(field);
    }
    let expected = json!({
        "applicationId": id_of(&app), "name": "orders", "description": "", "responseCode": 200,
        "verificationType": "none", "verificationCode": "", "waitForReply": false,
        "basicAuthUsername": "", "basicAuthPassword": "", "isWebsocket": false,
        "castBuffersAs": "array", "annotateMultipart": false, "enabled": true,
        "limits": {}, "signature": null, "warnings": [], "previousTokens": [],
        "methods": null, "allowedNetworks": null, "auth": null, "deduplicate": null,
        "responseBody": null, "cors": null, "rawBody": false, "record": null,
    });
    assert_eq!(shown, expected);
}

#[test]
fn what_was_shown_can_be_sent_back() {
    let server = Server::new();
    let app = server.application();
    let secret = json!({"scheme": "hmac", "header": "X-Sig", "secret": ["one", "two"]});
    let hook = server.webhook(&app, &json!({"name": "h", "signature": secret, "limits": {"concurrency": 0}}));
    let shown = server.get(&hook).json;
    assert_eq!(shown["signature"]["secret"], json!(["***", "***"]));
    let mut again = server.send("PATCH", &hook, &shown);
    assert_eq!(again.status, 200, "{}", again.text);
    again.json["lastUpdated"] = shown["lastUpdated"].clone();
    assert_eq!(again.json, shown);
}

#[test]
fn a_patch_changes_what_it_names_and_reaches_the_engine() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h", "responseCode": 202}));
    server.refreshed();
    let changed = server.send("PATCH", &hook, &json!({"waitForReply": true, "token": "ignored"}));
    assert_eq!(changed.status, 200);
    assert_eq!((&changed.json["waitForReply"], &changed.json["responseCode"]), (&json!(true), &json!(202)));
    assert_eq!(server.refreshed().len(), 1);

    for (body, field) in [
        (json!({"responseCode": 199}), "responseCode"),
        (json!({"isWebsocket": true}), "isWebsocket"),
        (json!({"nonsense": 1}), "nonsense"),
        (json!({"verificationCode": "{{"}), "verificationCode"),
        (json!([]), "body"),
    ] {
        check_error(&server.send("PATCH", &hook, &body), 400, "Validation", field);
    }
    assert_eq!(server.get(&hook).json, changed.json);
    assert!(server.refreshed().is_empty());
}

#[test]
fn a_flow_is_made_shown_changed_and_deleted() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    server.refreshed();
    let body = json!({
        "name": "answer", "flowClass": "cloud",
        "triggers": [{"type": "webhook", "key": id_of(&hook), "config": {}, "meta": {"x": 1.5}, "outputIds": [["a"]]}],
        "nodes": [{"id": "a", "type": "WebhookReplyNode", "config": {"bodyTemplate": "hi"}, "meta": {}, "outputIds": [[]]}],
    });
    let made = server.send("POST", &format!("{app}/flows"), &body);
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(server.refreshed().len(), 1);
    for field in ["name", "flowClass", "triggers", "nodes"] {
        assert_eq!(made.json[field], body[field]);
    }
    assert_eq!((&made.json["enabled"], &made.json["flowId"]), (&json!(true), &made.json["id"]));
    let path = format!("{app}/flows/{}", text_of(&made.json["id"]));
    assert_eq!(server.get(&path).json, made.json);

    let changed = server.send("PATCH", &path, &json!({"triggers": []}));
    assert_eq!((changed.status, &changed.json["triggers"]), (200, &json!([])));
    assert_eq!(server.refreshed().len(), 1);

    let refused = server.send("PATCH", &path, &json!({"nodes": [{"id": "a", "type": "LatchNode"}]}));
    check_error(&refused, 400, "Validation", "LatchNode");
    check_error(
        &server.send("PATCH", &path, &json!({"description": "{{"})),
        400,
        "Validation",
        "description",
    );

    assert_eq!(server.ask("DELETE", &path, Body::empty()).json, json!({"success": true}));
    check_error(&server.get(&path), 404, "NotFound", "Flow");
}

#[test]
fn a_webhook_is_deleted_with_its_flows_where_that_is_asked_for() {
    let server = Server::new();
    let app = server.application();
    for (query, flows) in [
        ("", 1),
        ("?includeWorkflows=false", 2),
        ("?includeWorkflows=true&_links=true", 2),
        ("?includeWorkflows=True", 2),
    ] {
        let hook = server.webhook(&app, &json!({"name": "h"}));
        let trigger = json!([{"type": "webhook", "key": id_of(&hook)}]);
        server.send("POST", &format!("{app}/flows"), &json!({"name": "f", "triggers": trigger}));
        assert_eq!(server.ask("DELETE", &format!("{hook}{query}"), "{}").status, 200);
        check_error(&server.get(&hook), 404, "NotFound", "Webhook");
        assert_eq!(server.get(&format!("{app}/flows")).json["totalCount"], flows, "{query}");
    }
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let refused = server.ask("DELETE", &format!("{hook}?includeWorkflows=perhaps"), "{}");
    check_error(&refused, 400, "Validation", "includeWorkflows");
}

#[test]
fn a_list_is_paged_sorted_and_filtered() {
    let server = Server::new();
    let app = server.application();
    for name in ["b", "a", "ab", "c"] {
        server.webhook(&app, &json!({"name": name}));
    }
    let list = format!("{app}/webhooks");
    let names = |query: &str| {
        let answered = server.get(&format!("{list}{query}"));
        assert_eq!(answered.status, 200, "{}", answered.text);
        let items = answered.json["items"].as_array().expect("a list").clone();
        assert_eq!(answered.json["count"], items.len());
        let names: Vec<String> = items.iter().map(|item| text_of(&item["name"]).to_owned()).collect();
        (names.join(" "), answered.json["totalCount"].as_u64().expect("a number"))
    };
    assert_eq!(names(""), ("a ab b c".to_owned(), 4));
    assert_eq!(names("?sortDirection=DESC&perPage=3"), ("c b ab".to_owned(), 4));
    assert_eq!(names("?perPage=3&page=1&sortField=&filter="), ("c".to_owned(), 4));
    assert_eq!(names("?page=9"), (String::new(), 4));
    assert_eq!(names("?filterField=name&filter=A*"), ("a ab".to_owned(), 2));
    assert_eq!(names("?filterField=name&filter=%3Fb&_actions=false&_links=true"), ("ab".to_owned(), 1));
    // A filter of no field filters nothing.
    assert_eq!(names("?filter=%3Fb&includeCustomNodes=1&unknown="), ("a ab b c".to_owned(), 4));

    let mut whole = server.get(&format!("{list}?page=0&perPage=2&filterField=name&filter=a*")).json;
    whole.as_object_mut().expect("an object").remove("items");
    let expected = json!({
        "count": 2, "totalCount": 2, "perPage": 2, "page": 0, "sortField": "name", "sortDirection": "asc",
        "filterField": "name", "filter": "a*", "applicationId": id_of(&app),
    });
    assert_eq!(whole, expected);
    assert_eq!(server.get("/applications").json["totalCount"], 1);
    assert!(server.get("/applications").json.get("applicationId").is_none());

    for query in [
        "perPage=1001",
        "perPage=0",
        "perPage=x",
        "perPage=%2B1",
        "page=-1",
        "page=1.5",
        "sortField=token",
        "sortDirection=up",
        "filterField=token",
        "unknown=1",
        "flowClass=cloud",
        "query=%7B%7D",
    ] {
        let field = query.split('=').next().expect("a name");
        check_error(&server.get(&format!("{list}?{query}")), 400, "Validation", field);
    }
}

#[test]
fn flows_are_found_by_trigger_as_the_clients_ask() {
    let server = Server::new();
    let app = server.application();
    let a = server.webhook(&app, &json!({"name": "a"}));
    let b = server.webhook(&app, &json!({"name": "b"}));
    for (name, hooks) in [("of a", vec![&a]), ("of both", vec![&a, &b]), ("of none", vec![])] {
        let triggers: Vec<Value> =
            hooks.iter().map(|hook| json!({"type": "webhook", "key": id_of(hook)})).collect();
        server.send("POST", &format!("{app}/flows"), &json!({"name": name, "triggers": triggers}));
    }
    let total = |filter: &str| {
        let answered = server.get(&format!("{app}/flows?{filter}"));
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered.json["totalCount"].as_u64().expect("a number")
    };
    let (a, b) = (id_of(&a), id_of(&b));
    assert_eq!(total("flowClass=cloud"), 3);
    assert_eq!(
        total(&format!("triggerFilter%5B0%5D%5Btype%5D=webhook&triggerFilter%5B0%5D%5Bkey%5D={a}")),
        2
    );
    assert_eq!(total(&format!("triggerFilter[0][key]={b}&triggerFilter[0][type]=webhook")), 1);
    assert_eq!(total(&format!("triggerFilter[0][key]={a}&triggerFilter[1][key]={b}")), 2);
    assert_eq!(total(&format!("triggerFilter[0][key]={a}&triggerFilter[0][type]=event")), 0);
    assert_eq!(total("triggerFilter[0][type]=webhook"), 2);
    assert_eq!(
        total(&format!("triggerFilter=[{{\"type\":\"webhook\",\"key\":\"{b}\"}}]").replace('"', "%22")),
        1
    );
    assert_eq!(total("triggerFilter[0][key]=none"), 0);
    for bad in ["triggerFilter=1", "triggerFilter=%7B", "triggerFilter[0][colour]=red", "triggerFilter0=1"] {
        check_error(&server.get(&format!("{app}/flows?{bad}")), 400, "Validation", "triggerFilter");
    }
}

#[test]
fn a_reply_reaches_the_engine_byte_for_byte() {
    let server = Server::new();
    let body = r#"{"responseCode": 201, "body": {"n": 1.00}}"#;
    let accepted = server.ask("POST", "/replies/known.one", body);
    assert_eq!((accepted.status, accepted.json), (200, json!({"success": true, "accepted": true})));
    let late = server.ask("POST", "/replies/other%2Eone", body);
    assert_eq!((late.status, late.json), (200, json!({"success": true, "accepted": false})));
    check_error(&server.ask("POST", "/replies/too.large", "{}"), 413, "PayloadTooLarge", "too large");
    check_error(&server.ask("POST", "/replies/known.one", "[]"), 400, "Validation", "object");
    check_error(&server.ask("POST", "/replies/known.one", "{"), 400, "Validation", "JSON");
    let nested = |levels: usize| format!("{{\"body\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    // As deep as the body of a request may be.
    assert_eq!(server.ask("POST", "/replies/known.one", nested(128)).status, 200);
    check_error(&server.ask("POST", "/replies/known.one", nested(160)), 400, "Validation", "160 levels");
    let seen = server.engine.replies.lock().expect("not poisoned");
    assert_eq!(
        seen[..2],
        [("known.one".to_owned(), body.to_owned()), ("other.one".to_owned(), body.to_owned())]
    );
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_test_request_goes_through_the_engine() {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let path = format!("{hook}/test");
    let body = r#"{"path": "/up?x=1", "method": "put", "headers": {"X-A": "1"}, "body": {"n": 1.00}}"#;
    let answered = server.ask("POST", &path, body);
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(answered.text.contains(r#""body":{"n": 1.00},"durationMs":1.5"#), "{}", answered.text);
    assert_eq!(answered.json["headers"]["x-two"], "a, b");
    assert_eq!(answered.json["triggers"], json!([{"data": {}}]));
    assert_eq!(server.ask("POST", &path, "").status, 200);
    assert_eq!(
        server.ask("POST", &path, r#"{"body": "a=b", "headers": {"Content-Type": "x/y"}}"#).status,
        200
    );
    let seen = std::mem::take(&mut *server.engine.tests.lock().expect("not poisoned"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        seen,
        [
            TestRequest {
                path: "/up?x=1".to_owned(),
                method: "PUT".to_owned(),
                headers: vec![header("x-a", "1"), header("content-type", "application/json")],
                body: Some(br#"{"n": 1.00}"#.to_vec()),
            },
            TestRequest { path: String::new(), method: "POST".to_owned(), headers: vec![], body: None },
            TestRequest {
                path: String::new(),
                method: "POST".to_owned(),
                headers: vec![header("content-type", "x/y")],
                body: Some(b"a=b".to_vec()),
            },
        ]
    );
    for (body, field) in [
        (json!({"path": "up"}), "path"),
        (json!({"path": "/a b"}), "path"),
        (json!({"path": "/a#b"}), "path"),
        (json!({"path": "/a\r\nX: y"}), "path"),
        (json!({"method": "G T"}), "method"),
        (json!({"headers": {"Host": "x"}}), "Host"),
        (json!({"headers": {"X-A": "a\r\nb"}}), "X-A"),
        (json!({"headers": {"X A": "a"}}), "X A"),
        (json!({"headers": []}), "headers"),
        (json!({"other": 1}), "other"),
        (json!([]), "body"),
    ] {
        check_error(&server.send("POST", &path, &body), 400, "Validation", field);
    }
    check_error(
        &server.ask("POST", &format!("{app}/webhooks/{NOBODY}/test"), "{}"),
        404,
        "NotFound",
        "Webhook",
    );
}

#[test]
fn health_is_told_without_a_token() {
    let server = Server::new();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 503);
    let healthz = server.get("/healthz");
    assert_eq!(healthz.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(healthz.headers[header::CACHE_CONTROL], "no-store");
    server.engine.ready.store(true, Ordering::Relaxed);
    assert_eq!(server.get("/readyz").status, 200);
}
