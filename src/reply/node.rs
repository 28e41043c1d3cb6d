//! A `WebhookReplyNode`, compiled: what a payload makes of it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::caller::CallerKind;
use super::encoding::Encoding;
use super::error::ReplyError;
use super::headers::HEADER_BYTES_MAX;
use super::rendered::{Body, Rendered, ReplyTo, Sheet};
use super::response::STATUS_FALLBACK;
use crate::model::{BodyTemplateType, WebhookReplyConfig};
use crate::template::{
    Escape, OUTPUT_BYTES_MAX, Path, PathRead, RenderError, Root, Template, TemplateError, Work,
};

/// Where the `replyId` lies unless the node says otherwise.
const REPLY_ID_PATH: [&str; 2] = ["data", "replyId"];
/// Bytes of a rendered status or encoding: far over any that is one.
const WORD_BYTES_MAX: usize = 1024;

/// A node that answers.
#[derive(Debug)]
pub struct ReplyNode {
    /// Where the `replyId` lies, unless it is the payload's own.
    named: Option<Path>,
    response_code: Code,
    body: BodyTemplate,
    headers: Box<[(Template, Template)]>,
    only_for: CallerKind,
    encoding: EncodingChoice,
}

#[derive(Debug)]
enum Code {
    /// As it stands in the node; `None` for the webhook's own.
    Fixed(Option<i64>),
    Template(Template),
}

#[derive(Debug)]
enum BodyTemplate {
    Nothing,
    Constant(Bytes),
    Template(Template),
    Path(Path),
}

#[derive(Debug)]
enum EncodingChoice {
    Fixed(Encoding),
    Template(Template),
}

/// Why a node sent nothing although it has somebody to send it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// A template did not render.
    Render(RenderError),
    /// The encoding's template rendered what is none.
    Encoding,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsent::Render(error) => error.fmt(f),
            Unsent::Encoding => write!(f, "encodingTemplate must render {} or nothing", Encoding::NAMES),
        }
    }
}

impl std::error::Error for Unsent {}

impl From<RenderError> for Unsent {
    fn from(error: RenderError) -> Unsent {
        Unsent::Render(error)
    }
}

impl ReplyNode {
    /// Compiles a node. Empty texts count as not given.
    ///
    /// # Errors
    /// The field whose template or path is none, as `config.bodyTemplate`.
    pub fn compile(config: &WebhookReplyConfig) -> Result<ReplyNode, ReplyError> {
        let named = match config.reply_id_path.as_str() {
            "" => None,
            source => Some(path("config.replyIdPath", source)?).filter(|path| !path.is(&REPLY_ID_PATH)),
        };
        let body = match config.body_template_type {
            BodyTemplateType::Path if config.body_template.is_empty() => BodyTemplate::Nothing,
            BodyTemplateType::Path => BodyTemplate::Path(path("config.bodyTemplate", &config.body_template)?),
            BodyTemplateType::String => {
                let template = template("config.bodyTemplate", &config.body_template)?;
                match template.constant() {
                    Some(text) => BodyTemplate::Constant(Bytes::copy_from_slice(text.as_bytes())),
                    None => BodyTemplate::Template(template),
                }
            }
        };
        let headers = config.header_info.iter().enumerate().map(|(index, header)| {
            let field = |name: &str| format!("config.headerInfo[{index}].{name}");
            Ok((
                template(&field("keyTemplate"), &header.key_template)?,
                template(&field("valueTemplate"), &header.value_template)?,
            ))
        });
        let response_code = match config.response_code_template.as_str() {
            "" => Code::Fixed(None),
            source => {
                let template = template("config.responseCodeTemplate", source)?;
                match template.constant() {
                    Some(text) => Code::Fixed(code_of(text)),
                    None => Code::Template(template),
                }
            }
        };
        Ok(ReplyNode {
            named,
            response_code,
            body,
            headers: headers.collect::<Result<_, _>>()?,
            only_for: CallerKind::of(config.is_websocket_message),
            encoding: EncodingChoice::compile(&config.encoding_template)?,
        })
    }

    /// The kind of caller that it answers: what `isWebsocketMessage` says.
    #[must_use]
    pub fn only_for(&self) -> CallerKind {
        self.only_for
    }

    /// Whether it answers who sent the trigger: one without a `replyId` gets no reply.
    #[must_use]
    pub fn answers_trigger(&self) -> bool {
        self.named.is_none()
    }

