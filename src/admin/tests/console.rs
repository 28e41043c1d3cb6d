//! The console's files as they are served.

use axum::body::Body;
use axum::http::{Request, header};

use super::{Answered, Server, check_error};
use crate::admin::About;
use crate::settings::Address;

fn fetch(server: &Server, path: &str, tag: Option<&str>) -> Answered {
    let mut request = Request::builder().uri(path).header(header::HOST, "192.0.2.1:8081");
    if let Some(tag) = tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    server.raw(request.body(Body::empty()).expect("a request"))
}

#[test]
fn the_page_and_its_files_are_served_without_a_token_and_nothing_else_is() {
    let server = Server::new();
    let page = fetch(&server, "/", None);
    assert_eq!(
        (page.status, &page.headers[header::CONTENT_TYPE]),
        (200, &"text/html; charset=utf-8".parse().expect("text"))
    );
    assert!(page.text.contains("/console/app.js"));
    let module = fetch(&server, "/console/app.js", None);
    assert_eq!(module.headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    for none in ["/console/index.html", "/console/none.js", "/console/..%2Fmod.rs", "/console/"] {
        check_error(&fetch(&server, none, None), 404, "NotFound", "");
    }
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = Server::new();
    for path in ["/", "/console/base.css"] {
        let first = fetch(&server, path, None);
        let tag = first.headers[header::ETAG].to_str().expect("text").to_owned();
        assert_eq!(first.headers[header::CACHE_CONTROL], "no-cache");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = fetch(&server, path, Some(&known));
            assert_eq!((again.status, again.text.as_str()), (304, ""));
            assert_eq!(again.headers[header::ETAG], tag.as_str());
        }
        assert_eq!(fetch(&server, path, Some("\"other\"")).status, 200);
    }
}

#[test]
fn the_policy_lets_nothing_in_but_the_files_and_the_ingress() {
    let policy = |server: &Server| {
        fetch(server, "/", None).headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned()
    };
    let server = Server::new();
    let strict = policy(&server);
    assert!(!strict.contains("unsafe") && !strict.contains(" * ") && !strict.contains("data:"), "{strict}");
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self' ws://127.0.0.1:8080;",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(strict.contains(directive), "{directive} is not in {strict}");
    }
    let everywhere = Server::with(|state| {
        state.about = About { ingress: Address::Tcp(([0, 0, 0, 0], 9).into()), ..About::default() };
    });
    assert!(policy(&everywhere).contains("connect-src 'self' ws://192.0.2.1:9;"));
    let public = Server::with(|state| {
        state.about.public_url = Some("https://hooks.example".to_owned());
    });
    assert!(policy(&public).contains("connect-src 'self' wss://hooks.example;"));
    let socket = Server::with(|state| state.about.ingress = Address::Unix("/run/in.sock".into()));
    assert!(policy(&socket).contains("connect-src 'self';"));
}
