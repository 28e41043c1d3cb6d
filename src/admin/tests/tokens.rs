//! `/tokens`: what each right opens and what it does not, from the making of a token to its end.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::super::route::{Access, Verb};
use super::super::routes::ROUTES;
use super::{Answered, NOBODY, Server, check_error, text_of};

impl Server {
    /// A request with another token.
    fn with_token(&self, token: &str, method: &str, path: &str, body: &Value) -> Answered {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost:8081")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(if body.is_null() { Body::empty() } else { body.to_string().into() });
        self.raw(request.expect("a request"))
    }

    /// Makes a token; its id and its secret.
    fn token(&self, name: &str, rights: &[&str]) -> (String, String) {
        let made = self.send("POST", "/tokens", &json!({"name": name, "rights": rights}));
        assert_eq!(made.status, 201, "{}", made.text);
        (text_of(&made.json["id"]).to_owned(), text_of(&made.json["token"]).to_owned())
    }
}

#[test]
fn each_route_asks_for_its_right() {
    let server = Server::new();
    let (_, read) = server.token("r", &["read"]);
    let (_, write) = server.token("w", &["write"]);
    let (_, reply) = server.token("y", &["reply"]);
    let (_, worker) = server.token("k", &["worker"]);
    let (_, all) = server.token("a", &["read", "write", "reply", "worker"]);
    let mut seen = 0;
    for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
        let path = route.path.replace("{applicationId}", NOBODY).replace(['{', '}'], "");
        for (token, opens) in [
            (&read, matches!(route.access, Access::Read | Access::OpenIfSet)),
            (&write, route.access == Access::Write),
            (&reply, route.access == Access::Reply),
            (&worker, false),
            (&all, true),
        ] {
            seen += 1;
            let answered = server.with_token(token, route.method.as_str(), &path, &Value::Null);
            assert_eq!(answered.status != 403, opens, "{} {path}: {}", route.method.as_str(), answered.text);
            if !opens {
                check_error(&answered, 403, "Forbidden", "has no right to");
            }
        }
        // A look changes nothing, and a change is no look.
        match route.method {
            // It holds every secret.
            Verb::Get if path == "/backup" => assert_eq!(route.access, Access::All),
            Verb::Get => assert!(matches!(route.access, Access::Read | Access::OpenIfSet), "{path}"),
            _ => assert_ne!(route.access, Access::OpenIfSet, "{path}"),
        }
    }
    assert!(seen > 100, "{seen}");
    // Of what there is not, every token is told the same.
    check_error(
        &server.with_token(&worker, "GET", "/nowhere", &Value::Null),
        404,
        "NotFound",
        "/openapi.json",
    );
}

#[test]
fn a_token_is_shown_once_listed_without_its_secret_and_revoked() {
    let server = Server::new();
    let body = json!({"name": "ci", "rights": ["write", "read"], "expires": "2099-01-01T00:00:00Z"});
    let made = server.send("POST", "/tokens", &body);
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = text_of(&made.json["token"]).to_owned();
    assert_eq!(secret.len(), 40);
    let listed = server.get("/tokens");
    assert_eq!(listed.json["count"], 1);
    assert_eq!(listed.json["items"][0]["rights"], json!(["read", "write"]));
    assert_eq!(listed.json["items"][0]["expires"], "2099-01-01T00:00:00.000Z");
    assert!(!listed.text.contains(&secret), "{}", listed.text);
    assert_eq!(server.with_token(&secret, "GET", "/applications", &Value::Null).status, 200);
    let path = format!("/tokens/{}", text_of(&made.json["id"]));
    assert_eq!(server.ask("DELETE", &path, Body::empty()).status, 200);
    check_error(
        &server.with_token(&secret, "GET", "/applications", &Value::Null),
        401,
        "Unauthorized",
        "not valid",
    );
    check_error(&server.ask("DELETE", &path, Body::empty()), 404, "NotFound", "Access token");
    check_error(&server.ask("DELETE", "/tokens/xyz", Body::empty()), 404, "NotFound", "Access token");
    assert_eq!(server.get("/tokens").json["count"], 0);
}

#[test]
fn what_is_wrong_with_a_new_token_is_named() {
    let server = Server::new();
    server.token("ci", &["read"]);
    for (body, field) in [
        (json!({"name": "ci", "rights": ["read"]}), "`name`"),
        (json!({"name": "access-token", "rights": ["read"]}), "`name`"),
        (json!({"name": "x", "rights": []}), "`rights`"),
        (json!({"name": "x", "rights": ["read"], "expires": "yesterday"}), "`expires`"),
        (json!({"name": "x", "rights": ["read"], "more": 1}), "`more`"),
    ] {
        check_error(&server.send("POST", "/tokens", &body), 400, "Validation", field);
    }
    assert_eq!(server.get("/tokens").json["count"], 1);
}