    /// Tells all that it may look at of a payload.
    pub fn reads<'t>(&'t self, tell: &mut dyn FnMut(PathRead<'t>)) {
        if let Some(path) = &self.named {
            path.reads(tell);
        }
        if let Code::Template(template) = &self.response_code {
            template.reads(tell);
        }
        match &self.body {
            BodyTemplate::Nothing | BodyTemplate::Constant(_) => {}
            BodyTemplate::Template(template) => template.reads(tell),
            BodyTemplate::Path(path) => path.reads(tell),
        }
        for (name, value) in &self.headers {
            name.reads(tell);
            value.reads(tell);
        }
        if let EncodingChoice::Template(template) = &self.encoding {
            template.reads(tell);
        }
    }

    /// Renders the reply to a payload, and to whom it goes. `None` if the node's path leads to no `replyId`. A
    /// WebSocket's message whose path leads to nothing is empty.
    ///
    /// # Errors
    /// If a reply was to be made and could not.
    pub fn render<'a>(
        &'a self,
        payload: &'a dyn Root,
        sheet: &'a mut Sheet,
    ) -> Result<Option<Rendered<'a>>, Unsent> {
        sheet.clear();
        let Sheet { text, headers, work, .. } = &mut *sheet;
        let to = match &self.named {
            None => ReplyTo::Trigger,
            Some(path) => match path.find_text(payload, work) {
                Some(id) => ReplyTo::Named(id),
                None => return Ok(None),
            },
        };
        let encoding = self.encoding.choose(payload, work, text)?;
        let mut body = self.body(payload, encoding, work, text)?;
        if self.only_for == CallerKind::WebSocket && body.is_none() {
            body = Some(Body::Found(&[]));
        }
        let response_code = match &self.response_code {
            Code::Fixed(code) => *code,
            Code::Template(template) => code_of(word(template, payload, work, text)?),
        };
        for (name, value) in &self.headers {
            let start = text.len();
            header_text(name, payload, work, text)?;
            let middle = text.len();
            header_text(value, payload, work, text)?;
            headers.push([start, middle, text.len()]);
        }
        let is_binary = encoding != Encoding::Utf8;
        Ok(Some(Rendered { to, only_for: self.only_for, response_code, body, is_binary, sheet }))
    }

    fn body<'a>(
        &'a self,
        payload: &'a dyn Root,
        encoding: Encoding,
        work: &mut Work,
        text: &mut Vec<u8>,
    ) -> Result<Option<Body<'a>>, Unsent> {
        let decoded = |text: Vec<u8>| Some(Body::Decoded(encoding.decode_lenient(text)));
        Ok(match &self.body {
            BodyTemplate::Nothing => None,
            BodyTemplate::Constant(text) if encoding == Encoding::Utf8 => Some(Body::Constant(text)),
            BodyTemplate::Constant(text) => decoded(text.to_vec()),
            BodyTemplate::Template(template) => {
                let start = text.len();
                template.render_within(payload, Escape::Html, OUTPUT_BYTES_MAX, work, text)?;
                match encoding {
                    Encoding::Utf8 => Some(Body::Written(start..text.len())),
                    _ => decoded(text.split_off(start)),
                }
            }
            BodyTemplate::Path(path) => match (path.text(payload, work), encoding) {
                (None, _) => None,
                (Some(Cow::Borrowed(found)), Encoding::Utf8) => Some(Body::Found(found)),
                (Some(found), _) => decoded(found.into_owned()),
            },
        })
    }
}

impl EncodingChoice {
    fn compile(source: &str) -> Result<EncodingChoice, ReplyError> {
        let field = "config.encodingTemplate";
        let template = template(field, source)?;
        let Some(text) = template.constant() else { return Ok(EncodingChoice::Template(template)) };
        encoding_of(text).map(EncodingChoice::Fixed).ok_or_else(|| {
            ReplyError::new(field, format!("must be {}, or a template of that", Encoding::NAMES))
        })
    }

    fn choose(&self, payload: &dyn Root, work: &mut Work, text: &mut Vec<u8>) -> Result<Encoding, Unsent> {
        match self {
            EncodingChoice::Fixed(encoding) => Ok(*encoding),
            EncodingChoice::Template(template) => {
                encoding_of(word(template, payload, work, text)?).ok_or(Unsent::Encoding)
            }
        }
    }
}

/// The status that a text names: `None`, the webhook's own, if it is blank; 200 if it is not a whole number.
fn code_of(text: &str) -> Option<i64> {
    let number = text.trim();
    if number.is_empty() {
        return None;
    }
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Some(i64::from(STATUS_FALLBACK));
    }
    // A number of more digits than fit is out of range, as any other that is not a status.
    Some(number.parse().unwrap_or(i64::MAX))
}

