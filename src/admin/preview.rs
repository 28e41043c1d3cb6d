//! `POST /preview`: what templates and conditions make of a payload, before a flow has them; with a flow, what its nodes
//! make of it ([`super::dry_run`]). Nothing is sent or kept.

use std::fmt::Display;

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::call::{Call, Outcome};
use super::dry_run::DryRunRequest;
use super::error::ApiError;
use crate::base::json::{Kind, Raw};
use crate::expression;
use crate::model::ConditionalConfig;
use crate::registry::Condition;
use crate::template::{Escape, Path, Template, Work};

/// Templates of one preview: the code, the body, the encoding, and names and values of headers.
const TEMPLATES_MAX: usize = 256;

/// Bytes that one rendering shows: a reply's body by default, and a page of text in any case.
const SHOWN_BYTES_MAX: usize = 262_144;

/// Bytes that one condition may read and write: as much as all of a trigger's may (`WORK_MAX` over the units of a byte).
const CONDITION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// After so long no further template is begun: each has a bound of its own on its work, and there are many.
const RENDER_NANOS_MAX: u64 = 2_000_000_000;

const TEMPLATES_MUST: &str = "`templates` must be a list of {template, type}";

pub(super) async fn preview(mut call: Call) -> Outcome {
    let body = call.bytes().await?;
    if let Some((asked, payload)) = dry_run_of(&body)? {
        return Ok(Json(asked.run(&call.state, payload).await?).into_response());
    }
    let clock = call.state.clock;
    let begun = clock.now().nanos;
    // Rendering is work: not on the thread that answers everybody.
    let rendered = tokio::task::spawn_blocking(move || {
        render_all(&body, &mut || clock.now().nanos.saturating_sub(begun) > RENDER_NANOS_MAX)
    });
    let rendered = rendered.await;
    let items =
        rendered.map_err(|_| ApiError::from_engine(500, "the templates could not be rendered".into()))??;
    Ok(Json(json!({ "items": items })).into_response())
}

/// The dry run that is asked for, with its payload; `None` where templates alone are.
fn dry_run_of(body: &[u8]) -> Result<Option<(DryRunRequest, Vec<u8>)>, ApiError> {
    let (document, payload) = read_document(body)?;
    let Some(flow) = document.get("flow") else { return Ok(None) };
    Ok(Some((DryRunRequest::read(&document, flow)?, payload.bytes().to_vec())))
}

fn read_document(body: &[u8]) -> Result<(Raw<'_>, Raw<'_>), ApiError> {
    let document = Raw::document(body).filter(|document| document.kind() == Kind::Object);
    let document = document.ok_or_else(|| ApiError::validation("the body must be a JSON object"))?;
    let payload = document.get("payload").filter(|payload| payload.kind() == Kind::Object);
    let payload = payload.ok_or_else(|| ApiError::validation("`payload` must be a JSON object"))?;
    Ok((document, payload))
}

/// Renders one template after the other, until `is_late` says so.
fn render_all(body: &[u8], is_late: &mut dyn FnMut() -> bool) -> Result<Vec<Value>, ApiError> {
    let (document, payload) = read_document(body)?;
    let templates = document.get("templates").filter(|templates| templates.kind() == Kind::Array);
    let templates = templates.ok_or_else(|| ApiError::validation(TEMPLATES_MUST))?;
    let mut items = Vec::new();
    for item in templates.items() {
        if items.len() == TEMPLATES_MAX {
            return Err(ApiError::validation(format!("{TEMPLATES_MUST}, at most {TEMPLATES_MAX}")));
        }
        if is_late() {
            return Err(ApiError::validation("`templates` take too long together"));
        }
        let source = item.get("template").and_then(|source| source.as_str().map(|text| text.into_owned()));
        let source = source.ok_or_else(|| ApiError::validation(TEMPLATES_MUST))?;
        let kind = item.get("type").and_then(|kind| kind.as_str().map(|text| text.into_owned()));
        let rendered = match kind.as_deref() {
            None | Some("string") => render(&source, payload, Escape::Html),
            Some("text") => render(&source, payload, Escape::None),
            Some("path") => read(&source, payload),
            Some("condition") => decide(source, payload),
            Some(_) => return Err(ApiError::validation("`type` must be string, text, path or condition")),
        };
        items.push(match rendered {
            Ok(text) => json!({ "text": text }),
            Err(error) => json!({ "error": error }),
        });
    }
    Ok(items)
}

