//! The console's files: a page, its styles and its modules, as they are in `console/`, and one module that is made of the
//! model's tables of fields.
//!
//! They hold nothing of the server's state, so nobody needs a token for them; the page asks for it and reads the
//! REST API. The policy that they are served with keeps everything out that is not one of these files.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use serde_json::Value;

use super::AdminState;
use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::schemas;
use super::stats::ingress_url;

struct File {
    name: &'static str,
    kind: &'static str,
    text: fn() -> &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const MODULE: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal $kind:ident,)*) => {
        &[$(File { name: $name, kind: $kind, text: || include_str!(concat!("console/", $name)) },)*
            File { name: FIELDS, kind: MODULE, text: || &FIELDS_TEXT }]
    };
}

/// The module that is not a file of the folder: the schemas that forms are made of.
const FIELDS: &str = "fields.js";

static FIELDS_TEXT: LazyLock<String> =
    LazyLock::new(|| format!("export default {};\n", Value::Object(schemas::of_forms())));

/// The first one is the page itself.
static FILES: &[File] = files! {
    "index.html" HTML,
    "api.js" MODULE,
    "app.js" MODULE,
    "applications.js" MODULE,
    "base.css" CSS,
    "calls.js" MODULE,
    "chart.js" MODULE,
    "cluster.js" MODULE,
    "connections.js" MODULE,
    "dom.js" MODULE,
    "flow_canvas.js" MODULE,
    "flow_document.js" MODULE,
    "flow_editor.js" MODULE,
    "flow_fields.js" MODULE,
    "flow_graph.js" MODULE,
    "flow_layout.js" MODULE,
    "flow_panel.js" MODULE,
    "flow_preview.js" MODULE,
    "flow_sample.js" MODULE,
    "flow_triggers.js" MODULE,
    "flows.js" MODULE,
    "global_value.js" MODULE,
    "globals.js" MODULE,
    "graph.css" CSS,
    "guide.css" CSS,
    "icon.svg" SVG,
    "json.js" MODULE,
    "json_error.js" MODULE,
    "overview.js" MODULE,
    "parts.css" CSS,
    "presets.js" MODULE,
    "rankings.js" MODULE,
    "recent.js" MODULE,
    "record_body.js" MODULE,
    "record_detail.js" MODULE,
    "records.css" CSS,
    "records.js" MODULE,
    "records_state.js" MODULE,
    "router.js" MODULE,
    "schema.js" MODULE,
    "socket.js" MODULE,
    "sparkline.js" MODULE,
    "store.js" MODULE,
    "stream.js" MODULE,
    "test.js" MODULE,
    "time.js" MODULE,
    "tokens.js" MODULE,
    "ui.js" MODULE,
    "warnings.js" MODULE,
    "webhook.js" MODULE,
    "webhook_access.js" MODULE,
    "webhook_delete.js" MODULE,
    "webhook_fields.js" MODULE,
    "webhook_form.js" MODULE,
    "webhook_token.js" MODULE,
    "webhooks.js" MODULE,
    "webhooks_state.js" MODULE,
};

/// Entity tags, in the order of [`FILES`].
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|file| tag((file.text)())).collect());

/// Bytes of a digest that make a tag: enough that two versions of a file never share one.
const TAG_BYTES: usize = 16;

fn tag(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

pub(super) async fn page(call: Call) -> Outcome {
    serve(&call, 0)
}

pub(super) async fn file(call: Call) -> Outcome {
    let asked = call.parameter("file");
    // The page has one address only.
    match FILES.iter().position(|file| file.name == asked && file.kind != HTML) {
        Some(index) => serve(&call, index),
        None => Err(ApiError::new(Kind::NotFound, "the console has no such file")),
    }
}

fn serve(call: &Call, index: usize) -> Outcome {
    let (file, tag) = (&FILES[index], TAGS[index].as_str());
    let known = call.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from((file.text)()))
    };
    let policy = policy(&call.state, &call.headers);
    let fields = [
        (header::CONTENT_TYPE, file.kind),
        (header::ETAG, tag),
        // Kept, and asked about each time: a new version of the server is a new version of all files at once.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        let value =
            HeaderValue::try_from(value).map_err(|error| ApiError::from_engine(500, error.to_string()))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// The page's content security policy (CSP level 3): nothing but its own files and this listener, and WebSockets to the
/// ingress, which the Test tab opens. No markup from strings at all.
fn policy(state: &AdminState, headers: &HeaderMap) -> String {
    let sockets = ingress_url(state, headers).and_then(|url| socket_sources(&url)).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{sockets}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

/// The sources for WebSockets to a URL, each with a space before it.
fn socket_sources(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    // What could end the directive cannot be part of an authority, save by way of user information.
    if authority.contains(['@', ';', ',', ' ']) {
        return None;
    }
    let scheme = if uri.scheme_str() == Some("https") { "wss" } else { "ws" };
    Some(format!(" {scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_contents_apart() {
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
    }

    #[test]
    fn sockets_go_where_the_ingress_is_and_nowhere_else() {
        assert_eq!(socket_sources("http://127.0.0.1:8080").as_deref(), Some(" ws://127.0.0.1:8080"));
        assert_eq!(socket_sources("https://hooks.example/base").as_deref(), Some(" wss://hooks.example"));
        assert_eq!(socket_sources("https://a;script-src *"), None);
        assert_eq!(socket_sources("/relative"), None);
    }

    /// A module that is imported and not embedded would be a page that does not load.
    #[test]
    fn every_file_that_another_names_is_there_and_no_file_has_code_or_styles_in_markup() {
        for file in FILES.iter().filter(|file| file.kind == MODULE) {
            for line in (file.text)().lines().filter(|line| line.contains(" from \"./")) {
                let name = line.split(" from \"./").nth(1).and_then(|rest| rest.split('"').next());
                assert!(FILES.iter().any(|known| Some(known.name) == name), "{}: {line}", file.name);
            }
        }
        let page = (FILES[0].text)();
        for (before, after) in
            page.match_indices("/console/").map(|(at, name)| (at, &page[at + name.len()..]))
        {
            let name = after.split('"').next().unwrap_or_default();
            assert!(FILES.iter().any(|known| known.name == name), "{name} at {before}");
        }
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=").count());
    }

    #[test]
    fn what_the_platform_has_a_word_for_is_called_so() {
        for (name, words) in [
            ("webhook.js", "Delete Webhook"),
            ("webhook_delete.js", "Delete Webhook"),
            ("test.js", "Send Test Request"),
            ("webhook_fields.js", "Wait for reply from workflow"),
        ] {
            let file = FILES.iter().find(|file| file.name == name).expect("the file");
            assert!((file.text)().contains(words), "{words:?} in {name}");
        }
    }

    #[test]
    fn the_folder_and_the_table_hold_the_same_files() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/console");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        let mut listed: Vec<&str> =
            FILES.iter().map(|file| file.name).filter(|name| *name != FIELDS).collect();
        found.sort();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }
}