/// Nothing but blanks is `utf8`.
fn encoding_of(text: &str) -> Option<Encoding> {
    match text.trim() {
        "" => Some(Encoding::Utf8),
        name => Encoding::named(name),
    }
}

/// The output of a template of a status or an encoding, which stays behind the other text of the sheet.
fn word<'t>(
    template: &Template,
    payload: &dyn Root,
    work: &mut Work,
    text: &'t mut Vec<u8>,
) -> Result<&'t str, RenderError> {
    let start = text.len();
    template.render_within(payload, Escape::Html, WORD_BYTES_MAX, work, text)?;
    Ok(std::str::from_utf8(&text[start..]).unwrap_or_default())
}

fn header_text(
    template: &Template,
    payload: &dyn Root,
    work: &mut Work,
    text: &mut Vec<u8>,
) -> Result<(), RenderError> {
    if let Some(constant) = template.constant() {
        text.extend_from_slice(constant.as_bytes());
        return Ok(());
    }
    template.render_within(payload, Escape::Html, HEADER_BYTES_MAX, work, text)
}

fn template(field: &str, source: &str) -> Result<Template, ReplyError> {
    Template::compile(source).map_err(|error| template_error(field, "a template", &error))
}

fn path(field: &str, source: &str) -> Result<Path, ReplyError> {
    Path::parse(source).map_err(|error| template_error(field, "a payload path", &error))
}