fn render(source: &str, payload: Raw<'_>, escape: Escape) -> Result<Option<String>, String> {
    let template = Template::compile(source).map_err(said)?;
    let mut text = Vec::new();
    template
        .render_within(&payload, escape, SHOWN_BYTES_MAX, &mut Work::default(), &mut text)
        .map_err(said)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// The value of a condition, `true` or `false`.
fn decide(expression: String, payload: Raw<'_>) -> Result<Option<String>, String> {
    let condition = Condition::compile(&ConditionalConfig { expression });
    let condition = condition.map_err(|error| error.message().to_owned())?;
    let mut work = expression::ExpressionWork::new(CONDITION_BYTES_MAX);
    let is_true = condition.is_true(&payload, &mut work, &mut Vec::new()).map_err(said)?;
    Ok(Some(is_true.to_string()))
}

/// The value of a path: a string as itself, anything else as its JSON. `None` where the path leads to nothing.
fn read(source: &str, payload: Raw<'_>) -> Result<Option<String>, String> {
    let path = Path::parse(source).map_err(said)?;
    let Some(json) = path.read(&payload) else { return Ok(None) };
    let value = Raw::trusted(&json);
    Ok(Some(match value.as_str() {
        Some(text) if value.kind() == Kind::String => text.into_owned(),
        _ => String::from_utf8_lossy(value.bytes()).into_owned(),
    }))
}

fn said(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_and_paths_are_rendered_over_the_payload_and_errors_stand_in_their_place() {
        let body = json!({
            "payload": {"data": {"body": {"n": 5, "html": "<b>"}, "list": [1, 2]}},
            "templates": [
                {"template": "n is {{data.body.n}}, {{data.body.html}}, {{{data.body.html}}}"},
                {"template": "{{#if", "type": "string"},
                {"template": "data.body", "type": "path"},
                {"template": "data.body.html", "type": "path"},
                {"template": "data.nothing", "type": "path"},
                {"template": "{{data.body.html}}", "type": "text"},
                {"template": "{{data.body.n}} > 4", "type": "condition"},
                {"template": "{{data.body.n}} >", "type": "condition"},
            ],
        });
        let items = render_all(body.to_string().as_bytes(), &mut || false).expect("rendered");
        assert_eq!(items[0], json!({"text": "n is 5, &lt;b&gt;, <b>"}));
        assert!(items[1]["error"].as_str().is_some_and(|error| error.starts_with("line 1")), "{}", items[1]);
        assert_eq!(items[2]["text"], r#"{"n":5,"html":"<b>"}"#);
        assert_eq!(items[3], json!({"text": "<b>"}));
        assert_eq!(items[4], json!({"text": null}));
        assert_eq!(items[5], json!({"text": "<b>"}));
        assert_eq!(items[6], json!({"text": "true"}));
        assert!(items[7]["error"].as_str().is_some_and(|error| error.contains("line 1")), "{}", items[7]);
    }

    #[test]
    fn templates_that_take_too_long_together_are_given_up() {
        let templates = vec![json!({"template": "x"}); 3];
        let body = json!({"payload": {}, "templates": templates}).to_string();
        for (begun, is_rendered) in [(3, true), (2, false), (0, false)] {
            let mut looks = 0;
            let rendered = render_all(body.as_bytes(), &mut || {
                looks += 1;
                looks > begun
            });
            assert_eq!(rendered.is_ok(), is_rendered, "{begun}");
        }
    }

    #[test]
    fn what_is_no_preview_is_refused() {
        let many = vec![json!({"template": ""}); TEMPLATES_MAX + 1];
        for (body, field) in [
            (json!([]), "body"),
            (json!({"payload": 1, "templates": []}), "payload"),
            (json!({"payload": {}, "templates": {}}), "templates"),
            (json!({"payload": {}, "templates": [{"template": 1}]}), "templates"),
            (json!({"payload": {}, "templates": [{"template": "", "type": "x"}]}), "type"),
            (json!({"payload": {}, "templates": many}), "templates"),
        ] {
            let refused = render_all(body.to_string().as_bytes(), &mut || false).expect_err("refused");
            assert!(refused.message.contains(field), "{}", refused.message);
        }
    }
}
