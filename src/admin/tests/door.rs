//! The door, and what is told apart before a handler is reached.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::super::BODY_BYTES_MAX;
use super::super::routes::ROUTES;
use super::{NOBODY, Server, check_error, id_of};

#[test]
fn every_path_but_the_open_ones_needs_the_token() {
    let server = Server::new();
    for route in ROUTES {
        let path = route.path.replace("{applicationId}", NOBODY).replace("{webhookId}", NOBODY);
        let path = path.replace("{flowId}", NOBODY).replace("{flowVersionId}", NOBODY).replace("{key}", "k");
        let path = path.replace("{id}", "all").replace("{replyId}", "x");
        for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic the-access-token"), Some("")] {
            let mut request = Request::builder()
                .method(route.method.as_str())
                .uri(&path)
                .header(header::HOST, "127.0.0.1:8081");
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let answered = server.raw(request.body(Body::empty()).expect("a request"));
            let open =
                ["/", "/console/{file}", "/guide", "/guide/{page}", "/exports/{key}", "/healthz", "/readyz"];
            if open.contains(&route.path) {
                assert_ne!(answered.status, 401, "{path}");
            } else {
                check_error(&answered, 401, "Unauthorized", "access token");
                assert_eq!(answered.headers[header::WWW_AUTHENTICATE], "Bearer");
            }
        }
    }
    let unknown = Request::builder().uri("/nowhere").header(header::HOST, "localhost");
    assert_eq!(server.raw(unknown.body(Body::empty()).expect("a request")).status, 401);
}

#[test]
fn metrics_and_the_document_can_be_opened() {
    let server = Server::with(|state| state.open_metrics = true);
    for path in ["/metrics", "/openapi.json"] {
        let request = Request::builder().uri(path).header(header::HOST, "[::1]:8081");
        assert_eq!(server.raw(request.body(Body::empty()).expect("a request")).status, 200, "{path}");
    }
    let metrics = server.get("/metrics");
    assert_eq!(metrics.text, "tidegate_up 1\n");
    assert!(
        metrics.headers[header::CONTENT_TYPE]
            .to_str()
            .expect("text")
            .starts_with("text/plain; version=0.0.4")
    );
}