fn template_error(field: &str, what: &str, error: &TemplateError) -> ReplyError {
    ReplyError::new(field, format!("must be {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::Reply;
    use super::*;
    use crate::base::json::Raw;
    use crate::model::HeaderTemplate;

    const PAYLOAD: &str = r#"{"data":{"replyId":"r1","body":{"id":"<7>","code":" 201 ","obj":{"b" : 1.0},"s":"\u00e9","e":"",
        "enc":"hex","hex":"00ff","list":[1, 2]}},"other":"r2"}"#;

    fn config(body: &str) -> WebhookReplyConfig {
        WebhookReplyConfig { body_template: body.to_owned(), ..WebhookReplyConfig::default() }
    }

    fn path_config(path: &str, is_websocket_message: bool) -> WebhookReplyConfig {
        WebhookReplyConfig {
            body_template_type: BodyTemplateType::Path,
            is_websocket_message,
            ..config(path)
        }
    }

    fn render(config: &WebhookReplyConfig) -> Option<(String, Reply)> {
        let node = ReplyNode::compile(config).expect("it compiles");
        let payload = Raw::document(PAYLOAD.as_bytes()).expect("JSON");
        let mut sheet = Sheet::default();
        let rendered = node.render(&payload, &mut sheet).expect("it renders")?;
        let to = match rendered.to() {
            ReplyTo::Trigger => "the trigger".to_owned(),
            ReplyTo::Named(id) => id.to_string(),
        };
        Some((to, rendered.into_reply()))
    }

    fn body(config: &WebhookReplyConfig) -> Option<Vec<u8>> {
        render(config).and_then(|(_, reply)| reply.body).map(Vec::from)
    }

    #[test]
    fn a_template_becomes_the_body() {
        let (reply_id, reply) = render(&config(r#"{"id":"{{data.body.id}}"}"#)).unwrap();
        assert_eq!(reply_id, "the trigger");
        assert_eq!(reply.body.as_deref(), Some(&br#"{"id":"&lt;7&gt;"}"#[..]));
        assert_eq!((reply.response_code, reply.is_binary, reply.close), (None, false, None));
        assert_eq!(body(&config("constant")).unwrap(), b"constant");
        assert_eq!(body(&config("")).unwrap(), b"");
    }

    #[test]
    fn a_path_becomes_the_body_as_it_stands_and_an_empty_message_where_it_leads_nowhere() {
        for (path, expected) in [
            ("data.body.obj", Some(&br#"{"b" : 1.0}"#[..])),
            ("data.body.list", Some(b"[1, 2]")),
            ("data.body.s", Some("é".as_bytes())),
            ("data.body.e", Some(b"")),
            ("data.body.list[0]", Some(b"1")),
            ("data.missing", None),
            ("", None),
        ] {
            assert_eq!(body(&path_config(path, false)).as_deref(), expected, "{path}");
            let message = body(&path_config(path, true));
            assert_eq!(message.as_deref(), Some(expected.unwrap_or_default()), "{path}");
            for is_websocket_message in [false, true] {
                let (_, reply) = render(&path_config(path, is_websocket_message)).expect(path);
                assert_eq!(reply.only_for, Some(CallerKind::of(is_websocket_message)));
            }
        }
    }

    #[test]
    fn the_reply_id_is_looked_up_where_the_node_says() {
        let other = WebhookReplyConfig { reply_id_path: "other".to_owned(), ..config("x") };
        assert_eq!(render(&other).unwrap().0, "r2");
        for path in ["missing", "data.body.obj"] {
            let nobody = WebhookReplyConfig { reply_id_path: path.to_owned(), ..config("x") };
            assert_eq!(render(&nobody), None, "{path}");
        }
        for path in ["", "data.replyId", " data.[replyId]", "[\"data\"].replyId"] {
            let own = WebhookReplyConfig { reply_id_path: path.to_owned(), ..config("x") };
            assert_eq!(render(&own).unwrap().0, "the trigger", "{path}");
        }
    }

    #[test]
    fn a_status_is_a_whole_number_or_the_webhooks_own_or_200() {
        for (source, code) in [
            ("404", Some(404)),
            ("{{data.body.code}}", Some(201)),
            ("{{data.missing}}", None),
            (" {{data.missing}} ", None),
            ("4o4", Some(200)),
            ("abc", Some(200)),
            ("{{data.body.id}}", Some(200)),
            ("-1", Some(-1)),
            ("-", Some(200)),
            ("200.5", Some(200)),
            ("{{data.body.code}}.5", Some(200)),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            let config = WebhookReplyConfig { response_code_template: source.to_owned(), ..config("x") };
            assert_eq!(render(&config).unwrap().1.response_code, code, "{source}");
        }
    }

    #[test]
    fn headers_are_rendered_in_order() {
        let header = |key: &str, value: &str| HeaderTemplate {
            key_template: key.into(),
            value_template: value.into(),
        };
        let config = WebhookReplyConfig {
            header_info: vec![header("X-{{data.body.enc}}", "{{{data.body.id}}}"), header("a", "b")],
            ..config("x")
        };
        let headers = render(&config).unwrap().1.headers;
        assert_eq!(headers, [("X-hex".to_owned(), "<7>".to_owned()), ("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn an_encoding_makes_bytes_of_the_text() {
        for (encoding, source, expected, is_binary) in [
            ("", "00ff", &b"00ff"[..], false),
            ("utf8", "00ff", b"00ff", false),
            ("{{data.missing}}", "00ff", b"00ff", false),
            ("hex", "00ff", b"\x00\xff", true),
            ("{{data.body.enc}}", "{{data.body.hex}}", b"\x00\xff", true),
            ("base64", "AP8", b"\x00\xff", true),
            ("binary", "\u{0}\u{ff}", b"\x00\xff", true),
        ] {
            let config = WebhookReplyConfig {
                encoding_template: encoding.to_owned(),
                is_websocket_message: true,
                ..config(source)
            };
            let reply = render(&config).unwrap().1;
            assert_eq!(reply.body.as_deref(), Some(expected), "{encoding}");
            assert_eq!(reply.is_binary, is_binary, "{encoding}");
        }
        let wrong = WebhookReplyConfig { encoding_template: "{{data.body.id}}".to_owned(), ..config("x") };
        let node = ReplyNode::compile(&wrong).unwrap();
        let payload = Raw::trusted(PAYLOAD.as_bytes());
        let unsent = node.render(&payload, &mut Sheet::default()).map(|_| ());
        assert_eq!(unsent, Err(Unsent::Encoding));
    }

    #[test]
    fn what_does_not_compile_is_named() {
        let header = |key: &str, value: &str| HeaderTemplate {
            key_template: key.into(),
            value_template: value.into(),
        };
        let base = config("x");
        for (config, field) in [
            (config("a\n{{#if}}"), "config.bodyTemplate"),
            (path_config("a..b", false), "config.bodyTemplate"),
            (WebhookReplyConfig { reply_id_path: "{{x}}".into(), ..base.clone() }, "config.replyIdPath"),
            (
                WebhookReplyConfig { response_code_template: "{{".into(), ..base.clone() },
                "config.responseCodeTemplate",
            ),
            (
                WebhookReplyConfig { encoding_template: "utf-8".into(), ..base.clone() },
                "config.encodingTemplate",
            ),
            (
                WebhookReplyConfig { header_info: vec![header("a", "b"), header("{{", "b")], ..base.clone() },
                "config.headerInfo[1].keyTemplate",
            ),
            (
                WebhookReplyConfig { header_info: vec![header("a", "{{x y}}")], ..base.clone() },
                "config.headerInfo[0].valueTemplate",
            ),
        ] {
            let error = ReplyNode::compile(&config).expect_err(field);
            assert_eq!(error.field, field, "{error}");
            assert!(error.message.contains("line ") || error.message.contains("must be utf8"), "{error}");
        }
    }
}