#[test]
fn only_a_host_that_is_served_is_answered() {
    let server = Server::with(|state| state.hosts = vec!["Admin.example".to_owned()]);
    let status = |host: Option<&str>| {
        let mut request = Request::builder().uri("/healthz");
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        server.raw(request.body(Body::empty()).expect("a request")).status
    };
    for host in [
        "localhost",
        "LocalHost:1",
        "127.0.0.1:8081",
        "[::1]",
        "10.0.0.7",
        "admin.example",
        "admin.EXAMPLE:9",
    ] {
        assert_eq!(status(Some(host)), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "", "x y"]
    {
        assert_eq!(status(Some(host)), 421, "{host}");
    }
    assert_eq!(status(None), 421);
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let server = Server::new();
    let status = |origin: &str| {
        let request = Request::builder()
            .uri("/healthz")
            .header(header::HOST, "localhost:8081")
            .header(header::ORIGIN, origin);
        server.raw(request.body(Body::empty()).expect("a request")).status
    };
    for own in ["http://localhost:8081", "https://LOCALHOST:8081"] {
        assert_eq!(status(own), 200, "{own}");
    }
    for foreign in
        ["null", "http://localhost", "http://evil.example", "http://localhost:8082", "ftp://localhost:8081"]
    {
        assert_eq!(status(foreign), 403, "{foreign}");
    }
}

#[test]
fn wrong_paths_methods_and_bodies_are_told_apart() {
    let server = Server::new();
    let app = server.application();
    check_error(&server.get("/nowhere"), 404, "NotFound", "/openapi.json");
    check_error(&server.get("/applications/"), 404, "NotFound", "");
    check_error(&server.get("/applications/xyz"), 404, "NotFound", "Application");
    check_error(&server.get("/applications/%FF"), 404, "NotFound", "/openapi.json");
    check_error(&server.ask("POST", "/replies/%FF", "{}"), 404, "NotFound", "/openapi.json");
    check_error(&server.get(&format!("/applications/{NOBODY}/webhooks")), 404, "NotFound", "Application");
    check_error(&server.get(&format!("{app}/webhooks/{NOBODY}")), 404, "NotFound", "Webhook");
    let orphan = server.send("POST", &format!("/applications/{NOBODY}/flows"), &json!({"name": 1}));
    check_error(&orphan, 404, "NotFound", "Application");

    let other = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let foreign = format!("{other}/webhooks/{}", id_of(&hook));
    check_error(&server.get(&foreign), 404, "NotFound", "Webhook");
    check_error(&server.send("PATCH", &foreign, &json!({})), 404, "NotFound", "Webhook");
    check_error(&server.ask("DELETE", &foreign, "{}"), 404, "NotFound", "Webhook");

    let refused = server.ask("PUT", &app, "{}");
    check_error(&refused, 405, "Validation", "PATCH");
    assert_eq!(refused.headers[header::ALLOW], "OPTIONS, GET, HEAD, PATCH, DELETE");
    let options = server.ask("OPTIONS", &app, Body::empty());
    assert_eq!((options.status, options.text.as_str()), (204, ""));
    assert_eq!(options.headers[header::ALLOW], "OPTIONS, GET, HEAD, PATCH, DELETE");
    let head = server.ask("HEAD", &app, Body::empty());
    assert_eq!((head.status, head.text.as_str()), (200, ""));

    check_error(&server.ask("POST", "/applications", Body::empty()), 400, "Validation", "JSON");
    check_error(&server.ask("POST", "/applications", "{\"name\":"), 400, "Validation", "JSON");
    check_error(&server.ask("POST", "/applications", "\"text\""), 400, "Validation", "body");
    check_error(&server.ask("POST", "/applications", vec![b'"', 0xFF, b'"']), 400, "Validation", "JSON");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    check_error(&server.ask("POST", "/applications", large), 413, "PayloadTooLarge", "2097152");
}

#[test]
fn what_is_taken_can_be_read_back_however_deep_it_is() {
    let server = Server::new();
    let app = server.application();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    // The path, what stands before and after the nested value, and how many levels that is.
    let bodies = [
        ("/applications".to_owned(), r#"{"name":"a","iconData":"#, "}", 1),
        (
            "/applications".to_owned(),
            r#"{"name":"a","globals":[{"key":"k","json":"1","description":"#,
            "}]}",
            3,
        ),
        (format!("{app}/flows"), r#"{"name":"f","iconData":"#, "}", 1),
        (format!("{app}/flows"), r#"{"name":"f","nodes":[{"type":"WorkerNode","meta":{"a":"#, "}}]}", 4),
    ];
    for (path, before, after, around) in bodies {
        let created = server.ask("POST", &path, format!("{before}{}{after}", nested(100 - around)));
        assert_eq!(created.status, 201, "{path}: {}", created.text);
        let shown = server.get(&format!("{path}/{}", created.json["id"].as_str().expect("an id")));
        assert_eq!((shown.status, &shown.json), (200, &created.json), "{path}");
        let listed = server.get(&path);
        assert!(listed.status == 200 && !listed.json.is_null(), "{path}: {}", listed.text);
        let deeper = server.ask("POST", &path, format!("{before}{}{after}", nested(101 - around)));
        check_error(&deeper, 400, "Validation", "100 levels");
    }
}

#[test]
fn a_change_that_is_kept_and_not_in_effect_is_told_so() {
    let server = Server::new();
    server.engine.fails.store(true, Ordering::Relaxed);
    let webhooks = format!("{}/webhooks", server.application());
    let answered = server.ask("POST", &webhooks, r#"{"name": "kept"}"#);
    check_error(
        &answered,
        500,
        "Internal",
        "the change is kept but not in effect yet: a record cannot be read",
    );
    server.engine.fails.store(false, Ordering::Relaxed);
    assert_eq!(server.get(&webhooks).json["totalCount"], 1);
}
